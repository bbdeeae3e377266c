package cache_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/cache/rfc9111"
	"weir/storage"
	"weir/storage/disk"
	"weir/storage/memory"
	"weir/storage/tiered"
)

func (w *world) explain(header http.Header) cache.Explanation {
	return w.engine.Explain(w.request(http.MethodGet, header))
}

func (w *world) fill() { w.get(nil) }

var german = http.Header{"Accept-Language": {"de"}}

// explainRow puts the engine into a state and has a request explained.
type explainRow struct {
	name    string
	fields  []string // of upstream's response
	before  func(*world)
	request http.Header
	want    string // outcome/reason, of the explanation and of the request
	check   func(cache.Explanation) bool
}

var explainFreshness = []explainRow{
	{name: "absent", fields: []string{"Cache-Control", "max-age=60"}, want: "miss/absent", check: func(x cache.Explanation) bool {
		return x.Stored == nil && x.Fill == nil && x.KeyText == "s www.test/a" && len(x.Key) == 32 && x.Trusted && x.Applied == "e:0"
	}},
	{name: "RFC 9111 4.2 fresh", fields: []string{"Cache-Control", "max-age=60", "Cache-Tag", "t1,t2", "ETag", `"1"`}, want: "hit/fresh",
		before: func(w *world) { w.fill(); time.Sleep(12500 * time.Millisecond) },
		check: func(x cache.Explanation) bool {
			o := x.Stored
			return o.Status == 200 && o.BodyBytes == 4 && o.ETag == `"1"` && strings.Join(o.Tags, " ") == "t1 t2" && o.Stamp == "e:0" &&
				o.AgeSeconds == 12.5 && o.LifetimeSeconds == 60 && o.FreshSeconds == 47.5 && o.StaleIfError && len(o.Tiers) == 1 && o.Tiers[0] == "memory"
		}},
	{name: "RFC 9111 4.3 stale, with a validator", fields: []string{"Cache-Control", "max-age=60", "ETag", `"1"`}, want: "revalidated/expired",
		before: func(w *world) { w.fill(); time.Sleep(63 * time.Second) },
		check:  func(x cache.Explanation) bool { return x.Stored.FreshSeconds == -3 }},
	{name: "RFC 9111 4.2 stale, without one", fields: []string{"Cache-Control", "max-age=60"}, want: "miss/expired",
		before: func(w *world) { w.fill(); time.Sleep(time.Minute) },
		check:  func(x cache.Explanation) bool { return x.Stored.FreshSeconds == 0 }},
	{name: "RFC 5861 3", fields: []string{"Cache-Control", "max-age=60, stale-while-revalidate=60"}, want: "stale/stale-while-revalidate",
		before: func(w *world) { w.fill(); time.Sleep(time.Minute) }},
	{name: "RFC 9111 5.2.2.4 no-cache", fields: []string{"Cache-Control", "max-age=60, no-cache", "ETag", `"1"`}, want: "revalidated/expired",
		before: (*world).fill, check: func(x cache.Explanation) bool {
			return x.Stored.NoCache && x.Stored.FreshSeconds == 60 && !x.Stored.StaleIfError
		}},
	{name: "RFC 9111 5.2.2.2 must-revalidate", fields: []string{"Cache-Control", "max-age=60, must-revalidate"}, want: "hit/fresh",
		before: (*world).fill, check: func(x cache.Explanation) bool { return x.Stored.MustRevalidate && !x.Stored.StaleIfError }},
	{name: "RFC 9111 5.2.1.7 only-if-cached", want: "error/only-if-cached", request: http.Header{"Cache-Control": {"only-if-cached"}}},
}

