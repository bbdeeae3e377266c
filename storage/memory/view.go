package memory

import (
	"sync/atomic"
	"unsafe"

	"weir/storage"
)

// view is one stored body with one meta, as it lies in the arena: a unit, with
// no Go pointer in it. A refresh gives a body another view.
//
// What is neither atomic nor said to be guarded is written before the view is
// linked, and not changed afterwards.
type view struct {
	// The first cache line is all that finding it takes.
	key     storage.Key
	state   atomic.Uint64 // openings, and the flag unlinked
	checked atomic.Uint64 // see storage.Object
	id      uint64        // of the view; none other ever has it
	length  int64         // of the body, in bytes
	next    ref           // in its bucket; the shard's lock guards it
	entry   uint32        // of the shard's policy; likewise
	units   ref           // that it takes from the arena with all it has
	usedIn  atomic.Uint32 // the period in which the policy was told of a use last

	bodyID    uint64
	metaBytes uint32
	shared    ref // the counter of the body's views, if it has two; the shard's lock guards it
	meta      list
	body      list
}

// A view that were longer than a unit would not compile.
var _ [unitBytes - unsafe.Sizeof(view{})]byte

// unlinked in a state says that Get does not find the view any more. Who sets
// it while there is no opening, or gives back the last opening after it was
// set, gives the view's units back: exactly one does.
//
//	state          by                         evictable   units given back
//	0              Commit, the last Close     yes         no
//	n              Get, Refresh, Commit       no          no
//	unlinked + n   Delete, a newer Commit …   –           no
//	unlinked       Evict; the last Close      –           by whoever came here
const unlinked = 1 << 63

func (v *view) pinned() bool { return v.state.Load()&^uint64(unlinked) > 0 }

// viewAt gives the view that lies at u.
func (s *Store) viewAt(u ref) *view { return (*view)(s.arena.start(u)) }

// pin counts an opening. The view was found in the index, and its shard's lock
// has been held since.
func (sh *shard) pin(v *view) {
	if v.state.Add(1) == 1 {
		sh.pinnedUnits.Add(int64(v.units))
	}
}

// unpin undoes pin.
func (s *Store) unpin(u ref) {
	v := s.viewAt(u)
	sh, _ := s.place(&v.key) // read now: once it is unpinned it may be gone
	units := int64(v.units)
	switch v.state.Add(^uint64(0)) {
	case 0:
		sh.pinnedUnits.Add(-units)
	case unlinked:
		key := v.key
		if s.free(u) > 0 {
			s.unshare(key)
		}
	}
}

// markUnlinked marks a view that has just been taken out of the index; its
// shard's lock is held.
func (s *Store) markUnlinked(sh *shard, u ref) {
	v := s.viewAt(u)
	units := int64(v.units)
	sh.linkedUnits.Add(-units)
	if v.state.Or(unlinked) == 0 {
		s.free(u)
		return
	}
	sh.pinnedUnits.Add(-units)
}

// free gives back what a view takes, and its body unless that has other views:
// it says how many.
func (s *Store) free(u ref) (others int64) {
	v := s.viewAt(u)
	s.metas.drop(v.id)
	s.arena.drop(&v.meta)
	if v.shared != none {
		others = s.counter(v.shared).Add(-1)
	}
	if others == 0 {
		s.arena.drop(&v.body)
		if v.shared != none {
			s.arena.give(v.shared, 1)
		}
	}
	s.arena.give(u, 1)
	return others
}

// unshare takes the counter from the view stored under a key if it is the only
// one of its body by now.
func (s *Store) unshare(k storage.Key) {
	sh, bucket := s.place(&k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, v := s.find(bucket, &k); v != nil {
		s.unshareView(v)
	}
}

// unshareView is unshare for a linked view; its shard's lock is held. Views are
// added to a body under that lock only, so that one which is alone stays so.
func (s *Store) unshareView(v *view) {
	if v.shared != none && s.counter(v.shared).Load() == 1 {
		s.arena.give(v.shared, 1)
		v.shared = none
	}
}

// counter is what a unit is used as that counts the views of a body.
func (s *Store) counter(u ref) *atomic.Int64 { return (*atomic.Int64)(s.arena.start(u)) }
