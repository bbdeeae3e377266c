package purge

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"weir/internal/planted"
)

// session follows the log until something goes wrong, and says what. It never
// returns nil.
func (f *Follower) session(ctx context.Context) error {
	state, asked, err := f.probe(ctx)
	if err != nil {
		return err
	}
	if err := f.reconcile(ctx, state); err != nil {
		return err
	}
	f.prove(state, asked)
	feed, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer feed.Close()
	f.began(state)

	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { cancel(f.watch(ctx)) })
	defer watch.Wait()
	defer cancel(nil)
	for {
		batch, err := feed.Next(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("read purge log: %w", err)
		}
		if err := f.take(batch); err != nil {
			return err
		}
	}
}

func (f *Follower) open(ctx context.Context) (Feed, error) {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	from := f.Index.Applied() + 1
	feed, err := f.Source.Follow(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("follow purge log from %d: %w", from, err)
	}
	return feed, nil
}

// probe asks the log for its state. asked is a moment before the answer was
// true.
func (f *Follower) probe(ctx context.Context) (state LogState, asked time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	asked = time.Now()
	state, err = f.Source.State(ctx)
	if err != nil {
		return state, asked, fmt.Errorf("ask purge log for its state: %w", err)
	}
	f.mu.Lock()
	f.status.Contact = time.Now()
	f.mu.Unlock()
	return state, asked, nil
}

// prove keeps what an answer of the log that is followed proves: once Last is
// applied, so is everything that was accepted before it was asked.
func (f *Follower) prove(state LogState, asked time.Time) {
	f.mu.Lock()
	if !f.aimed {
		f.target, f.aimed = state.Last, true
	}
	f.status.Newest = max(f.status.Newest, state.Last)
	// A proof that is still open is older, and so will be settled sooner:
	// under steady load the newest would never be.
	if !f.proof.open {
		f.proof.asked, f.proof.last, f.proof.open = asked, state.Last, true
	}
	f.mu.Unlock()
	f.weigh()
}

// reconcile makes journal and index fit the log that has answered.
func (f *Follower) reconcile(ctx context.Context, state LogState) error {
	applied := f.Index.Applied()
	if state.Epoch != f.epoch() || state.Last < applied {
		f.announce() // so that control hears of what the log has lost, if it has
		if err := f.reset(state); err != nil {
			return err
		}
		applied = 0
	}
	if state.First > applied+1 {
		return f.behind(ctx, state)
	}
	f.behindSince = time.Time{}
	return nil
}

func (f *Follower) epoch() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status.Epoch
}

// reset begins with a log whose versions have nothing to do with the stamps of
// what is stored, which therefore goes. It goes twice, because requests run
// meanwhile:
//
//  1. drop: nothing is left that the old log's purges would have to cover;
//  2. index: from here on fills are stamped with the new log's versions;
//  3. drop: what was filled between 1 and 2 has a stamp of the old log, which
//     could be above versions of the new log that are still to come.
//
// The journal is last: after a crash before it, all of this happens again.
func (f *Follower) reset(state LogState) error {
	level, what := slog.LevelWarn, "purge log is not the journal's, everything stored is dropped"
	if f.epoch() == "" {
		// The journal is new. The store may not be, so that the rest is done
		// all the same: its stamps could be of any log.
		level, what = slog.LevelDebug, "purge journal begun"
	}
	f.Log.Log(context.Background(), level, what, "node", f.Name,
		"old_epoch", f.epoch(), "new_epoch", state.Epoch, "applied", f.Index.Applied(), "last", state.Last)
	f.mu.Lock()
	f.Index.trust(time.Time{})
	f.status.Current, f.proof.open, f.aimed = time.Time{}, false, false
	f.mu.Unlock()
	if err := f.Reset(); err != nil {
		return fmt.Errorf("drop what was stored under the old purge log: %w", err)
	}
	f.Index.Reset(state.Epoch)
	if err := f.Reset(); err != nil {
		return fmt.Errorf("drop what was stored under the old purge log: %w", err)
	}
	if err := f.Journal.Reset(state.Epoch); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Epoch, f.status.Newest = state.Epoch, state.Last
	f.status.Resets++
	return nil
}

func (f *Follower) distrust(version uint64, why string) error {
	f.mu.Lock()
	f.status.Distrusts++
	f.mu.Unlock()
	return f.apply([]Record{Distrust(version, why)})
}

// began notes that a session has its feed.
func (f *Follower) began(state LogState) {
	f.mu.Lock()
	back := f.status.Error != ""
	f.status.Error = ""
	f.status.Sessions++
	f.mu.Unlock()
	if back {
		f.Log.Info("purge log followed again", "node", f.Name, "applied", f.Index.Applied(), "last", state.Last)
	}
	f.weigh()
	f.announce()
}

