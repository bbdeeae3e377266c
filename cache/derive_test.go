package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"weir/cache"
	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage/memory"
)

// prose is text of n bytes that compresses well.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "<p class=\"row\">line %d of the page</p>\n", i)
	}
	return b.String()[:n]
}

// encoded gives text in a coding, as a build step would have made it.
func encoded(t testing.TB, coding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	default:
		w = gzip.NewWriter(&b)
	}
	_, _ = io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func decoded(t testing.TB, coding, text string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(text)
	switch coding {
	case "zstd":
		d, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		r = d
	case "br":
		r = brotli.NewReader(r)
	case "gzip":
		d, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = d
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	return string(b)
}

// got is an answer, read whole.
type got struct {
	outcome cache.Outcome
	header  http.Header
	etag    string
	coding  string
	raw     string
	vary    bool // Answer.Negotiated
	whole   bool
	status  int
	lasting time.Duration
}

// ask serves a GET; fields alternate names and values.
func (w *world) ask(fields ...string) got {
	w.t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	a := w.engine.Serve(w.t.Context(), w.request(http.MethodGet, h))
	defer a.Close()
	if a.Err != nil {
		w.t.Fatalf("error: %v", a.Err)
	}
	var b bytes.Buffer
	if _, err := a.WriteRange(w.t.Context(), &b, 0, -1); err != nil {
		w.t.Fatalf("%s after %d bytes: %v", a.Outcome, b.Len(), err)
	}
	g := got{outcome: a.Outcome, raw: b.String(), vary: a.Negotiated, whole: a.Whole}
	if a.Meta == nil {
		g.header, g.status = a.Response.Header, a.Response.StatusCode
	} else {
		g.header, g.status = rfc9111.ParseFields(a.Meta.Header), a.Meta.Status
		g.lasting = a.Meta.Stored.TTL(a.Now)
		if a.Meta.ETag != g.header.Get("ETag") && a.Meta.ETag != "" {
			w.t.Errorf("Meta.ETag is %s, the field %s", a.Meta.ETag, g.header.Get("ETag"))
		}
	}
	g.etag, g.coding = g.header.Get("ETag"), g.header.Get("Content-Encoding")
	return g
}

// derived counts the derivations that ended as results say.
func (w *world) derived(results ...cache.DerivationResult) (n int64) {
	for _, c := range rfc9111.Codings {
		counts := w.engine.Derivations(c)
		for _, r := range results {
			n += counts.Ended[r]
		}
	}
	return n
}

func compressing() *cache.Encodings {
	return &cache.Encodings{Compress: []rfc9111.Coding{rfc9111.CodingZstd, rfc9111.CodingBrotli, rfc9111.CodingGzip}}
}

// newCodingWorld has an edge's encodings and an origin with one answer, whose
// fields alternate names and values.
func newCodingWorld(t *testing.T, body string, fields ...string) *world {
	w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) { return reply(200, body, fields...), nil })
	w.site.Encodings = compressing()
	return w
}

var html = []string{"Cache-Control", "max-age=60", "Content-Type", "text/html; charset=utf-8", "ETag", `"abc"`}

// The first hit in a coding is answered as it is stored, and the next in the
// coding. The store keeps what the origin sent.
func TestCompressBehindTheFirstHit(t *testing.T) {
	for _, tt := range []struct{ accept, coding, etag string }{
		{"gzip, deflate, br, zstd", "zstd", `"abc-zstd1"`},
		{"gzip, br", "br", `"abc-br1"`},
		{"gzip", "gzip", `"abc-gzip1"`},
		{"br;q=0.5, gzip", "gzip", `"abc-gzip1"`},
	} {
		t.Run(tt.accept, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text := prose(100_000)
				w := newCodingWorld(t, text, append(html, "Repr-Digest", "sha-256=:x:", "Content-MD5", "x", "Vary", "Origin")...)
				for i, want := range []string{"miss", "hit"} {
					g := w.ask("Accept-Encoding", tt.accept)
					if g.outcome.String() != want || g.coding != "" || g.raw != text || g.etag != `"abc"` || !g.vary {
						t.Errorf("request %d: %s in %q, tag %s, negotiated %v", i, g.outcome, g.coding, g.etag, g.vary)
					}
					if n := w.derived(cache.DerivationDone); i == 0 && n != 0 {
						t.Errorf("%d derivations before the first hit", n)
					}
				}
				synctest.Wait()
				g := w.ask("Accept-Encoding", tt.accept)
				if g.outcome != cache.OutcomeHit || g.coding != tt.coding || g.etag != tt.etag || !g.vary || len(g.raw) > len(text)/5 {
					t.Errorf("then %s in %q, tag %s, %d bytes", g.outcome, g.coding, g.etag, len(g.raw))
				}
				if decoded(t, g.coding, g.raw) != text {
					t.Error("the decoded body is another")
				}
				if g.header.Get("Repr-Digest") != "" || g.header.Get("Content-MD5") != "" || g.header.Get("Vary") != "Origin, Accept-Encoding" {
					t.Errorf("header %v", g.header)
				}
				if plain := w.ask(); plain.coding != "" || plain.raw != text || plain.etag != `"abc"` || !plain.vary {
					t.Errorf("without Accept-Encoding: %q, tag %s", plain.coding, plain.etag)
				}
				if w.derived(cache.DerivationDone) != 1 || w.up.asked.Load() != 1 {
					t.Errorf("%d derivations, %d fills; want 1 and 1", w.derived(cache.DerivationDone), w.up.asked.Load())
				}
			})
		})
	}
}

