package evict

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// Worth says what one use of an object is worth to a Priced.
type Worth uint8

const (
	// WorthObjects counts requests answered: a use is worth the same for every
	// object, so a byte spent on a small one brings more.
	WorthObjects Worth = iota
	// WorthBytes counts bytes answered. A use of a large object is then worth
	// as much more as it is larger, but for the fourth root, which keeps
	// objects that are larger than all they bring from pushing out the rest.
	WorthBytes
)

// What a Priced goes by. None of these is fitted to a workload: on the first
// traces of docs/sizing.md, to halve or double any one changes the hit ratio by
// at most four tenths of a point.
const (
	// Uses are kept in sixteenths, since those of the past fade.
	useUnit = 16
	usesMax = 15 * useUnit // more count no more, so that the past can be lived down

	// The clocks run in bytes: a budget's worth of them is a turn.
	ticksATurn = 1024
	// Uses within a twentieth of a turn are one use: a page's parts asked for
	// again by the same client, a download in ranges, a retry.
	ticksCorrelated = ticksATurn / 20
	// Ghosts go back two turns, in which half of their uses are forgotten. Where
	// much fits, most of what leaves comes back one day: that it did then says
	// little of how soon it will again.
	ghostTurns = 2

	patienceFirst = 0.4
	patienceMin   = 0.1
	patienceMax   = 8
	patienceStep  = 0.1
)

// What is known of an entry: its size class, and whether it is new.
const (
	kindKnown = 1 // bit: it has been used again, or came back; new ones have 0
	classBits = 6
)

// A queue is for a quarter of a power of two: the exponent of a float64 with the
// first two bits of its fraction. They go from 2⁻⁵⁶, less than what a use of the
// largest object is worth, to 2⁸, more than the patience with the smallest.
const (
	queueShift = 52 - 2
	queueFirst = (1023 - 56) << 2
	queuesMax  = 64 << 2
)

// A pricedEntry's mark has the tick of its last counted use above markBits
// bits with the number of counted uses since it was queued.
const (
	markBits = 4
	markUses = 1<<markBits - 1
	tickMask = 1<<(32-markBits) - 1
)

// pricedEntry is 40 bytes; its links take another 8.
type pricedEntry struct {
	hitLevel uint64 // atomic: bits of the level when a use was counted last
	price    float64
	hash     uint64
	bytes    int64
	mark     uint32 // atomic
	uses     uint8  // in sixteenths, as of when it was queued
	queue    uint8
	kind     uint8
}

// Priced is weir's policy: Greedy-Dual with frequency and size (Cherkasova,
// 1998), made of FIFO queues so that a hit moves nothing, with S3-FIFO's
// suspicion of what is new, learned instead of set.
//
// An entry is queued with a price, and the one with the lowest is looked at next:
//
//	price = level + uses × worth      worth: 1/bytes; WorthBytes: 1/⁴√bytes
//
//	it was used since        → it is queued again, at a new price
//	it was not, or too long ago to pay for it → it leaves; a ghost stays
//	level                    = the price last looked at: it rises as time goes by
//
// So an entry stays for as long as its uses are worth, in time that runs by
// what the budget costs.
//
// There is a queue for each quarter of a power of two of how far a price is above
// the level (as in CAMP, Ghandeharizadeh et al., 2014). Since the level only rises,
// who joins a queue later has the higher price, but for that quarter: the lowest
// price is at the front of a queue, and a tournament between the fronts finds it.
//
// Three things are learned or left out of the count:
//
// Uses that follow on one another (ticksCorrelated) count once. Most of what
// is asked for twice in a short while is not asked for again.
//
// What comes back has the uses that it left with, as far as they have not faded
// (ghostTurns). Kept whole, they would in time be the same for all that is asked
// for now and then, and the price would say no more than the size does.
//
// An entry that is new has patience × worth to show itself. Patience is held
// for each size class and follows the ghosts (adapt): if, of those that left
// lately, the new come back more often than the known, new ones get longer.
// That is the balance of ARC, with its two sides weighed by how many each has,
// and within one size, since sizes differ in everything.
//
// A Hit is an atomic load, and at most twenty times a turn two stores. Add and
// Evict are O(1) besides what Evict queues again, which Hits paid for.
type Priced struct {
	options Options
	worth   Worth

	slab     slab[pricedEntry]
	queues   [queuesMax]queue
	fronts   tournament
	ghosts   ghosts
	patience [1 << classBits]float64 // by size class
	passed   []uint32                // Evict's: entries found to be in use

	bytes        int64
	level        float64
	ticksAByte   float64
	addedBytes   float64
	evictedBytes float64
	tick         uint32 // of added bytes: what hits are timed by
	evictTick    uint32 // of evicted bytes: what ghosts are timed by
}