// take applies what a feed delivered, if nothing is missing in it. When
// something is, the next session asks for it again; if it is then missing
// still, the log does not have it, and all that it may have covered is
// distrusted.
func (f *Follower) take(batch []Record) error {
	applied := f.Index.Applied()
	next := applied + 1
	for i, r := range batch {
		switch {
		case r.Version < next:
			continue // delivered twice
		case r.Version == next:
			next++
			continue
		}
		if i > 0 {
			if err := f.apply(batch[:i]); err != nil {
				return err
			}
		}
		if !f.gapAgain(next - 1) {
			return fmt.Errorf("%w: %d to %d", errGap, next, r.Version-1)
		}
		if err := f.distrust(r.Version-1, "the log left versions out"); err != nil {
			return err
		}
		return f.take(batch[i:])
	}
	if next-1 == applied {
		return nil
	}
	return f.apply(batch)
}

// gapAgain says whether a gap after this version was seen before.
func (f *Follower) gapAgain(after uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := f.gapSeen && f.gapAfter == after
	f.gapSeen, f.gapAfter = !again, after
	return again
}

// apply is the one place where purges come into force: durable first, then in
// force, then told. A crash after the first repeats the second from the
// journal; a crash after the second only leaves control to wait.
func (f *Follower) apply(batch []Record) error {
	if planted.In(planted.AppliedBeforeDurable) {
		f.Index.Apply(batch)
		f.announce()
		batch, f.undurable = f.undurable, batch
	}
	if err := f.journal(batch); err != nil {
		return err
	}
	f.Index.Apply(batch)
	f.announce()
	f.mu.Lock()
	f.status.Newest = max(f.status.Newest, f.Index.Applied())
	f.status.Records += uint64(len(batch))
	f.status.Batches++
	f.mu.Unlock()
	f.weigh()
	return nil
}

// journal writes a batch down. A node that cannot, but has read what others
// may confirm, must not go on as if it had not: it is not trusted until a later
// attempt succeeds.
func (f *Follower) journal(batch []Record) error {
	err := f.Journal.Append(batch)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unwritten = err
	if err != nil {
		f.Index.trust(time.Time{})
	}
	return err
}

// weigh settles an open proof, notices that the node has caught up, and decides
// whether the index can be trusted.
func (f *Follower) weigh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	applied := f.Index.Applied()
	if f.proof.open && applied >= f.proof.last {
		f.status.Current, f.proof.open = f.proof.asked, false
	}
	if f.aimed && f.status.Sessions > 0 && applied >= f.target && !f.status.Current.IsZero() {
		f.status.CaughtUp = true
	}
	if f.status.CaughtUp && !f.status.Current.IsZero() && f.unwritten == nil {
		f.Index.trust(f.trustedUntil())
	}
	if f.status.CaughtUp { // told last, so that who waits for it finds the index trusted
		f.caughtUpOnce.Do(func() { close(f.caughtUp) })
	}
}

// trustedUntil is when trust ends if nothing more is heard of the log. mu is held.
func (f *Follower) trustedUntil() time.Time {
	if f.Serve {
		return forever
	}
	return f.status.Current.Add(f.LagMax)
}

// watch asks the log for its end, once a heartbeat, beside the feed: the
// answer proves how current the node is, and shows a feed that has died
// silently or a log that was replaced. It says why the session must end.
func (f *Follower) watch(ctx context.Context) error {
	tick := time.NewTicker(f.Heartbeat)
	defer tick.Stop()
	var stall stalled
	for failures := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		// Applied is read before the question: a log that answers with less
		// has lost what it once gave out.
		applied := f.Index.Applied()
		state, asked, err := f.probe(ctx)
		switch {
		case err != nil:
			if failures++; failures == probesFailMax {
				return err
			}
			continue
		case state.Epoch != f.epoch() || state.Last < applied:
			return errLogChanged
		}
		f.prove(state, asked)
		if stall.tooLong(state.Last, f.Index.Applied()) {
			return errStalled
		}
		failures = 0
	}
}

// stalled tells a feed that has died from one that is about to deliver: it
// counts from the first look at which the log had more, and again from each
// look at which something had come.
type stalled struct {
	since   time.Time // zero while the node is at the log's end
	applied uint64    // at that look
}

func (s *stalled) tooLong(last, applied uint64) bool {
	switch {
	case last <= applied:
		s.since = time.Time{}
	case s.since.IsZero() || applied != s.applied:
		s.since, s.applied = time.Now(), applied
	}
	return !s.since.IsZero() && time.Since(s.since) > stallMax
}
