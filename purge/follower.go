package purge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// FollowerOptions configures a Follower. Name, Source, Journal and Index are
// required.
type FollowerOptions struct {
	// Name is the node's name, as control expects it.
	Name    string
	Source  Source
	Journal *Journal
	Index   *Index
	// Keys are the sites' key policies, each in a form that changes with it: what
	// is stored of a site whose policy has changed since the last start counts as
	// purged if purges have been forgotten.
	Keys map[string]string
	// Announce tells control what this node has applied. A failure is no
	// error: the next heartbeat says it again. Nil for nobody to tell.
	Announce func(Announcement) error
	// Reset drops everything that the node has stored, and sees to it that no
	// fill which began before the call is stored after it. It is called when
	// the log is not the one whose versions stand in the stored objects'
	// stamps, more than once in a row. Nil for a node that stores nothing.
	Reset func() error
	// Snapshot asks control, any one, for a page of a snapshot, which Snapshots
	// answers. Nil: a node that the log does not reach back to distrusts what it has.
	Snapshot func(ctx context.Context, question []byte) (answer []byte, err error)
	// Pause waits before the log is asked again after a failure: for d, or until
	// there is reason to think that it can be reached again, or ctx ends. Default: for d.
	Pause func(ctx context.Context, d time.Duration)
	// Heartbeat is how often the log is asked for its end, and the node
	// announces itself. Default 1 s.
	Heartbeat time.Duration
	// LagMax is how long the index stays trusted without proof that
	// everything accepted by then has been applied. Default 30 s.
	LagMax time.Duration
	// Serve keeps the index trusted when LagMax has passed, and from the start
	// if the journal has a log: a node that is cut off goes on answering by the
	// purges that it knows. That gives up freshness for availability, and no
	// more than that: what the node itself has confirmed stays in force.
	Serve bool
	// Log receives what the follower did and what went wrong. Default: discard.
	Log *slog.Logger
}

func (o FollowerOptions) withDefaults() (FollowerOptions, error) {
	if o.Name == "" || o.Source == nil || o.Journal == nil || o.Index == nil {
		return o, errors.New("purge: FollowerOptions.Name, Source, Journal and Index are required")
	}
	if o.Announce == nil {
		o.Announce = func(Announcement) error { return nil }
	}
	if o.Reset == nil {
		o.Reset = func() error { return nil }
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	o.Heartbeat = cmp.Or(o.Heartbeat, time.Second)
	o.LagMax = cmp.Or(o.LagMax, 30*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.LagMax < 3*o.Heartbeat {
		return o, fmt.Errorf("purge: LagMax %s must be three heartbeats of %s or more", o.LagMax, o.Heartbeat)
	}
	return o, nil
}

// forever is later than any node runs.
var forever = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Limits of a follower's patience.
const (
	stateTimeout   = 3 * time.Second       // one question to the log
	followTimeout  = 5 * time.Second       // one opening of a feed
	stallMax       = 5 * time.Second       // the log has more and the feed brings nothing
	probesFailMax  = 3                     // failed questions in a row that end a session
	retryDelayMin  = 50 * time.Millisecond // before the first new session
	retryDelayMax  = 2 * time.Second       // before the later ones
	sessionGoodMin = 10 * time.Second      // a session this long starts the delays anew
)

// Reasons to end a session and begin another, which puts them right.
var (
	errLogChanged = errors.New("the log is not the one that was followed")
	errGap        = errors.New("the feed left versions out")
	errStalled    = errors.New("the feed brings nothing although the log has more")
)

// Follower keeps one node's Journal and Index at the end of the log. Its life
// is a row of sessions, each of which is:
//
//	probe      ask the log for its identity and its ends
//	reconcile  another log: drop everything; a log that begins too late: a snapshot, or distrust
//	follow     from the version after the last applied: journal, index, announce
//
// until anything goes wrong; then comes the next session, after a pause.
type Follower struct {
	FollowerOptions

	caughtUp     chan struct{}
	caughtUpOnce sync.Once

	// announcing keeps announcements in the order of what they say.
	announcing sync.Mutex

	// mu guards what follows. Nothing blocks under it.
	mu     sync.Mutex
	status Status
	target uint64 // the log's end when this follower started
	aimed  bool   // target is known
	// proof is a question to the log whose answer has not been matched yet:
	// once Last is applied, all that was accepted before Asked is.
	proof struct {
		asked time.Time
		last  uint64
		open  bool
	}
	// unwritten is why the last batch is not in the journal; nil when it is.
	unwritten error
	undurable []Record // for planted.AppliedBeforeDurable alone
	gapAfter  uint64   // the version after which the last session saw a gap
	gapSeen   bool

	// behindSince is when the log was first seen to begin too late; the session's.
	behindSince time.Time
}

// Status is what a Follower knows about its own lag; /healthz and metrics show
// it. Times are zero until there was one.
type Status struct {
	Epoch   string    // the log followed
	Applied uint64    // newest version in force
	Newest  uint64    // newest version known to exist
	Contact time.Time // when the log last answered
	// Current is a moment up to which every accepted purge has been applied.
	Current   time.Time
	CaughtUp  bool   // see CaughtUp
	Trusted   bool   // see Index.Trusted
	Unwritten string // why purges that were read are not in force: the journal fails; "" if it does not
	Error     string // why the last session ended; "" while one runs
	// Counters since the start.
	Records, Batches, Distrusts, Resets, Sessions, Snapshots uint64
}

// Lag is how long, at now, the node has not known that it has every accepted
// purge. It is negative when it never has.
func (s Status) Lag(now time.Time) time.Duration {
	if s.Current.IsZero() {
		return -1
	}
	return now.Sub(s.Current)
}

// NewFollower puts what the journal holds in force, before it returns; so a
// node that makes its Follower before it serves has every purge that it ever
// confirmed. The index is not trusted before the follower has caught up.
func NewFollower(o FollowerOptions) (_ *Follower, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	defer damageIsError(o.Name, &err)
	f := &Follower{FollowerOptions: o, caughtUp: make(chan struct{})}
	f.Index.trust(time.Time{})
	epoch, applied, err := f.Journal.State()
	if err != nil {
		return nil, err
	}
	swept, _, err := f.Journal.weight()
	if err != nil {
		return nil, err
	}
	f.Index.recall(swept)
	if err := f.replay(); err != nil {
		return nil, err
	}
	if got := f.Index.Applied(); got != applied {
		return nil, fmt.Errorf("purge journal says %d applied, its records end at %d", applied, got)
	}
	changed, err := f.Journal.rekey(f.Keys)
	if err != nil {
		return nil, err
	}
	f.Index.rekeyed(changed)
	f.Index.follow(epoch)
	f.status.Epoch, f.status.Newest = epoch, applied
	if f.Serve && epoch != "" {
		f.Index.trust(forever)
	}
	return f, nil
}

func (f *Follower) replay() error {
	const batchMax = 1024
	batch := make([]Record, 0, batchMax)
	for r, err := range f.Journal.Records() {
		if err != nil {
			return err
		}
		if batch = append(batch, r); len(batch) == batchMax {
			f.Index.Apply(batch)
			batch = batch[:0]
		}
	}
	f.Index.Apply(batch)
	return nil
}

// CaughtUp is closed when the node has first applied all that the log held
// when the follower reached it first.
func (f *Follower) CaughtUp() <-chan struct{} { return f.caughtUp }

// Status gives what the follower knows now.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	if f.unwritten != nil {
		s.Unwritten = f.unwritten.Error()
	}
	s.Applied, s.Trusted = f.Index.Applied(), f.Index.Trusted(time.Now())
	s.Newest = max(s.Newest, s.Applied)
	return s
}

