package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Disk is one place of a node for objects: a directory of a file system, or a
// block device or file of a fixed length with a directory for its table.
type Disk struct {
	Dir string `yaml:"dir"` // made if it is missing; relative to the configuration file's folder
	// Device, if given, is where the objects go: a block device, or a file that
	// has its length already. Dir then holds some MiB of table.
	Device string `yaml:"device"`
	// Size bounds what is there, table included. A device's default is all of it.
	Size Bytes `yaml:"size"`
}

// disksMax bounds the disks of one node.
const disksMax = 64

func settleDisks(disks []*Disk, baseDir string) {
	for _, d := range disks {
		resolve(baseDir, &d.Dir)
		resolve(baseDir, &d.Device)
	}
}

// checkDisks looks at what a node, whose spot is at, says of its disks: one budget
// for its state folder, or a list.
func checkDisks(at spot, disk Bytes, disks []*Disk, objectMax Bytes) {
	list := at.field("disks")
	switch {
	case !list.given():
		checkBudget(at.field("disk"), disk)
	case at.field("disk").given():
		at.field("disk").bad(fmt.Sprintf("%s has both disk and disks", at),
			"keep disk for one folder in the state folder, or disks for folders and devices of your own")
	case len(disks) == 0:
		list.needsOne(0, "disk")
	case len(disks) > disksMax:
		list.bad(fmt.Sprintf("%s has %d disks, and %d are allowed", at, len(disks), disksMax), "join some of them to one volume")
	}
	if at.field("disk_object_max").given() && objectMax < budgetMin {
		at.field("disk_object_max").bad(fmt.Sprintf("disk_object_max %v is too small", objectMax), fmt.Sprintf("write %v or more", budgetMin))
	}
	for i, d := range disks {
		d.check(list.item(i))
		for j, before := range disks[:i] {
			d.checkApart(list.item(i), before, list.item(j))
		}
	}
}

func (d *Disk) check(at spot) {
	at.field("dir").needs(d.Dir != "", "write the folder for it, such as /mnt/nvme0/weir")
	switch {
	case at.field("size").given():
		checkBudget(at.field("size"), d.Size)
	case d.Device == "":
		at.field("size").needs(false, "write how many bytes it may take, such as 100GiB")
	}
	if d.Device != "" && within(d.Device, d.Dir) {
		at.field("device").bad(fmt.Sprintf("device %q is the folder itself", d.Device), "write a block device or a file of a fixed length")
	}
}

// checkApart refuses what two entries would both write to. Entries of different
// nodes may well have the same paths: they can be on different machines.
func (d *Disk) checkApart(at spot, other *Disk, otherAt spot) {
	if d.Dir != "" && other.Dir != "" && (within(d.Dir, other.Dir) || within(other.Dir, d.Dir)) {
		at.field("dir").bad(fmt.Sprintf("dir %q and that of %s are not apart", d.Dir, otherAt), "give each disk a folder of its own, none in another's")
	}
	if d.Device != "" && filepath.Clean(d.Device) == filepath.Clean(other.Device) {
		at.field("device").bad(fmt.Sprintf("device %q is that of %s too", d.Device, otherAt), "give each disk a device of its own")
	}
}

// within says whether folder is path or holds it.
func within(folder, path string) bool {
	inside, err := filepath.Rel(folder, path)
	return err == nil && inside != ".." && !strings.HasPrefix(inside, "../")
}