// A thousand requests in three codings make one derivation of each.
func TestOneDerivationEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := prose(30_000)
		w := newCodingWorld(t, text, html...)
		w.ask()
		var bodies sync.Map // "" for identity
		for range 2 {
			var clients sync.WaitGroup
			for i := range 1000 {
				clients.Go(func() {
					g := w.ask("Accept-Encoding", [...]string{"zstd", "br", "gzip"}[i%3])
					if first, _ := bodies.LoadOrStore(g.coding, g.raw); first != g.raw {
						t.Errorf("two bodies in %q", g.coding)
					}
				})
			}
			clients.Wait()
			synctest.Wait()
		}
		for _, coding := range []string{"", "zstd", "br", "gzip"} {
			if body, _ := bodies.Load(coding); body == nil || decoded(t, coding, body.(string)) != text {
				t.Errorf("in %q: another body, or none", coding)
			}
		}
		if n := w.derived(cache.DerivationResults[:]...); n != 3 || w.derived(cache.DerivationDone) != 3 {
			t.Errorf("%d derivations, %d of them done; want 3", n, w.derived(cache.DerivationDone))
		}
		c := w.engine.Derivations(rfc9111.CodingBrotli)
		if c.BytesIn != 30_000 || c.BytesOut <= 0 || c.BytesOut > 10_000 {
			t.Errorf("br: %d bytes in, %d out", c.BytesIn, c.BytesOut)
		}
	})
}

// After a hard purge nothing derived of the old content answers, in any coding.
func TestPurgeReachesDerived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := "one "
		w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
			return reply(200, version+prose(20_000), html...), nil // the tag stays: nothing but the purge tells
		})
		w.site.Encodings = compressing()
		codings := []string{"zstd", "br", "gzip", "identity"}
		round := func(want string) {
			t.Helper()
			for range 3 {
				for _, accept := range codings {
					g := w.ask("Accept-Encoding", accept)
					if text := decoded(t, g.coding, g.raw); !strings.HasPrefix(text, want) {
						t.Fatalf("%s: %q, want %q", accept, text[:4], want)
					}
					synctest.Wait()
				}
			}
		}
		round("one ")
		version = "two "
		w.purges.hard.Store(1)
		w.purges.applied.Store(1)
		round("two ")
		if n := w.derived(cache.DerivationDone); n != 6 {
			t.Errorf("%d derivations, want 6", n)
		}
		if g := w.ask("Accept-Encoding", "br", "If-None-Match", `"abc-br1"`); g.raw != "" || g.etag != `"abc-br1"` {
			t.Errorf("confirmed with %d bytes and tag %s", len(g.raw), g.etag)
		}
	})
}

// A 304 gives the derived object the base's new lifetime and fields, from the
// first answer on, and without another derivation.
func TestRefreshReachesDerived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, round := prose(20_000), 0
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			round++
			fields := append(slices.Clone(html), "X-Round", fmt.Sprint(round))
			if r.Header.Get("If-None-Match") == `"abc"` {
				return reply(304, "", fields...), nil
			}
			return reply(200, text, fields...), nil
		})
		w.site.Encodings = compressing()
		for range 3 {
			w.ask("Accept-Encoding", "br")
			synctest.Wait()
		}
		time.Sleep(90 * time.Second)
		for i, want := range []string{"revalidated", "hit", "hit"} {
			g := w.ask("Accept-Encoding", "br")
			if g.outcome.String() != want || g.coding != "br" || g.header.Get("X-Round") != "2" || g.lasting != time.Minute || g.etag != `"abc-br1"` {
				t.Errorf("answer %d: %s in %q, round %s, ttl %v, tag %s", i, g.outcome, g.coding, g.header.Get("X-Round"), g.lasting, g.etag)
			}
			synctest.Wait()
		}
		if done, current := w.derived(cache.DerivationDone), w.derived(cache.DerivationCurrent); done != 1 || current != 1 {
			t.Errorf("%d derivations done, %d brought up to date; want 1 and 1", done, current)
		}
	})
}

