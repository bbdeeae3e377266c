package purge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache/rfc9111"
	"weir/purge"
	"weir/purge/memlog"
)

// sweptObject is an object as a store has it.
type sweptObject struct {
	site, host, target string
	tags               []string
	stamp, checked     uint64
	// durable is what is left of checked after a restart.
	durable uint64
	// missed says that a sweep has not looked at it since it was last compared.
	missed bool
}

// sweptNode is a node with an index, a journal, objects, and all that was ever
// purged, which nothing can be hidden from.
type sweptNode struct {
	draw
	n       *node
	sweeper *purge.Sweeper
	cancel  context.CancelFunc // ends the sweep that runs
	all     naive
	objects []*sweptObject
	fills   []*sweptObject // begun, not stored yet
	stats   struct{ forgotten, survived, soft int }
}

func newSweptNode(t *testing.T, seed uint64) *sweptNode {
	w := &sweptNode{draw: draw{rand.New(rand.NewPCG(seed, 7))}}
	w.n = newNode(t, "n", memlog.New("e"), nil)
	w.n.open()
	if err := w.n.journal.Reset("e"); err != nil {
		t.Fatal(err)
	}
	w.n.index.Reset("e")
	w.newSweeper()
	return w
}

// restart leaves nothing but the journal and what the objects say durably.
func (w *sweptNode) restart() {
	if err := w.n.journal.Close(); err != nil {
		w.n.t.Fatal(err)
	}
	w.n.open()
	w.newSweeper()
	w.fills = nil
	for _, o := range w.objects {
		o.checked = max(o.stamp, o.durable)
		o.missed = o.missed || o.checked < w.n.index.Stats().Swept
	}
}

func (w *sweptNode) purge() {
	var batch []purge.Record
	for range 1 + w.IntN(3) {
		batch = append(batch, w.record(uint64(len(w.all)+1)))
		w.all = append(w.all, batch[len(batch)-1])
	}
	if err := w.n.journal.Append(batch); err != nil {
		w.n.t.Fatal(err)
	}
	w.n.index.Apply(batch)
}

// begin begins a fill; what comes of it may be older by a shield's stamp.
func (w *sweptNode) begin() {
	applied := w.n.index.Applied()
	stamp := applied - min(applied, w.Uint64N(8)/7*w.Uint64N(20))
	w.fills = append(w.fills, &sweptObject{site: w.site(), host: w.host(), target: w.target(), tags: w.tags(), stamp: stamp, checked: stamp})
}

func (w *sweptNode) land() {
	if len(w.fills) > 0 {
		i := w.IntN(len(w.fills))
		o := w.fills[i]
		w.fills = append(w.fills[:i], w.fills[i+1:]...)
		o.missed = o.stamp < w.n.index.Stats().Swept
		w.objects = append(w.objects, o)
	}
}

// covered is the rule of cache.Engine.
func (w *sweptNode) covered(o *sweptObject) (hard, soft bool) {
	applied := w.n.index.Applied()
	if applied <= o.checked {
		return false, false
	}
	h, s := w.n.index.Covering(o.site, o.host, o.target, o.tags)
	switch {
	case h > o.checked:
		return true, false
	case s > o.stamp:
		return false, true
	}
	o.checked = applied
	return false, false
}

// look compares an object with what the list says of it.
func (w *sweptNode) look(i int) {
	o := w.objects[i]
	hard, soft := w.covered(o)
	h, s := w.all.covering(o.site, o.host, o.target, o.tags)
	switch {
	case h > o.stamp && !hard:
		w.n.t.Fatalf("%+v is answered from: purge %d covers it, checked %d, swept %d", *o, h, o.checked, w.n.index.Stats().Swept)
	case s > o.stamp && !soft && !hard:
		w.n.t.Fatalf("%+v is fresh: soft purge %d covers it", *o, s)
	case hard && h <= o.stamp && !o.missed:
		w.n.t.Fatalf("%+v is purged: nothing covers it; swept %d", *o, w.n.index.Stats().Swept)
	}
	if hard {
		w.objects = append(w.objects[:i], w.objects[i+1:]...)
	}
	if soft {
		w.stats.soft++
	}
	if o.stamp < w.n.index.Stats().Swept && !hard {
		w.stats.survived++
	}
}

