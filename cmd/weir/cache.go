package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"weir/internal/config"
	"weir/internal/inspect"
	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/disk"
)

// cacheCommand looks into the stores of a node: a running one's through control's
// API, or a cache directory.
type cacheCommand struct {
	LS     cacheLSCommand     `cmd:"" name:"ls" help:"List objects: those on disk, the newest first, then those in memory alone."`
	Stat   cacheStatCommand   `cmd:"" help:"Count objects and bytes."`
	Verify cacheVerifyCommand `cmd:"" help:"Verify every checksum on disk; exit status 1 if one fails."`
	Dump   cacheDumpCommand   `cmd:"" help:"Print an object: its header and its body."`
	Format cacheFormatCommand `cmd:"" help:"Make a block device or file ready for a node that has it as a device in disks."`
}

// cacheNode names a running node.
type cacheNode struct {
	lookup
	Node      string `help:"Ask this running node, in place of a directory: of the lab, or of --control." placeholder:"NAME"`
	Control   string `help:"URL of the control's API, in place of a lab's." placeholder:"URL"`
	TokenFile string `help:"File with the API's token, for --control. WEIR_TOKEN serves as well." type:"existingfile" placeholder:"FILE"`
}

// client is nil if no node is named.
func (c *cacheNode) client() (*inspect.Client, error) {
	switch {
	case c.Node == "" && c.Control != "":
		return nil, errors.New("--control needs --node: which of its nodes to ask")
	case c.Node == "":
		return nil, nil
	case c.Control != "":
		token, err := apiToken(c.TokenFile)
		return &inspect.Client{URL: c.Control, Token: token, Node: c.Node}, err
	}
	lab, err := c.read()
	return &inspect.Client{URL: lab.Control, Token: lab.Token, Node: c.Node}, err
}

// cacheDir is a running node, or a directory.
type cacheDir struct {
	cacheNode
	Dir string `arg:"" optional:"" help:"A cache directory: STATE/NODE/cache, or a dir of disks." type:"existingdir"`
}

var errNowhere = errors.New("name a running node (--node NAME) or a cache directory: one of the two")

// open gives what is to be looked into: a client of a node, or else a directory.
func (c *cacheDir) open(env *environment) (*inspect.Client, *disk.Inspection, []disk.RegionStat, error) {
	client, err := c.client()
	if err == nil && (client == nil) == (c.Dir == "") {
		err = errNowhere
	}
	if err != nil || client != nil {
		return client, nil, nil, err
	}
	stored, regions, err := inspectDir(env, c.Dir)
	return nil, stored, regions, err
}

// inspectDir reads a directory. Where a node has it open, it says how to see what
// that one has not written yet.
func inspectDir(env *environment, dir string) (*disk.Inspection, []disk.RegionStat, error) {
	if inUse(dir) {
		_, _ = fmt.Fprintf(env.errors, "weir: a running node has %s open: what it has in memory or writes now is not seen; to ask the node itself, use --node NAME\n", dir)
	}
	return disk.Inspect(dir)
}

// inUse says whether a node has a directory open.
func inUse(dir string) bool { return vfs.Locked(filepath.Join(dir, disk.LockFile)) }

type cacheLSCommand struct {
	cacheDir
	Limit int  `help:"How many objects at most; 0 for all." default:"0"`
	JSON  bool `help:"Print a JSON object a line."`
}

func (c *cacheLSCommand) Run(env *environment) error {
	client, stored, _, err := c.open(env)
	switch {
	case err != nil:
		return err
	case client != nil:
		return listNode(env, client, c.Limit, c.JSON)
	}
	defer stored.Close()
	return c.list(env, stored)
}

// list lists a directory.
func (c *cacheLSCommand) list(env *environment, stored *disk.Inspection) error {
	table := tabwriter.NewWriter(env.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		_, _ = fmt.Fprintln(table, "key\t"+columns)
	}
	listed := 0
	for object := range stored.Objects() {
		if listed++; c.Limit > 0 && listed > c.Limit {
			break
		}
		m, err := stored.Meta(object)
		switch {
		case err != nil && c.JSON:
			_, _ = fmt.Fprintf(env.errors, "weir: %s: %v\n", object.Key, err)
		case err != nil:
			_, _ = fmt.Fprintf(table, "%s\t%v\n", object.Key, err)
		case c.JSON:
			if err := printLine(env.out, inspect.Describe(object.Key, m, storage.TierDisk)); err != nil {
				return err
			}
		default:
			o := inspect.Describe(object.Key, m, storage.TierDisk)
			_, _ = fmt.Fprintf(table, "%s\t%s\n", o.Key, columnsOf(o))
		}
	}
	return table.Flush()
}