var explainTheRest = []explainRow{
	{name: "hard purged", fields: []string{"Cache-Control", "max-age=60"}, want: "miss/purged",
		before: func(w *world) { w.fill(); w.purges.applied.Store(7); w.purges.hard.Store(5) },
		check: func(x cache.Explanation) bool {
			return x.Stored.HardPurge == 5 && x.Stored.SoftPurge == 0 && x.Applied == "e:7" && !x.Stored.StaleIfError
		}},
	{name: "purged before it was stored", fields: []string{"Cache-Control", "max-age=60"}, want: "hit/fresh",
		before: func(w *world) { w.purges.applied.Store(7); w.purges.hard.Store(7); w.fill() },
		check:  func(x cache.Explanation) bool { return x.Stored.HardPurge == 0 && x.Stored.Stamp == "e:7" }},
	{name: "soft purged", fields: []string{"Cache-Control", "max-age=60", "ETag", `"1"`}, want: "revalidated/expired",
		before: func(w *world) { w.fill(); w.purges.applied.Store(2); w.purges.soft.Store(2) },
		check:  func(x cache.Explanation) bool { return x.Stored.SoftPurge == 2 && x.Stored.FreshSeconds == 0 }},
	{name: "RFC 9111 4.1 the variant is there", fields: []string{"Cache-Control", "max-age=60", "Vary", "Accept-Language"}, want: "hit/fresh",
		before: func(w *world) { w.get(german) }, request: german,
		check: func(x cache.Explanation) bool {
			return x.Variant == "accept-language=2:de;" && x.Vary[0] == "accept-language"
		}},
	{name: "RFC 9111 4.1 another variant is there", fields: []string{"Cache-Control", "max-age=60", "Vary", "Accept-Language"}, want: "miss/variant",
		before: func(w *world) { w.get(german) },
		check:  func(x cache.Explanation) bool { return x.Variant == "accept-language-;" && x.Stored == nil }},
	{name: "RFC 9111 5.2.2.7 remembered as not shared", fields: []string{"Cache-Control", "private"}, want: "pass/uncacheable",
		before: func(w *world) { w.fill(); time.Sleep(20 * time.Second) },
		check: func(x cache.Explanation) bool {
			return x.Verdict == "private" && x.UnsharedSeconds == 100 && x.Stored == nil
		}},
	{name: "no longer remembered", fields: []string{"Cache-Control", "max-age=60"}, want: "miss/absent",
		before: func(w *world) {
			answer := w.up.answer
			w.up.answer = func(*http.Request) (*http.Response, error) {
				return reply(200, "body", "Cache-Control", "private"), nil
			}
			w.fill()
			w.up.answer = answer
			time.Sleep(2 * time.Minute)
		},
		check: func(x cache.Explanation) bool { return x.Verdict == "" && x.UnsharedSeconds == 0 }},
	{name: "remembered, and a range", fields: []string{"Cache-Control", "private"}, want: "pass/hit-for-miss",
		before: (*world).fill, request: http.Header{"Range": {"bytes=0-1"}},
		check: func(x cache.Explanation) bool { return x.Verdict == "private" }},
	{name: "RFC 9875 3 a group was made invalid", want: "revalidated/expired",
		fields: []string{"Cache-Control", "max-age=60", "ETag", `"1"`, "Cache-Groups", `"g"`, "Cache-Group-Invalidation", `"g"`},
		before: func(w *world) {
			w.fill()
			a := w.engine.Serve(w.t.Context(), w.request(http.MethodDelete, nil))
			a.Close()
			w.get(nil) // the DELETE has dropped it
			r := w.request(http.MethodDelete, nil)
			r.Target = "/b"
			a = w.engine.Serve(w.t.Context(), r)
			a.Close()
		},
		check: func(x cache.Explanation) bool {
			return x.Stored.GroupsInvalid && x.Stored.Groups[0] == "g" && x.Stored.FreshSeconds == 60 && !x.Stored.StaleIfError
		}},
	{name: "not trusted", fields: []string{"Cache-Control", "max-age=60", "ETag", `"1"`}, want: "revalidated/expired",
		before: func(w *world) { w.fill(); w.purges.distrusted.Store(true) },
		check: func(x cache.Explanation) bool {
			return !x.Trusted && x.Stored.FreshSeconds == 60 && !x.Stored.StaleIfError
		}},
}

