package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weir/cache"
	"weir/cache/rfc9111"
	"weir/storage/disk"
	"weir/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// purges is a site's purge state that a test turns by hand.
type purges struct {
	applied, hard, soft, tag atomic.Uint64
	distrusted               atomic.Bool
}

func (p *purges) Applied() uint64 { return p.applied.Load() }
func (p *purges) Covering(_, _, _ string, _ []string) (uint64, uint64) {
	return p.hard.Load(), p.soft.Load()
}
func (p *purges) NewestTag(string) uint64    { return p.tag.Load() }
func (p *purges) Position() (string, uint64) { return "e", p.Applied() }
func (p *purges) Trusted(time.Time) bool     { return !p.distrusted.Load() }

// upstream answers with what the test put in, and counts.
type upstream struct {
	asked  atomic.Int64
	answer func(*http.Request) (*http.Response, error)
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.asked.Add(1)
	return u.answer(r)
}

// reply makes a response; fields alternate names and values.
func reply(status int, body string, fields ...string) *http.Response {
	h := http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}
	for i := 0; i+1 < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// forward makes upstream requests of a header alone.
type forward struct {
	method string
	header http.Header
}

func (f forward) Fill(ctx context.Context) *http.Request {
	r := f.Pass(ctx)
	r.Method = http.MethodGet
	for _, name := range []string{"Range", "If-None-Match"} {
		r.Header.Del(name)
	}
	return r
}

func (f forward) Pass(ctx context.Context) *http.Request {
	r, _ := http.NewRequestWithContext(ctx, f.method, "http://www.test/a", nil)
	r.Header = f.header.Clone()
	return r
}

// world is an engine with an upstream and purges that the test controls.
type world struct {
	t      *testing.T
	engine *cache.Engine
	up     *upstream
	purges *purges
	site   *cache.Site
}

func newWorld(t *testing.T, o cache.Options, answer func(*http.Request) (*http.Response, error)) *world {
	t.Helper()
	w := &world{t: t, up: &upstream{answer: answer}, purges: &purges{}}
	if o.Store == nil {
		o.Store = memory.New(memory.Options{BudgetBytes: 64 << 20, ObjectBytesMax: 32 << 20})
	}
	o.Purges = w.purges
	o.Node = "test"
	e, err := cache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.engine = e
	w.site = &cache.Site{Name: "s", Upstream: w.up, Policy: rfc9111.Policy{StaleIfError: time.Hour}}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		_ = o.Store.Close()
	})
	return w
}

func (w *world) request(method string, header http.Header) *cache.Request {
	if header == nil {
		header = http.Header{}
	}
	return &cache.Request{
		Site: w.site, Method: method, Host: "www.test", Target: "/a",
		Fields: header, Forward: forward{method, header},
	}
}

// get serves one GET and reads it whole: "outcome/reason: body".
func (w *world) get(header http.Header) string {
	return w.serve(w.request(http.MethodGet, header))
}

func (w *world) serve(r *cache.Request) string {
	a := w.engine.Serve(w.t.Context(), r)
	defer a.Close()
	if a.Err != nil {
		return fmt.Sprintf("%s/%s: %d", a.Outcome, a.Reason, a.Err.Status)
	}
	var b bytes.Buffer
	if _, err := a.WriteRange(w.t.Context(), &b, 0, -1); err != nil {
		return fmt.Sprintf("%s/%s: %q then %v", a.Outcome, a.Reason, b.String(), err)
	}
	return fmt.Sprintf("%s/%s: %s", a.Outcome, a.Reason, b.String())
}

func (w *world) want(header http.Header, want string) {
	w.t.Helper()
	if got := w.get(header); got != want {
		w.t.Errorf("got %s; want %s", got, want)
	}
}