type cacheStatCommand struct{ cacheDir }

func (c *cacheStatCommand) Run(env *environment) error {
	client, stored, regions, err := c.open(env)
	switch {
	case err != nil:
		return err
	case client != nil:
		return statNode(env, client)
	}
	defer stored.Close()
	objects, bytes := 0, int64(0)
	table := tabwriter.NewWriter(env.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "region\tturn\tstate\tfooter\trecords\tobjects\tbytes\t")
	for _, r := range regions {
		_, _ = fmt.Fprintf(table, "%d\t%d\t%s\t%t\t%d\t%d\t%d\t\n", r.Region, r.Turn, r.State, r.Footer, r.Records, r.Objects, r.Bytes)
		objects += r.Objects
		bytes += r.Bytes
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.out, "%d regions in use, %d objects, %d bytes\n", len(regions), objects, bytes)
	return err
}

type cacheVerifyCommand struct {
	cacheDir
	Rate config.Bytes `help:"Bytes a second that a running node reads for it at most, from 1MiB to 4GiB." default:"64MiB" placeholder:"BYTES"`
}

func (c *cacheVerifyCommand) Run(env *environment) error {
	client, stored, _, err := c.open(env)
	switch {
	case err != nil:
		return err
	case client != nil:
		return verifyNode(env, client, int64(c.Rate))
	}
	defer stored.Close()
	good, bad := 0, 0
	if !inUse(c.Dir) { // or else it may be what is being written
		bad = len(stored.Damage)
		for _, damage := range stored.Damage {
			_, _ = fmt.Fprintln(env.out, damage)
		}
	}
	for object := range stored.Objects() {
		err := stored.WriteBody(object, io.Discard)
		switch {
		case err == nil:
			good++
		case errors.Is(err, storage.ErrNotFound) || stored.Gone(c.Dir, object):
		default:
			bad++
			_, _ = fmt.Fprintf(env.out, "%s: %v\n", object.Key, err)
		}
	}
	return verified(env, good, bad)
}

func verified(env *environment, good, bad int) error {
	if bad > 0 {
		return fmt.Errorf("%d checksums fail, %d objects are good", bad, good)
	}
	_, err := fmt.Fprintf(env.out, "%d objects are good\n", good)
	return err
}

type cacheDumpCommand struct {
	cacheNode
	Where []string `arg:"" name:"dir-key" help:"The cache directory, and the key as weir cache ls prints it; with --node, the key alone."`
}

func (c *cacheDumpCommand) Run(env *environment) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if want := map[bool]int{true: 1, false: 2}[client != nil]; len(c.Where) != want {
		return errors.New("give a cache directory and a key, or --node NAME and a key")
	}
	key, err := inspect.ParseKey(c.Where[len(c.Where)-1])
	if err != nil {
		return err
	}
	if client != nil {
		return dumpNode(env, client, key)
	}
	stored, _, err := inspectDir(env, c.Where[0])
	if err != nil {
		return err
	}
	defer stored.Close()
	object, found := stored.Find(key)
	if !found {
		return fmt.Errorf("%s: %w", key, storage.ErrNotFound)
	}
	m, err := stored.Meta(object)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(env.out, "%s%s %d\n%s\n", m.Host, m.Target, m.Status, m.Header); err != nil {
		return err
	}
	return stored.WriteBody(object, env.out)
}

type cacheFormatCommand struct {
	Device string `arg:"" help:"The block device, or a file of a fixed length." type:"existingfile"`
	Erase  bool   `help:"Also where there are data that weir did not write: they are lost."`
}

func (c *cacheFormatCommand) Run(env *environment) error {
	if err := disk.Format(c.Device, c.Erase); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.out, "%s is ready: name it as a device in disks\n", c.Device)
	return err
}
