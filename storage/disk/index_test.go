package disk

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"testing"
)

var benchObjects = flag.Int("index.objects", 1_000_000, "objects in BenchmarkIndexBytes")

func TestEntry(t *testing.T) {
	for _, bytes := range []int64{0, 64, 4096, 1 << 22, 1<<22 + 64, 1 << 37} {
		p := place{region: regionsMax - 1, unit: 1<<20 - 1}
		e := makeEntry(p, kindHead, bytes)
		if e.place() != p || e.kind() != kindHead || e.hit() || !(e | entryHit).hit() || !(e | entryHit).same(e) {
			t.Errorf("%x", e)
		}
		if got := e.accounted(); got > bytes || bytes-got > bytes>>15 {
			t.Errorf("%d bytes are accounted as %d", bytes, got)
		}
	}
}

func TestIndexAgainstAMap(t *testing.T) {
	var x index
	defer x.clear()
	random := rand.New(rand.NewPCG(1, 2))
	model := map[fingerprint]entry{}
	for step := range 300_000 {
		// Few different values, near each other, so that many probe the same slots.
		f := fingerprint(random.Uint64N(3)<<56 | random.Uint64N(2000)<<20 | 1)
		switch e := makeEntry(place{region: uint32(step & 0xfff)}, kindObject, 64); random.IntN(5) {
		case 0, 1:
			x.used.Add(64)
			if old := x.put(f, e); old != model[f] {
				t.Fatalf("put: %x, want %x", old, model[f])
			}
			model[f] = e
		case 2:
			if old := x.remove(f, 0); old != model[f] {
				t.Fatalf("remove: %x, want %x", old, model[f])
			}
			delete(model, f)
		default:
			if got := x.get(f); got != model[f] {
				t.Fatalf("get: %x, want %x", got, model[f])
			}
		}
		if int(x.live.Load()) != len(model) || x.used.Load() != int64(len(model))*64 {
			t.Fatalf("%d entries, %d bytes; want %d", x.live.Load(), x.used.Load(), len(model))
		}
	}
	gone := x.sweep(func(e entry) bool { return e.place().region%2 == 0 })
	for f, e := range model {
		if want := e.place().region%2 == 1; (x.get(f) == e) != want {
			t.Fatalf("after the sweep: %x", x.get(f))
		}
	}
	if gone == 0 || int(x.live.Load()) != len(model)-gone {
		t.Errorf("%d swept of %d, %d left", gone, len(model), x.live.Load())
	}
}

// BenchmarkIndexBytes prints the memory of an object in the index. 10 M of them:
//
//	go test -run '^$' -bench IndexBytes -benchtime 1x ./storage/disk -index.objects 10000000
func BenchmarkIndexBytes(b *testing.B) {
	for b.Loop() {
		var x index
		random := rand.New(rand.NewPCG(1, 2))
		worst := 0.0
		for i := range *benchObjects {
			x.put(fingerprint(random.Uint64()|1), makeEntry(place{region: uint32(i & 0xfffff)}, kindObject, 4096))
			if i >= *benchObjects/2 && i%(*benchObjects/50) == 0 {
				worst = max(worst, float64(x.bytes())/float64(x.live.Load()))
			}
		}
		runtime.GC()
		b.ReportMetric(float64(x.bytes())/float64(x.live.Load()), "B/object")
		b.ReportMetric(worst, "B/object-at-worst")
		x.clear()
	}
}

func BenchmarkIndexGet(b *testing.B) {
	var x index
	defer x.clear()
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]fingerprint, 1<<20)
	for i := range keys {
		keys[i] = fingerprint(random.Uint64() | 1)
		x.put(keys[i], makeEntry(place{}, kindObject, 64))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if x.get(keys[i&(1<<20-1)]) == 0 {
			b.Fatal("not found")
		}
	}
}