var _ Policy = (*Priced)(nil)

// NewPriced makes an empty Priced.
func NewPriced(w Worth, o Options) *Priced {
	o = o.withDefaults()
	p := &Priced{
		options: o, worth: w, slab: newSlab[pricedEntry](), fronts: newTournament(),
		ghosts:     newGhosts(ghostTurns*o.BudgetBytes, o.GhostEntriesMax),
		ticksAByte: ticksATurn / float64(o.BudgetBytes),
	}
	for i := range p.queues {
		p.queues[i] = newQueue()
	}
	for i := range p.patience {
		p.patience[i] = patienceFirst
	}
	return p
}

// Add implements Policy. What comes back while its ghost is there takes up
// where it left.
func (p *Priced) Add(hash uint64, bytes int64) Entry {
	bytes = max(bytes, 1)
	p.bytes += bytes
	p.addedBytes += float64(bytes)
	p.tick = tickOf(p.addedBytes * p.ticksAByte)
	e := pricedEntry{hash: hash, bytes: bytes, uses: useUnit, mark: p.tick << markBits}
	patience := p.patience[classOf(bytes)]
	if g := p.ghosts.find(hash); g != nil {
		p.adapt(g)
		p.ghosts.drop(g)
		e.uses = uint8(min(useUnit+p.faded(g), usesMax))
		e.kind = kindKnown
		patience = 1
	}
	e.kind |= kindOf(bytes)
	e.price = p.level + patience*p.worthOf(&e)
	i := p.slab.add(e)
	p.push(i)
	return Entry(i)
}

// Hit implements Policy.
func (p *Priced) Hit(e Entry) {
	r := &p.slab.records[e]
	mark := atomic.LoadUint32(&r.mark)
	if (p.tick-mark>>markBits)&tickMask < ticksCorrelated {
		return
	}
	uses := min(mark&markUses+1, markUses)
	if atomic.CompareAndSwapUint32(&r.mark, mark, p.tick<<markBits|uses) { // else another Hit has just been counted
		atomic.StoreUint64(&r.hitLevel, math.Float64bits(p.level))
	}
}

// Resize implements Policy. The entry keeps its price until it is looked at.
func (p *Priced) Resize(e Entry, bytes int64) {
	r := &p.slab.records[e]
	bytes = max(bytes, 1)
	p.bytes += bytes - r.bytes
	r.bytes = bytes
	r.kind = kindOf(bytes) | r.kind&kindKnown
}

// Remove implements Policy.
func (p *Priced) Remove(e Entry) {
	p.unlink(uint32(e))
	p.bytes -= p.slab.records[e].bytes
	p.slab.release(uint32(e))
}

// Evict implements Policy.
func (p *Priced) Evict() Entry {
	leaves := None
	for leaves == None {
		queue, ok := p.fronts.lowest()
		if !ok {
			break
		}
		i := p.queues[queue].oldest
		r := &p.slab.records[i]
		p.level = max(p.level, r.price)
		switch {
		case p.options.InUse(Entry(i)):
			// Queued again at once, one whose worth is small would be the
			// next to be looked at, over and over.
			p.unlink(i)
			p.passed = append(p.passed, i)
		case p.again(i):
		default:
			leaves = Entry(i)
		}
	}
	for _, i := range p.passed {
		p.pushUsed(i, p.level)
	}
	p.passed = p.passed[:0]
	if leaves != None {
		p.leave(uint32(leaves))
	}
	return leaves
}

// again queues an entry once more if its uses since it was queued are worth a
// price above the level.
func (p *Priced) again(i uint32) bool {
	r := &p.slab.records[i]
	mark := atomic.LoadUint32(&r.mark)
	if mark&markUses == 0 {
		return false
	}
	r.uses = uint8(min(uint32(r.uses)+useUnit*(mark&markUses), usesMax))
	since := math.Float64frombits(atomic.LoadUint64(&r.hitLevel))
	if since+p.worthOf(r) <= p.level {
		return false
	}
	p.unlink(i)
	r.mark = mark &^ markUses
	p.pushUsed(i, since)
	return true
}

