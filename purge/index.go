package purge

import (
	"cmp"
	"context"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache/rfc9111"
)

// IndexOptions sets the limits of an Index. The zero value gives the defaults.
type IndexOptions struct {
	// TargetsMax is how many distinct targets are remembered one by one. A
	// Sweeper keeps them below it; where it does not keep up, the site with the
	// most is folded into one purge of all.
	// Default 1,000,000, which is about 50 MB.
	TargetsMax int
	// PrefixLengthsMax bounds, for each site, the different lengths that
	// prefixes may have: a look-up probes once for each. Beyond it, a prefix
	// is cut to the next shorter length there is. Default 256.
	PrefixLengthsMax int
	// Key gives a site's key policy, or nil: what is purged by URL or prefix
	// is what is stored for it under that policy. Default: none has one.
	Key func(site string) *rfc9111.KeyPolicy
}

func (o IndexOptions) withDefaults() IndexOptions {
	o.TargetsMax = cmp.Or(o.TargetsMax, 1_000_000)
	o.PrefixLengthsMax = cmp.Or(o.PrefixLengthsMax, 256)
	if o.Key == nil {
		o.Key = func(string) *rfc9111.KeyPolicy { return nil }
	}
	return o
}

// Index is what has been purged, in memory, on one node. Only Apply, Distrust
// and Reset, called by one goroutine, the Follower's, put something into it; a
// Sweeper takes out what covers nothing any more (index_sweep.go). Everything else
// may be called from many.
type Index struct {
	IndexOptions
	seed maphash.Seed

	// applied is stored after the maps have been updated, so that whoever
	// loads v from it and then asks Covering sees the effects of v.
	applied atomic.Uint64
	// epoch is the identity of the log that applied counts in.
	epoch atomic.Pointer[string]
	// trustedUntil is when trust ends unless it is renewed, in nanoseconds
	// since born; a look-up compares it with its own moment, so that a node
	// that stood still does not trust what it knew before.
	trustedUntil atomic.Int64
	born         time.Time

	// mu guards what follows. It is held for one batch at a time, so that a
	// purge of 10,000 targets is in force whole or not at all.
	mu      sync.RWMutex
	sites   map[string]*siteIndex
	floor   versions // the newest purges of every site
	swept   uint64   // see forget
	broad   uint64   // the newest hard purge that may cover many objects
	targets int      // entries of all sites together
	folds   uint64
	// changed is closed, and replaced, when applied changes.
	changed chan struct{}
}

// NewIndex makes an empty index that is trusted; a Follower distrusts it until
// it has caught up with the log.
func NewIndex(o IndexOptions) *Index {
	x := &Index{
		IndexOptions: o.withDefaults(),
		seed:         maphash.MakeSeed(),
		sites:        make(map[string]*siteIndex),
		changed:      make(chan struct{}),
		born:         time.Now(),
	}
	x.follow("")
	x.trustedUntil.Store(math.MaxInt64)
	return x
}

// Applied is the newest version in force: one atomic load. Whoever sees v sees
// the effects of every purge up to v.
func (x *Index) Applied() uint64 { return x.applied.Load() }

// Trusted says whether this node knows the log well enough at now to answer
// from its store: it has caught up since it started, and was in touch with the
// log within FollowerOptions.LagMax (promise P4).
func (x *Index) Trusted(now time.Time) bool {
	return int64(now.Sub(x.born)) < x.trustedUntil.Load()
}

// trust renews or, with the zero time, ends it.
func (x *Index) trust(until time.Time) {
	if until.IsZero() {
		x.trustedUntil.Store(0)
		return
	}
	x.trustedUntil.Store(int64(until.Sub(x.born)))
}

// Position is the log that this node follows and the newest version in force.
// While the node goes over to another log, the version may be lower than the
// log's, never higher.
func (x *Index) Position() (epoch string, applied uint64) {
	for {
		before := x.epoch.Load()
		applied = x.applied.Load()
		if after := x.epoch.Load(); after == before {
			return *before, applied
		}
	}
}

// follow sets the identity of the log. applied must count in it, or be 0.
func (x *Index) follow(epoch string) { x.epoch.Store(&epoch) }

// Covering gives the newest hard and the newest soft purge whose scope covers
// an object; 0 where there is none. host is canonical, target is the normalised
// path with its query, as in cache keys. Its cost depends on the number of
// tags and of distinct prefix lengths, and not on the number of purges.
func (x *Index) Covering(site, host, target string, tags []string) (hard, soft uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	v := x.floor
	if s := x.sites[site]; s != nil {
		s.covering(x.seed, host, target, tags, &v)
	}
	return v.hard, v.soft
}