// What is said of each row's request is what then happens when it is made.
func TestExplain(t *testing.T) {
	for _, row := range slices.Concat(explainFreshness, explainTheRest) {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
					if r.Header.Get("If-None-Match") != "" {
						return reply(304, "", row.fields...), nil
					}
					return reply(200, "body", row.fields...), nil
				})
				if row.before != nil {
					row.before(w)
				}
				x := w.explain(row.request)
				if got := x.Outcome + "/" + x.Reason; got != row.want || row.check != nil && !row.check(x) {
					text, _ := json.MarshalIndent(x, "", "  ")
					t.Errorf("%s; want %s, of:\n%s", got, row.want, text)
				}
				if got, _, _ := strings.Cut(w.get(row.request), ":"); got != row.want {
					t.Errorf("the request then ended as %s; want %s", got, row.want)
				}
			})
		})
	}
}

// A fill that runs is shown, and whether a request would wait for it.
func TestExplainFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Options{FillsMax: 1}, func(*http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Second)
			return reply(200, "body", "Cache-Control", "max-age=60"), nil
		})
		done := make(chan string)
		go func() { done <- w.get(nil) }()
		time.Sleep(2500 * time.Millisecond)
		want := func(when, answer string, fill cache.ExplainedFill) {
			t.Helper()
			x := w.explain(nil)
			if got := x.Outcome + "/" + x.Reason; got != answer || x.Fill == nil || *x.Fill != fill {
				t.Errorf("%s: %s, %+v; want %s, %+v", when, got, x.Fill, answer, fill)
			}
		}
		want("running", "miss/absent", cache.ExplainedFill{Stamp: "e:0", AgeSeconds: 2.5, Joins: true})
		w.purges.applied.Store(1)
		w.purges.hard.Store(1)
		want("a purge after its start", "pass/fills-max", cache.ExplainedFill{Stamp: "e:0", AgeSeconds: 2.5})
		w.purges.hard.Store(0)
		<-done
		if x := w.explain(nil); x.Fill != nil || x.Outcome != "hit" {
			t.Errorf("landed: %+v", x)
		}
	})
}

// Explaining is no request: a thousand of them, of stored objects and of others,
// fetch nothing, use nothing and leave no trace, in memory and on disk.
func TestExplainChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below, err := disk.Open(disk.Options{Dir: t.TempDir(), BudgetBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		above := memory.New(memory.Options{BudgetBytes: 8 << 20})
		store := tiered.New(above, below, tiered.Options{})
		w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) {
			return reply(200, "body", "Cache-Control", "max-age=60", "ETag", `"1"`), nil
		})
		ask := func(i int) *cache.Request {
			r := w.request(http.MethodGet, nil)
			r.Target = fmt.Sprintf("/%d", i)
			return r
		}
		for i := range 500 {
			a := w.engine.Serve(t.Context(), ask(i))
			a.Close()
		}
		w.engine.Drain(t.Context())
		if err := above.Clear(); err != nil { // on disk only: a hit would promote
			t.Fatal(err)
		}
		memoryBefore, diskBefore := store.Tiers()
		asked := w.up.asked.Load()
		w.purges.applied.Store(1)
		w.purges.hard.Store(1) // a look-up would drop them
		for i := range 1000 {
			want := "miss/absent"
			if i < 500 {
				want = "miss/purged"
			}
			if x := w.engine.Explain(ask(i)); x.Outcome+"/"+x.Reason != want {
				t.Fatalf("%d: %s/%s; want %s", i, x.Outcome, x.Reason, want)
			}
		}
		memoryAfter, diskAfter := store.Tiers()
		if memoryAfter != memoryBefore || diskAfter != diskBefore || diskAfter.Objects != 500 {
			t.Errorf("stores: %+v %+v; %+v %+v before", memoryAfter, diskAfter, memoryBefore, diskBefore)
		}
		if n := w.up.asked.Load(); n != asked || w.engine.FillsRunning() > 0 {
			t.Errorf("upstream was asked %d times more, and %d fills run", n-asked, w.engine.FillsRunning())
		}
		// A purge that was compared with is not remembered as checked.
		w.purges.hard.Store(0)
		w.engine.Explain(ask(1))
		if x := w.engine.Explain(ask(1)); x.Stored == nil || x.Stored.Tiers[0] != "disk" {
			t.Errorf("%+v", x)
		}
		o, err := store.Get(storage.KeyOf("s www.test/1"))
		if err != nil || o.Checked().Load() != 0 {
			t.Fatalf("checked changed, or %v", err)
		}
		_ = o.Close()
	})
}