// A thousand requests for one cold object cost one upstream request, and each
// gets its first byte while the fill still runs.
func TestCollapseStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, writer := io.Pipe()
		w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
			r := reply(200, "", "Cache-Control", "max-age=60")
			r.Body, r.ContentLength = body, 6
			return r, nil
		})
		var first, whole atomic.Int64
		var clients sync.WaitGroup
		for range 1000 {
			clients.Go(func() {
				a := w.engine.Serve(t.Context(), w.request(http.MethodGet, nil))
				defer a.Close()
				seen := &counter{first: &first}
				if _, err := a.WriteRange(t.Context(), seen, 0, -1); err == nil && seen.String() == "abcdef" {
					whole.Add(1)
				}
			})
		}
		synctest.Wait()
		_, _ = io.WriteString(writer, "abc")
		synctest.Wait()
		if first.Load() != 1000 || whole.Load() != 0 {
			t.Errorf("%d clients have a first byte and %d the whole while half has arrived; want 1000 and 0", first.Load(), whole.Load())
		}
		_, _ = io.WriteString(writer, "def")
		_ = writer.Close()
		clients.Wait()
		if whole.Load() != 1000 || w.up.asked.Load() != 1 {
			t.Errorf("%d clients whole, %d upstream requests; want 1000 and 1", whole.Load(), w.up.asked.Load())
		}
		w.want(nil, "hit/fresh: abcdef")
	})
}

type counter struct {
	bytes.Buffer
	first *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	if c.Len() == 0 {
		c.first.Add(1)
	}
	return c.Buffer.Write(p)
}

// The client that caused the fill leaves; the store still gets the whole body.
func TestFillSurvivesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, writer := io.Pipe()
		w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
			r := reply(200, "", "Cache-Control", "max-age=60")
			r.Body, r.ContentLength = body, -1
			return r, nil
		})
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			a := w.engine.Serve(ctx, w.request(http.MethodGet, nil))
			_, _ = a.WriteRange(ctx, io.Discard, 0, -1)
			a.Close()
		}()
		synctest.Wait()
		_, _ = io.WriteString(writer, "first ")
		leave()
		synctest.Wait()
		_, _ = io.WriteString(writer, "second")
		_ = writer.Close()
		synctest.Wait()
		w.want(nil, "hit/fresh: first second")
	})
}

// A body that ends too early is never stored, and its readers are told.
func TestTruncatedFillNeverHappened(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
		r := reply(200, "", "Cache-Control", "max-age=60")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("abc"), errReader{}))
		r.ContentLength = 6
		return r, nil
	})
	for range 2 {
		if got := w.get(nil); !strings.HasPrefix(got, `miss/absent: "abc" then`) {
			t.Errorf("got %s; want a miss that fails after abc", got)
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Promise P3: a request that arrives after a covering purge does not join a
// fill that began before it, and what that fill stores is not used either.
func TestPurgeDuringFill(t *testing.T) {
	for _, phase := range []string{"before the headers", "after the headers"} {
		t.Run(phase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int64
				gate := make(chan struct{})
				old, oldWriter := io.Pipe()
				w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
					if n.Add(1) > 1 {
						return reply(200, "new", "Cache-Control", "max-age=60"), nil
					}
					if phase == "before the headers" {
						<-gate
					}
					r := reply(200, "", "Cache-Control", "max-age=60")
					r.Body, r.ContentLength = old, -1
					return r, nil
				})
				first := make(chan string)
				go func() { first <- w.get(nil) }()
				synctest.Wait()
				w.purges.hard.Store(1)
				w.purges.applied.Store(1)
				w.want(nil, "miss/absent: new")
				close(gate)
				_, _ = io.WriteString(oldWriter, "old")
				_ = oldWriter.Close()
				if got := <-first; got != "miss/absent: old" {
					t.Errorf("the request that came before the purge got %s", got)
				}
				synctest.Wait()
				w.want(nil, "hit/fresh: new")
			})
		})
	}
}

// A tag purge may cover a fill whose tags nobody knows yet.
func TestTagPurgeBeforeHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var n atomic.Int64
		w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
			if n.Add(1) == 1 {
				<-gate
				return reply(200, "old", "Cache-Control", "max-age=60", "Surrogate-Key", "red"), nil
			}
			return reply(200, "new", "Cache-Control", "max-age=60"), nil
		})
		go w.get(nil)
		synctest.Wait()
		w.purges.tag.Store(1)
		w.purges.applied.Store(1)
		w.want(nil, "miss/absent: new")
		close(gate)
		synctest.Wait()
	})
}