// NewestTag is the newest purge of any tag in a site; 0 when there is none.
// What a response that has not arrived will be tagged with is unknown, so that
// any of them may cover it.
func (x *Index) NewestTag(site string) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if s := x.sites[site]; s != nil {
		return s.newestTag
	}
	return 0
}

// WaitApplied returns nil as soon as Applied is v or more, and ctx's error when
// ctx ends first.
func (x *Index) WaitApplied(ctx context.Context, v uint64) error {
	return x.wait(ctx, func() bool { return x.Applied() >= v })
}

// WaitPosition returns nil as soon as the node follows the log that epoch names
// and has v or more in force, and ctx's error when ctx ends first.
func (x *Index) WaitPosition(ctx context.Context, epoch string, v uint64) error {
	return x.wait(ctx, func() bool {
		e, applied := x.Position()
		return e == epoch && applied >= v
	})
}

func (x *Index) wait(ctx context.Context, reached func() bool) error {
	for {
		x.mu.RLock()
		changed := x.changed
		x.mu.RUnlock()
		if reached() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Apply puts records in force, in the order of their versions and all at once.
// Records that have been applied before change nothing.
func (x *Index) Apply(records []Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	last := x.applied.Load()
	for i := range records {
		if r := &records[i]; r.Version > last {
			x.apply(r)
			last = r.Version
		}
	}
	for x.targets > x.TargetsMax {
		x.foldLargest(last)
	}
	x.advance(last)
}

func (x *Index) apply(r *Record) {
	if r.Mode == ModeHard && r.Scope.isBroad() {
		x.broad = r.Version
	}
	if r.Scope == ScopeAll && r.Site == "" {
		x.floor.raise(at(r.Mode, r.Version))
		return
	}
	s := x.site(r.Site)
	before := s.size()
	s.apply(x.seed, r, x.PrefixLengthsMax)
	x.targets += s.size() - before
}

// site gives a site's part, and makes it if there is none. mu is held.
func (x *Index) site(name string) *siteIndex {
	s := x.sites[name]
	if s == nil {
		s = &siteIndex{entries: make(map[uint64]versions), key: x.Key(name)}
		x.sites[name] = s
	}
	return s
}

// Distrust puts a hard purge at version over every site, for a node that cannot
// know what the log said up to there.
func (x *Index) Distrust(version uint64) {
	x.Apply([]Record{{Version: version, Scope: ScopeAll}})
}

// foldLargest makes one hard purge of all, at the version that is about to be
// in force, of the site with the most targets. It covers everything that they
// covered, and more: objects that were fresh are fetched once again, and none
// that was purged comes back.
func (x *Index) foldLargest(version uint64) {
	var largest *siteIndex
	for _, s := range x.sites {
		if largest == nil || s.size() > largest.size() {
			largest = s
		}
	}
	x.targets -= largest.size()
	x.folds++
	largest.fold(version)
}

// Reset forgets everything, for a node whose log was replaced by the one that
// epoch names. What was stored under the old log has to be dropped around it;
// see Follower.
func (x *Index) Reset(epoch string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.sites)
	x.floor, x.swept, x.broad, x.targets = versions{}, 0, 0, 0
	x.advance(0)
	x.follow(epoch) // after advance, see Position
	x.signal()
}

// advance makes v visible and wakes who waits. mu is held.
func (x *Index) advance(v uint64) {
	if x.applied.Load() == v {
		return
	}
	x.applied.Store(v)
	x.signal()
}

// signal wakes who waits for another position. mu is held.
func (x *Index) signal() {
	close(x.changed)
	x.changed = make(chan struct{})
}

// IndexStats is what an Index holds at one moment.
type IndexStats struct {
	Applied uint64 // newest version in force
	Trusted bool   // see Index.Trusted
	Sites   int    // sites with any purge
	Targets int    // targets remembered one by one
	Folds   uint64 // sites folded into one purge of all, since the start
	// Swept is the version up to which targets have left because nothing is stored
	// that they cover.
	Swept uint64
}

// Stats counts what the index holds now.
func (x *Index) Stats() IndexStats {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return IndexStats{x.Applied(), x.Trusted(time.Now()), len(x.sites), x.targets, x.folds, x.swept}
}
