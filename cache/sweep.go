package cache

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"weir/storage"
)

// SweptStore is a tier of the engine's store as a sweep goes over it;
// memory.Store and disk.Store are.
type SweptStore interface {
	// Sweep has every object compared, and remembers for those that stay that
	// they were, as durably as the objects are kept themselves.
	Sweep(ctx context.Context, version uint64, compare storage.Compare) error
}

// sweepBurst is how many objects a sweep looks at before it minds its rate.
const sweepBurst = 64

// SweepOptions says how a sweep goes about it.
type SweepOptions struct {
	// Tiers are those of the engine's store, the lowest first: what is put into a
	// higher one meanwhile then comes with what is known of it.
	Tiers []SweptStore
	// Pace gives the most objects to look at in a second; it is asked again and
	// again. Nil: as many as there are.
	Pace func() (objectsPerSecond int)
	// FillHoldMax is how long a fill keeps purges from being forgotten that came
	// after it began. What lands later than that is fetched once more. Default 1 min.
	FillHoldMax time.Duration
	// Retain is told of each object that a soft purge covers: that purge must not
	// be forgotten as long as the object is there.
	Retain func(site, host, target string, tags []string, stamp uint64)
}

// SweepResult says what a sweep did.
type SweepResult struct {
	// Epoch is the log that the versions count in.
	Epoch string
	// Version is what the stores were swept with: no hard purge up to it covers
	// anything that they have, and nothing that is not known to have been compared
	// with it may be answered from. Soft purges up to it that cover anything there
	// have been told to Retain.
	Version uint64
	// Noted is the version that was noted of objects, above or at Version; of some
	// even if the sweep was not completed.
	Noted uint64
	// Compared is how many objects were looked at; Deleted are those of them that a
	// hard purge covered.
	Compared, Deleted int
}

// sweeping keeps sweeps apart from each other, and from Reset: what a sweep notes
// counts in a log, and must not be noted of objects of another one.
type sweeping struct {
	running sync.Mutex // held by a sweep, or by a Reset
	mu      sync.Mutex // guards cancel
	cancel  context.CancelFunc
}

// begin makes ctx one that stop ends.
func (s *sweeping) begin(ctx context.Context) (context.Context, func()) {
	s.running.Lock()
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	return ctx, func() {
		cancel()
		s.running.Unlock()
	}
}

// stop ends the sweep that runs, and lets none begin until it is released.
func (s *sweeping) stop() (release func()) {
	s.mu.Lock()
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	s.running.Lock()
	return s.running.Unlock
}

// Sweep compares everything stored with the purges, and deletes what a hard one
// covers. It takes its time: requests go on, and the store's locks are not held
// while it compares. One sweep runs at a time.
//
// A version is noted of all objects at once only if it is below the newest in
// force, so that what was noted never says of an object that no soft purge covers
// it; see storage.Object.Checked.
func (e *Engine) Sweep(ctx context.Context, o SweepOptions) (SweepResult, error) {
	ctx, end := e.sweeping.begin(ctx)
	defer end()
	epoch, applied := e.Purges.Position()
	if applied == 0 {
		return SweepResult{Epoch: epoch}, nil
	}
	p := &sweepPass{e: e, o: o, ctx: ctx, version: applied - 1, result: SweepResult{Epoch: epoch, Noted: applied - 1}}
	if o.Pace != nil {
		p.pace = rate.NewLimiter(0, sweepBurst)
	}
	for _, tier := range o.Tiers {
		if err := tier.Sweep(ctx, p.version, p.compare); err != nil {
			return p.result, fmt.Errorf("sweep: %w", err)
		}
	}
	p.result.Version = min(p.version, e.oldestStamp(time.Now().Add(-cmp.Or(o.FillHoldMax, time.Minute))))
	return p.result, nil
}

// oldestStamp is the lowest stamp of the fills that began after a moment.
func (e *Engine) oldestStamp(since time.Time) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	oldest := ^uint64(0)
	for f := range e.storing {
		if f.began.After(since) {
			oldest = min(oldest, f.stamp)
		}
	}
	return oldest
}

// sweepPass is one sweep.
type sweepPass struct {
	e    *Engine
	o    SweepOptions
	ctx  context.Context
	pace *rate.Limiter // nil: none
	// version is what is noted of objects: one below the newest in force at the
	// start.
	version uint64
	result  SweepResult
}

// compare is a storage.Compare.
func (p *sweepPass) compare(k storage.Key, m *storage.Meta, known uint64) (uint64, error) {
	if p.pace != nil && p.result.Compared%sweepBurst == 0 {
		p.pace.SetLimit(rate.Limit(p.o.Pace()))
		if err := p.pace.WaitN(p.ctx, sweepBurst); err != nil {
			return 0, err
		}
	}
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	applied := p.e.Purges.Applied()
	p.result.Compared++
	if m.Status == 0 {
		// A list of variants, or of what queries are reduced by: it answers nothing
		// itself, and what it leads to is compared by itself.
		return applied, nil
	}
	hard, soft := p.e.Purges.Covering(m.Site, m.Host, m.Target, m.Tags)
	switch {
	case hard > known:
		p.result.Deleted++
		return 0, p.e.Store.Delete(k)
	case soft > m.Stamp && !within(m):
		p.o.Retain(m.Site, m.Host, m.Target, m.Tags, m.Stamp)
		return p.version, nil
	}
	return applied, nil
}

// within says whether an object is only found through another, which is judged
// for it: a block of a partial object, or what was derived from an object.
func within(m *storage.Meta) bool {
	return m.Status == http.StatusPartialContent && len(m.Header) == 0 || strings.Contains(m.Variant, variantSeparator)
}