// What is not for compressing goes out as it is stored, without Vary.
func TestNotCompressed(t *testing.T) {
	text := prose(20_000)
	for _, tt := range []struct {
		name, body string
		fields     []string
	}{
		{"RFC 9111 5.2.2.6 no-transform", text, []string{"Cache-Control", "max-age=60, No-Transform", "Content-Type", "text/html"}},
		{"no-transform in a targeted field", text, []string{"CDN-Cache-Control", "max-age=60, no-transform", "Content-Type", "text/html"}},
		{"tiny", prose(1023), html},
		{"huge", prose(10<<20 + 1), html},
		{"an image", text, []string{"Cache-Control", "max-age=60", "Content-Type", "image/png"}},
		{"no type", text, []string{"Cache-Control", "max-age=60"}},
		{"events", text, []string{"Cache-Control", "max-age=60", "Content-Type", "text/event-stream"}},
		{"RFC 9110 12.5.5 the origin negotiates", text, append(slices.Clone(html), "Vary", "Origin, Accept-Encoding", "Content-Encoding", "gzip")},
		{"several codings", text, append(slices.Clone(html), "Content-Encoding", "gzip, br")},
		{"a coding that nobody knows", text, append(slices.Clone(html), "Content-Encoding", "compress")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCodingWorld(t, tt.body, tt.fields...)
				for range 3 {
					g := w.ask("Accept-Encoding", "zstd, br, gzip")
					if g.raw != tt.body || g.vary {
						t.Errorf("%s in %q, negotiated %v", g.outcome, g.coding, g.vary)
					}
					synctest.Wait()
				}
				if n := w.derived(cache.DerivationResults[:]...); n != 0 {
					t.Errorf("%d derivations", n)
				}
			})
		})
	}
}

// Text that does not shrink is tried once, and is not tried again.
func TestNotWorthIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noise := make([]byte, 50_000)
		r := rand.NewChaCha8([32]byte{})
		_, _ = r.Read(noise)
		w := newCodingWorld(t, string(noise), html...)
		for range 5 {
			if g := w.ask("Accept-Encoding", "gzip"); g.coding != "" || g.raw != string(noise) {
				t.Errorf("%s in %q", g.outcome, g.coding)
			}
			synctest.Wait()
			time.Sleep(10 * time.Second)
		}
		if n := w.derived(cache.DerivationNotWorth); n != 1 {
			t.Errorf("%d derivations were not worth it, want 1", n)
		}
	})
}

