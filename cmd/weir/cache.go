package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"weir/storage"
	"weir/storage/disk"
)

// cacheCommand reads the disk tier of a node from outside, also while it runs.
type cacheCommand struct {
	LS     cacheLSCommand     `cmd:"" name:"ls" help:"List the objects of a cache directory, the newest first."`
	Stat   cacheStatCommand   `cmd:"" help:"Count regions, objects and bytes."`
	Verify cacheVerifyCommand `cmd:"" help:"Verify every checksum; exit status 1 if one fails."`
	Dump   cacheDumpCommand   `cmd:"" help:"Print an object: its header and its body."`
	Format cacheFormatCommand `cmd:"" help:"Make a block device or file ready for a node that has it as a device in disks."`
}

type cacheDir struct {
	Dir string `arg:"" help:"The cache directory: STATE/NODE/cache." type:"existingdir"`
}

type cacheLSCommand struct{ cacheDir }

func (c *cacheLSCommand) Run(env *environment) error {
	stored, _, err := disk.Inspect(c.Dir)
	if err != nil {
		return err
	}
	defer stored.Close()
	table := tabwriter.NewWriter(env.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "key\tsite\tURL\tvariant\tstatus\tbytes\tstamp\tage")
	for object := range stored.Objects() {
		m, err := stored.Meta(object)
		if err != nil {
			_, _ = fmt.Fprintf(table, "%s\t%v\n", object.Key, err)
			continue
		}
		age := m.Stored.InitialAge + time.Since(m.Stored.ResponseTime)
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s%s\t%q\t%d\t%d\t%d\t%s\n", object.Key, m.Site, m.Host, m.Target, m.Variant, m.Status,
			m.BodyBytes, m.Stamp, age.Truncate(time.Second))
	}
	return table.Flush()
}

type cacheStatCommand struct{ cacheDir }

func (c *cacheStatCommand) Run(env *environment) error {
	stored, regions, err := disk.Inspect(c.Dir)
	if err != nil {
		return err
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

type cacheVerifyCommand struct{ cacheDir }

func (c *cacheVerifyCommand) Run(env *environment) error {
	stored, _, err := disk.Inspect(c.Dir)
	if err != nil {
		return err
	}
	defer stored.Close()
	good, bad := 0, 0
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
	if bad > 0 {
		return fmt.Errorf("%d objects fail their checksum, %d are good", bad, good)
	}
	_, err = fmt.Fprintf(env.out, "%d objects are good\n", good)
	return err
}

type cacheDumpCommand struct {
	cacheDir
	Key string `arg:"" help:"The key, as weir cache ls prints it."`
}

func (c *cacheDumpCommand) Run(env *environment) error {
	b, err := hex.DecodeString(c.Key)
	if err != nil || len(b) != len(storage.Key{}) {
		return fmt.Errorf("%q is no key: 32 hexadecimal digits", c.Key)
	}
	stored, _, err := disk.Inspect(c.Dir)
	if err != nil {
		return err
	}
	defer stored.Close()
	object, found := stored.Find(storage.Key(b))
	if !found {
		return fmt.Errorf("%s: %w", c.Key, storage.ErrNotFound)
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
