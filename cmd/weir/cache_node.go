package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weir/internal/inspect"
	"weir/storage"
)

// listNode lists piece by piece, so that a node with millions of objects is listed
// in no more memory than one with few.
func listNode(env *environment, client *inspect.Client, limit int, asJSON bool) error {
	table := tabwriter.NewWriter(env.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		_, _ = fmt.Fprintln(table, "key\ttiers\t"+columns)
	}
	for listed, after := 0, ""; ; {
		ask := 0
		if limit > 0 {
			ask = limit - listed
		}
		page, err := client.List(env.ctx, after, ask)
		if err != nil {
			return err
		}
		for _, o := range page.Objects {
			if asJSON {
				err = printLine(env.out, &o)
			} else {
				_, err = fmt.Fprintf(table, "%s\t%s\t%s\n", o.Key, strings.Join(o.Tiers, ","), columnsOf(&o))
			}
			if err != nil {
				return err
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		listed, after = listed+len(page.Objects), page.Next
		if after == "" || limit > 0 && listed >= limit {
			return nil
		}
	}
}

// ageOf prints an age; a part of an object has none by itself, nor has a list of variants.
func ageOf(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return time.Duration(*seconds * float64(time.Second)).Truncate(time.Second).String()
}

// printLine prints an object as a line of JSON.
func printLine(w io.Writer, o *inspect.Object) error {
	line := json.NewEncoder(w)
	line.SetEscapeHTML(false)
	return line.Encode(o)
}

// columns are the heads of columnsOf.
const columns = "site\tURL\tvariant\tstatus\tbytes\tstamp\tage"

// columnsOf is the part of an object's line that a directory and a node have in common.
func columnsOf(o *inspect.Object) string {
	return fmt.Sprintf("%s\t%s%s\t%q\t%d\t%d\t%d\t%s", o.Site, o.Host, o.Target, o.Variant, o.Status, o.Bytes, o.Stamp, ageOf(o.AgeSeconds))
}

func statNode(env *environment, client *inspect.Client) error {
	s, err := client.Stat(env.ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(env.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "tier\tobjects\tbytes\tbudget\tevictions\tcorrupt\t")
	for _, t := range s.Tiers {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t\n", t.Tier, t.Objects, t.Bytes, t.BudgetBytes, t.Evictions, t.Corrupt)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, d := range s.Disks {
		_, _ = fmt.Fprintf(env.out, "%s is %s, %d errors", d.Dir, d.State, d.Errors)
		if d.Device != "" {
			_, _ = fmt.Fprintf(env.out, ", on %s", d.Device)
		}
		if d.LastError != "" {
			_, _ = fmt.Fprintf(env.out, ": %s", d.LastError)
		}
		_, _ = fmt.Fprintln(env.out)
	}
	return nil
}

func verifyNode(env *environment, client *inspect.Client, rate int64) error {
	good, bad := 0, 0
	for after := ""; ; {
		v, err := client.Verify(env.ctx, after, rate)
		if err != nil {
			return err
		}
		good += v.Good
		bad += len(v.Bad)
		for _, b := range v.Bad {
			_, _ = fmt.Fprintf(env.out, "%s: %s\n", b.Key, b.Error)
		}
		if after = v.Next; after == "" {
			return verified(env, good, bad)
		}
	}
}

func dumpNode(env *environment, client *inspect.Client, key storage.Key) error {
	o, err := client.Object(env.ctx, key.String())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(env.out, "%s%s %d\n%s\n", o.Host, o.Target, o.Status, o.Header); err != nil {
		return err
	}
	return client.WriteBody(env.ctx, o, env.out)
}
