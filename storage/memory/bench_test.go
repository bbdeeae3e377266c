package memory

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/storage"
	"weir/storage/storagetest"
)

// numbered is the key of an object of a benchmark: well mixed, as hashes are.
func numbered(i uint64) (k storage.Key) {
	r := rand.NewPCG(i, 1)
	binary.LittleEndian.PutUint64(k[:], r.Uint64())
	binary.LittleEndian.PutUint64(k[8:], r.Uint64())
	return k
}

// putNumbered stores n bytes under numbered(i).
func putNumbered(tb testing.TB, s storage.Store, i uint64, body []byte) {
	w, err := s.Create(numbered(i), storagetest.Meta("a", i, int64(len(body))))
	if err == nil {
		if _, err = w.Write(body); err == nil {
			err = w.Commit()
		}
		_ = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func fullOf(tb testing.TB, objects, bytes int) *Store {
	s := New(Options{BudgetBytes: 16<<20 + int64(objects)*int64(bytes+1024)})
	body := storagetest.Body(1, int64(bytes))
	for i := range objects {
		putNumbered(tb, s, uint64(i), body)
	}
	if n := s.Stats().Objects; n != objects {
		tb.Fatalf("%d objects of %d are in", n, objects)
	}
	return s
}

func BenchmarkHit(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, objects := range []uint64{1, 10_000, 1_000_000} {
		s := fullOf(b, int(objects), 1000)
		popular := rand.NewZipf(r, 1.01, 1, objects-1)
		b.Run(fmt.Sprintf("objects=%d/zipf", objects), func(b *testing.B) { hits(b, s, popular.Uint64) })
		b.Run(fmt.Sprintf("objects=%d/uniform", objects), func(b *testing.B) {
			hits(b, s, func() uint64 { return r.Uint64N(objects) })
		})
	}
}

func hits(b *testing.B, s *Store, next func() uint64) {
	keys := make([]storage.Key, 1<<20)
	for i := range keys {
		keys[i] = numbered(next())
	}
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime()
	for i := range b.N {
		o, err := s.Get(keys[i&(len(keys)-1)])
		if err != nil {
			b.Fatal(err)
		}
		_ = o.Close()
	}
	b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
}

// BenchmarkMainMemory is what a look-up among a million objects cannot do
// without: reads of memory that no cache of the processor holds, each of which
// has to wait for the one before it, in an arena as large as BenchmarkHit's.
// The bucket is one and the view another.
func BenchmarkMainMemory(b *testing.B) {
	const objects, units = 1_000_000, 16
	a := newArena(objects*units+segmentUnits, &mappings{})
	order := make([]ref, objects)
	for i := range order {
		order[i] = a.takeOne(units)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(objects, func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, u := range order {
		*(*ref)(a.start(u)) = order[(i+1)%objects]
	}
	u := order[0]
	b.ResetTimer()
	began := cpuTime()
	for range b.N {
		u = *(*ref)(a.start(u))
	}
	b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
	runtime.KeepAlive(u)
}

// BenchmarkHitParallel has all processors at the same objects.
func BenchmarkHitParallel(b *testing.B) {
	const objects = 10_000
	s := fullOf(b, objects, 1000)
	keys := make([]storage.Key, objects)
	for i := range keys {
		keys[i] = numbered(uint64(i))
	}
	var started atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := started.Add(objects / 8); pb.Next(); i++ {
			o, err := s.Get(keys[i%objects])
			if err != nil {
				b.Error(err)
				return
			}
			_ = o.Close()
		}
	})
}

// BenchmarkMeta is what asking for a meta adds to a hit.
func BenchmarkMeta(b *testing.B) {
	s := fullOf(b, metasMax*4, 100)
	for name, objects := range map[string]uint64{"kept": 100, "decoded": metasMax * 4} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				o, err := s.Get(numbered(uint64(i) % objects))
				if err != nil {
					b.Fatal(err)
				}
				_ = o.Meta()
				_ = o.Close()
			}
		})
	}
}

// cpuTime is what the process has had of the processors, which tells more than
// the clock on a machine that does other things too.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkForcedGC is what the collector costs while the store is full.
func BenchmarkForcedGC(b *testing.B) {
	for _, objects := range []int{64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("objects=%d/body=4KiB", objects), func(b *testing.B) {
			s := fullOf(b, objects, 4096)
			for i := range objects { // a meta of each has been asked for
				o, _ := s.Get(numbered(uint64(i)))
				_ = o.Meta()
				_ = o.Close()
			}
			runtime.GC()
			b.ResetTimer()
			began := cpuTime()
			for range b.N {
				runtime.GC()
			}
			b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
			runtime.KeepAlive(s)
		})
	}
}
