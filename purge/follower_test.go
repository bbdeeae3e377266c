package purge_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
	"weir/purge/memlog"
)

// node is a follower with what belongs to it; it can be stopped and started.
type node struct {
	*purge.Follower
	t       *testing.T
	name    string
	path    string
	link    *memlog.Link
	observe func(purge.Announcement)
	options purge.FollowerOptions
	// journalOptions are those of its journal.
	journalOptions purge.JournalOptions

	index   *purge.Index
	journal *purge.Journal
	resets  atomic.Int32
	reset   func() error
	cancel  context.CancelFunc
	done    chan error
}

func newNode(t *testing.T, name string, log *memlog.Log, observe func(purge.Announcement)) *node {
	return &node{t: t, name: name, link: log.Link(), observe: observe, path: filepath.Join(t.TempDir(), "purges.db")}
}

// start opens the journal and runs a new follower over it.
func (n *node) start() {
	n.t.Helper()
	n.open()
	n.run()
}

func (n *node) open() {
	n.t.Helper()
	j, err := purge.OpenJournal(n.path, n.journalOptions)
	if err != nil {
		n.t.Fatal(err)
	}
	n.journal, n.index = j, purge.NewIndex(purge.IndexOptions{})
	o := n.options
	o.Name, o.Source, o.Journal, o.Index = n.name, n.link, n.journal, n.index
	if n.observe != nil {
		o.Announce = n.link.Announcer(n.observe)
	}
	o.Reset = func() error {
		n.resets.Add(1)
		if n.reset != nil {
			return n.reset()
		}
		return nil
	}
	if n.Follower, err = purge.NewFollower(o); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.done = cancel, make(chan error, 1)
	go func() { n.done <- n.Run(ctx) }()
}

func (n *node) stop() {
	n.t.Helper()
	n.cancel()
	if err := <-n.done; err != nil {
		n.t.Errorf("Run: %v", err)
	}
	if n.index.Trusted(time.Now()) {
		n.t.Error("the index is trusted although nobody follows the log")
	}
	if err := n.journal.Close(); err != nil {
		n.t.Error(err)
	}
}

func (n *node) wantCovered(target string, hard uint64) {
	n.t.Helper()
	if h, _ := n.index.Covering("docs", "h", target, nil); h != hard {
		n.t.Errorf("%s: %s covered by %d, want %d", n.name, target, h, hard)
	}
}

// sleep lets time pass, and everything that became due in it come to an end.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func appendTo(t *testing.T, log *memlog.Log, targets ...string) uint64 {
	t.Helper()
	var last uint64
	for _, target := range targets {
		v, err := log.Append(t.Context(), rec(0, purge.ScopeURL, purge.ModeHard, target))
		if err != nil {
			t.Fatal(err)
		}
		last = v
	}
	return last
}

func TestFollowerAppliesAndAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		appendTo(t, log, "/a", "/b")
		var mu sync.Mutex // guards said
		var said []purge.Announcement
		n := newNode(t, "ams", log, func(a purge.Announcement) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, a)
		})
		n.open()
		if n.index.Trusted(time.Now()) || n.Healthy() == nil {
			t.Error("trusted before it has caught up")
		}
		n.run()
		<-n.CaughtUp()
		synctest.Wait()
		if !n.index.Trusted(time.Now()) || n.Healthy() != nil {
			t.Errorf("not trusted after catching up: %v", n.Healthy())
		}
		n.wantCovered("/b", 2)
		before := time.Now()
		appendTo(t, log, "/c")
		synctest.Wait()
		n.wantCovered("/c", 3)
		mu.Lock()
		count, last := len(said), said[len(said)-1]
		mu.Unlock()
		if last != (purge.Announcement{Node: "ams", Applied: 3, Epoch: "e"}) || !before.Equal(time.Now()) {
			t.Errorf("last announcement %+v", last)
		}
		sleep(5500 * time.Millisecond)
		mu.Lock()
		beats := len(said) - count
		mu.Unlock()
		if beats != 5 {
			t.Errorf("%d heartbeats in 5.5 s, want 5", beats)
		}
		if s := n.Status(); s.Applied != 3 || s.Newest != 3 || s.Lag(time.Now()) > time.Second || s.Records != 3 || n.resets.Load() != 2 {
			t.Errorf("status %+v, %d resets", s, n.resets.Load())
		}
		n.stop()
	})
}

func TestFollowerResumesWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		appendTo(t, log, "/a", "/b")
		synctest.Wait()
		n.stop()
		appendTo(t, log, "/c")
		n.open()
		// Before it has reached the log, everything confirmed is in force.
		n.wantCovered("/a", 1)
		n.wantCovered("/b", 2)
		n.wantCovered("/c", 0)
		n.run()
		<-n.CaughtUp()
		n.wantCovered("/c", 3)
		if s := n.Status(); s.Records != 1 || n.resets.Load() != 2 {
			t.Errorf("%d records read, want the new one; %d resets, want the first start's two", s.Records, n.resets.Load())
		}
		n.stop()
	})
}

// A crash after the journal has a purge, and before the index does.
func TestCrashBetweenJournalAndIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		appendTo(t, log, "/a")
		synctest.Wait()
		n.stop()
		v := appendTo(t, log, "/b")
		j := openJournal(t, n.path, purge.JournalOptions{})
		mustAppend(t, j, rec(v, purge.ScopeURL, purge.ModeHard, "/b"))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		n.start()
		n.wantCovered("/b", 2)
		<-n.CaughtUp()
		if s := n.Status(); s.Records != 0 || s.Applied != 2 {
			t.Errorf("status %+v: the purge was applied twice", s)
		}
		n.stop()
	})
}

func TestTrustEndsWhenTheLogIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.options.LagMax = 10 * time.Second
		n.start()
		<-n.CaughtUp()
		sleep(20 * time.Second)
		if !n.index.Trusted(time.Now()) {
			t.Fatal("not trusted while in touch")
		}
		n.link.Partition(true)
		missed := appendTo(t, log, "/a")
		sleep(8 * time.Second)
		if !n.index.Trusted(time.Now()) {
			t.Error("trust ended early")
		}
		sleep(2 * time.Second)
		if n.index.Trusted(time.Now()) {
			t.Error("trusted for longer than LagMax")
		}
		if err := n.Healthy(); err == nil {
			t.Error("healthy")
		}
		n.link.Partition(false)
		sleep(3 * time.Second)
		if !n.index.Trusted(time.Now()) || n.Healthy() != nil {
			t.Errorf("not trusted 3 s after the partition: %v", n.Healthy())
		}
		n.wantCovered("/a", missed)
		n.stop()
	})
}

// A node that is told that the log can be reached again asks it at once, and otherwise
// after two seconds at most.
func TestPauseBetweenSessionsCanBeCutShort(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			log := memlog.New("e")
			n := newNode(t, "ams", log, nil)
			again, longest := make(chan struct{}), time.Duration(0)
			n.options.Pause = func(ctx context.Context, d time.Duration) {
				longest = max(longest, d)
				select {
				case <-again:
				case <-time.After(d):
				case <-ctx.Done():
				}
			}
			n.start()
			defer n.stop()
			<-n.CaughtUp()
			log.SetDown(true)
			sleep(time.Minute)
			log.SetDown(false)
			mended := time.Now()
			if told {
				close(again)
			}
			for n.Status().Current.Before(mended) {
				sleep(time.Millisecond)
			}
			if took := time.Since(mended); told && took > time.Millisecond || took > 2*time.Second {
				t.Errorf("told: %t; current again after %v", told, took)
			}
			if n.Status().Error != "" || longest < time.Second || longest > 2*time.Second {
				t.Errorf("told: %t; longest pause %v, error %q", told, longest, n.Status().Error)
			}
		})
	}
}

func TestNotTrustedAfterRestartUntilCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		<-n.CaughtUp()
		n.stop()
		n.link.Partition(true)
		n.start()
		sleep(time.Minute)
		if n.index.Trusted(time.Now()) || n.Healthy() == nil {
			t.Error("trusted without having reached the log")
		}
		n.link.Partition(false)
		<-n.CaughtUp()
		n.stop()
	})
}

func TestLostDeliveryIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		<-n.CaughtUp()
		n.link.Drop(1)
		appendTo(t, log, "/a", "/b") // the first is lost, the second shows it
		sleep(time.Second)
		n.wantCovered("/a", 1)
		n.wantCovered("/b", 2)
		n.link.Drop(1)
		appendTo(t, log, "/c") // lost, and nothing comes after it
		sleep(10 * time.Second)
		n.wantCovered("/c", 3)
		if s := n.Status(); s.Distrusts != 0 {
			t.Errorf("distrusted although the log had it: %+v", s)
		}
		n.stop()
	})
}

func TestHoleInTheLogIsDistrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		<-n.CaughtUp()
		n.link.Partition(true)
		appendTo(t, log, "/a", "/b", "/c", "/d")
		log.Remove(2)
		n.link.Partition(false)
		sleep(10 * time.Second)
		if h, _ := n.index.Covering("any", "h", "/", nil); h != 2 || n.Status().Distrusts != 1 {
			t.Errorf("distrusted up to %d, %d times", h, n.Status().Distrusts)
		}
		n.wantCovered("/d", 4)
		n.wantCovered("/c", 3)
		n.stop()
	})
}

func TestLogThatBeginsTooLateIsDistrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		appendTo(t, log, "/a")
		synctest.Wait()
		n.stop()
		appendTo(t, log, "/b", "/c", "/d")
		log.Trim(4)
		n.start()
		<-n.CaughtUp()
		if h, _ := n.index.Covering("any", "h", "/", nil); h != 3 {
			t.Errorf("distrusted up to %d, want 3", h)
		}
		n.wantCovered("/d", 4)
		n.stop()
		n.start() // and the distrust is durable
		if h, _ := n.index.Covering("any", "h", "/", nil); h != 3 || n.resets.Load() != 2 {
			t.Errorf("after restart: distrusted up to %d, %d resets", h, n.resets.Load())
		}
		n.stop()
	})
}

func TestAnotherLogResetsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("old")
		n := newNode(t, "ams", log, nil)
		n.start()
		appendTo(t, log, "/a", "/b", "/c")
		synctest.Wait()
		// What the store would hold: the first drop comes with the old purges
		// in force, the second with none.
		var applied []uint64
		n.reset = func() error {
			applied = append(applied, n.index.Applied())
			if len(applied) == 1 {
				return errors.New("disk is busy")
			}
			return nil
		}
		n.resets.Store(0)
		log.Replace("new")
		appendTo(t, log, "/x")
		sleep(10 * time.Second)
		if got := fmt.Sprint(applied); got != "[3 3 0]" {
			t.Errorf("Reset was called with %s applied, want [3 3 0]", got)
		}
		n.wantCovered("/a", 0)
		n.wantCovered("/x", 1)
		if s := n.Status(); s.Epoch != "new" || s.Applied != 1 || s.Newest != 1 || !s.Trusted {
			t.Errorf("status %+v", s)
		}
		n.stop()
		wantState(t, openJournal(t, n.path, purge.JournalOptions{}), "new", 1)
	})
}

func TestLogThatLostItsEndResetsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		appendTo(t, log, "/a", "/b", "/c")
		synctest.Wait()
		n.resets.Store(0)
		log.Replace("e") // the same name, and shorter
		appendTo(t, log, "/x")
		sleep(10 * time.Second)
		if n.resets.Load() != 2 || n.index.Applied() != 1 {
			t.Errorf("%d resets, applied %d", n.resets.Load(), n.index.Applied())
		}
		n.stop()
	})
}

func TestFollowerOfAClosedJournalEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		n := newNode(t, "ams", log, nil)
		n.start()
		<-n.CaughtUp()
		if err := n.journal.Close(); err != nil {
			t.Fatal(err)
		}
		appendTo(t, log, "/a")
		if err := <-n.done; !errors.Is(err, purge.ErrJournalClosed) {
			t.Errorf("Run = %v", err)
		}
		if n.index.Applied() != 0 {
			t.Error("a purge that is not durable is in force")
		}
		n.cancel()
	})
}

func TestFollowerOptionsAreChecked(t *testing.T) {
	if _, err := purge.NewFollower(purge.FollowerOptions{}); err == nil {
		t.Error("no error without options")
	}
	j := openJournal(t, filepath.Join(t.TempDir(), "purges.db"), purge.JournalOptions{})
	_, err := purge.NewFollower(purge.FollowerOptions{
		Name: "ams", Source: memlog.New("e").Link(), Journal: j, Index: purge.NewIndex(purge.IndexOptions{}), LagMax: time.Second,
	})
	if err == nil || !strings.Contains(err.Error(), "LagMax") {
		t.Errorf("err = %v, want one about LagMax", err)
	}
}