// A 304 that was asked for before a hard purge does not revive the object.
func TestLate304DoesNotRevive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		gate := make(chan struct{})
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			switch n.Add(1) {
			case 1:
				return reply(200, "old", "Cache-Control", "max-age=1", "ETag", `"1"`), nil
			case 2:
				<-gate
				return reply(304, "", "ETag", `"1"`, "Cache-Control", "max-age=60"), nil
			default:
				if r.Header.Get("If-None-Match") != "" {
					return reply(304, "", "ETag", `"1"`), nil
				}
				return reply(200, "new", "Cache-Control", "max-age=60", "ETag", `"2"`), nil
			}
		})
		w.want(nil, "miss/absent: old")
		time.Sleep(2 * time.Second)
		done := make(chan string)
		go func() { done <- w.get(nil) }()
		synctest.Wait()
		w.purges.hard.Store(1)
		w.purges.applied.Store(1)
		close(gate)
		<-done
		w.want(nil, "miss/purged: new")
		w.want(nil, "hit/fresh: new")
	})
}

// A soft purge makes the object stale; the 304 that follows makes it fresh.
func TestSoftPurgeRevalidates(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("If-None-Match") == `"1"` {
			return reply(304, "", "ETag", `"1"`, "Cache-Control", "max-age=60"), nil
		}
		return reply(200, "body", "Cache-Control", "max-age=60", "ETag", `"1"`), nil
	})
	w.want(nil, "miss/absent: body")
	w.want(nil, "hit/fresh: body")
	w.purges.soft.Store(1)
	w.purges.applied.Store(1)
	w.want(nil, "revalidated/expired: body")
	w.want(nil, "hit/fresh: body")
	if n := w.up.asked.Load(); n != 2 {
		t.Errorf("upstream was asked %d times; want 2", n)
	}
}

// While the node's view of the log is not to be trusted, nothing is fresh and
// nothing is served stale (promise P4).
func TestDistrust(t *testing.T) {
	down := false
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		if down {
			return nil, syscall.ECONNREFUSED
		}
		return reply(200, "body", "Cache-Control", "max-age=60", "ETag", `"1"`), nil
	})
	w.want(nil, "miss/absent: body")
	w.purges.distrusted.Store(true)
	w.want(nil, "miss/expired: body")
	down = true
	w.want(nil, "error/upstream: 502")
}

// Variants are stored side by side, and a waiter that wants another one than
// the fill brings fetches its own.
func TestVary(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		return reply(200, r.Header.Get("Accept-Language"), "Cache-Control", "max-age=60", "Vary", "Accept-Language"), nil
	})
	de, fr := http.Header{"Accept-Language": {"de"}}, http.Header{"Accept-Language": {"fr"}}
	w.want(de, "miss/absent: de")
	w.want(fr, "miss/variant: fr")
	w.want(de, "hit/fresh: de")
	w.want(fr, "hit/fresh: fr")
}

func TestVaryCollapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			<-gate
			return reply(200, r.Header.Get("Accept-Language"), "Cache-Control", "max-age=60", "Vary", "Accept-Language"), nil
		})
		results := make(chan string, 20)
		for i := range 20 {
			language := []string{"de", "fr"}[i%2]
			go func() { results <- language + " " + w.get(http.Header{"Accept-Language": {language}}) }()
		}
		synctest.Wait()
		close(gate)
		for range 20 {
			got := <-results
			language, _, _ := strings.Cut(got, " ")
			if !strings.HasSuffix(got, ": "+language) {
				t.Errorf("wrong variant: %s", got)
			}
		}
		if n := w.up.asked.Load(); n != 2 {
			t.Errorf("upstream was asked %d times for two variants; want 2", n)
		}
	})
}

// What may not be shared goes to the one who asked; the others ask themselves.
func TestPrivateIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			<-gate
			return reply(200, r.Header.Get("Cookie"), "Cache-Control", "private"), nil
		})
		results := make(chan string, 10)
		for i := range 10 {
			cookie := fmt.Sprint(i)
			go func() { results <- cookie + " " + w.get(http.Header{"Cookie": {cookie}}) }()
		}
		synctest.Wait()
		close(gate)
		for range 10 {
			got := <-results
			cookie, _, _ := strings.Cut(got, " ")
			if got != cookie+" pass/uncacheable: "+cookie {
				t.Errorf("got %s", got)
			}
		}
	})
}

