package cache_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/cache"
	"weir/purge"
	"weir/storage"
	"weir/storage/memory"
)

var purgeObjects = flag.Int("purge.objects", 100_000, "objects that the benchmarks of purges store")

// purgedStore is an engine over many objects in memory, with a real index.
type purgedStore struct {
	engine  *cache.Engine
	store   *memory.Store
	index   *purge.Index
	site    *cache.Site
	objects int
	version uint64
}

func newPurgedStore(tb testing.TB, objects int) *purgedStore {
	p := &purgedStore{
		store:   memory.New(memory.Options{BudgetBytes: max(64<<20, int64(objects)*700)}),
		index:   purge.NewIndex(purge.IndexOptions{TargetsMax: 4_000_000}),
		site:    &cache.Site{Name: "docs"},
		objects: objects,
	}
	var err error
	if p.engine, err = cache.New(cache.Options{Store: p.store, Purges: p.index}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = p.engine.Close(context.Background())
		_ = p.store.Close()
	})
	for i := range objects {
		p.put(tb, i)
	}
	if s := p.store.Stats(); s.Objects != objects {
		tb.Fatalf("%d objects, want %d", s.Objects, objects)
	}
	return p
}

func (p *purgedStore) put(tb testing.TB, i int) {
	target := purgedTarget(i)
	m := &storage.Meta{
		Site: "docs", Host: "www.test", Target: target, BodyID: uint64(i + 1), BodyBytes: 4, Stamp: p.version,
		Status: http.StatusOK, Header: []byte("Content-Type: text/plain\r\n"), Tags: []string{"red"},
	}
	m.Stored.ResponseTime, m.Stored.Lifetime = time.Now(), time.Hour
	w, err := p.store.Create(storage.KeyOf("docs www.test"+target), m)
	if err == nil {
		_, _ = w.Write([]byte("body"))
		err = w.Commit()
		_ = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func purgedTarget(i int) string { return fmt.Sprintf("/images/%d.jpg?w=100", i) }

func (p *purgedStore) request(i int) *cache.Request {
	h := http.Header{}
	return &cache.Request{
		Site: p.site, Method: http.MethodGet, Host: "www.test", Target: purgedTarget(i), Fields: h, Forward: forward{http.MethodGet, h},
	}
}

// purge applies one purge of so many URLs that are not stored.
func (p *purgedStore) purge(site string, targets int) {
	p.version++
	r := purge.Record{Version: p.version, Site: site, Scope: purge.ScopeURL}
	for i := range targets {
		r.Targets = append(r.Targets, fmt.Sprintf("/purged/%d/%d.jpg", p.version, i))
	}
	p.index.Apply([]purge.Record{r})
}

func (p *purgedStore) hit(b *testing.B, r *cache.Request) {
	a := p.engine.Serve(b.Context(), r)
	if a.Outcome != cache.OutcomeHit {
		b.Fatalf("%s: %v %v", r.Target, a.Outcome, a.Reason)
	}
	a.Close()
}

// BenchmarkHitAfterPurges is what a hit costs among 10,000 objects: with no purge
// of their site, after a million of others there, and when each hit is the object's first since a
// purge, so that it has to be compared with all of them.
func BenchmarkHitAfterPurges(b *testing.B) {
	const objects = 10_000
	for _, c := range []struct {
		name   string
		purges int
		first  bool
	}{{"none", 0, false}, {"million", 1_000_000, false}, {"none-first", 0, true}, {"million-first", 1_000_000, true}} {
		b.Run(c.name, func(b *testing.B) {
			p := newPurgedStore(b, objects)
			// A million in any case, so that the garbage collector has as much to do;
			// "none" has them of another site, of which nothing is asked.
			site := "docs"
			if c.purges == 0 {
				site = "other"
			}
			for range 100 {
				p.purge(site, 10_000)
			}
			requests := make([]*cache.Request, objects)
			for i := range requests {
				requests[i] = p.request(i)
				p.hit(b, requests[i])
			}
			b.ReportAllocs()
			began := cpuTime()
			for i := 0; b.Loop(); i++ {
				if c.first && i%objects == 0 {
					p.purge("docs", 1)
				}
				p.hit(b, requests[i%objects])
			}
			b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what the process has had of the processors, which tells more than
// the clock on a machine that has other work.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPurgeAll is what it takes a node to have a purge in its journal and in
// force, with -purge.objects stored: of everything, or of one URL.
func BenchmarkPurgeAll(b *testing.B) {
	p := newPurgedStore(b, *purgeObjects)
	j, err := purge.OpenJournal(b.TempDir()+"/purges.db", purge.JournalOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	for _, scope := range []purge.Scope{purge.ScopeURL, purge.ScopeAll, purge.ScopeSite, purge.ScopeURL, purge.ScopeAll} {
		b.Run(fmt.Sprintf("objects=%d/%v", p.objects, scope), func(b *testing.B) {
			var inForce time.Duration
			for b.Loop() {
				p.version++
				r := purge.Record{Version: p.version, Scope: scope, At: time.Now()}
				if scope != purge.ScopeAll {
					r.Site = "docs"
				}
				if scope == purge.ScopeURL {
					r.Targets = []string{purgedTarget(int(p.version) % p.objects)}
				}
				if err := j.Append([]purge.Record{r}); err != nil {
					b.Fatal(err)
				}
				before := time.Now()
				p.index.Apply([]purge.Record{r})
				inForce += time.Since(before)
			}
			b.ReportMetric(float64(inForce.Nanoseconds())/float64(b.N), "apply-ns/op")
			if hard, _ := p.index.Covering("docs", "www.test", purgedTarget(1), nil); scope == purge.ScopeAll && hard != p.version {
				b.Errorf("covered by %d, want %d", hard, p.version)
			}
		})
	}
}

// BenchmarkHitsWhileSweeping is how long hits take, one after the other, while
// nothing else happens and while a sweep goes over -purge.objects objects, as fast
// as a node sweeps at leisure, when it has to, and without any bound.
func BenchmarkHitsWhileSweeping(b *testing.B) {
	p := newPurgedStore(b, *purgeObjects)
	for range 25 {
		p.purge("docs", 10_000)
	}
	for _, c := range []struct {
		name string
		pace int // objects a second; negative: no sweep
	}{{"no-sweep", -1}, {"pace=5000", 5_000}, {"pace=100000", 100_000}, {"unbounded", 0}} {
		b.Run(fmt.Sprintf("objects=%d/%s", p.objects, c.name), func(b *testing.B) {
			p.purge("docs", 1) // every object has to be compared again
			ctx, cancel := context.WithCancel(b.Context())
			var sweeping sync.WaitGroup
			compared := 0
			o := cache.SweepOptions{Tiers: []cache.SweptStore{p.store}, Retain: p.index.Retain}
			if c.pace > 0 {
				o.Pace = func() int { return c.pace }
			}
			if c.pace >= 0 {
				sweeping.Go(func() {
					for ctx.Err() == nil {
						r, _ := p.engine.Sweep(ctx, o)
						compared += r.Compared
						p.version++
						p.index.Apply([]purge.Record{{Version: p.version, Site: "docs", Scope: purge.ScopeURL, Targets: []string{"/x"}}})
					}
				})
			}
			random := rand.New(rand.NewPCG(1, 2))
			requests := make([]*cache.Request, 10_000)
			for i := range requests {
				requests[i] = p.request(random.IntN(p.objects))
			}
			times := make([]time.Duration, 0, b.N)
			began := time.Now()
			for i := 0; b.Loop(); i++ {
				at := time.Now()
				p.hit(b, requests[i%len(requests)])
				times = append(times, time.Since(at))
			}
			took := time.Since(began).Seconds()
			cancel()
			sweeping.Wait()
			slices.Sort(times)
			for _, permille := range []int{500, 990, 999} {
				b.ReportMetric(float64(times[(len(times)-1)*permille/1000].Nanoseconds())/1000, fmt.Sprintf("p%v-µs", float64(permille)/10))
			}
			b.ReportMetric(float64(compared)/took, "swept/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
