package disk

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"

	"weir/storage"
)

const (
	indexShards = 256
	slotWords   = 2
	slotsMin    = 16
	// A shard grows by a quarter when four fifths of it are in use, so that
	// never more than 36 % of its slots are empty: 25 bytes an object at worst.
	loadNumerator, loadDenominator = 4, 5
	growNumerator, growDenominator = 5, 4
)

// entry is the second word of a slot: where the main record of an object is.
//
//	bits  field
//	20    region
//	20    unit
//	2     kind
//	1     hit since it was written
//	5     exponent and
//	16    mantissa of the bytes accounted, in units, rounded down
type entry uint64

const (
	entryHit       entry = 1 << 21
	entryKindShift       = 22
	entryUnitShift       = 24
	entryPlaceBits       = 20

	mantissaBits = 16
)

func makeEntry(p place, k kind, accountedBytes int64) entry {
	units := uint64(accountedBytes / unitBytes)
	exponent := max(0, bits.Len64(units)-mantissaBits)
	return entry(p.region)<<(entryUnitShift+entryPlaceBits) | entry(p.unit)<<entryUnitShift |
		entry(k)<<entryKindShift | entry(exponent)<<mantissaBits | entry(units>>exponent)
}

func (e entry) place() place {
	return place{
		region: uint32(e >> (entryUnitShift + entryPlaceBits)),
		unit:   uint32(e>>entryUnitShift) & (1<<entryPlaceBits - 1),
	}
}

func (e entry) kind() kind { return kind(e>>entryKindShift) & 3 }

func (e entry) hit() bool { return e&entryHit != 0 }

// accounted is the bytes that the object takes of the budget.
func (e entry) accounted() int64 {
	return int64(e&(1<<mantissaBits-1)) << (e >> mantissaBits & 31) * unitBytes
}

// same says whether both stand for one record.
func (e entry) same(other entry) bool { return e&^entryHit == other&^entryHit }

// fingerprint is what the index knows of a key. Two keys that share one share a
// slot: the newer object is then the only one of the two that is found, and a
// look-up of the other sees from its record that it is not the one meant.
type fingerprint uint64

func fingerprintOf(k storage.Key) fingerprint {
	return fingerprint(max(1, binary.LittleEndian.Uint64(k[:8]))) // 0 is an empty slot
}

// index finds the objects of a directory: a table of 16-byte slots without
// pointers, in memory that the garbage collector does not know of, cut into
// shards that grow one at a time.
type index struct {
	shards [indexShards]shard
	// first is what the shards' slots lay in at the start, and those of a shard
	// that has not grown since still do.
	first *mapping
	// used is what all objects take of the budget: those in the index, those
	// that are open though they have left it, and bodies being written.
	used atomic.Int64
	live atomic.Int64 // entries
}

// shard is a hash table with linear probing.
type shard struct {
	// mu guards slots and live. Changes are made by whoever holds the log's
	// lock, which is taken before this one.
	mu    sync.RWMutex
	slots []uint64 // fingerprint and entry by turns
	live  int      // slots in use
	// buried says that there may be tombstones, as there are while a store loads.
	buried bool
	first  *mapping // the index's

	// openMu guards open. It is taken last.
	openMu sync.Mutex
	open   map[place]*opening
}

// opening is an object that somebody has open. Its place names it, since its
// region is not written again as long as it is pinned.
type opening struct {
	place    place
	refs     int
	bytes    int64 // accounted for it
	unlinked bool  // gone from the index, so that the last close gives the bytes back
}

func (x *index) shardOf(f fingerprint) *shard { return &x.shards[f>>56] }

// home is the slot where a fingerprint is looked for first.
func home(f fingerprint, slots int) int {
	at, _ := bits.Mul64(uint64(f)<<8, uint64(slots))
	return int(at)
}

func (s *shard) count() int { return len(s.slots) / slotWords }

// find gives the number of the slot that has f, or of the empty one where it
// would go. It wants s.mu held, and a shard that has slots.
func (s *shard) find(f fingerprint) (at int, found bool) {
	n := s.count()
	for at = home(f, n); ; at++ {
		if at == n {
			at = 0
		}
		switch fingerprint(s.slots[at*slotWords]) {
		case f:
			return at, true
		case 0:
			return at, false
		}
	}
}

// get gives the entry of f; 0 if there is none.
func (x *index) get(f fingerprint) entry {
	s := x.shardOf(f)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.get(f)
}

func (s *shard) get(f fingerprint) entry {
	if s.live == 0 {
		return 0
	}
	if at, found := s.find(f); found {
		return entry(atomic.LoadUint64(&s.slots[at*slotWords+1]))
	}
	return 0
}

