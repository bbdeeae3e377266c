package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weir/origin/release"
	"weir/purge"
)

// Rollback makes a kept release current again: the one given, or with 0 the one
// that was current before the current was deployed. Its files are in the bucket,
// so it is a switch and a purge.
func Rollback(ctx context.Context, o Options, number uint64) error {
	d, err := open(o)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.rollback(ctx, number); err != nil {
		return fmt.Errorf("roll %s back: %w", o.Site, err)
	}
	return nil
}

func (d *deployer) rollback(ctx context.Context, number uint64) error {
	unsettled := d.settleBase(ctx)
	if unsettled != nil && !errors.Is(unsettled, purge.ErrMissing) {
		return unsettled
	}
	if d.base == nil {
		return errors.New("the site has no releases: weir deploy makes the first")
	}
	ref, err := d.choose(number)
	if err != nil {
		return err
	}
	if ref.Number == d.base.Current {
		return errors.Join(unsettled, d.say("release %d is current already: nothing is purged", ref.Number))
	}
	from, err := d.manifest(ctx, d.base.CurrentRef().Manifest)
	if err != nil {
		return err
	}
	to, err := d.manifest(ctx, ref.Manifest)
	if err != nil {
		return err
	}
	// To keep as many as there are: a rollback is no reason to forget.
	d.Keep = max(d.Keep, len(d.base.Releases))
	next, err := d.targetOf(ctx, from, &release.Manifest{Release: to.Release, Entries: own(to)}, *ref)
	if err != nil {
		return err
	}
	if err := d.tell(next); err != nil || d.DryRun {
		return err
	}
	return d.activate(ctx, next)
}

// choose gives the release to roll back to.
func (d *deployer) choose(number uint64) (*release.Ref, error) {
	current := d.base.CurrentRef()
	if number == 0 {
		if number = current.Previous; number == 0 {
			return nil, fmt.Errorf("release %d is the first: there is none before it (kept are %s)", current.Number, d.numbers())
		}
	}
	if ref := d.base.Ref(number); ref != nil {
		return ref, nil
	}
	return nil, fmt.Errorf("release %d: %w; kept are %s: choose one with --to", number, errNoRelease, d.numbers())
}

func (d *deployer) numbers() string {
	var all []string
	for _, r := range d.base.Releases {
		all = append(all, fmt.Sprint(r.Number))
	}
	return strings.Join(all, ", ")
}

// List prints the releases that are kept, the current one last; as JSON if asked.
func List(ctx context.Context, o Options, asJSON bool) error {
	d, err := open(o)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.read(ctx); err != nil {
		return fmt.Errorf("releases of %s: %w", o.Site, err)
	}
	if asJSON {
		return printJSON(d.Out, d.base)
	}
	if d.base == nil {
		return d.say("%s has no releases: its bucket is served as it is", o.Site)
	}
	return d.table()
}

func printJSON(w io.Writer, p *release.Pointer) error {
	if p == nil {
		p = &release.Pointer{Releases: []release.Ref{}}
	}
	return json.NewEncoder(w).Encode(p)
}

func (d *deployer) table() error {
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "release\tdeployed\tafter\tfiles\tbytes\t")
	for _, r := range d.base.Releases {
		mark, previous := printable(r.Note), "-"
		if r.Number == d.base.Current {
			mark = strings.TrimSpace("current " + mark)
		}
		if r.Previous != 0 {
			previous = fmt.Sprint(r.Previous)
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\n", r.Number, r.At.Format(time.DateTime), previous, r.Files, inUnits(r.Bytes), mark)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if d.base.Pending != nil {
		return d.say("the purge of release %d was not finished: the next weir deploy or rollback begins with it", d.base.Current)
	}
	return nil
}
