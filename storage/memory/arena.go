package memory

import (
	"math/bits"
	"sync"
	"unsafe"
)

// The arena's measures. A unit is its smallest piece, and its numbers are how
// everything in it is named: a ref is the number of the unit where it begins.
const (
	unitBytes    = 128
	segmentUnits = 1 << ordersMax
	segmentBytes = segmentUnits * unitBytes // 1 MiB: what is mapped at a time, and the largest block
	ordersMax    = 13
)

// ref names a unit. Unit 0 is never given out, so that it can mean none.
type ref uint32

const none ref = 0

// arena is memory that the garbage collector does not see, in segments that
// are mapped when they are first needed and stay until the store is let go of.
//
// It is a buddy allocator whose blocks are cut to length: what is asked for is
// taken from the beginning of a block of a power of two of units, and the rest
// of that block is free again at once. So the slack of anything is less than a
// unit. Where no block is large enough, what is asked for comes in several
// pieces (list.go): with so many units free, that many can be had.
//
//	a request for 5 units, the free blocks beside it afterwards:
//	| 0 1 2 3 4 | 5 | 6 7 |    orders 0 and 1
//
// A free block has the refs of its neighbours in the list of its order in its
// first 8 bytes.
type arena struct {
	units    ref // capacity, unit 0 included
	segments [][]byte
	mapped   *mappings

	// mu guards all below, and what the free blocks hold. It is the last lock
	// taken, and under it nothing waits.
	mu      sync.Mutex
	used    ref      // units given out, and unit 0
	next    int      // the first segment that is not mapped
	begins  [][]byte // by segment, by unit: 1 + its order if a free block begins here, else 0
	free    [ordersMax + 1]ref
	nonzero uint // bit n: free[n] is not none
}

// neighbours is what a free block begins with.
type neighbours struct{ next, previous ref }

func newArena(units ref, mapped *mappings) *arena {
	segments := int((units + segmentUnits - 1) / segmentUnits)
	return &arena{
		units: units, used: 1, mapped: mapped,
		segments: make([][]byte, segments), begins: make([][]byte, segments),
	}
}

// arenaTableBytes is what the arena's own table takes for each unit.
const arenaTableBytes = 1

// at gives n units from u on, which must lie in one segment.
func (a *arena) at(u ref, n ref) []byte {
	within := int(u%segmentUnits) * unitBytes
	return a.segments[u/segmentUnits][within : within+int(n)*unitBytes : within+int(n)*unitBytes]
}

// start is the address of a unit.
func (a *arena) start(u ref) unsafe.Pointer {
	return unsafe.Pointer(&a.segments[u/segmentUnits][int(u%segmentUnits)*unitBytes])
}

// freeUnits is how many units could be given out.
func (a *arena) freeUnits() ref {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.units - a.used
}

// usedBytes is what has been given out.
func (a *arena) usedBytes() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.used-1) * unitBytes
}

// takeOne gives a run of units, or none if there is no such run.
func (a *arena) takeOne(units ref) ref {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.units-a.used < units {
		return none
	}
	return a.takeRun(units)
}

// give takes back n units from u on.
func (a *arena) give(u, n ref) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveRun(u, n)
}

// takeRun is takeOne with mu held; units are at most segmentUnits.
func (a *arena) takeRun(units ref) ref {
	for {
		if order := bits.Len32(uint32(units) - 1); a.nonzero>>order != 0 {
			order += bits.TrailingZeros(a.nonzero >> order)
			u := a.free[order]
			a.remove(u, order)
			a.used += units
			a.spread(u+units, 1<<order-units)
			return u
		}
		if !a.mapNext() {
			return none
		}
	}
}

// takeLargest gives the largest free block if none has as many units as are
// wanted; none if nothing is free. mu is held.
func (a *arena) takeLargest() (u, units ref) {
	if a.nonzero == 0 {
		return none, 0
	}
	order := bits.Len(a.nonzero) - 1
	u = a.free[order]
	a.remove(u, order)
	a.used += 1 << order
	return u, 1 << order
}

// giveRun is give with mu held.
func (a *arena) giveRun(u, n ref) {
	if poisons {
		poison(a.at(u, n))
	}
	a.used -= n
	a.spread(u, n)
}

// spread makes free blocks of a run, and joins them with those beside them that
// are free.
func (a *arena) spread(u, n ref) {
	for n > 0 {
		order := min(bits.TrailingZeros32(uint32(u)), bits.Len32(uint32(n))-1, ordersMax)
		a.join(u, order)
		u += 1 << order
		n -= 1 << order
	}
}

func (a *arena) join(u ref, order int) {
	for order < ordersMax {
		buddy := u ^ 1<<order
		if int(*a.begin(buddy)) != order+1 {
			break
		}
		a.remove(buddy, order)
		u &^= 1 << order
		order++
	}
	*a.begin(u) = byte(order + 1)
	*a.neighbours(u) = neighbours{next: a.free[order]}
	if next := a.free[order]; next != none {
		a.neighbours(next).previous = u
	}
	a.free[order] = u
	a.nonzero |= 1 << order
}

func (a *arena) remove(u ref, order int) {
	*a.begin(u) = 0
	n := *a.neighbours(u)
	if n.next != none {
		a.neighbours(n.next).previous = n.previous
	}
	if n.previous != none {
		a.neighbours(n.previous).next = n.next
		return
	}
	a.free[order] = n.next
	if n.next == none {
		a.nonzero &^= 1 << order
	}
}

func (a *arena) begin(u ref) *byte { return &a.begins[u/segmentUnits][u%segmentUnits] }

func (a *arena) neighbours(u ref) *neighbours { return (*neighbours)(a.start(u)) }

// mapNext makes one more segment free; false if all are mapped, or the system
// has no memory. mu is held.
func (a *arena) mapNext() bool {
	if a.next == len(a.segments) {
		return false
	}
	segment := a.mapped.segment(len(a.segments) - a.next)
	if segment == nil {
		return false
	}
	first := ref(a.next) * segmentUnits
	a.segments[a.next], a.begins[a.next] = segment, make([]byte, segmentUnits)
	a.next++
	last := min(first+segmentUnits, a.units)
	first = max(first, 1)
	a.spread(first, last-first)
	return true
}

// poison overwrites what has been given back, so that whoever still reads it
// is found out.
func poison(p []byte) {
	for i := range p {
		p[i] = poisonByte
	}
}

const poisonByte = 0xdb
