package cache_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
)

// A fill that is for one request alone, since the response to the one before was
// private, has read the old state like any other: what happens while it runs
// keeps it from landing.
func TestAloneDoesNotLand(t *testing.T) {
	for _, c := range []struct {
		name string
		does func(*world)
	}{
		{"RFC 9111 4.4 invalidation", func(w *world) { _ = w.serve(w.request(http.MethodPost, nil)) }},
		{"another log", func(w *world) {
			if err := w.engine.Reset(); err != nil {
				w.t.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
					switch n := asked.Add(1); {
					case r.Method == http.MethodPost:
						return reply(200, "done"), nil
					case n == 1:
						return reply(200, "mine", "Cache-Control", "private"), nil
					case n == 2:
						time.Sleep(2 * time.Second)
						return good("old")()
					}
					return good("new")()
				})
				w.want(nil, "pass/uncacheable: mine")
				alone := make(chan string)
				go func() { alone <- w.get(nil) }()
				time.Sleep(time.Second)
				c.does(w)
				if got := <-alone; got != "miss/absent: old" {
					t.Errorf("alone: %s", got)
				}
				synctest.Wait()
				w.want(nil, "miss/absent: new")
			})
		})
	}
}

// RFC 9111 section 4.4: what a URL names is invalid under every query that means
// the same (No-Vary-Search), and so is what is still on its way there.
func TestInvalidationOfAnotherQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			n := asked.Add(1)
			if r.Method == http.MethodPost {
				return reply(200, "done"), nil
			}
			if n == 2 {
				time.Sleep(2 * time.Second)
			}
			body := [...]string{1: "first", 2: "old", 4: "new"}[n]
			return good(body, "No-Vary-Search", `params=("utm")`)()
		})
		ask := func(method, target string) string {
			r := w.request(method, nil)
			r.Target = target
			return w.serve(r)
		}
		if got := ask(http.MethodGet, "/a?utm=1"); got != "miss/absent: first" {
			t.Error(got)
		}
		time.Sleep(2 * time.Minute) // no longer fresh
		running := make(chan string)
		go func() { running <- ask(http.MethodGet, "/a?utm=2") }()
		time.Sleep(time.Second)
		if got := ask(http.MethodPost, "/a?utm=1"); got != "pass/method: done" {
			t.Error(got)
		}
		if got := <-running; got != "miss/expired: old" {
			t.Error(got)
		}
		synctest.Wait()
		if got := ask(http.MethodGet, "/a?utm=1"); got != "miss/absent: new" {
			t.Error(got)
		}
	})
}

// What a part taught about parts does not keep requests for the whole from
// waiting for one another.
func TestPartsRefusedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var whole atomic.Int64
		w := newWorld(t, cache.Options{BlockBytes: 4}, func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Range") != "" {
				return reply(206, "body", "Cache-Control", "max-age=60", "ETag", `W/"1"`, "Content-Range", "bytes 0-3/8"), nil
			}
			whole.Add(1)
			time.Sleep(time.Second)
			return reply(200, "bodybody", "Cache-Control", "max-age=60", "ETag", `W/"1"`), nil
		})
		w.get(http.Header{"Range": {"bytes=0-7"}}) // more than the part has, which cannot be joined
		w.engine.Drain(t.Context())
		if err := w.engine.Reset(); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if got := w.get(nil); !strings.HasSuffix(got, ": bodybody") {
					t.Errorf("got %q", got)
				}
			})
		}
		all.Wait()
		if n := whole.Load(); n != 1 {
			t.Errorf("upstream was asked %d times for the whole; want once", n)
		}
	})
}