// Healthy is nil while the node is caught up and its index trusted, and says
// what is the matter otherwise.
func (f *Follower) Healthy() error {
	switch s := f.Status(); {
	case s.Trusted:
		return nil
	case s.Unwritten != "":
		return fmt.Errorf("purge journal: %s", s.Unwritten)
	case s.Error != "":
		return fmt.Errorf("purge log: %s", s.Error)
	case !s.CaughtUp:
		return fmt.Errorf("purge log: catching up, %d of %d applied", s.Applied, s.Newest)
	default:
		return fmt.Errorf("purge log: nothing certain since %s", s.Current.UTC().Format(time.RFC3339))
	}
}

// Run follows the log until ctx ends, through every failure, and returns nil;
// an error only when it cannot go on because the journal was closed. When it
// has returned the index is no longer trusted. It is called once.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var pulse sync.WaitGroup
	pulse.Go(func() { f.pulse(ctx) })
	defer f.Index.trust(time.Time{})
	defer pulse.Wait()
	defer cancel()

	delay := retryDelayMin
	for {
		began := time.Now()
		err := f.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrJournalClosed):
			return err
		case time.Since(began) > sessionGoodMin:
			delay = retryDelayMin
		}
		f.failed(err)
		// Jitter, so that all nodes do not come back to control at once.
		if f.Pause(ctx, delay/2+rand.N(delay/2)); ctx.Err() != nil {
			return nil
		}
		delay = min(2*delay, retryDelayMax)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// failed logs the first of a row of failures as a warning, and the rest, which
// say the same every two seconds, for those who debug.
func (f *Follower) failed(err error) {
	f.mu.Lock()
	first := f.status.Error == ""
	f.status.Error = err.Error()
	f.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	f.Log.Log(context.Background(), level, "purge log lost", "node", f.Name, "error", err)
}

// pulse announces this node, and lets trust end, as time passes.
func (f *Follower) pulse(ctx context.Context) {
	tick := time.NewTicker(f.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.announce()
			f.weigh()
		case <-ctx.Done():
			return
		}
	}
}

// announce tells control how far this node is. The epoch is read before the
// version: when a Reset comes between the two, the version told belongs to no
// log yet and is 0, never one of the old log under the new one's name.
func (f *Follower) announce() {
	f.announcing.Lock()
	defer f.announcing.Unlock()
	f.mu.Lock()
	epoch := f.status.Epoch
	f.mu.Unlock()
	a := Announcement{Node: f.Name, Epoch: epoch, Applied: f.Index.Applied()}
	if err := f.Announce(a); err != nil {
		f.Log.Debug("purge announcement not sent", "node", f.Name, "error", err)
	}
}