// Of a partial object it is said what the request lacks, and the fill for that.
func TestExplainParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const body = "0123456789abcdef0123456789abcdef"
		w := newWorld(t, cache.Options{BlockBytes: 8}, func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			first, last := 0, len(body)-1
			if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); n == 0 {
				return reply(200, body, "Cache-Control", "max-age=60", "ETag", `"1"`), nil
			}
			return reply(206, body[first:last+1], "Cache-Control", "max-age=60", "ETag", `"1"`,
				"Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(body))), nil
		})
		ranged := func(r string) http.Header { return http.Header{"Range": {r}} }
		read := func(first, n int64) {
			a := w.engine.Serve(t.Context(), w.request(http.MethodGet, ranged(fmt.Sprintf("bytes=%d-%d", first, first+n-1))))
			defer a.Close()
			if _, err := a.WriteRange(t.Context(), io.Discard, first, n); err != nil {
				t.Error(err)
			}
		}
		want := func(when string, header http.Header, answer string, lacks int64) {
			t.Helper()
			asked := w.up.asked.Load()
			x := w.explain(header)
			o := x.Stored
			if x.Outcome+"/"+x.Reason != answer || (lacks < 0) != (o == nil || o.MissingFrom == nil) || lacks >= 0 && *o.MissingFrom != lacks ||
				o != nil && (o.Status != 206 || o.WholeBytes != 32) || w.up.asked.Load() != asked {
				t.Errorf("%s: %+v, %+v; want %s lacking %d", when, x, o, answer, lacks)
			}
		}
		want("nothing", ranged("bytes=9-10"), "miss/absent", -1)
		read(9, 2)
		want("the block is there", ranged("bytes=8-15"), "hit/fresh", -1)
		want("the next is not", ranged("bytes=8-16"), "miss/partial", 16)
		want("the whole is not", nil, "miss/partial", 0)
		go read(16, 2)
		time.Sleep(500 * time.Millisecond)
		if x := w.explain(ranged("bytes=20-23")); x.Fill == nil || !x.Fill.Joins || x.Fill.AgeSeconds != 0.5 {
			t.Errorf("the fill of the block: %+v", x.Fill)
		}
		if x := w.explain(ranged("bytes=8-9")); x.Fill != nil {
			t.Errorf("of a block that is there: %+v", x.Fill)
		}
		time.Sleep(time.Second)
		want("two blocks", ranged("bytes=8-23"), "hit/fresh", -1)
		time.Sleep(time.Minute)
		want("stale", ranged("bytes=8-9"), "revalidated/expired", -1)
		want("stale, and not there", ranged("bytes=0-1"), "miss/expired", 0)
		w.engine.Drain(t.Context())
	})
}

// A query that differs in what does not matter is explained by the object that
// would answer it (No-Vary-Search).
func TestExplainSearch(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
		return reply(200, "body", "Cache-Control", "max-age=60", "No-Vary-Search", `params=("utm")`), nil
	})
	ask := func(target string) *cache.Request {
		r := w.request(http.MethodGet, nil)
		r.Target = target
		return r
	}
	a := w.engine.Serve(t.Context(), ask("/a?x=1&utm=2"))
	a.Close()
	w.engine.Drain(t.Context())
	for target, want := range map[string]string{
		"/a?utm=3&x=1": "hit/fresh s www.test/a?x=1", "/a?x=2": "miss/absent s www.test/a?x=2", "/a": "miss/absent s www.test/a",
	} {
		if x := w.engine.Explain(ask(target)); x.Outcome+"/"+x.Reason+" "+x.KeyText != want {
			t.Errorf("%s: %s/%s %s; want %s", target, x.Outcome, x.Reason, x.KeyText, want)
		}
		a := w.engine.Serve(t.Context(), ask(target))
		if got, _, _ := strings.Cut(want, " "); a.Outcome.String()+"/"+a.Reason.String() != got {
			t.Errorf("%s then ended as %s/%s; want %s", target, a.Outcome, a.Reason, got)
		}
		a.Close()
	}
}