// newSweeper makes the sweeper of this start; its sweeps miss some objects, and may
// be cut short.
func (w *sweptNode) newSweeper() {
	index := w.n.index
	s, err := purge.NewSweeper(purge.SweeperOptions{
		Index: index, Journal: w.n.journal, TargetsMin: 1,
		Sweep: func(context.Context, func() bool) (purge.Swept, error) {
			version := max(index.Applied(), 1) - 1
			if w.IntN(10) == 0 {
				w.compare(index, version, 2)
				return purge.Swept{Epoch: "e", Noted: version}, errors.New("a disk that cannot be read")
			}
			if w.IntN(4) == 0 {
				w.cancel() // a kill before the journal is compacted
			}
			w.compare(index, version, 12)
			return purge.Swept{Epoch: "e", Version: version - min(version, w.Uint64N(3)), Noted: version}, nil
		},
	})
	if err != nil {
		w.n.t.Fatal(err)
	}
	w.sweeper = s
}

func (w *sweptNode) sweep() {
	ctx, cancel := context.WithCancel(w.n.t.Context())
	defer cancel()
	w.cancel = cancel
	before := w.n.index.Stats()
	_ = w.sweeper.Pass(ctx)
	if after := w.n.index.Stats(); after.Targets < before.Targets {
		w.stats.forgotten += before.Targets - after.Targets
	}
}

func (w *sweptNode) compare(index *purge.Index, version uint64, misses int) {
	var kept []*sweptObject
	for _, o := range w.objects {
		if w.IntN(misses) == 0 {
			o.missed = true
			kept = append(kept, o)
			continue
		}
		h, s := index.Covering(o.site, o.host, o.target, o.tags)
		if h > o.checked {
			continue
		}
		if o.missed = false; s > o.stamp {
			index.Retain(o.site, o.host, o.target, o.tags, o.stamp)
			o.checked = max(o.checked, version)
		} else {
			o.checked = index.Applied()
		}
		o.durable = max(o.durable, version)
		kept = append(kept, o)
		if w.IntN(30) == 0 {
			w.purge() // a sweep takes its time
		}
	}
	w.objects = kept
}

// Whatever is purged, stored, swept, forgotten, missed and restarted: nothing is
// answered from what a purge has covered, and what a sweep has compared is not lost.
func TestSweptIndexAgainstANaiveList(t *testing.T) {
	var forgotten, survived, soft int
	for seed := range uint64(12) {
		w := newSweptNode(t, seed)
		for range 1500 {
			switch n := w.IntN(60); {
			case n < 4:
				w.purge()
			case n < 14:
				w.begin()
			case n < 24:
				w.land()
			case n < 58 && len(w.objects) > 0:
				w.look(w.IntN(len(w.objects)))
			case n == 58:
				w.sweep()
			case w.IntN(4) == 0:
				w.restart()
			}
		}
		for i := len(w.objects) - 1; i >= 0; i-- {
			w.look(i)
		}
		if err := w.n.journal.Close(); err != nil {
			t.Fatal(err)
		}
		forgotten, survived, soft = forgotten+w.stats.forgotten, survived+w.stats.survived, soft+w.stats.soft
	}
	if forgotten < 100 || survived < 500 || soft < 500 {
		t.Errorf("%d targets forgotten, %d looks at what survived that, %d at what was soft", forgotten, survived, soft)
	}
}