// pushUsed queues an entry by its uses, at a price from a level.
func (p *Priced) pushUsed(i uint32, level float64) {
	r := &p.slab.records[i]
	r.price = level + p.worthOf(r)
	r.kind |= kindKnown
	p.push(i)
}

// leave makes a ghost of an entry.
func (p *Priced) leave(i uint32) {
	r := p.slab.records[i]
	p.Remove(Entry(i))
	p.evictedBytes += float64(r.bytes)
	p.evictTick = tickOf(p.evictedBytes * p.ticksAByte)
	p.ghosts.put(ghost{hash: r.hash, bytes: r.bytes, tick: p.evictTick, uses: r.uses, kind: r.kind}, p.slab.live)
}

// faded is what is left of a ghost's uses.
func (p *Priced) faded(g *ghost) uint32 {
	away := float64((p.evictTick-g.tick)&tickMask) / (ghostTurns * ticksATurn)
	return uint32(math.Round(float64(g.uses) * math.Exp2(-away)))
}

// adapt learns from a ghost that comes back. If new and known ghosts of a size
// come back equally often, for as many as there are of each, the steps add up
// to nothing: each side's step is the other side's share.
func (p *Priced) adapt(g *ghost) {
	fresh := float64(p.ghosts.ofKind[g.kind&^kindKnown])
	known := float64(p.ghosts.ofKind[g.kind|kindKnown])
	class := g.kind / 2
	patience := p.patience[class]
	if g.kind&kindKnown == 0 {
		patience *= 1 + patienceStep*known/(fresh+known)
	} else {
		patience /= 1 + patienceStep*fresh/(fresh+known)
	}
	p.patience[class] = min(max(patience, patienceMin), patienceMax)
}

// push queues an entry at its price.
func (p *Priced) push(i uint32) {
	r := &p.slab.records[i]
	queue := queueOf(r.price - p.level)
	q := &p.queues[queue]
	r.queue = uint8(queue)
	if q.empty() {
		p.fronts.set(queue, r.price)
	}
	p.slab.push(q, i)
}

func (p *Priced) unlink(i uint32) {
	queue := int(p.slab.records[i].queue)
	q := &p.queues[queue]
	front := q.oldest == i
	p.slab.unlink(q, i)
	switch {
	case q.empty():
		p.fronts.set(queue, math.Inf(1))
	case front:
		p.fronts.set(queue, p.slab.records[q.oldest].price)
	}
}

// worthOf is what an entry's uses add to its price. The level only rises, by
// about a use of an object of middling size a turn; float64 still tells a use of
// 1 TiB from none on a level made by a million turns of 1 KiB objects.
func (p *Priced) worthOf(r *pricedEntry) float64 {
	if p.worth == WorthBytes {
		return float64(r.uses) / (useUnit * math.Sqrt(math.Sqrt(float64(r.bytes))))
	}
	return float64(r.uses) / (useUnit * float64(r.bytes))
}

// Len implements Policy.
func (p *Priced) Len() int { return p.slab.live }

// Bytes implements Policy.
func (p *Priced) Bytes() int64 { return p.bytes }

// OverheadBytes implements Policy.
func (p *Priced) OverheadBytes() int64 {
	return p.slab.bytes() + p.ghosts.memoryBytes() + int64(cap(p.passed))*4
}

// classOf is the size class: all of 2ⁿ to 2ⁿ⁺¹-1 bytes are one.
func classOf(bytes int64) int { return bits.Len64(uint64(bytes)) - 1 }

// kindOf is the kind of a new entry.
func kindOf(bytes int64) uint8 { return uint8(classOf(bytes) * 2) }

// queueOf is the queue for a price so far above the level.
func queueOf(above float64) int {
	quarter := int(math.Float64bits(max(above, 0)) >> queueShift)
	return min(max(quarter-queueFirst, 0), queuesMax-1)
}

// tickOf is a clock's reading, which wraps.
func tickOf(ticks float64) uint32 { return uint32(uint64(ticks)) & tickMask }
