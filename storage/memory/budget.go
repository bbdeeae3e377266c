package memory

import "weir/storage"

// All methods here want s.mu held.

// reserve takes n bytes from the budget, evicting what was used least recently
// if it must. It evicts nothing if even all of it would not be enough.
func (s *Store) reserve(n int64) error {
	if s.closed {
		return storage.ErrClosed
	}
	if s.usedBytes-s.idleBytes+n > s.options.BudgetBytes {
		return storage.ErrFull
	}
	for s.usedBytes+n > s.options.BudgetBytes {
		s.unlink(s.idle.Oldest())
		s.evictions++
	}
	s.usedBytes += n
	return nil
}

// pin keeps an item from being evicted and its bytes from being given back.
func (s *Store) pin(it *item) {
	if it.idle.Linked() {
		s.idle.Remove(&it.idle)
		s.idleBytes -= it.evictableBytes()
	}
	it.opens++
}

// unpin undoes pin. The last unpin of an unlinked item gives its bytes back.
func (s *Store) unpin(it *item) {
	it.opens--
	if it.opens > 0 {
		return
	}
	if !it.linked {
		s.usedBytes -= it.evictableBytes()
		return
	}
	s.idle.PushNewest(it, &it.idle)
	s.idleBytes += it.evictableBytes()
}

// unlink takes an item out of the index. Whoever has it open keeps it.
func (s *Store) unlink(it *item) {
	delete(s.items, it.key)
	it.linked = false
	if it.idle.Linked() {
		s.idle.Remove(&it.idle)
		s.idleBytes -= it.evictableBytes()
		s.usedBytes -= it.evictableBytes()
	}
}

// link makes an item visible in place of what was stored under its key.
func (s *Store) link(it *item) {
	if old := s.items[it.key]; old != nil {
		s.unlink(old)
	}
	it.linked = true
	s.items[it.key] = it
}

// evictableBytes is what an item that nobody has open takes: no view but the
// current one is then left.
func (it *item) evictableBytes() int64 { return it.bytes + it.current.bytes }

// releaseView gives the bytes of a view back that is no longer current, once
// nobody has it open.
func (s *Store) releaseView(v *view) {
	if v.opens == 0 {
		s.usedBytes -= v.bytes
	}
}
