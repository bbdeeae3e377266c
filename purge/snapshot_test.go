package purge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
	"weir/purge/memlog"
)

// snapshotControl is control as far as snapshots go.
type snapshotControl struct {
	purge.Snapshots
	n *node
}

// startSnapshots follows a log into a journal for snapshots.
func startSnapshots(t *testing.T, log *memlog.Log, targetsMax int) *snapshotControl {
	n := newNode(t, "control", log, nil)
	n.journalOptions = purge.JournalOptions{TargetsMax: targetsMax}
	n.start()
	return &snapshotControl{purge.Snapshots{Journal: n.journal}, n}
}

func (c *snapshotControl) ask(_ context.Context, question []byte) ([]byte, error) {
	return c.Answer(question), nil
}

// A node that the log does not reach back to gets what it missed from a snapshot,
// and keeps what none of that covers.
func TestSnapshotInPlaceOfDistrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		control := startSnapshots(t, log, 1000)
		n := newNode(t, "ams", log, nil)
		n.options.Snapshot = control.ask
		n.start()
		mustLog(t, log, rec(0, purge.ScopeURL, purge.ModeHard, "/seen"))
		synctest.Wait()
		n.link.Partition(true)
		for i := range 300 { // some pages
			mustLog(t, log, rec(0, purge.ScopeURL, purge.ModeHard, fmt.Sprintf("/missed/%d", i%20), fmt.Sprintf("/%d?%01000d", i, i)))
		}
		mustLog(t, log, rec(0, purge.ScopeTag, purge.ModeSoft, "red"))
		synctest.Wait()
		log.Trim(290)
		n.link.Partition(false)
		time.Sleep(20 * time.Second)
		if got := n.index.Applied(); got != 302 || n.Healthy() != nil {
			t.Errorf("applied %d, %v", got, n.Healthy())
		}
		if s := n.Status(); s.Distrusts != 0 || s.Snapshots != 1 {
			t.Errorf("%+v", s)
		}
		wantCovering(t, n.index, "/missed/3", 285, 0)
		wantCovering(t, n.index, "/seen", 1, 0)
		wantCovering(t, n.index, "/other", 0, 0)
		if _, soft := n.index.Covering("docs", "h", "/other", []string{"red"}); soft != 302 {
			t.Errorf("tag: soft %d", soft)
		}
		n.stop()
		n.start() // and it is in the journal
		wantCovering(t, n.index, "/missed/3", 285, 0)
		wantCovering(t, n.index, "/other", 0, 0)
		n.stop()
		control.n.stop()
	})
}

func mustLog(t *testing.T, log *memlog.Log, r purge.Record) {
	t.Helper()
	if _, err := log.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func wantCovering(t *testing.T, x *purge.Index, target string, hard, soft uint64) {
	t.Helper()
	if h, s := x.Covering("docs", "h", target, nil); h != hard || s != soft {
		t.Errorf("%s: %d %d, want %d %d", target, h, s, hard, soft)
	}
}

// Where nobody has a snapshot, or it does not reach to the log's tail, a node
// distrusts what it has; it tries for a while, and confirms nothing meanwhile.
func TestNoSnapshot(t *testing.T) {
	for name, ask := range map[string]func(control *snapshotControl) func(context.Context, []byte) ([]byte, error){
		"away": func(*snapshotControl) func(context.Context, []byte) ([]byte, error) {
			return func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no control") }
		},
		"behind": func(c *snapshotControl) func(context.Context, []byte) ([]byte, error) {
			c.n.link.Partition(true)
			return c.ask
		},
		"nonsense": func(*snapshotControl) func(context.Context, []byte) ([]byte, error) {
			return func(context.Context, []byte) ([]byte, error) {
				return []byte(`{"epoch":"e","records":[{"version":9,"record":{"site":"docs"}}]}`), nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := memlog.New("e")
				control := startSnapshots(t, log, 1000)
				n := newNode(t, "ams", log, nil)
				n.start()
				synctest.Wait()
				n.stop()
				n.options.Snapshot = ask(control)
				for i := range 10 {
					mustLog(t, log, rec(0, purge.ScopeURL, purge.ModeHard, fmt.Sprintf("/%d", i)))
				}
				log.Trim(9)
				n.start()
				time.Sleep(5 * time.Second)
				if got := n.index.Applied(); got != 0 {
					t.Errorf("applied %d while it may still get a snapshot", got)
				}
				time.Sleep(20 * time.Second)
				if s := n.Status(); s.Applied != 10 || s.Distrusts != 1 || s.Snapshots != 0 || !s.Trusted {
					t.Errorf("%+v", s)
				}
				wantCovering(t, n.index, "/other", 8, 0)
				n.stop()
				control.n.stop()
			})
		})
	}
}

// Whatever was left out of control's journal, because later purges say the same or
// for want of room: a node with it covers what all purges since its own version do,
// and exactly that as long as nothing was folded.
func TestSnapshotAgainstANaiveList(t *testing.T) {
	all := 0
	for seed := range uint64(30) {
		d := draw{rand.New(rand.NewPCG(seed, 8))}
		targetsMax := 100_000
		if seed%3 == 0 {
			targetsMax = 60
		}
		j := openJournal(t, filepath.Join(t.TempDir(), "purges.db"), purge.JournalOptions{TargetsMax: targetsMax})
		if err := j.Reset("e"); err != nil {
			t.Fatal(err)
		}
		var list naive
		for v := uint64(1); v <= 200; v++ {
			list = append(list, d.record(v))
			if v%20 > 0 {
				continue
			}
			mustAppend(t, j, list[v-20:]...)
			if d.IntN(2) == 0 {
				if err := (purge.Snapshots{Journal: j}).Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		after := d.Uint64N(200)
		n := newNode(t, "n", memlog.New("e"), nil)
		n.open()
		n.index.Apply(list[:after])
		kept := 0
		for r, err := range j.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if kept++; r.Version > after {
				n.index.Apply([]purge.Record{r})
			}
		}
		for range 300 {
			site, host, target, tags := d.site(), d.host(), d.target(), d.tags()
			h, s := n.index.Covering(site, host, target, tags)
			wh, ws := list.covering(site, host, target, tags)
			if exact := targetsMax > 60; exact && (h != wh || s != ws) || h < wh || max(h, s) < ws {
				t.Fatalf("seed %d: %s %s%s %v after %d: %d %d, want %d %d", seed, site, host, target, tags, after, h, s, wh, ws)
			}
		}
		all += kept
		if err := n.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if all > 30*170 {
		t.Errorf("%d of %d records are kept", all, 30*200)
	}
}
