package memory

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"

	"weir/storage"
	"weir/storage/evict"
)

// shard is the part of the index that some of the keys are in, with the policy
// that chooses among these.
type shard struct {
	// mu guards all below that is not atomic, and what is said to be guarded
	// in the views of this shard. A hit holds it with others; who holds it
	// alone takes no other lock but the arena's.
	mu      sync.RWMutex
	buckets []ref // the first view of each; the others follow by view.next
	policy  evict.Policy
	entries []ref // the view of each of the policy's entries
	// period counts up with each usePeriods-th of the budget that is stored.
	// addedBytes is what has been stored.
	period     uint32
	addedBytes int64
	// overheadBytes is what policy and entries took when it was last counted.
	overheadBytes int64

	linkedUnits atomic.Int64 // of all views that Get can find
	pinnedUnits atomic.Int64 // of those of them that are open
	evictions   atomic.Int64

	_ [64]byte // two shards' counters are not in one cache line
}

// place says where a key belongs. The keys of requests can be chosen to have
// equal bits anywhere, so which bits count is drawn at random.
func (s *Store) place(k *storage.Key) (sh *shard, bucket *ref) {
	mixed := binary.LittleEndian.Uint64(k[:])*s.seeds[0] + binary.LittleEndian.Uint64(k[8:])*s.seeds[1]
	number := int(mixed >> 32)
	sh = &s.shards[number&(len(s.shards)-1)]
	return sh, &sh.buckets[number>>bits.Len(uint(len(s.shards)-1))&(len(sh.buckets)-1)]
}

// find gives the view that is linked under k. The shard's lock is held.
func (s *Store) find(bucket *ref, k *storage.Key) (ref, *view) {
	for u := *bucket; u != none; {
		v := s.viewAt(u)
		if v.key == *k {
			return u, v
		}
		u = v.next
	}
	return none, nil
}

// usePeriods is how many periods it takes to store a budget's worth. Uses within
// a twentieth of that are one use to evict.Priced, so that it need not be told of
// more than one in a shorter period: most hits then do not look up its entry.
const usePeriods = 32

// open finds and pins a view. A use is told to the policy.
func (s *Store) open(k *storage.Key, use bool) (ref, *view) {
	sh, bucket := s.place(k)
	sh.mu.RLock()
	u, v := s.find(bucket, k)
	if v != nil {
		sh.pin(v)
		if use && (sh.period != v.usedIn.Load() || !s.periodic) {
			v.usedIn.Store(sh.period)
			sh.policy.Hit(evict.Entry(v.entry))
		}
	}
	sh.mu.RUnlock()
	return u, v
}

// link makes a view visible in place of what is stored under its key. What is
// known of the use of that is the new one's. sh.mu is held.
func (s *Store) link(sh *shard, bucket *ref, u ref) {
	v := s.viewAt(u)
	bytes := int64(v.units) * unitBytes
	if old, o := s.find(bucket, &v.key); old != none {
		v.entry = o.entry
		sh.policy.Resize(evict.Entry(v.entry), bytes)
		s.takeOut(sh, bucket, old)
	} else {
		v.entry = uint32(sh.policy.Add(binary.LittleEndian.Uint64(v.key[8:]), bytes))
	}
	for int(v.entry) >= len(sh.entries) {
		sh.entries = append(sh.entries, none)
	}
	sh.entries[v.entry] = u
	v.next, *bucket = *bucket, u
	sh.addedBytes += bytes
	sh.period = uint32(sh.addedBytes * usePeriods / s.shardBytes)
	v.usedIn.Store(sh.period - 1)
	sh.linkedUnits.Add(int64(v.units))
	if v.pinned() { // by the writer that commits it
		sh.pinnedUnits.Add(int64(v.units))
	}
	s.count(sh)
}

// takeOut takes a view out of its bucket. Its entry is the caller's to see to.
func (s *Store) takeOut(sh *shard, bucket *ref, u ref) {
	at := bucket
	for *at != u {
		at = &s.viewAt(*at).next
	}
	*at = s.viewAt(u).next
	s.markUnlinked(sh, u)
}

// unlink takes out the view stored under k, if there is one.
func (s *Store) unlink(k *storage.Key) {
	sh, bucket := s.place(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u, v := s.find(bucket, k); u != none {
		s.remove(sh, bucket, u, v)
	}
}

// remove takes a view out of a shard altogether. sh.mu is held.
func (s *Store) remove(sh *shard, bucket *ref, u ref, v *view) {
	sh.policy.Remove(evict.Entry(v.entry))
	sh.entries[v.entry] = none
	s.takeOut(sh, bucket, u)
}

// evictFrom evicts from a shard the one view that is worth least; false if all
// that it has is open.
func (s *Store) evictFrom(sh *shard) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.policy.Evict()
	if e == evict.None {
		return false
	}
	u := sh.entries[e]
	sh.entries[e] = none
	key := s.viewAt(u).key
	_, bucket := s.place(&key)
	s.takeOut(sh, bucket, u)
	sh.evictions.Add(1)
	s.count(sh)
	return true
}

// stretchEntries is how many views clearStretch looks at before it lets others
// have the shard.
const stretchEntries = 256

// clearStretch evicts what has a part in units from first on, but for what is
// open.
func (s *Store) clearStretch(sh *shard, first, units ref) {
	for from, more := 0, true; more; from += stretchEntries {
		more = s.clearEntries(sh, from, first, units)
	}
}

func (s *Store) clearEntries(sh *shard, from int, first, units ref) (more bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := from; i < min(from+stretchEntries, len(sh.entries)); i++ {
		u := sh.entries[i]
		if u == none {
			continue
		}
		v := s.viewAt(u)
		inside := u-first < units || s.arena.touches(&v.meta, first, units) || s.arena.touches(&v.body, first, units)
		if !inside || v.pinned() {
			continue
		}
		key := v.key
		_, bucket := s.place(&key)
		s.remove(sh, bucket, u, v)
		sh.evictions.Add(1)
	}
	return from+stretchEntries < len(sh.entries)
}

// clear unlinks all of a shard. Its policy begins anew: with nothing stored,
// there is nothing that it should remember the past for.
func (s *Store) clear(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := range sh.buckets {
		for sh.buckets[i] != none {
			s.takeOut(sh, &sh.buckets[i], sh.buckets[i])
		}
	}
	s.begin(sh)
}

// begin gives a shard a policy. sh.mu is held, or nobody has the shard yet.
func (s *Store) begin(sh *shard) {
	sh.entries = nil
	sh.policy = evict.New(s.options.Eviction, evict.Options{
		BudgetBytes:     s.shardBytes,
		GhostEntriesMax: int(max(s.shardBytes/ghostShare, 1)),
		InUse:           func(e evict.Entry) bool { return s.viewAt(sh.entries[e]).pinned() },
	})
	s.count(sh)
}

// count notes what the policy's arrays take now.
func (s *Store) count(sh *shard) {
	now := sh.policy.OverheadBytes() + int64(cap(sh.entries))*int64(refBytes)
	s.overheadBytes.Add(now - sh.overheadBytes)
	sh.overheadBytes = now
}
