package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/origin/release"
)

const (
	// unusedMin is how long a content that no release names stays: a deploy that
	// was stopped finds it when it is tried again.
	unusedMin = 24 * time.Hour
	// sweepLease is how long others wait for a sweep. Who sweeps stops at half of
	// it, so that clocks may differ by as much.
	sweepLease = 10 * time.Minute
	sweepPoll  = time.Second
)

// sweep removes the manifests that the base does not list, the contents that none
// of its manifests names, and the parts of uploads that nobody has gone on with.
// Nobody may rely on any of them meanwhile:
//   - who has read a pointer before this one cannot switch any more;
//   - who reads this one sees the lease, and waits until it has ended before he
//     looks what is in the bucket.
//
// A node may still go on with a release that is gone. When a content is missing,
// it looks for the newest (origin.Releases).
func (d *deployer) sweep(ctx context.Context) error {
	if d.base == nil || d.base.Pending != nil || d.leased() {
		return nil // Somebody else has come next, and sweeps after his own.
	}
	removals, err := d.unused(ctx)
	if err != nil || len(removals) == 0 {
		return err
	}
	lease := *d.base
	begun := d.now()
	lease.Sweep = &release.Sweep{By: rand.Text(), Until: begun.UTC().Add(sweepLease)}
	if err := d.write(ctx, &lease); err != nil {
		if errors.Is(err, ErrLost) {
			return nil
		}
		return fmt.Errorf("sweep: %w", err)
	}
	removed, err := d.removeAll(ctx, removals, begun.Add(sweepLease/2))
	ended := *d.base
	ended.Sweep = nil
	released := d.write(ctx, &ended)
	if errors.Is(released, ErrLost) {
		released = nil
	}
	if err := errors.Join(err, released); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return d.say("removed %d objects that no release names any more", removed)
}

// removeAll removes until a moment of the wall clock, which goes on while a
// machine sleeps; the next sweep goes on with the rest.
func (d *deployer) removeAll(ctx context.Context, removals []removal, until time.Time) (removed int64, err error) {
	var n atomic.Int64
	group, removing := errgroup.WithContext(ctx)
	group.SetLimit(d.Parallel)
	for _, r := range removals {
		if removing.Err() != nil {
			break
		}
		group.Go(func() error {
			if !d.now().Round(0).Before(until.Round(0)) {
				return nil
			}
			n.Add(1)
			return d.store.remove(removing, r)
		})
	}
	err = group.Wait()
	return n.Load(), err
}

// removal is an object, or with an upload's ID the parts of one that was begun.
type removal struct{ key, upload string }

// unused gives what may be removed: what is old enough, and named by nothing.
func (d *deployer) unused(ctx context.Context) ([]removal, error) {
	named, listed := map[release.Sum]bool{}, map[release.Sum]bool{}
	for _, r := range d.base.Releases {
		listed[r.Manifest] = true
	}
	limit := d.now().Add(-unusedMin)
	all, err := d.store.begun(ctx, limit)
	if err != nil {
		return nil, err
	}
	manifests, err := d.store.list(ctx, release.ManifestsDir)
	if err != nil {
		return nil, err
	}
	for sum, o := range manifests {
		if !listed[sum] && o.modified.Before(limit) {
			all = append(all, removal{key: release.ManifestKey(sum)})
		}
	}
	contents, err := d.store.list(ctx, release.ObjectsDir)
	if err != nil {
		return nil, err
	}
	for sum := range listed {
		m, err := d.manifest(ctx, sum)
		if err != nil {
			return nil, err
		}
		for i := range m.Entries {
			named[m.Entries[i].Sum] = true
		}
	}
	for sum, o := range contents {
		if !named[sum] && o.modified.Before(limit) {
			all = append(all, removal{key: release.ObjectKey(sum)})
		}
	}
	return all, nil
}

// leased says whether somebody else may be sweeping. A lease ends when it says, and
// when it has been waited for as long as a lease is: then its clock is another.
func (d *deployer) leased() bool {
	lease := d.base.Sweep
	if lease == nil || !d.now().Before(lease.Until) {
		return false
	}
	return d.waitsFor != lease.By || d.now().Sub(d.waitsSince) < sweepLease
}

// awaitSweep waits a little for a sweep that somebody is at.
func (d *deployer) awaitSweep(ctx context.Context) error {
	if lease := d.base.Sweep; d.waitsFor != lease.By {
		d.waitsFor, d.waitsSince = lease.By, d.now()
		if err := d.say("waiting for another's sweep, at most until %s", lease.Until.Local().Format(time.TimeOnly)); err != nil {
			return err
		}
	}
	select {
	case <-time.After(sweepPoll):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