// take opens the object of f: pin is called with its place while it cannot
// leave the index. Nil if there is none.
func (x *index) take(f fingerprint, pin func(region uint32)) (*opening, entry) {
	s := x.shardOf(f)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.get(f)
	if e == 0 || e.kind() == kindTombstone {
		return nil, 0
	}
	s.openMu.Lock()
	defer s.openMu.Unlock()
	o := s.open[e.place()]
	if o == nil {
		if s.open == nil {
			s.open = make(map[place]*opening)
		}
		o = &opening{place: e.place(), bytes: e.accounted()}
		s.open[o.place] = o
		pin(o.place.region)
	}
	o.refs++
	return o, e
}

// give gives an opening of f back, and says whether it was the last one.
func (x *index) give(f fingerprint, o *opening) (last bool) {
	s := x.shardOf(f)
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if o.refs--; o.refs > 0 {
		return false
	}
	delete(s.open, o.place)
	if o.unlinked {
		x.used.Add(-o.bytes)
	}
	return true
}

// markHit notes that the object of e was asked for, if it is still there.
func (x *index) markHit(f fingerprint, e entry) {
	s := x.shardOf(f)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.live == 0 {
		return
	}
	if at, found := s.find(f); found {
		word := &s.slots[at*slotWords+1]
		if now := entry(atomic.LoadUint64(word)); now.same(e) && !now.hit() {
			atomic.OrUint64(word, uint64(entryHit))
		}
	}
}

// put makes e the entry of f and gives the one that it replaces, or 0. Whoever
// put it accounts for its bytes.
func (x *index) put(f fingerprint, e entry) (old entry) {
	s := x.shardOf(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom()
	at, found := s.find(f)
	if found {
		old = entry(s.slots[at*slotWords+1])
		x.unlinked(s, old)
	} else {
		s.slots[at*slotWords] = uint64(f)
		s.live++
		x.live.Add(1)
	}
	atomic.StoreUint64(&s.slots[at*slotWords+1], uint64(e))
	s.buried = s.buried || e.kind() == kindTombstone
	return old
}

// slot is one slot of the index, to be.
type slot struct {
	fingerprint fingerprint
	entry       entry
}

// load puts slots into a shard where it has nothing yet under their fingerprints,
// unless void is set: everything is cleared then, and clear takes the same lock.
func (x *index) load(shard int, slots []slot, void *atomic.Bool) {
	s := &x.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if void.Load() {
		return
	}
	before, used := s.live, int64(0)
	for _, new := range slots {
		s.makeRoom()
		used += s.add(new)
	}
	x.live.Add(int64(s.live - before)) // once a shard: every worker adds to it
	x.used.Add(used)
}

// add puts a slot into a shard that has nothing under its fingerprint, and gives the
// bytes accounted for it. It wants s.mu held, and room.
func (s *shard) add(new slot) (bytes int64) {
	at, found := s.find(new.fingerprint)
	if found {
		return 0
	}
	s.slots[at*slotWords], s.slots[at*slotWords+1] = uint64(new.fingerprint), uint64(new.entry)
	s.live++
	s.buried = s.buried || new.entry.kind() == kindTombstone
	return new.entry.accounted()
}

// makeRoom grows the shard if it could not take one slot more. It wants s.mu held.
func (s *shard) makeRoom() {
	if (s.live+1)*loadDenominator > s.count()*loadNumerator {
		s.resize(max(slotsMin, s.count()*growNumerator/growDenominator))
	}
}

// appendShard appends the slots of a shard that are in use, in their order.
func (x *index) appendShard(b []byte, shard int) []byte {
	s := &x.shards[shard]
	s.mu.RLock()
	defer s.mu.RUnlock()
	for at := 0; at < len(s.slots); at += slotWords {
		if s.slots[at] != 0 {
			b = binary.LittleEndian.AppendUint64(b, s.slots[at])
			b = binary.LittleEndian.AppendUint64(b, atomic.LoadUint64(&s.slots[at+1]))
		}
	}
	return b
}

// loadShard is load for what appendShard gave, as far as it lies in regions that
// are covered. Slots that come in their order are written from front to end.
func (x *index) loadShard(shard int, b []byte, covered []bool, void *atomic.Bool) {
	s := &x.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if void.Load() {
		return
	}
	if slots := (s.live + len(b)/slotBytes) * loadDenominator / loadNumerator; slots >= s.count() {
		s.resize(slots + slots/50 + slotsMin)
	}
	before, used := s.live, int64(0)
	for ; len(b) >= slotBytes; b = b[slotBytes:] {
		new := slot{fingerprint(binary.LittleEndian.Uint64(b)), entry(binary.LittleEndian.Uint64(b[8:]))}
		if region := int(new.entry.place().region); new.fingerprint != 0 && region < len(covered) && covered[region] {
			used += s.add(new)
		}
	}
	x.live.Add(int64(s.live - before))
	x.used.Add(used)
}

// remove takes f out, if its entry stands for the same record as e; a zero e
// stands for any. It gives what it took out.
func (x *index) remove(f fingerprint, e entry) (old entry) {
	s := x.shardOf(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == 0 {
		return 0
	}
	at, found := s.find(f)
	if !found {
		return 0
	}
	old = entry(s.slots[at*slotWords+1])
	if e != 0 && !old.same(e) {
		return 0
	}
	s.empty(at)
	x.live.Add(-1)
	x.unlinked(s, old)
	return old
}

// empty takes a slot out and moves those behind it up that it stood in the way of.
func (s *shard) empty(at int) {
	n := s.count()
	for next := at; ; {
		if next++; next == n {
			next = 0
		}
		f := fingerprint(s.slots[next*slotWords])
		if f == 0 {
			break
		}
		h := home(f, n)
		if (next > at && (h <= at || h > next)) || (next < at && h <= at && h > next) {
			copy(s.slots[at*slotWords:(at+1)*slotWords], s.slots[next*slotWords:(next+1)*slotWords])
			at = next
		}
	}
	s.slots[at*slotWords], s.slots[at*slotWords+1] = 0, 0
	s.live--
}

// unlinkAll is unlinked for every entry at once: it gives the bytes of those that
// nobody has open. It wants s.mu held.
func (s *shard) unlinkAll() (bytes int64) {
	s.openMu.Lock()
	defer s.openMu.Unlock()
	for at := 0; at < len(s.slots); at += slotWords {
		e := entry(s.slots[at+1])
		if s.slots[at] == 0 || e.kind() == kindTombstone {
			continue
		}
		if o := s.open[e.place()]; o != nil {
			o.unlinked = true
			continue
		}
		bytes += e.accounted()
	}
	return bytes
}

// unlinked gives the bytes of an entry back that has left the index: now, or
// when its last opening is closed. It wants s.mu held.
func (x *index) unlinked(s *shard, e entry) {
	if e.kind() == kindTombstone {
		return
	}
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if o := s.open[e.place()]; o != nil {
		o.unlinked = true
		return
	}
	x.used.Add(-e.accounted())
}

// resize makes room for a number of slots. It wants s.mu held.
func (s *shard) resize(slots int) {
	old := s.slots
	s.slots = allocateWords(slots * slotWords)
	for i := 0; i < len(old); i += slotWords {
		if f := fingerprint(old[i]); f != 0 {
			at, _ := s.find(f)
			copy(s.slots[at*slotWords:], old[i:i+slotWords])
		}
	}
	s.free(old)
}

// free gives slots back that the shard had.
func (s *shard) free(slots []uint64) {
	if !s.first.release(slots) {
		freeWords(slots)
	}
}

// expect makes room for a number of objects at once, before there are any.
func (x *index) expect(objects int) {
	slots := objects / indexShards * loadDenominator / loadNumerator
	slots += slots / 50 // the shards are not all alike
	stretch := int(roundUp(int64(slots)*slotBytes, pageBytes))
	if x.first = newMapping(indexShards * stretch); x.first == nil {
		return
	}
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		s.first = x.first
		s.slots = x.first.words(i*stretch, stretch/8)
		s.mu.Unlock()
	}
}

// sweep takes out every entry that match says, and counts them.
func (x *index) sweep(match func(entry) bool) (removed int) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		removed += x.sweepShard(s, match)
		s.mu.Unlock()
	}
	return removed
}

