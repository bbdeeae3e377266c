package evict

import "sync"

type lruEntry struct{ bytes int64 }

// LRU evicts what was used least recently. It is a reference: one scan empties
// it, and size means nothing to it.
type LRU struct {
	options Options
	bytes   int64

	// mu guards the order, which a Hit changes and other Hits may be changing.
	mu    sync.Mutex
	slab  slab[lruEntry]
	order queue
}

var _ Policy = (*LRU)(nil)

// NewLRU makes an empty LRU.
func NewLRU(o Options) *LRU {
	return &LRU{options: o.withDefaults(), slab: newSlab[lruEntry](), order: newQueue()}
}

// Add implements Policy.
func (l *LRU) Add(_ uint64, bytes int64) Entry {
	bytes = max(bytes, 1)
	l.bytes += bytes
	i := l.slab.add(lruEntry{bytes: bytes})
	l.slab.push(&l.order, i)
	return Entry(i)
}

// Hit implements Policy.
func (l *LRU) Hit(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slab.unlink(&l.order, uint32(e))
	l.slab.push(&l.order, uint32(e))
}

// Resize implements Policy.
func (l *LRU) Resize(e Entry, bytes int64) {
	r := &l.slab.records[e]
	bytes = max(bytes, 1)
	l.bytes += bytes - r.bytes
	r.bytes = bytes
}

// Remove implements Policy.
func (l *LRU) Remove(e Entry) {
	l.slab.unlink(&l.order, uint32(e))
	l.bytes -= l.slab.records[e].bytes
	l.slab.release(uint32(e))
}

// Evict implements Policy.
func (l *LRU) Evict() Entry {
	for range l.slab.live {
		e := Entry(l.order.oldest)
		if l.options.InUse(e) {
			l.Hit(e)
			continue
		}
		l.Remove(e)
		return e
	}
	return None
}

// Len implements Policy.
func (l *LRU) Len() int { return l.slab.live }

// Bytes implements Policy.
func (l *LRU) Bytes() int64 { return l.bytes }

// OverheadBytes implements Policy.
func (l *LRU) OverheadBytes() int64 { return l.slab.bytes() }