// Explaining goes on beside requests, fills and purges.
func TestExplainBesideRequests(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
		return reply(200, "body", "Cache-Control", "max-age=60", "Vary", "Accept-Language", "ETag", `"1"`), nil
	})
	var all sync.WaitGroup
	for i := range 8 {
		header := http.Header{"Accept-Language": {fmt.Sprint("x-", i%3)}}
		all.Go(func() {
			for range 50 {
				w.get(header)
				w.purges.hard.Store(w.purges.applied.Add(1))
			}
		})
		all.Go(func() {
			for range 200 {
				if x := w.explain(header); x.Outcome == "error" || x.Outcome == "hit" && x.Stored == nil {
					t.Errorf("%+v", x)
				}
			}
		})
	}
	all.Wait()
}

// What is in both tiers is named in the order in which they are asked.
func TestExplainTiers(t *testing.T) {
	below, err := disk.Open(disk.Options{Dir: t.TempDir(), BudgetBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	store := tiered.New(memory.New(memory.Options{}), below, tiered.Options{})
	w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) {
		return reply(200, "body", "Cache-Control", "max-age=60"), nil
	})
	w.get(nil)
	w.engine.Drain(t.Context())
	if x := w.explain(nil); x.Stored == nil || strings.Join(x.Stored.Tiers, " ") != "memory disk" {
		t.Errorf("%+v", x.Stored)
	}
}

// With another policy other directives of the request count.
func TestExplainObeys(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
		return reply(200, "body", "Cache-Control", "max-age=60", "ETag", `"1"`), nil
	})
	w.site.Policy.Obey = rfc9111.ObeyNoCache
	w.get(nil)
	if x := w.explain(http.Header{"Cache-Control": {"no-cache"}}); x.Outcome != "revalidated" || x.Stored.FreshSeconds <= 0 {
		t.Errorf("%+v", x)
	}
}

// Where the key has more than the target, the explanation is of the request's
// own object, and of the fill that it would share.
func TestExplainExtra(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
		return reply(200, "body", "Cache-Control", "max-age=60"), nil
	})
	request := func(extra string) *cache.Request {
		r := w.request(http.MethodGet, nil)
		r.Extra = extra
		return r
	}
	outcomes := func() string {
		var all []string
		for _, extra := range []string{"~mobile;", "~other;"} {
			x := w.engine.Explain(request(extra))
			all = append(all, x.Outcome+"/"+x.Reason+" "+x.Variant)
		}
		return strings.Join(all, ", ")
	}
	if got, want := outcomes(), "miss/absent ~mobile;, miss/absent ~other;"; got != want {
		t.Errorf("cold: %s; want %s", got, want)
	}
	a := w.engine.Serve(t.Context(), request("~mobile;"))
	_, _ = a.WriteRange(t.Context(), io.Discard, 0, -1)
	a.Close()
	w.engine.Drain(t.Context())
	if got, want := outcomes(), "hit/fresh ~mobile;, miss/variant ~other;"; got != want {
		t.Errorf("one is stored: %s; want %s", got, want)
	}
}

// An explanation names the codings that the object is stored in, and a request
// that says no-store.
func TestExplainCodings(t *testing.T) {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
		return reply(200, strings.Repeat("text ", 1000), "Cache-Control", "max-age=60", "Content-Type", "text/plain"), nil
	})
	w.site.Encodings = &cache.Encodings{Compress: []rfc9111.Coding{rfc9111.CodingGzip}}
	header := http.Header{"Accept-Encoding": {"gzip"}}
	w.get(header)
	for range 500 {
		if w.get(header); len(w.explain(header).Stored.Codings) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	codings := w.explain(header).Stored.Codings
	if len(codings) != 1 || codings[0].Coding != "gzip" || codings[0].BodyBytes > 500 || !slices.Equal(codings[0].Tiers, []string{"memory"}) {
		t.Errorf("%+v", codings)
	}
	r := w.request(http.MethodGet, http.Header{"Cache-Control": {"no-store"}})
	r.Target = "/b"
	if x := w.engine.Explain(r); x.Outcome != "pass" || x.Reason != "request-no-store" {
		t.Errorf("no-store: %s/%s", x.Outcome, x.Reason)
	}
}