// dropTombstones takes out every tombstone. Most shards have none.
func (x *index) dropTombstones() {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		if s.buried {
			x.sweepShard(s, func(e entry) bool { return e.kind() == kindTombstone })
			s.buried = false
		}
		s.mu.Unlock()
	}
}

// sweepShard wants s.mu held.
func (x *index) sweepShard(s *shard, match func(entry) bool) (removed int) {
	for at := 0; at < s.count(); {
		e := entry(s.slots[at*slotWords+1])
		if s.slots[at*slotWords] == 0 || !match(e) {
			at++
			continue
		}
		s.empty(at) // another may have moved up to here
		x.live.Add(-1)
		x.unlinked(s, e)
		removed++
	}
	return removed
}

// clear takes everything out and gives the memory back. The log's lock is held, or
// nobody else has the index any more.
func (x *index) clear() {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		x.used.Add(-s.unlinkAll())
		s.free(s.slots)
		x.live.Add(-int64(s.live))
		s.slots, s.live, s.first, s.buried = nil, 0, nil, false
		s.mu.Unlock()
	}
	x.first.free()
	x.first = nil
}

// bytes is the memory that the slots take.
func (x *index) bytes() int64 {
	n := int64(0)
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.RLock()
		n += int64(len(s.slots)) * 8
		s.mu.RUnlock()
	}
	return n
}
