package evict

import "sync"

type gdsfEntry struct {
	price float64
	bytes int64
	uses  uint32
	place uint32 // in the heap
}

// GDSF is Greedy-Dual-Size-Frequency (Cherkasova, 1998): a heap by price, level
// + uses/bytes, whose level is the price last evicted. It is a reference: hard
// to beat where popularity holds still, it remembers uses for too long where
// that moves, and a hit costs O(log n) under a lock.
type GDSF struct {
	options Options
	bytes   int64
	level   float64
	passed  []uint32 // Evict's: entries found to be in use

	// mu guards the heap, which a Hit changes and other Hits may be changing.
	mu   sync.Mutex
	slab slab[gdsfEntry]
	heap []uint32
}

var _ Policy = (*GDSF)(nil)

// NewGDSF makes an empty GDSF.
func NewGDSF(o Options) *GDSF {
	return &GDSF{options: o.withDefaults(), slab: newSlab[gdsfEntry]()}
}

// Add implements Policy.
func (g *GDSF) Add(_ uint64, bytes int64) Entry {
	bytes = max(bytes, 1)
	g.bytes += bytes
	i := g.slab.add(gdsfEntry{bytes: bytes})
	g.use(i)
	g.push(i)
	return Entry(i)
}

// Hit implements Policy.
func (g *GDSF) Hit(e Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.use(uint32(e))
	g.settle(g.slab.records[e].place)
}

func (g *GDSF) use(i uint32) {
	r := &g.slab.records[i]
	r.uses++
	r.price = g.level + float64(r.uses)/float64(r.bytes)
}

// Resize implements Policy.
func (g *GDSF) Resize(e Entry, bytes int64) {
	r := &g.slab.records[e]
	bytes = max(bytes, 1)
	g.bytes += bytes - r.bytes
	r.bytes = bytes
	r.price = g.level + float64(r.uses)/float64(r.bytes)
	g.settle(r.place)
}

// Remove implements Policy.
func (g *GDSF) Remove(e Entry) {
	g.pull(uint32(e))
	g.bytes -= g.slab.records[e].bytes
	g.slab.release(uint32(e))
}

// Evict implements Policy.
func (g *GDSF) Evict() Entry {
	leaves := None
	for leaves == None && len(g.heap) > 0 {
		i := g.heap[0]
		if g.options.InUse(Entry(i)) {
			g.pull(i)
			g.passed = append(g.passed, i)
			continue
		}
		g.level = g.slab.records[i].price
		g.Remove(Entry(i))
		leaves = Entry(i)
	}
	for _, i := range g.passed {
		g.push(i)
	}
	g.passed = g.passed[:0]
	return leaves
}

func (g *GDSF) push(i uint32) {
	g.heap = append(g.heap, i)
	g.put(i, uint32(len(g.heap)-1))
	g.settle(uint32(len(g.heap) - 1))
}

func (g *GDSF) pull(i uint32) {
	place := g.slab.records[i].place
	last := len(g.heap) - 1
	g.put(g.heap[last], place)
	g.heap = g.heap[:last]
	if int(place) < last {
		g.settle(place)
	}
}

func (g *GDSF) put(i, place uint32) {
	g.heap[place] = i
	g.slab.records[i].place = place
}

// settle moves the entry at a place up or down to where it belongs.
func (g *GDSF) settle(place uint32) {
	i := g.heap[place]
	for place > 0 && g.less(i, g.heap[(place-1)/2]) {
		g.put(g.heap[(place-1)/2], place)
		place = (place - 1) / 2
	}
	for {
		child := 2*place + 1
		if child >= uint32(len(g.heap)) {
			break
		}
		if child+1 < uint32(len(g.heap)) && g.less(g.heap[child+1], g.heap[child]) {
			child++
		}
		if !g.less(g.heap[child], i) {
			break
		}
		g.put(g.heap[child], place)
		place = child
	}
	g.put(i, place)
}

func (g *GDSF) less(a, b uint32) bool { return g.slab.records[a].price < g.slab.records[b].price }

// Len implements Policy.
func (g *GDSF) Len() int { return g.slab.live }

// Bytes implements Policy.
func (g *GDSF) Bytes() int64 { return g.bytes }

// OverheadBytes implements Policy.
func (g *GDSF) OverheadBytes() int64 {
	return g.slab.bytes() + int64(cap(g.heap)+cap(g.passed))*4
}
