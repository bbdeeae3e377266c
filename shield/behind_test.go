package shield

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
)

// applying is what a shield has applied.
type applying struct {
	mu      sync.Mutex // guards the rest
	version uint64
	changed chan struct{}
}

func (a *applying) Position() (string, uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return "log", a.version
}

func (a *applying) apply(version uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version = version
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *applying) WaitPosition(ctx context.Context, epoch string, version uint64) error {
	for {
		a.mu.Lock()
		changed := a.changed
		reached := epoch == "log" && a.version >= version
		a.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A shield lets edges wait for what it lacks once, all of them together, and not again
// before it has it.
func TestBehindWaitsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		purges := &applying{version: 5, changed: make(chan struct{})}
		s := &Server{o: ServerOptions{Purges: purges, CatchUp: 2 * time.Second}}
		ask := func(what, applied string, behind bool, takes time.Duration) {
			t.Helper()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set(appliedField, applied)
			begun := time.Now()
			if got, took := s.behind(r), time.Since(begun); got != behind || took != takes {
				t.Errorf("%s: %t after %v; want %t after %v", what, got, took, behind, takes)
			}
		}
		of := func(version uint64) string { return cache.Version("log", version) }
		ask("level", of(5), false, 0)
		ask("the first that is ahead", of(6), true, 2*time.Second)
		ask("the next", of(6), true, 0)
		ask("one that is further ahead", of(7), true, 0)
		time.Sleep(time.Hour)
		ask("an hour later", of(7), true, 0)

		purges.apply(7)
		ask("it has caught up", of(7), false, 0)
		var both sync.WaitGroup
		both.Go(func() { ask("the first since", of(8), true, 2*time.Second) })
		time.Sleep(1500 * time.Millisecond)
		ask("one that waits with it", of(9), true, 500*time.Millisecond)
		both.Wait()

		purges.apply(9)
		time.AfterFunc(500*time.Millisecond, func() { purges.apply(10) })
		ask("it catches up meanwhile", of(10), false, 500*time.Millisecond)

		ask("a version that the log has lost", of(100), true, 2*time.Second)
		ask("and one that it has given anew", of(11), true, 0)
		purges.apply(11)
		ask("what comes after that", of(12), true, 2*time.Second)

		ask("another log", cache.Version("other", 1), true, 2*time.Second)
		ask("the same", cache.Version("other", 1), true, 0)
		ask("this one, beside it", of(12), true, 2*time.Second)
	})
}

// laggard answers as a shield does that is behind, while it is to be.
func laggard(behind *atomic.Bool, asked *atomic.Int64, wait func(path string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			return
		}
		asked.Add(1)
		if behind.Load() {
			w.Header().Set(behindField, cache.Version("log", 0))
		}
		wait(r.URL.RawQuery)
	}
}

// An edge asks a shield that is behind after the others, but for one request each
// behindRest, until that finds it level.
func TestBehindIsAskedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var behind [2]atomic.Bool
		var asked [2]atomic.Int64
		slow := make(chan struct{})
		wait := func(query string) {
			if query == "slow" {
				<-slow
			}
		}
		c, shields := servePipes(t, laggard(&behind[0], &asked[0], wait), laggard(&behind[1], &asked[1], wait))
		goes := func(what string, to int) {
			t.Helper()
			before := asked[to].Load()
			_ = ask(t, c, owned(c, "s0", "")).Body.Close()
			if asked[to].Load() == before {
				t.Errorf("%s: not asked of shield %d", what, to)
			}
		}
		goes("level", 0)
		var early sync.WaitGroup
		early.Go(func() { _ = ask(t, c, owned(c, "s0", "slow")).Body.Close() })
		synctest.Wait()
		behind[0].Store(true)
		goes("the first that is ahead", 0)
		goes("the next", 1)
		behind[0].Store(false)
		close(slow)
		early.Wait()
		goes("after an answer to who was asking before", 1)
		behind[0].Store(true)
		if h := c.Health(); !h[0].Behind || h[0].Down || h[1].Behind {
			t.Errorf("health: %+v", h)
		}

		time.Sleep(behindRest)
		goes("one finds out", 0)
		goes("the others", 1)
		time.Sleep(behindRest)
		behind[0].Store(false)
		goes("one finds out that it is level", 0)
		goes("the others, too", 0)

		behind[0].Store(true)
		behind[1].Store(true)
		goes("behind again", 0)
		goes("as the other is", 1)
		goes("where all are, the owner", 0)
		shields[0].refused.Store(true)
		c.transport.CloseIdleConnections()
		goes("behind, beside one that is down", 1)
	})
}

// owned is a URL that a shield owns.
func owned(c *Client, name, query string) string {
	for i := 0; ; i++ {
		target := fmt.Sprintf("/%d?%s", i, query)
		r, _ := http.NewRequest(http.MethodGet, "http://www.test"+target, nil)
		if rank(c.peers, keyOf(r))[0].Name == name {
			return r.URL.String()
		}
	}
}
