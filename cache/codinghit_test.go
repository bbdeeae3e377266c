package cache_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/cache"
	"weir/storage/memory"
)

// A hit in a coding costs one more look-up, and no allocation.
func TestHitInACodingDoesNotAllocate(t *testing.T) {
	w := newCodingWorld(t, prose(20_000), html...)
	plain, coded := measureHit(t, w)
	if coded > plain {
		t.Errorf("%v allocations for a hit in gzip, %v for one without encodings", coded, plain)
	}
}

// measureHit gives the allocations of a hit without encodings and in gzip.
func measureHit(t *testing.T, w *world) (plain, coded float64) {
	h := http.Header{"Accept-Encoding": {"gzip"}}
	for w.ask("Accept-Encoding", "gzip").coding != "gzip" {
		time.Sleep(time.Millisecond)
	}
	request := w.request(http.MethodGet, h)
	hit := func() { w.engine.Serve(t.Context(), request).Close() }
	coded = testing.AllocsPerRun(200, hit)
	w.site.Encodings = nil
	return testing.AllocsPerRun(200, hit), coded
}

// BenchmarkHit compares a hit without encodings, one that stays in identity
// although the site has them, and one in a coding.
func BenchmarkHit(b *testing.B) {
	for _, bm := range []struct {
		name, accept string
		encodings    *cache.Encodings
	}{{"off", "gzip", nil}, {"identity", "", compressing()}, {"gzip", "gzip", compressing()}} {
		b.Run(bm.name, func(b *testing.B) {
			engine, request := benchmarkHit(b, bm.encodings, bm.accept)
			b.ReportAllocs()
			for b.Loop() {
				engine.Serve(b.Context(), request).Close()
			}
		})
	}
}

func benchmarkHit(b *testing.B, encodings *cache.Encodings, accept string) (*cache.Engine, *cache.Request) {
	store := memory.New(memory.Options{BudgetBytes: 64 << 20})
	engine, err := cache.New(cache.Options{Store: store, Purges: &purges{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = engine.Close(context.Background())
		_ = store.Close()
	})
	up := &upstream{answer: func(*http.Request) (*http.Response, error) {
		return reply(200, prose(20_000), "Cache-Control", "max-age=3600", "Content-Type", "text/html", "ETag", `"abc"`), nil
	}}
	h := http.Header{}
	if accept != "" {
		h.Set("Accept-Encoding", accept)
	}
	request := &cache.Request{
		Site: &cache.Site{Name: "s", Upstream: up, Encodings: encodings}, Method: http.MethodGet,
		Host: "www.test", Target: "/a", Fields: h, Forward: forward{http.MethodGet, h},
	}
	for {
		a := engine.Serve(b.Context(), request)
		ready := a.Outcome == cache.OutcomeHit && (encodings == nil || accept == "" || strings.HasSuffix(a.Meta.ETag, `-gzip1"`))
		a.Close()
		if ready {
			return engine, request
		}
		time.Sleep(time.Millisecond)
	}
}
