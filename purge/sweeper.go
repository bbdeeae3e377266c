package purge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// SweeperOptions configures a Sweeper. Index, Journal and Sweep are required.
type SweeperOptions struct {
	Index   *Index
	Journal *Journal
	// Sweep has everything that the node stores compared with the purges, deletes
	// what a hard one covers, and tells Index.Retain of what a soft one does; see
	// cache.Engine.Sweep. urgent says whether there are so many purges by now that
	// it should not take its time.
	Sweep func(ctx context.Context, urgent func() bool) (Swept, error)
	// TargetsMin is how many targets make it worth while to forget some. Default a
	// quarter of what the index may have.
	TargetsMin int
	// Pause is how long it waits at least from one sweep to the next. Default 1 min;
	// a tenth of that while there are twice as many targets, and ten times that
	// where there are few, or where the last sweep found next to nothing to forget.
	Pause time.Duration
	// Log receives what went wrong. Default: discard.
	Log *slog.Logger
}

// Swept is what a sweep came to.
type Swept struct {
	// Epoch is the log that the versions count in.
	Epoch string
	// Version is the version up to which purges can be forgotten: whatever is stored
	// and was not compared with it, nobody says it was.
	Version uint64
	// Noted is the highest version that the sweep may have noted of any object, even if
	// it ended with an error; Version or more.
	Noted uint64
}

func (o SweeperOptions) withDefaults() (SweeperOptions, error) {
	if o.Index == nil || o.Journal == nil || o.Sweep == nil {
		return o, errors.New("purge: SweeperOptions.Index, Journal and Sweep are required")
	}
	o.TargetsMin = cmp.Or(o.TargetsMin, max(1, o.Index.TargetsMax/4))
	o.Pause = cmp.Or(o.Pause, time.Minute)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o, nil
}

// Sweeper keeps a node's index and journal small, and frees the room of what has
// been purged: when there are many targets, and after a hard purge of all, a site, a
// host or a prefix.
type Sweeper struct {
	SweeperOptions
	broad uint64    // Index.broad at the last sweep
	ended time.Time // when that ended; zero for never
	vain  bool      // it found next to nothing to forget
	// epoch is the log of the last sweep, and noted the most that objects may know of
	// sweeps before the next. An object that a soft purge covers, and of which some
	// sweep noted so much, may be missed by the next: if that let the purge be
	// forgotten, the object had to be covered by the hard purge in its place, and so
	// only versions above noted can be forgotten.
	epoch  string
	noted  uint64
	sweeps atomic.Uint64
}

// NewSweeper makes one; Run runs it.
func NewSweeper(o SweeperOptions) (*Sweeper, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Sweeper{SweeperOptions: o}
	// What sweeps before this start noted is below what was in force then.
	s.epoch, s.noted = o.Index.Position()
	return s, nil
}

// Sweeps is how many sweeps have been completed.
func (s *Sweeper) Sweeps() uint64 { return s.sweeps.Load() }

// Run sweeps when it is worth while, until ctx ends; it then returns nil.
func (s *Sweeper) Run(ctx context.Context) error {
	const look = time.Second
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if !s.due(time.Now()) {
			continue
		}
		if err := s.Pass(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("sweep not completed", "error", err)
		}
	}
}

// targets is how many there are, in the index or in the journal.
func (s *Sweeper) targets() int {
	_, journaled, err := s.Journal.weight()
	if err != nil {
		return 0 // it is closed, or the follower will say so
	}
	return max(s.Index.Stats().Targets, int(journaled))
}

// due says whether it is time for a sweep.
func (s *Sweeper) due(now time.Time) bool {
	waited, targets := now.Sub(s.ended), s.targets()
	switch {
	case s.fills(targets):
		return waited >= s.Pause/10
	case targets >= s.TargetsMin && !s.vain:
		return waited >= s.Pause
	case targets >= s.TargetsMin || s.Index.broadest() > s.broad:
		return waited >= 10*s.Pause
	}
	return false
}

// broadest is the newest hard purge that may cover many objects; 0 for none.
func (x *Index) broadest() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.broad
}

// urgent says whether index or journal fill up, and a sweep is likely to help.
func (s *Sweeper) urgent() bool { return s.fills(s.targets()) }

func (s *Sweeper) fills(targets int) bool { return !s.vain && targets >= 2*s.TargetsMin }

// Pass sweeps once. If there are many targets, it then has the journal and the index
// forget what covers nothing any more, in this order: a kill in between leaves a
// journal that has more than the index needs.
func (s *Sweeper) Pass(ctx context.Context) error {
	defer func() { s.ended = time.Now() }()
	before, broad := s.targets(), s.Index.broadest()
	s.Index.beginSweep()
	swept, err := s.Sweep(ctx, s.urgent)
	noted := s.noted
	if swept.Epoch != s.epoch {
		s.epoch, s.noted, noted = swept.Epoch, 0, 0 // with the log went all that was stored
	}
	s.noted = max(s.noted, swept.Noted)
	if err != nil {
		return err
	}
	s.broad, s.vain = broad, false
	s.sweeps.Add(1)
	if before < s.TargetsMin || swept.Version <= noted {
		return nil
	}
	if err := s.Journal.forget(swept.Epoch, swept.Version); err != nil {
		return err
	}
	if err := s.Index.forget(swept.Epoch, swept.Version); err != nil {
		return err
	}
	if err := s.Journal.compact(ctx, s.Index.Stats().Swept, s.Index.needed); err != nil {
		return err
	}
	after := s.targets()
	s.vain = after > before-before/8
	s.Log.Debug("purges forgotten", "version", swept.Version, "targets", fmt.Sprintf("%d of %d left", after, before))
	return nil
}
