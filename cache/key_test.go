package cache_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
)

// byPlan answers a request with what its X-Plan says.
func byPlan(answers map[string]func() (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return answers[r.Header.Get("X-Plan")]() }
}

// plan makes a request whose key has a plan besides the target.
func (w *world) plan(plan string) *cache.Request {
	r := w.request(http.MethodGet, http.Header{"X-Plan": {plan}})
	r.Extra = "x-plan=" + plan + ";"
	return r
}

func (w *world) wantPlan(plan, want string) {
	w.t.Helper()
	if got := w.serve(w.plan(plan)); got != want {
		w.t.Errorf("%s: got %s; want %s", plan, got, want)
	}
}

// Requests that Extra tells apart get neither one another's answers nor one
// another's failures, and do not wait for one another, however they meet.
func TestExtraOnAColdKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slowly := func(answer func() (*http.Response, error)) func() (*http.Response, error) {
			return func() (*http.Response, error) {
				time.Sleep(time.Second)
				return answer()
			}
		}
		w := newWorld(t, cache.Options{}, byPlan(map[string]func() (*http.Response, error){
			"gold": slowly(good("gold")), "free": slowly(good("free")), "late": slowly(refused),
			"mine": slowly(func() (*http.Response, error) { return reply(200, "mine", "Cache-Control", "private"), nil }),
		}))
		began := time.Now()
		var clients sync.WaitGroup
		got := make(map[string]int)
		var mu sync.Mutex
		for _, plan := range []string{"gold", "free", "late", "mine", "gold", "free"} {
			clients.Go(func() {
				text := w.serve(w.plan(plan))
				mu.Lock()
				defer mu.Unlock()
				got[plan+" "+text]++
			})
		}
		clients.Wait()
		want := map[string]int{"gold miss/absent: gold": 2, "free miss/absent: free": 2, "late error/upstream: 502": 1, "mine pass/uncacheable: mine": 1}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if asked, took := w.up.asked.Load(), time.Since(began); asked != 4 || took != time.Second {
			t.Errorf("asked %d times in %v; want 4 times in 1s", asked, took)
		}
		w.wantPlan("gold", "hit/fresh: gold")
		w.wantPlan("free", "hit/fresh: free")
	})
}

// Responses that differ in Vary share one list, which grows by the fields.
func TestExtraAndVary(t *testing.T) {
	w := newWorld(t, cache.Options{}, byPlan(map[string]func() (*http.Response, error){
		"gold": good("gold"), "free": good("free", "Vary", "X-Tone"), "trial": good("trial", "Vary", "X-Ink, X-Tone"),
	}))
	for _, plan := range []string{"gold", "free", "trial"} {
		w.serve(w.plan(plan))
	}
	// The list was replaced twice on its way to both fields: no more from here.
	w.serve(w.plan("gold"))
	w.serve(w.plan("free"))
	for range 2 {
		for _, plan := range []string{"trial", "gold", "free"} {
			w.wantPlan(plan, "hit/fresh: "+plan)
		}
	}
}

// What is not shared of one is not held against the others (hit-for-miss).
func TestExtraUnshared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := map[string]func() (*http.Response, error){
			"gold": good("gold"),
			"mine": func() (*http.Response, error) {
				time.Sleep(time.Second)
				return reply(200, "mine", "Cache-Control", "private"), nil
			},
		}
		w := newWorld(t, cache.Options{}, byPlan(answers))
		w.wantPlan("mine", "pass/uncacheable: mine")
		began := time.Now()
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() { w.wantPlan("mine", "pass/uncacheable: mine") })
		}
		clients.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("requests for what is private took %v, and so waited for one another", took)
		}
		answers["gold"] = func() (*http.Response, error) {
			time.Sleep(time.Second)
			return good("gold")()
		}
		before := w.up.asked.Load()
		for range 3 {
			clients.Go(func() { w.wantPlan("gold", "miss/absent: gold") })
		}
		clients.Wait()
		if asked := w.up.asked.Load() - before; asked != 1 {
			t.Errorf("%d fetches of what is shared; want 1", asked)
		}
	})
}

// An object from before the site had Extra is for nobody, and the other way
// round.
func TestExtraAppearsAndGoes(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		return good("for " + r.Header.Get("X-Plan"))()
	})
	w.want(nil, "miss/absent: for ")
	w.wantPlan("gold", "miss/absent: for gold")
	w.wantPlan("gold", "hit/fresh: for gold")
	w.want(nil, "miss/variant: for ")
	w.want(nil, "hit/fresh: for ")
}

// RFC 9111 section 4.4: an unsafe request reaches every variant, and fills that
// run, by the target alone.
func TestExtraInvalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		first := true
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("X-Plan") == "late" && first {
				first = false
				<-gate
			}
			return good("x")()
		})
		w.wantPlan("gold", "miss/absent: x")
		w.wantPlan("free", "miss/variant: x")
		done := make(chan string)
		go func() { done <- w.serve(w.plan("late")) }()
		synctest.Wait()
		post := w.plan("free")
		post.Method = http.MethodPost
		w.serve(post)
		close(gate)
		<-done
		for _, plan := range []string{"gold", "free", "late"} {
			if got := w.serve(w.plan(plan)); !strings.HasPrefix(got, "miss/") {
				t.Errorf("%s after the POST: %s", plan, got)
			}
		}
	})
}

// A 304 gives its object a new life as the variant that it is.
func TestExtraRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			plan := r.Header.Get("X-Plan")
			if r.Header.Get("If-None-Match") == `"`+plan+`"` {
				return reply(304, "", "ETag", `"`+plan+`"`, "Cache-Control", "max-age=60"), nil
			}
			return good(plan, "ETag", `"`+plan+`"`)()
		})
		for _, want := range []string{"miss/absent: gold", "hit/fresh: gold"} {
			w.wantPlan("gold", want)
		}
		w.wantPlan("free", "miss/variant: free")
		time.Sleep(2 * time.Minute)
		for _, plan := range []string{"gold", "free"} {
			w.wantPlan(plan, "revalidated/expired: "+plan)
		}
		for _, plan := range []string{"gold", "free"} {
			w.wantPlan(plan, "hit/fresh: "+plan)
		}
	})
}

// Queries that differ in nothing that matters are one object of each plan.
func TestExtraAndNoVarySearch(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		return good(r.Header.Get("X-Plan"), "No-Vary-Search", `params=("x")`)()
	})
	for _, row := range []struct{ plan, target, want string }{
		{"gold", "/a?x=1&y=1", "miss/absent: gold"},
		{"free", "/a?x=2&y=1", "miss/variant: free"},
		{"gold", "/a?x=3&y=1", "hit/fresh: gold"},
		{"free", "/a?x=3&y=1", "hit/fresh: free"},
		{"free", "/a?x=3&y=2", "miss/absent: free"},
	} {
		r := w.plan(row.plan)
		r.Target = row.target
		if got := w.serve(r); got != row.want {
			t.Errorf("%s %s: got %s; want %s", row.plan, row.target, got, row.want)
		}
	}
}