// Conditions and ranges find the representation that they are about. "ready" has
// the br representation stored.
func TestConditionsChooseTheRepresentation(t *testing.T) {
	const modified = "Mon, 01 Nov 1999 00:00:00 GMT"
	for _, tt := range []struct {
		name   string
		fields []string
		ready  bool
		coding string
		etag   string
		body   bool
		whole  bool
	}{
		{"RFC 9110 13.1.2 the base's tag", []string{"Accept-Encoding", "br", "If-None-Match", `"abc"`}, true, "", `"abc"`, true, false},
		{"RFC 9110 13.1.2 the derived tag", []string{"Accept-Encoding", "br", "If-None-Match", `"abc-br1"`}, true, "br", `"abc-br1"`, false, false},
		{"RFC 9110 13.1.2 the derived tag, not stored", []string{"Accept-Encoding", "br", "If-None-Match", `W/"abc-br1"`}, false, "br", `"abc-br1"`, false, false},
		{"RFC 9110 13.1.2 both", []string{"Accept-Encoding", "br", "If-None-Match", `"abc", "abc-br1"`}, true, "br", `"abc-br1"`, false, false},
		{"RFC 9110 13.1.2 a coding that the request does not take", []string{"Accept-Encoding", "gzip", "If-None-Match", `"abc-br1"`}, true, "", `"abc"`, true, false},
		{"RFC 9110 13.1.2 another coding that it takes", []string{"Accept-Encoding", "br, gzip", "If-None-Match", `"abc-gzip1"`}, true, "gzip", `"abc-gzip1"`, false, false},
		{"RFC 9110 13.1.2 an old one", []string{"Accept-Encoding", "br", "If-None-Match", `"abb-br1"`}, true, "br", `"abc-br1"`, true, false},
		{"RFC 9110 13.1.1 If-Match, the base's tag", []string{"Accept-Encoding", "br", "If-Match", `"abc"`}, true, "", `"abc"`, true, false},
		{"RFC 9110 13.1.1 If-Match, the derived tag", []string{"Accept-Encoding", "gzip, br", "If-Match", `"abc-br1"`}, true, "br", `"abc-br1"`, true, false},
		{"RFC 9110 14.2 a range", []string{"Accept-Encoding", "br", "Range", "bytes=0-9"}, true, "", `"abc"`, true, false},
		{"RFC 9110 14.2 a range, If-Match", []string{"Accept-Encoding", "br", "Range", "bytes=0-9", "If-Match", `"abc"`}, true, "", `"abc"`, true, false},
		{"RFC 9110 14.2 a range, If-Match any", []string{"Accept-Encoding", "br", "Range", "bytes=0-9", "If-Match", `*`}, true, "", `"abc"`, true, false},
		{"RFC 9110 14.2 a range, If-Match derived", []string{"Accept-Encoding", "br", "Range", "bytes=0-9", "If-Match", `"abc-br1"`}, true, "br", `"abc-br1"`, true, false},
		{"RFC 9110 13.1.5 If-Range, the base's tag", []string{"Accept-Encoding", "br", "Range", "bytes=0-9", "If-Range", `"abc"`}, true, "", `"abc"`, true, false},
		{"RFC 9110 13.1.5 If-Range, the derived tag", []string{"Accept-Encoding", "gzip, br", "Range", "bytes=0-9", "If-Range", `"abc-br1"`}, true, "br", `"abc-br1"`, true, false},
		{"RFC 9110 13.1.5 If-Range, the derived tag, not stored", []string{"Accept-Encoding", "br", "Range", "bytes=0-9", "If-Range", `"abc-br1"`}, false, "", `"abc"`, true, false},
		{"RFC 9110 13.1.5 If-Range, a date", []string{"Accept-Encoding", "br", "Range", "bytes=0-9", "If-Range", modified}, true, "br", `"abc-br1"`, true, true},
		{"RFC 9110 13.1.5 If-Range, a date, identity only", []string{"Range", "bytes=0-9", "If-Range", modified}, true, "", `"abc"`, true, false},
		{"RFC 9111 5.2.1.6 no-transform", []string{"Accept-Encoding", "br", "Cache-Control", "no-transform"}, true, "", `"abc"`, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCodingWorld(t, prose(20_000), append(slices.Clone(html), "Last-Modified", modified)...)
				w.ask()
				if tt.ready {
					w.ask("Accept-Encoding", "br")
					synctest.Wait()
				}
				g := w.ask(tt.fields...)
				if g.coding != tt.coding || g.etag != tt.etag || (g.raw != "") != tt.body || g.whole != tt.whole || !g.vary {
					t.Errorf("in %q, tag %s, %d bytes, whole %v; want %q, %s, body %v, whole %v",
						g.coding, g.etag, len(g.raw), g.whole, tt.coding, tt.etag, tt.body, tt.whole)
				}
			})
		})
	}
}

// RFC 9110 section 8.8.3: weak tags mean the content and stay; what is no tag is
// not made one.
func TestDerivedTags(t *testing.T) {
	for origin, want := range map[string]string{`"abc"`: `"abc-gzip1"`, `W/"abc"`: `W/"abc"`, "": "", "abc": "", `""`: `"-gzip1"`} {
		t.Run(origin, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fields := []string{"Cache-Control", "max-age=60", "Content-Type", "application/json"}
				if origin != "" {
					fields = append(fields, "ETag", origin)
				}
				w := newCodingWorld(t, prose(20_000), fields...)
				for range 2 {
					w.ask("Accept-Encoding", "gzip")
					w.ask("Accept-Encoding", "gzip")
					synctest.Wait()
				}
				if g := w.ask("Accept-Encoding", "gzip"); g.coding != "gzip" || g.etag != want {
					t.Errorf("in %q, tag %q, want %q", g.coding, g.etag, want)
				}
			})
		})
	}
}

