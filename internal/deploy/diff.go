package deploy

import (
	"context"
	"fmt"

	"weir/internal/purgecli"
	"weir/origin/release"
	"weir/purge"
)

// listedMax is how many paths are listed one by one.
const listedMax = 20

// diff is what a switch changes for clients. Each list is in order.
type diff struct {
	first   bool // there was no release before: anything may be stored
	added   []string
	changed []string
	removed []string
	// dropped are assets that are kept no longer. What caches have of them is
	// still right, so they are not purged.
	dropped []string
	// broken are assets whose content has changed under their fingerprint:
	// browsers that have the old one keep it.
	broken []string
}

// diffOf compares what is at each path.
func diffOf(from, to *release.Manifest) (d diff) {
	if from == nil {
		d.first = true
		from = &release.Manifest{}
	}
	a, b := from.Entries, to.Entries
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Key < b[0].Key:
			if a[0].Kind == release.KindAsset {
				d.dropped = append(d.dropped, a[0].Key)
			} else {
				d.removed = append(d.removed, a[0].Key)
			}
			a = a[1:]
		case len(a) == 0 || b[0].Key < a[0].Key:
			d.added = append(d.added, b[0].Key)
			b = b[1:]
		default:
			if !a[0].Same(&b[0]) {
				d.changed = append(d.changed, b[0].Key)
				if a[0].Kind == release.KindAsset && a[0].Sum != b[0].Sum {
					d.broken = append(d.broken, b[0].Key)
				}
			}
			a, b = a[1:], b[1:]
		}
	}
	return d
}

// request is the one purge that a switch asks for, or nil for none.
//
// It is by the tags of the paths (release.Tag), which reach what is stored of
// them under any URL and query. A path that is new is purged as well: that it was
// missing may be stored. If the not-found document changes, its tag reaches
// every 404 that shows it.
func (d *diff) request(site, key string) *purge.Request {
	r := &purge.Request{Site: site, Scope: purge.ScopeTag, Key: key}
	for _, list := range [][]string{d.added, d.changed, d.removed} {
		for _, path := range list {
			r.Targets = append(r.Targets, release.Tag(path))
		}
	}
	if d.first || len(r.Targets) > purge.TargetsMax {
		// Before there were releases, answers had no tags.
		r.Scope, r.Targets = purge.ScopeSite, nil
		return r
	}
	if len(r.Targets) == 0 {
		return nil
	}
	return r
}

// pendingRequest gives the purge that the base has pending.
func (d *deployer) pendingRequest(ctx context.Context) (*purge.Request, error) {
	p := d.base.Pending
	if p == nil {
		return nil, nil
	}
	to, err := d.manifest(ctx, p.To)
	if err != nil {
		return nil, err
	}
	var from *release.Manifest
	if p.From != nil {
		if from, err = d.manifest(ctx, *p.From); err != nil {
			return nil, err
		}
	}
	change := diffOf(from, to)
	return change.request(d.Site, p.Key), nil
}

// tell prints what a switch is about to change.
func (d *deployer) tell(t *target) error {
	c := &t.diff
	if c.first {
		if err := d.say("first release: %s; the whole site is purged, once", purgecli.Counted(len(c.added), "file")); err != nil {
			return err
		}
	} else {
		if err := d.say("release %d: %d added, %d changed, %d removed", t.pointer.Current, len(c.added), len(c.changed), len(c.removed)); err != nil {
			return err
		}
		if err := d.list(c); err != nil {
			return err
		}
	}
	for _, path := range lastBut(c.broken, listedMax) {
		if err := d.say("WARNING: %s is named like a fingerprint and has another content than before: "+
			"it is purged, but browsers that have it keep the old one for a year (--mutable %s)", "/"+path, "/"+path); err != nil {
			return err
		}
	}
	if n := len(c.broken) - listedMax; n > 0 {
		return d.say("WARNING: so have %d more", n)
	}
	return nil
}

func (d *deployer) list(c *diff) error {
	listed := 0
	for _, part := range []struct {
		sign  string
		paths []string
	}{{"+", c.added}, {"~", c.changed}, {"-", c.removed}} {
		for _, path := range part.paths {
			if listed++; listed > listedMax {
				continue
			}
			if err := d.say("  %s /%s", part.sign, printable(path)); err != nil {
				return err
			}
		}
	}
	if listed > listedMax {
		return d.say("  … and %d more", listed-listedMax)
	}
	return nil
}

// printable keeps a file's name from moving the terminal's cursor.
func printable(text string) string {
	if quoted := fmt.Sprintf("%q", text); len(quoted) != len(text)+2 {
		return quoted[1 : len(quoted)-1]
	}
	return text
}
