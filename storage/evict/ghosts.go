package evict

import "unsafe"

// ghost is what stays of an entry that was evicted.
type ghost struct {
	hash  uint64
	bytes int64
	tick  uint32 // when it left, on the owner's clock
	uses  uint8  // how often it had been asked for, in the owner's unit
	kind  uint8  // what it was, in the owner's words
	gone  bool   // it came back, or was forgotten: the record waits to be passed over
}

// slot of the table names a ghost: the low half of its mixed hash, and its place
// in the ring + 1. The zero slot is empty. Half a hash is enough to find where
// probing began, and mostly to tell that a record need not be looked at.
type slot struct{ mixed, place uint32 }

const (
	ghostRingMin    = 64
	ghostEntriesMin = 1024
)

// ghosts remembers evicted entries in the order in which they left, within a
// bound on the bytes that they once took and another on their number. The
// order is a ring of records; a table of places in the ring finds them by hash.
type ghosts struct {
	bytesMax   int64
	entriesMax int // 0: follows the number of live entries

	bytes  int64
	live   int        // records that are not gone
	ofKind [256]int32 // how many of them are of each kind

	ring  []ghost // a power of two long
	first uint64  // number of the oldest record; a record's place is its number modulo len(ring)
	next  uint64
	table []slot // open addressing, linear probing
}

func newGhosts(bytesMax int64, entriesMax int) ghosts {
	return ghosts{
		bytesMax: bytesMax, entriesMax: entriesMax,
		ring: make([]ghost, ghostRingMin), table: make([]slot, 2*ghostRingMin),
	}
}

// put remembers g, and forgets the oldest until both bounds hold. entries is
// the number of entries that are live beside the ghosts.
func (s *ghosts) put(g ghost, entries int) {
	s.push(g)
	most := s.entriesMax
	if most == 0 {
		most = 2*entries + ghostEntriesMin
	}
	for s.bytes > s.bytesMax || s.live > most {
		s.pop()
	}
}

// push remembers g as the newest.
func (s *ghosts) push(g ghost) {
	if old := s.find(g.hash); old != nil {
		s.drop(old)
	}
	if s.next-s.first == uint64(len(s.ring)) {
		s.makeRoom()
	}
	place := s.next & uint64(len(s.ring)-1)
	s.next++
	s.ring[place] = g
	s.enter(g.hash, uint32(place))
	s.live++
	s.ofKind[g.kind]++
	s.bytes += g.bytes
}

// pop forgets the oldest and gives it; there must be one.
func (s *ghosts) pop() ghost {
	for s.ring[s.first&uint64(len(s.ring)-1)].gone {
		s.first++
	}
	oldest := &s.ring[s.first&uint64(len(s.ring)-1)]
	s.drop(oldest)
	s.first++
	return *oldest
}

// find gives the ghost of a hash, nil if there is none. It is good until the
// next push.
func (s *ghosts) find(hash uint64) *ghost {
	if i := s.search(hash); s.table[i].place != 0 {
		return &s.ring[s.table[i].place-1]
	}
	return nil
}

// drop forgets a ghost. What had probed past its place in the table moves up,
// so that a search may stop at the first empty slot.
func (s *ghosts) drop(g *ghost) {
	mask := len(s.table) - 1
	hole := s.search(g.hash)
	for i := (hole + 1) & mask; s.table[i].place != 0; i = (i + 1) & mask {
		if home := int(s.table[i].mixed) & mask; (i-home)&mask >= (i-hole)&mask {
			s.table[hole] = s.table[i]
			hole = i
		}
	}
	s.table[hole] = slot{}
	g.gone = true
	s.live--
	s.ofKind[g.kind]--
	s.bytes -= g.bytes
}

// search finds the slot of a hash in the table, or the empty one where it
// belongs.
func (s *ghosts) search(hash uint64) int {
	mask, mixed := len(s.table)-1, uint32(mix(hash))
	i := int(mixed) & mask
	for {
		at := s.table[i]
		if at.place == 0 || at.mixed == mixed && s.ring[at.place-1].hash == hash {
			return i
		}
		i = (i + 1) & mask
	}
}

func (s *ghosts) enter(hash uint64, place uint32) {
	s.table[s.search(hash)] = slot{mixed: uint32(mix(hash)), place: place + 1}
}

// makeRoom leaves behind the records that are gone, and doubles the ring if
// they were few.
func (s *ghosts) makeRoom() {
	old, first, next := s.ring, s.first, s.next
	size := len(old)
	if s.live > size/2 {
		size *= 2
	}
	s.ring, s.table = make([]ghost, size), make([]slot, 2*size)
	s.first, s.next = 0, 0
	for n := first; n < next; n++ {
		g := &old[n&uint64(len(old)-1)]
		if g.gone {
			continue
		}
		s.ring[s.next] = *g
		s.enter(g.hash, uint32(s.next))
		s.next++
	}
}

func (s *ghosts) memoryBytes() int64 {
	return int64(len(s.ring))*int64(unsafe.Sizeof(ghost{})) + int64(len(s.table))*int64(unsafe.Sizeof(slot{}))
}

// mix spreads a hash over all its bits (the finalizer of MurmurHash3), in case
// a caller's are not spread well.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