// RFC 9110 section 12.5.3: a client that refuses identity waits for the first
// derivation on a hit; one that takes nothing else gets it.
func TestIdentityRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCodingWorld(t, prose(20_000), html...)
		w.ask()
		for range 2 {
			if g := w.ask("Accept-Encoding", "br, identity;q=0"); g.coding != "br" {
				t.Errorf("%s in %q", g.outcome, g.coding)
			}
		}
		if g := w.ask("Accept-Encoding", "deflate"); g.coding != "" {
			t.Errorf("in %q", g.coding)
		}
		if n := w.derived(cache.DerivationDone); n != 1 {
			t.Errorf("%d derivations, want 1", n)
		}
	})
}

// A store with no room for derived objects is not asked at every hit.
func TestDerivedDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := encoded(t, "gzip", prose(2<<20))
		store := memory.New(memory.Options{BudgetBytes: 1 << 20, ObjectBytesMax: 512 << 10})
		w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) {
			return reply(200, text, append(slices.Clone(html), "Content-Encoding", "gzip")...), nil
		})
		w.site.Encodings = compressing()
		for range 5 {
			if g := w.ask(); g.coding != "gzip" || g.raw != text {
				t.Errorf("%s in %q", g.outcome, g.coding)
			}
		}
		if n := w.derived(cache.DerivationFailed); n != 1 {
			t.Errorf("%d derivations failed, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		w.ask()
		w.ask()
		if n := w.derived(cache.DerivationFailed); n != 2 {
			t.Errorf("%d derivations failed after two minutes, want 2", n)
		}
	})
}

// partWorld has an origin that answers ranges, and small blocks.
func partWorld(t *testing.T, body string, fields ...string) *world {
	w := newWorld(t, cache.Options{BlockBytes: 512}, func(r *http.Request) (*http.Response, error) {
		ranges, verdict := rfc9110.Select(r.Method, r.Header, http.Header{"Etag": {`"abc"`}}, int64(len(body)))
		if verdict != rfc9110.Satisfiable || len(ranges) != 1 {
			return reply(200, body, fields...), nil
		}
		part := body[ranges[0].Start : ranges[0].Start+ranges[0].Length]
		return reply(206, part, append(slices.Clone(fields), "Content-Range", ranges[0].ContentRange(int64(len(body))))...), nil
	})
	w.site.Encodings = compressing()
	return w
}

// Of a page of which parts are stored, a request for the whole has the whole
// fetched behind it, and the page is compressed as any other.
func TestCompressWhatIsStoredInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := prose(20_000)
		w := partWorld(t, text, html...)
		for _, fields := range [][]string{
			{"Accept-Encoding", "br", "Range", "bytes=1000-1099"},
			{"Accept-Encoding", "br", "Range", "bytes=1000-1099"},
			{"Accept-Encoding", "br"},
			{"Accept-Encoding", "br"},
		} {
			if g := w.ask(fields...); g.coding != "" || !g.vary || g.etag != `"abc"` || g.raw != text {
				t.Errorf("%v: %s in %q, tag %s, %d bytes, negotiated %v", fields, g.outcome, g.coding, g.etag, len(g.raw), g.vary)
			}
			synctest.Wait()
		}
		g := w.ask("Accept-Encoding", "br")
		if g.outcome != cache.OutcomeHit || g.coding != "br" || decoded(t, "br", g.raw) != text {
			t.Errorf("then %s in %q", g.outcome, g.coding)
		}
		if g := w.ask("Accept-Encoding", "br", "If-None-Match", `"abc-br1"`); g.raw != "" || g.coding != "br" {
			t.Errorf("confirmed in %q with %d bytes", g.coding, len(g.raw))
		}
	})
}

// A shield has no encodings: what the origin sent is what its edges get.
func TestNoEncodings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCodingWorld(t, prose(20_000), html...)
		w.site.Encodings = nil
		for range 3 {
			if g := w.ask("Accept-Encoding", "br"); g.coding != "" || g.vary {
				t.Errorf("in %q, negotiated %v", g.coding, g.vary)
			}
			synctest.Wait()
		}
	})
}

// An engine that closes lets nobody wait, and waits for its workers.
func TestCloseEndsDerivations(t *testing.T) {
	store := memory.New(memory.Options{BudgetBytes: 64 << 20, ObjectBytesMax: 32 << 20})
	w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) {
		return reply(200, prose(8<<20), html...), nil
	})
	w.site.Encodings = compressing()
	w.ask()
	var waiting sync.WaitGroup
	for _, accept := range []string{"zstd", "br", "gzip"} {
		waiting.Go(func() { w.ask("Accept-Encoding", accept+", identity;q=0") })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := w.engine.Close(ctx); err != nil {
		t.Error(err)
	}
	waiting.Wait()
}