// Sweeping keeps index and journal within their bounds, whatever is purged, while
// objects come and go: no site is ever folded.
func TestSweepingBoundsTheIndex(t *testing.T) {
	targets := 3_000_000
	if testing.Short() || raceEnabled {
		targets = 200_000
	}
	const targetsMax, stored, batch = 50_000, 2_000, 1_000
	n := newNode(t, "n", memlog.New("e"), nil)
	n.index = purge.NewIndex(purge.IndexOptions{TargetsMax: targetsMax})
	var err error
	if n.journal, err = purge.OpenJournal(n.path, purge.JournalOptions{TargetsMax: targetsMax}); err != nil {
		t.Fatal(err)
	}
	defer n.journal.Close()
	if err := n.journal.Reset("e"); err != nil {
		t.Fatal(err)
	}
	n.index.Reset("e")
	w := &sweptNode{draw: draw{rand.New(rand.NewPCG(1, 2))}, n: n}
	s, err := purge.NewSweeper(purge.SweeperOptions{Index: n.index, Journal: n.journal, Sweep: func(context.Context, func() bool) (purge.Swept, error) {
		version := n.index.Applied() - 1
		w.objects = w.churned(stored)
		return purge.Swept{Epoch: "e", Version: version, Noted: version}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for at := 0; at < targets; at += batch {
		r := rec(uint64(at/batch+1), purge.ScopeURL, purge.Mode(at/batch%4/3), nil...)
		for i := range batch {
			r.Targets = append(r.Targets, fmt.Sprintf("/%d", at+i))
		}
		if err := n.journal.Append([]purge.Record{r}); err != nil {
			t.Fatal(err)
		}
		n.index.Apply([]purge.Record{r})
		if most = max(most, n.index.Stats().Targets); n.index.Stats().Targets >= targetsMax/4 {
			if err := s.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	in, folded := n.index.Stats(), 0
	for _, r := range journaled(t, n.journal) {
		if r.Scope == purge.ScopeSite {
			folded++
		}
	}
	if in.Folds > 0 || folded > 0 || most > targetsMax/3 || in.Targets > targetsMax/3 {
		t.Errorf("%+v, %d sites folded in the journal, %d targets at most", in, folded, most)
	}
	t.Logf("%d distinct targets purged: at most %d in the index", targets, most)
}

// churned replaces a tenth of the objects, and compares the rest as an engine does.
func (w *sweptNode) churned(stored int) (kept []*sweptObject) {
	for i, o := range w.objects {
		h, s := w.n.index.Covering(o.site, o.host, o.target, nil)
		if i%10 == 0 || h > o.checked {
			continue
		}
		if s > o.stamp {
			w.n.index.Retain(o.site, o.host, o.target, nil, o.stamp)
		}
		kept = append(kept, o)
	}
	for applied := w.n.index.Applied(); len(kept) < stored; {
		kept = append(kept, &sweptObject{site: "docs", host: "h", target: fmt.Sprintf("/%d", w.IntN(10_000_000)), stamp: applied, checked: applied})
	}
	return kept
}

// A Sweeper sweeps when it is worth while: soon after a hard purge that may have
// covered much, and when there are many targets; never for nothing.
func TestSweeperSweepsWhenItIsWorthWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "n", memlog.New("e"), nil)
		n.open()
		defer n.journal.Close()
		if err := n.journal.Reset("e"); err != nil {
			t.Fatal(err)
		}
		n.index.Reset("e")
		var failing, urgent atomic.Bool
		s, err := purge.NewSweeper(purge.SweeperOptions{
			Index: n.index, Journal: n.journal, TargetsMin: 100, Pause: time.Minute,
			Sweep: func(_ context.Context, now func() bool) (purge.Swept, error) {
				urgent.Store(now())
				if failing.Load() {
					return purge.Swept{}, errors.New("a disk that cannot be read")
				}
				version := n.index.Applied() - 1
				return purge.Swept{Epoch: "e", Version: version, Noted: version}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		version, sweeps := uint64(0), uint64(0)
		apply := func(r purge.Record) {
			t.Helper()
			version++
			r.Version = version
			if err := n.journal.Append([]purge.Record{r}); err != nil {
				t.Fatal(err)
			}
			n.index.Apply([]purge.Record{r})
		}
		want := func(what string, more uint64, targets int) {
			t.Helper()
			if sweeps += more; s.Sweeps() != sweeps || n.index.Stats().Targets != targets {
				t.Errorf("%s: %d sweeps, want %d; %d targets, want %d", what, s.Sweeps(), sweeps, n.index.Stats().Targets, targets)
			}
			sweeps = s.Sweeps()
		}
		many := rec(0, purge.ScopeURL, purge.ModeHard)
		for i := range 150 {
			many.Targets = append(many.Targets, fmt.Sprintf("/%d", i))
		}
		sleep(time.Hour)
		want("nothing was purged", 0, 0)
		apply(rec(0, purge.ScopeURL, purge.ModeHard, "/one"))
		sleep(time.Hour)
		want("one URL was purged", 0, 1)
		apply(rec(0, purge.ScopePrefix, purge.ModeHard, "/p/"))
		sleep(2 * time.Second)
		want("a prefix was purged", 1, 2)
		sleep(time.Hour)
		want("and nothing since", 0, 2)
		apply(rec(0, purge.ScopeSite, purge.ModeSoft))
		sleep(time.Hour)
		want("a soft purge frees nothing", 0, 2)
		apply(rec(0, purge.ScopeSite, purge.ModeHard))
		sleep(2 * time.Second)
		want("a site was purged", 1, 2)
		apply(rec(0, purge.ScopeSite, purge.ModeHard))
		sleep(9 * time.Minute)
		want("once more", 0, 2)
		sleep(2 * time.Minute)
		want("once more, ten minutes ago", 1, 2)
		apply(many)
		apply(rec(0, purge.ScopeURL, purge.ModeHard, "/two"))
		sleep(2 * time.Second)
		want("there are many targets", 1, 1)
		apply(many)
		apply(rec(0, purge.ScopeURL, purge.ModeHard, "/three"))
		sleep(30 * time.Second)
		want("it was a moment ago", 0, 152)
		many.Targets = append(many.Targets, "/u/1")
		for i := range 150 {
			many.Targets = append(many.Targets, fmt.Sprintf("/u/%d", i))
		}
		apply(many)
		apply(rec(0, purge.ScopeURL, purge.ModeHard, "/four"))
		sleep(2 * time.Second)
		if want("there are very many", 1, 1); !urgent.Load() {
			t.Error("it took its time")
		}
		failing.Store(true)
		apply(rec(0, purge.ScopePrefix, purge.ModeHard, "/q/"))
		sleep(time.Hour)
		want("it cannot", 0, 2)
		failing.Store(false)
		sleep(time.Hour)
		want("it can again", 1, 2)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A soft purge of a tag, that covers what has more tags than are kept, stays in the
// journal although nothing that is stored has the tag itself.
func TestSweepKeepsSoftPurgesOfOtherTags(t *testing.T) {
	n := newNode(t, "n", memlog.New("e"), nil)
	var err error
	if n.journal, err = purge.OpenJournal(n.path, purge.JournalOptions{}); err != nil {
		t.Fatal(err)
	}
	defer n.journal.Close()
	if err := n.journal.Reset("e"); err != nil {
		t.Fatal(err)
	}
	n.index = purge.NewIndex(purge.IndexOptions{})
	n.index.Reset("e")
	s, err := purge.NewSweeper(purge.SweeperOptions{Index: n.index, Journal: n.journal, TargetsMin: 1, Sweep: func(context.Context, func() bool) (purge.Swept, error) {
		n.index.Retain("docs", "h", "/page", []string{rfc9111.OtherTags}, 0)
		return purge.Swept{Epoch: "e", Version: 3, Noted: 3}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	records := []purge.Record{
		rec(1, purge.ScopeTag, purge.ModeSoft, "red"), rec(2, purge.ScopeTag, purge.ModeSoft, "blue"), rec(3, purge.ScopeURL, purge.ModeSoft, "/else"),
		rec(4, purge.ScopeURL, purge.ModeSoft, "/newer than what is forgotten"),
	}
	if err := n.journal.Append(records); err != nil {
		t.Fatal(err)
	}
	n.index.Apply(records)
	if err := s.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := purge.NewIndex(purge.IndexOptions{})
	var left []uint64
	for _, r := range journaled(t, n.journal) {
		left = append(left, r.Version)
		again.Apply([]purge.Record{r})
	}
	if fmt.Sprint(left) != "[2 4]" {
		t.Errorf("the journal has %d, want the second and what has not been forgotten", left)
	}
	for name, x := range map[string]*purge.Index{"swept": n.index, "read from the journal": again} {
		if _, soft := x.Covering("docs", "h", "/page", []string{rfc9111.OtherTags}); soft != 2 {
			t.Errorf("%s: soft purge %d covers the page, want 2", name, soft)
		}
	}
}
