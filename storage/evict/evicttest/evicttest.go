// Package evicttest makes request traces of known character, each from a seed,
// and replays them through a policy.
package evicttest

import (
	"math"
	"math/rand/v2"

	"weir/storage/evict"
)

// Request asks for an object, of a size in bytes that never changes.
type Request struct {
	Object uint32
	Bytes  int64
}

// Trace is a list of requests under a name that says what they are like.
type Trace struct {
	Name     string
	Requests []Request
}

// FootprintBytes is the sum of the sizes of the objects.
func (t Trace) FootprintBytes() int64 {
	total, seen := int64(0), make(map[uint32]bool)
	for _, q := range t.Requests {
		if !seen[q.Object] {
			seen[q.Object] = true
			total += q.Bytes
		}
	}
	return total
}

const (
	objects = 5000 // that are asked for again and again
	onceOff = 1 << 30
)

// Traces gives all traces, of n requests each.
func Traces(n int) []Trace {
	return []Trace{
		Mixed(n), Unit(n), Shift(n), Scan(n), Loop(n), Flood(n), Bursts(n),
	}
}

// Rivals gives traces that suit one of the policies that others are compared
// with, of n requests each.
func Rivals(n int) []Trace { return []Trace{Recent(n), Even(n), Heavy(n), Turn(n)} }

// Mixed is the plain case: popularity by Zipf's law, sizes as on the web, from
// hundreds of bytes to megabytes, and nothing that links the two.
func Mixed(n int) Trace {
	return made("mixed", n, func(r *rand.Rand, z zipf, _ int) Request { return web(z.draw(r)) })
}

// Unit is Mixed with all sizes 1.
func Unit(n int) Trace {
	return made("unit", n, func(r *rand.Rand, z zipf, _ int) Request { return Request{z.draw(r), 1} })
}

// Shift is Mixed, with a tenth of the objects replaced every 5,000 requests, the
// most popular ones first.
func Shift(n int) Trace {
	return made("shift", n, func(r *rand.Rand, z zipf, i int) Request {
		return web(z.draw(r) + uint32(i/5000)*objects/10)
	})
}

// Scan is Mixed, interrupted by runs of objects that are asked for once: a
// crawler.
func Scan(n int) Trace {
	return made("scan", n, func(r *rand.Rand, z zipf, i int) Request {
		if i%2000 < 1000 {
			return web(uint32(onceOff + i))
		}
		return web(z.draw(r))
	})
}

// Loop asks for the same objects in the same order, over and over.
func Loop(n int) Trace {
	return made("loop", n, func(_ *rand.Rand, _ zipf, i int) Request { return web(uint32(i % objects)) })
}

// Flood is Mixed, with a large object that is asked for once at every tenth
// request.
func Flood(n int) Trace {
	return made("flood", n, func(r *rand.Rand, z zipf, i int) Request {
		if i%10 == 0 {
			return Request{uint32(onceOff + i), 4 << 20}
		}
		return web(z.draw(r))
	})
}

// Bursts is Mixed, beside objects that are asked for three times in short order
// and never again.
func Bursts(n int) Trace {
	return made("bursts", n, func(r *rand.Rand, z zipf, i int) Request {
		if i%2 == 0 {
			return web(uint32(onceOff + i/30*10 + i%10))
		}
		return web(z.draw(r))
	})
}

// Recent is LRU's: three requests of four are for what was new lately, evenly
// by the logarithm of how long ago; what is new comes with the fourth.
func Recent(n int) Trace {
	newest := uint32(0)
	return made("recent", n, func(r *rand.Rand, _ zipf, _ int) Request {
		if newest == 0 || r.IntN(4) == 0 {
			newest++
			return web(newest)
		}
		ago := math.Exp(r.Float64() * math.Log(float64(newest)))
		return web(newest + 1 - uint32(ago))
	})
}

// Even is GDSF's: popularity differs little and never changes, so that most of
// what leaves comes back, and size is nearly all that matters.
func Even(n int) Trace {
	even := newZipf(objects, 0.6)
	return made("even", n, func(r *rand.Rand, _ zipf, _ int) Request { return web(even.draw(r)) })
}

// Heavy is GDSF's too: the more popular an object the larger it is, from
// kilobytes to megabytes.
func Heavy(n int) Trace {
	even := newZipf(objects, 0.7)
	return made("heavy", n, func(r *rand.Rand, _ zipf, _ int) Request {
		object := even.draw(r)
		rank := float64(object) / objects
		return Request{object, int64(math.Exp(13.5-7*rank)) + web(object).Bytes/16}
	})
}

// Turn is Mixed at first and Recent, with other objects, from the middle on.
func Turn(n int) Trace {
	mixed, recent := Mixed(n/2), Recent(n-n/2)
	for i := range recent.Requests {
		recent.Requests[i].Object += onceOff
	}
	return Trace{"turn", append(mixed.Requests, recent.Requests...)}
}

func made(name string, n int, next func(r *rand.Rand, z zipf, i int) Request) Trace {
	r, z := rand.New(rand.NewPCG(1, 2)), newZipf(objects, 0.9)
	t := Trace{Name: name, Requests: make([]Request, n)}
	for i := range t.Requests {
		t.Requests[i] = next(r, z, i)
	}
	return t
}

// web gives an object its size: log-normal, with a median of 8 KiB.
func web(object uint32) Request {
	r := rand.New(rand.NewPCG(uint64(object), 3))
	return Request{object, 100 + int64(math.Exp(9+1.8*r.NormFloat64()))}
}

// zipf draws objects, the first one most often. (The one of math/rand wants an
// exponent above 1.)
type zipf struct{ sums []float64 }

func newZipf(n int, exponent float64) zipf {
	z, sum := zipf{}, 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -exponent)
		z.sums = append(z.sums, sum)
	}
	return z
}

func (z zipf) draw(r *rand.Rand) uint32 {
	at := r.Float64() * z.sums[len(z.sums)-1]
	low, high := 0, len(z.sums)-1
	for low < high {
		middle := (low + high) / 2
		if z.sums[middle] < at {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return uint32(low)
}

// Hash stands for the hash of an object's key.
func Hash(object uint32) uint64 {
	return rand.New(rand.NewPCG(uint64(object), 4)).Uint64()
}

// Replay plays a trace through a policy for a budget in bytes, from empty, and
// gives the shares of requests and of bytes that were hits.
func Replay(p evict.Policy, budgetBytes int64, t Trace) (objectHits, byteHits float64) {
	var hits, hitBytes, bytes int64
	live, objectOf := make(map[uint32]evict.Entry), make(map[evict.Entry]uint32)
	for _, q := range t.Requests {
		bytes += q.Bytes
		if e, ok := live[q.Object]; ok {
			hits++
			hitBytes += q.Bytes
			p.Hit(e)
			continue
		}
		if q.Bytes > budgetBytes {
			continue
		}
		for p.Bytes()+q.Bytes > budgetBytes {
			delete(live, objectOf[p.Evict()])
		}
		e := p.Add(Hash(q.Object), q.Bytes)
		live[q.Object], objectOf[e] = e, q.Object
	}
	return float64(hits) / float64(len(t.Requests)), float64(hitBytes) / float64(bytes)
}
