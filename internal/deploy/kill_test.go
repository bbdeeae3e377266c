package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"weir/purge"
)

// A deploy is killed at each request that it sends, when that has been done and
// before its answer is read, which is as good as before the next is sent.
// Whatever is run then, clients saw whole releases all the time, and in the end no
// node has anything old, nothing is left to do, and each switch has been purged in
// one version.
func TestKilledAtEveryRequest(t *testing.T) {
	keys := labStore(t)
	a, b, c := site(t, versioned("a")), site(t, versioned("b")), site(t, versioned("c"))
	for name, then := range map[string]func(*world) error{
		"the same again": func(w *world) error { return w.deploy(b) },
		"another":        func(w *world) error { return w.deploy(c) },
		"a rollback":     func(w *world) error { return Rollback(t.Context(), w.options(), 1) },
	} {
		from := 1
		if name != "the same again" {
			from = 10 // Uploads that no release names make no difference to them.
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := false
			for at := from; !ended; at++ {
				if at > 5 && at < 10 {
					continue // one upload of many is like the other
				}
				prefix := fmt.Sprintf("%s-%d", strings.ReplaceAll(name, " ", "-"), at)
				ended = killAt(t, newWorld(t, keys, prefix), a, b, at, then)
				if at > 60 {
					t.Fatal("it never ends")
				}
			}
		})
	}
}

// killAt deploys a, and b until its request of a number; then it runs what
// follows. It says whether b came to its end before that.
func killAt(t *testing.T, w *world, a, b string, at int, then func(*world) error) (ended bool) {
	t.Helper()
	w.t = t
	w.visit()
	w.mustDeploy(a)
	w.visit()
	w.loads = w.visit
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	line := &wire{
		before: func(number int, _ *http.Request) error {
			w.locked(w.visit)
			if number > at {
				return errKilled
			}
			return nil
		},
		after: func(number int, _ *http.Request) error {
			if number < at {
				return nil
			}
			cancel()
			return errKilled
		},
	}
	o := w.options()
	over(line)(&o)
	err := Run(ctx, o, b)
	if ended = err == nil; !ended && ctx.Err() == nil {
		t.Fatalf("at request %d: %v", at, err)
	}
	w.visit()
	if err := then(w); err != nil {
		t.Fatalf("after a kill at request %d: %v", at, err)
	}
	w.visit()
	w.settled(fmt.Sprintf("after a kill at request %d", at))
	w.oneVersionEach()
	return ended
}

// locked lets clients load while nothing else happens.
func (w *world) locked(visit func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	visit()
}

// oneVersionEach holds that no purge was given two versions.
func (w *world) oneVersionEach() {
	w.t.Helper()
	if len(w.versions) != len(w.requests) {
		w.t.Errorf("%d versions for %d purges", len(w.requests), len(w.versions))
	}
	last := w.pointer().Last
	if n := uint64(len(w.requests)); n > last+1 { // at most one rollback
		w.t.Errorf("%d purges for %d releases", n, last)
	}
}

// The answer to the switch is lost, and the write tried again, which then finds
// what it has written itself.
func TestAnswerToTheSwitchIsLost(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	for i, letter := range []string{"a", "b"} {
		lost := 0
		line := &wire{after: func(_ int, r *http.Request) error {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/pointer") && lost == 0 {
				lost++
				return errCut
			}
			return nil
		}}
		w.mustDeploy(site(t, versioned(letter)), over(line))
		w.visit()
		w.settled(letter)
		if p := w.pointer(); lost != 1 || p.Current != uint64(i+1) {
			t.Errorf("%d answers lost, %+v", lost, p)
		}
	}
}

// A store that refuses one of two writes at once with 409 means: try again.
func TestWriteThatConflicts(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	for i, letter := range []string{"a", "b"} {
		refused := 0
		conflicting := func(o *Options) {
			next := o.Transport
			o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/pointer") && refused < 2 {
					refused++
					body := "<Error><Code>ConditionalRequestConflict</Code></Error>"
					return &http.Response{StatusCode: 409, Header: http.Header{"Content-Type": {"application/xml"}},
						ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
				}
				return next.RoundTrip(r)
			})
		}
		w.mustDeploy(site(t, versioned(letter)), conflicting)
		w.settled(letter)
		if p := w.pointer(); refused != 2 || p.Current != uint64(i+1) {
			t.Errorf("%d writes refused, %+v", refused, p)
		}
	}
}

