package evict

// RingOptions say how large a Ring is. The zero value works.
type RingOptions struct {
	// BudgetBytes bounds the log. Default 1 GiB.
	BudgetBytes int64
	// RegionBytes is how much is taken back at a time. An object larger than
	// that lies in a region of its own. Default 32 MiB, and at most a
	// sixteenth of the budget.
	RegionBytes int64
}

const (
	ringRegionsMin = 16
	// Of a region that is taken back, at most this share is written again:
	// a quarter at least is won each time, however much was hit.
	rewrittenShareMax = 0.75
)

func (o RingOptions) withDefaults() RingOptions {
	if o.BudgetBytes <= 0 {
		o.BudgetBytes = 1 << 30
	}
	if o.RegionBytes <= 0 {
		o.RegionBytes = 32 << 20
	}
	o.RegionBytes = max(1, min(o.RegionBytes, o.BudgetBytes/ringRegionsMin))
	return o
}

// region is a stretch of the log.
type region struct {
	entries queue
	bytes   int64 // written, what was removed since included
}

type ringEntry struct {
	bytes  int64
	region uint64 // number of the region
	hit    bool   // since it was written
}

// Ring is the eviction of a disk: a log of regions that is written round and
// round. To win room, the oldest region is taken back as a whole; what was hit
// since it was written is written again at the front, and the rest leaves.
//
// Room is won only by that: what Remove forgets stays written until its region's
// turn comes.
type Ring struct {
	options RingOptions
	slab    slab[ringEntry]
	regions []region // oldest first; the last one is being written
	first   uint64   // number of regions[0]
	bytes   int64
	written int64
	left    []Entry
}

// NewRing makes an empty Ring.
func NewRing(o RingOptions) *Ring {
	return &Ring{options: o.withDefaults(), slab: newSlab[ringEntry](), regions: []region{{entries: newQueue()}}}
}

// Full says that a region must be reclaimed before bytes more are added. False
// for what will never fit too: see Fits.
func (r *Ring) Full(bytes int64) bool {
	return r.bytes+bytes > r.options.BudgetBytes && r.bytes > 0
}

// Fits says that an object of a size in bytes can be added at all.
func (r *Ring) Fits(bytes int64) bool { return bytes <= r.options.BudgetBytes }

// Add appends an object to the log. The caller has reclaimed until it is not
// Full.
func (r *Ring) Add(bytes int64) Entry {
	i := r.slab.add(ringEntry{bytes: bytes})
	r.write(i)
	return Entry(i)
}

// Hit says that an entry has been asked for.
func (r *Ring) Hit(e Entry) { r.slab.records[e].hit = true }

// Remove forgets an entry that was deleted, purged or replaced.
func (r *Ring) Remove(e Entry) {
	at := r.slab.records[e].region - r.first
	r.slab.unlink(&r.regions[at].entries, uint32(e))
	r.slab.release(uint32(e))
}

// Reclaim takes back the oldest region. It gives the entries that leave, in a
// slice that is good until the next call, and the bytes of those that were
// written again.
func (r *Ring) Reclaim() (left []Entry, rewrittenBytes int64) {
	if len(r.regions) == 1 {
		r.regions = append(r.regions, region{entries: newQueue()})
	}
	oldest := r.regions[0]
	r.regions = append(r.regions[:0], r.regions[1:]...)
	r.first++
	r.bytes -= oldest.bytes
	r.left = r.left[:0]
	for !oldest.entries.empty() {
		i := oldest.entries.oldest
		r.slab.unlink(&oldest.entries, i)
		e := &r.slab.records[i]
		if Rewrite(e.hit, e.bytes, rewrittenBytes, oldest.bytes) {
			e.hit = false
			rewrittenBytes += e.bytes
			r.write(i)
			continue
		}
		r.slab.release(i)
		r.left = append(r.left, Entry(i))
	}
	return r.left, rewrittenBytes
}

// Rewrite says whether an object of a region that is taken back is written
// again: it was hit since it was written, and with the rewrittenBytes before it
// leaves enough of the regionBytes to be won.
func Rewrite(hit bool, bytes, rewrittenBytes, regionBytes int64) bool {
	return hit && float64(rewrittenBytes+bytes) <= rewrittenShareMax*float64(regionBytes)
}

// write puts an entry at the end of the log.
func (r *Ring) write(i uint32) {
	e := &r.slab.records[i]
	last := &r.regions[len(r.regions)-1]
	if last.bytes > 0 && last.bytes+e.bytes > r.options.RegionBytes {
		r.regions = append(r.regions, region{entries: newQueue()})
		last = &r.regions[len(r.regions)-1]
	}
	e.region = r.first + uint64(len(r.regions)-1)
	r.slab.push(&last.entries, i)
	last.bytes += e.bytes
	r.bytes += e.bytes
	r.written += e.bytes
}

// Len is the number of entries.
func (r *Ring) Len() int { return r.slab.live }

// Bytes is the length of the log, removed entries included; at most the budget.
func (r *Ring) Bytes() int64 { return r.bytes }

// WrittenBytes is all that was ever written, and written again.
func (r *Ring) WrittenBytes() int64 { return r.written }

// OverheadBytes is the memory that the ring's own arrays take now.
func (r *Ring) OverheadBytes() int64 {
	return r.slab.bytes() + int64(cap(r.regions))*16 + int64(cap(r.left))*4
}