// An upstream that fails is not asked again by everyone who waited.
func TestFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
			<-gate
			return reply(503, "busy"), nil
		})
		results := make(chan string, 10)
		for range 10 {
			go func() { results <- w.get(nil) }()
		}
		synctest.Wait()
		close(gate)
		count := map[string]int{}
		for range 10 {
			count[<-results]++
		}
		if count["pass/uncacheable: busy"] != 1 || count["error/upstream: 503"] != 9 || w.up.asked.Load() != 1 {
			t.Errorf("got %v with %d upstream requests", count, w.up.asked.Load())
		}
	})
}

func TestStale(t *testing.T) {
	tests := []struct {
		name, control string
		after         time.Duration
		fail          func() (*http.Response, error)
		want          string
	}{
		{"RFC 5861 4: refused", "max-age=1", 2 * time.Second, refused, "stale/stale-if-error: body"},
		{"RFC 5861 4: 503", "max-age=1", 2 * time.Second, unavailable, "stale/stale-if-error: body"},
		{"RFC 9111 5.2.2.2: must-revalidate", "max-age=1, must-revalidate", 2 * time.Second, refused, "error/upstream: 504"},
		{"RFC 9111 5.2.2.10: s-maxage", "s-maxage=1", 2 * time.Second, refused, "error/upstream: 504"},
		{"RFC 9111 5.2.2.4: no-cache", "no-cache", 0, refused, "error/upstream: 502"},
		{"beyond the window", "max-age=1, stale-if-error=5", 20 * time.Second, refused, "error/upstream: 502"},
		{"404 is an answer", "max-age=1", 2 * time.Second, missing, "pass/uncacheable: gone"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := false
				w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
					if down {
						return test.fail()
					}
					return reply(200, "body", "Cache-Control", test.control, "ETag", `"1"`), nil
				})
				w.want(nil, "miss/absent: body")
				down = true
				time.Sleep(test.after)
				w.want(nil, test.want)
			})
		})
	}
}

// good gives answers that may be shared for a minute.
func good(body string, fields ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		return reply(200, body, append([]string{"Cache-Control", "max-age=60"}, fields...)...), nil
	}
}

func refused() (*http.Response, error)     { return nil, syscall.ECONNREFUSED }
func unavailable() (*http.Response, error) { return reply(503, "busy"), nil }
func missing() (*http.Response, error)     { return reply(404, "gone"), nil }

// Stale while one request revalidates: the client does not wait.
func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
			body := fmt.Sprint(n.Add(1))
			time.Sleep(time.Second)
			return reply(200, body, "Cache-Control", "max-age=10, stale-while-revalidate=30"), nil
		})
		w.want(nil, "miss/absent: 1")
		time.Sleep(12 * time.Second)
		start := time.Now()
		for range 5 {
			w.want(nil, "stale/stale-while-revalidate: 1")
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("clients waited %v", waited)
		}
		time.Sleep(2 * time.Second)
		w.want(nil, "hit/fresh: 2")
		if n.Load() != 2 {
			t.Errorf("upstream was asked %d times; want 2", n.Load())
		}
	})
}

// A 304 about another body than the one asked for is asked again without a
// condition (RFC 9111 section 4.3.4).
func TestMismatched304(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			if n.Add(1) == 1 {
				return reply(200, "old", "Cache-Control", "max-age=1", "ETag", `"1"`), nil
			}
			if r.Header.Get("If-None-Match") != "" {
				return reply(304, "", "ETag", `"2"`), nil
			}
			return reply(200, "new", "Cache-Control", "max-age=60", "ETag", `"2"`), nil
		})
		w.want(nil, "miss/absent: old")
		time.Sleep(2 * time.Second)
		w.want(nil, "miss/expired: new")
	})
}

// A store that takes no more in the middle of a body does not fail requests:
// the rest is relayed.
func TestRelayWhenStoreIsFull(t *testing.T) {
	store := memory.New(memory.Options{BudgetBytes: 1 << 20, ObjectBytesMax: 1 << 20})
	body := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MiB
	w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) {
		r := reply(200, "", "Cache-Control", "max-age=60")
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), -1
		return r, nil
	})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			a := w.engine.Serve(t.Context(), w.request(http.MethodGet, nil))
			defer a.Close()
			var b bytes.Buffer
			if _, err := a.WriteRange(t.Context(), &b, 0, -1); err != nil || !bytes.Equal(b.Bytes(), body) {
				t.Errorf("%s/%s: %d bytes, %v", a.Outcome, a.Reason, b.Len(), err)
			}
		})
	}
	clients.Wait()
	w.engine.Drain(t.Context())
	if s := store.Stats(); s.Objects != 0 {
		t.Errorf("%d objects stored; want none", s.Objects)
	}
}

