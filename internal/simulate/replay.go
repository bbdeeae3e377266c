package simulate

import (
	"context"

	"weir/storage/evict"
)

// promoteBytesMax is the longest object that a hit on disk puts into memory, as
// in storage/tiered.
const promoteBytesMax = 1 << 20

// Tiers are the caches that a trace is replayed through.
type Tiers struct {
	Policy      evict.Kind // of the memory
	MemoryBytes int64      // 0: no memory
	DiskBytes   int64      // 0: no disk
}

// Counts are what a replay comes to.
type Counts struct {
	Requests       int64
	Bytes          int64 // asked for
	MemoryHits     int64
	MemoryHitBytes int64
	DiskHits       int64
	DiskHitBytes   int64
	WrittenBytes   int64 // to disk, what was written again included
}

// ObjectHitRatio is the share of requests answered from a tier.
func (c Counts) ObjectHitRatio() float64 { return ratio(c.MemoryHits+c.DiskHits, c.Requests) }

// ByteHitRatio is the share of bytes answered from a tier.
func (c Counts) ByteHitRatio() float64 { return ratio(c.MemoryHitBytes+c.DiskHitBytes, c.Bytes) }

// DiskWriteRatio is how many bytes were written to disk for each one asked for.
func (c Counts) DiskWriteRatio() float64 { return ratio(c.WrittenBytes, c.Bytes) }

func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// tier says which object each entry is, and which entry each object has.
type tier struct {
	entries []evict.Entry // by object
	objects []uint32      // by entry
}

func newTier(objects int) tier {
	t := tier{entries: make([]evict.Entry, objects)}
	for i := range t.entries {
		t.entries[i] = evict.None
	}
	return t
}

func (t *tier) enter(object uint32, e evict.Entry) {
	t.entries[object] = e
	for int(e) >= len(t.objects) {
		t.objects = append(t.objects, 0)
	}
	t.objects[e] = object
}

func (t *tier) leave(e evict.Entry) { t.entries[t.objects[e]] = evict.None }

// replay is a node without bodies: the policies of its tiers, and what they have.
type replay struct {
	tiers  Tiers
	counts Counts

	policy evict.Policy
	memory tier

	ring      *evict.Ring
	admission *evict.Admission
	disk      tier
}

// Replay plays a trace through tiers that are empty at first. The only error is
// the context's.
func Replay(ctx context.Context, t *Trace, tiers Tiers) (Counts, error) {
	r := &replay{tiers: tiers}
	if tiers.MemoryBytes > 0 {
		r.policy = evict.New(tiers.Policy, evict.Options{BudgetBytes: tiers.MemoryBytes})
		r.memory = newTier(t.Objects)
	}
	if tiers.DiskBytes > 0 {
		r.ring = evict.NewRing(evict.RingOptions{BudgetBytes: tiers.DiskBytes})
		r.admission = evict.NewAdmission(evict.AdmissionOptions{BudgetBytes: tiers.DiskBytes})
		r.disk = newTier(t.Objects)
	}
	for i, object := range t.ids {
		if i%linesPerContext == 0 && ctx.Err() != nil {
			return Counts{}, ctx.Err()
		}
		r.ask(object, t.sizes[i])
	}
	if r.ring != nil {
		r.counts.WrittenBytes = r.ring.WrittenBytes()
	}
	return r.counts, nil
}

// ask is one request, as storage/tiered deals with it: a hit on disk is
// promoted, a fill is written to both tiers.
func (r *replay) ask(object uint32, bytes int64) {
	r.counts.Requests++
	r.counts.Bytes += bytes
	if r.policy != nil {
		if e := r.memory.entries[object]; e != evict.None {
			r.counts.MemoryHits++
			r.counts.MemoryHitBytes += bytes
			r.policy.Hit(e)
			return
		}
	}
	if r.ring != nil {
		if e := r.disk.entries[object]; e != evict.None {
			r.counts.DiskHits++
			r.counts.DiskHitBytes += bytes
			r.ring.Hit(e)
			r.admission.Hit(hashOf(object), bytes)
			if bytes <= promoteBytesMax {
				r.keep(object, bytes)
			}
			return
		}
		r.write(object, bytes)
	}
	r.keep(object, bytes)
}

// keep puts an object into memory.
func (r *replay) keep(object uint32, bytes int64) {
	if r.policy == nil || bytes > r.tiers.MemoryBytes {
		return
	}
	for r.policy.Bytes()+bytes > r.tiers.MemoryBytes {
		r.memory.leave(r.policy.Evict())
	}
	r.memory.enter(object, r.policy.Add(hashOf(object), bytes))
}

// write puts an object on disk if it is admitted. No time passes: a bound on
// writes over time is not simulated.
func (r *replay) write(object uint32, bytes int64) {
	if !r.admission.Miss(hashOf(object), bytes, 0).Written() || !r.ring.Fits(bytes) {
		return
	}
	for r.ring.Full(bytes) {
		left, _ := r.ring.Reclaim()
		for _, e := range left {
			r.disk.leave(e)
		}
	}
	r.disk.enter(object, r.ring.Add(bytes))
}

// hashOf stands for the hash of an object's key (SplitMix64).
func hashOf(object uint32) uint64 {
	h := (uint64(object) + 1) * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