// Nothing is switched that control would not be asked to purge.
func TestControlThatIsAway(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	a := site(t, versioned("a"))
	away := func(o *Options) { o.Control.URL = "http://127.0.0.1:1" }
	if err := w.deploy(a, away); err == nil || !strings.Contains(err.Error(), "nothing has been switched") {
		t.Errorf("%v", err)
	}
	w.unknown = http.StatusUnauthorized
	if err := w.deploy(a); !errors.As(err, new(*purge.RefusedError)) || !strings.Contains(err.Error(), "nothing has been switched") {
		t.Errorf("with a token that is none: %v", err)
	}
	if w.pointer() != nil {
		t.Error("it has switched")
	}
	w.unknown = http.StatusForbidden // a token that may purge, and not see the nodes
	w.mustDeploy(a)
}

// What control refuses stays to be done, and is done first by whatever comes next.
func TestPurgeThatIsRefused(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	a, b := site(t, versioned("a")), site(t, versioned("b"))
	w.mustDeploy(a)
	w.visit()
	w.refuse = http.StatusForbidden
	err := w.deploy(b)
	if refused := new(purge.RefusedError); !errors.As(err, &refused) || !strings.Contains(err.Error(), "not yet purged") {
		t.Fatal(err)
	}
	if p := w.pointer(); p.Current != 2 || p.Pending == nil {
		t.Errorf("%+v", p)
	}
	if err := w.deploy(a); !errors.As(err, new(*purge.RefusedError)) {
		t.Errorf("another deploy goes on before the purge: %v", err)
	}
	w.refuse = 0
	w.mustDeploy(b)
	w.visit()
	w.settled("in the end")
	if len(w.requests) != 2 {
		t.Errorf("%d purges", len(w.requests))
	}
}

// A node that does not confirm is named, and the purge stays accepted.
func TestNodeThatIsAway(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	w.silent = true
	if err := w.deploy(site(t, versioned("a"))); !errors.Is(err, purge.ErrMissing) || !strings.Contains(err.Error(), "ams") {
		t.Errorf("%v", err)
	}
	if p := w.pointer(); p.Current != 1 || p.Pending != nil {
		t.Errorf("%+v", p)
	}
}

// Two deploys at once: the one that switches later loses, and says so; nothing of
// it is served.
func TestTwoDeploysAtOnce(t *testing.T) {
	keys := labStore(t)
	for _, first := range []bool{true, false} {
		w := newWorld(t, keys, fmt.Sprintf("first-%v", first))
		a, b, c := site(t, versioned("a")), site(t, versioned("b")), site(t, versioned("c"))
		if !first {
			w.mustDeploy(a)
		}
		done := false
		line := &wire{before: func(_ int, r *http.Request) error {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/releases/") && !done {
				done = true
				w.mustDeploy(c)
			}
			return nil
		}}
		if err := w.deploy(b, over(line)); !errors.Is(err, ErrLost) {
			t.Errorf("the second: %v", err)
		}
		w.visit()
		if got := w.nodes[0].get(t, "/"); got.body != "page c" {
			t.Errorf("%q is served", got.body)
		}
		w.settled("after two")
		w.mustDeploy(b)
		if got := w.nodes[0].get(t, "/"); got.body != "page b" {
			t.Errorf("%q is served after another try", got.body)
		}
	}
}

// A store that takes a write whose condition does not hold keeps nobody apart.
func TestStoreWithoutConditions(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	// The transport answers for such a store.
	blind := func(o *Options) {
		next := o.Transport
		o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/probe") {
				return &http.Response{StatusCode: 200, Header: http.Header{"Etag": {`"x"`}}, Body: http.NoBody, Request: r}, nil
			}
			return next.RoundTrip(r)
		})
	}
	a := site(t, versioned("a"))
	if err := w.deploy(a, blind); !errors.Is(err, ErrUnguarded) {
		t.Errorf("%v", err)
	}
	if w.pointer() != nil {
		t.Error("it has switched")
	}
	w.mustDeploy(a, blind, func(o *Options) { o.Unguarded = true })
	if w.pointer() == nil {
		t.Error("it has not switched")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