// A reader of a relay that stands still is dropped; the others get the whole.
func TestRelayDropsSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.Options{BudgetBytes: 1 << 20, ObjectBytesMax: 1 << 20})
		body := bytes.Repeat([]byte("0123456789abcdef"), 256<<10)
		gate := make(chan struct{})
		w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) {
			<-gate
			r := reply(200, "", "Cache-Control", "max-age=60")
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), -1
			return r, nil
		})
		slow, fast := make(chan error), make(chan int64)
		go func() {
			a := w.engine.Serve(t.Context(), w.request(http.MethodGet, nil))
			defer a.Close()
			_, err := a.WriteRange(t.Context(), sleepy{}, 0, -1)
			slow <- err
		}()
		go func() {
			a := w.engine.Serve(t.Context(), w.request(http.MethodGet, nil))
			defer a.Close()
			n, _ := a.WriteRange(t.Context(), io.Discard, 0, -1)
			fast <- n
		}()
		synctest.Wait()
		close(gate)
		if n := <-fast; n != int64(len(body)) {
			t.Errorf("the fast reader got %d bytes; want %d", n, len(body))
		}
		if err := <-slow; err == nil {
			t.Error("the reader that stood still was not dropped")
		}
	})
}

type sleepy struct{}

func (sleepy) Write(p []byte) (int, error) {
	time.Sleep(10 * time.Minute)
	return len(p), nil
}

// A successful unsafe request makes what is stored unusable (RFC 9111 section 4.4).
func TestInvalidation(t *testing.T) {
	var n atomic.Int64
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			return reply(204, ""), nil
		}
		return reply(200, fmt.Sprint(n.Add(1)), "Cache-Control", "max-age=60"), nil
	})
	w.want(nil, "miss/absent: 1")
	w.engine.Serve(t.Context(), w.request(http.MethodPost, nil)).Close()
	w.want(nil, "miss/absent: 2")
}

func TestOnlyIfCached(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) { return nil, errors.New("asked") })
	w.want(http.Header{"Cache-Control": {"only-if-cached"}}, "error/only-if-cached: 504")
	if w.up.asked.Load() != 0 {
		t.Error("upstream was asked")
	}
}

// A fill that lands between a look-up and the wish to start one is not repeated.
func TestOneFetchUnderContention(t *testing.T) {
	for range 50 {
		w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
			return reply(200, "body", "Cache-Control", "max-age=60"), nil
		})
		var clients sync.WaitGroup
		for range 64 {
			clients.Go(func() { w.get(nil) })
		}
		clients.Wait()
		if n := w.up.asked.Load(); n != 1 {
			t.Fatalf("upstream was asked %d times", n)
		}
	}
}

// What proved private is remembered: later requests do not wait for one
// another, and are collapsed again once the response may be shared.
func TestUnsharedDoNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		control := "private"
		w := newWorld(t, cache.Options{UnsharedLifetime: time.Minute}, func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "body", "Cache-Control", control), nil
		})
		together := func(n int) time.Duration {
			start := time.Now()
			var clients sync.WaitGroup
			for range n {
				clients.Go(func() { w.get(nil) })
			}
			clients.Wait()
			return time.Since(start)
		}
		w.want(nil, "pass/uncacheable: body")
		if took := together(10); took != time.Second || w.up.asked.Load() != 11 {
			t.Errorf("ten requests took %v and %d fetches; want 1s and 11 in all", took, w.up.asked.Load())
		}
		control = "max-age=60"
		w.want(nil, "miss/absent: body")
		w.want(nil, "hit/fresh: body")
	})
}

// A block that fails its checksum in the middle of an answer is fetched again,
// and the client gets the whole.
func TestCorruptBlockIsFetchedAgain(t *testing.T) {
	folder := t.TempDir()
	store, err := disk.Open(disk.Options{Dir: folder, BudgetBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) {
		return reply(200, string(body), "Cache-Control", "max-age=60", "ETag", `"1"`), nil
	})
	whole := "hit/fresh: " + string(body)
	w.get(nil)
	w.want(nil, whole)
	damageOnDisk(t, filepath.Join(folder, "regions.log"), body[:4096], 700_000)
	w.want(nil, whole)
	if n := w.up.asked.Load(); n != 2 {
		t.Errorf("upstream was asked %d times; want 2", n)
	}
	w.engine.Drain(t.Context())
	w.want(nil, whole)
}

// damageOnDisk waits until a body that begins with start is in the file, which is
// within seconds, and flips a bit of it.
func damageOnDisk(t *testing.T, path string, start []byte, at int) {
	t.Helper()
	for range 100 {
		stored, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(stored, start); i >= 0 && i+at < len(stored) && stored[i+at] != 0 { // not while it is being written
			writeByte(t, path, int64(i+at), stored[i+at]^1)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the body is not on disk")
}

// writeByte leaves the rest of a file to the store, which may be writing it.
func writeByte(t *testing.T, path string, at int64, b byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteAt([]byte{b}, at)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A range, a condition and a HEAD of what is not stored are upstream's to
// answer: once it is known, without a fetch of the whole.
func TestSelectiveRequestsPass(t *testing.T) {
	var whole atomic.Int64
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		switch {
		case r.Header.Get("Range") != "":
			return reply(206, "part", "Cache-Control", "no-store", "Content-Range", "bytes 0-3/100"), nil
		case r.Header.Get("If-None-Match") != "":
			return reply(304, "", "ETag", `"1"`), nil
		default:
			whole.Add(1)
			return reply(200, "whole", "Cache-Control", "no-store", "ETag", `"1"`), nil
		}
	})
	ranged := http.Header{"Range": {"bytes=0-3"}}
	w.want(ranged, "pass/uncacheable: part")
	w.want(ranged, "pass/hit-for-miss: part")
	w.want(http.Header{"If-None-Match": {`"1"`}}, "pass/hit-for-miss: ")
	if n, asked := whole.Load(), w.up.asked.Load(); n != 0 || asked != 4 {
		t.Errorf("upstream was asked %d times, %d times for the whole; want 4, one of them to learn that it is not stored, and 0", asked, n)
	}
}

// The variants of a key are bounded: one more takes the place of the oldest, and
// clients that make up values take no more room than that.
func TestVariantsBounded(t *testing.T) {
	store := memory.New(memory.Options{BudgetBytes: 8 << 20})
	w := newWorld(t, cache.Options{Store: store, VariantsMax: 3}, func(r *http.Request) (*http.Response, error) {
		return reply(200, "for "+r.Header.Get("X-Made-Up"), "Cache-Control", "max-age=60", "Vary", "X-Made-Up"), nil
	})
	ask := func(value string) string {
		defer w.engine.Drain(t.Context())
		return w.get(http.Header{"X-Made-Up": {value}})
	}
	for i := range 20 {
		value := fmt.Sprint(i)
		if got, want := ask(value), "for "+value; !strings.HasSuffix(got, want) || !strings.HasPrefix(got, "miss") {
			t.Fatalf("got %q; want a miss, %q", got, want)
		}
		if got := ask(value); got != "hit/fresh: for "+value {
			t.Fatalf("got %q; want a hit", got)
		}
	}
	if n := store.Stats().Objects; n != 4 {
		t.Errorf("%d objects are stored; want the list and 3 variants", n)
	}
	for _, value := range []string{"17", "18", "19"} {
		if got := ask(value); !strings.HasPrefix(got, "hit") {
			t.Errorf("variant %s: got %q; want a hit", value, got)
		}
	}
	if got := ask("16"); !strings.HasPrefix(got, "miss") {
		t.Errorf("variant 16: got %q; want a miss", got)
	}
}

// A request that must not be answered from here is news to upstream as well, which
// may know what this node does not: the purge that the edge has seen (promise P2).
func TestBypassAsksForNews(t *testing.T) {
	var fields []string
	w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
		fields = append(fields, r.Header.Get(cache.FreshField))
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	})
	w.get(nil)
	past := w.request(http.MethodGet, nil)
	past.Bypass = true
	w.serve(past)
	if len(fields) != 2 || fields[0] != "" || fields[1] != "1" {
		t.Errorf("%q", fields)
	}
}
