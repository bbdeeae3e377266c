package disk

import (
	"errors"
	"io/fs"
	"sync/atomic"

	"weir/storage"
	"weir/storage/internal/lru"
)

// fileUnitBytes is what the size of every file is rounded up to: file systems
// give out space in blocks of that size.
const fileUnitBytes = 4 << 10

func roundUp(n int64) int64 { return (n + fileUnitBytes - 1) / fileUnitBytes * fileUnitBytes }

// entry is what the index knows of one stored body. The fields of its first
// group never change; those of the second are guarded by Store.mu.
type entry struct {
	key    storage.Key
	bodyID uint64
	bodyN  uint64
	length int64 // of the body

	bodyBytes int64 // accounted for the body file
	metaBytes int64 // accounted for the meta file
	metaN     uint64
	checked   *atomic.Uint64 // replaced by a refresh; the objects that are open keep theirs
	opens     int            // objects and writers that have it open, and calls at work on it
	linked    bool
	erased    bool
	idle      lru.Node[entry]

	touched atomic.Int64 // when the meta file's time of change was set, in seconds since 1970
}

func newChecked(stamp uint64) *atomic.Uint64 {
	checked := new(atomic.Uint64)
	checked.Store(stamp)
	return checked
}

func (e *entry) bytes() int64 { return e.bodyBytes + e.metaBytes }

// stuckFile is a file that could not be removed.
type stuckFile struct {
	path  string
	bytes int64
}

// reserve takes n bytes from the budget, evicting what was used least recently
// if it must. It evicts nothing if even all of it would not be enough. Bytes of
// evicted objects count as free only once their files are gone.
func (s *Store) reserve(n int64) error {
	if done, _, err := s.tryReserve(n, false); done || err != nil {
		return err
	}
	s.evicting.Lock()
	defer s.evicting.Unlock()
	s.retryStuck()
	for {
		done, victims, err := s.tryReserve(n, true)
		if done || err != nil {
			return err
		}
		for _, e := range victims {
			if err := s.erase(e); err != nil {
				s.options.Log.Warn("disk: evict", "key", e.key.String(), "error", err)
			}
		}
	}
}

// tryReserve takes n bytes if they are free. Otherwise, if evict is set, it
// unlinks as many entries as it takes and leaves their erasure to the caller.
func (s *Store) tryReserve(n int64, evict bool) (done bool, victims []*entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := s.usedBytes + n + directoryBytes(s.options.BudgetBytes) - s.options.BudgetBytes
	switch {
	case s.closed:
		return false, nil, storage.ErrClosed
	case missing <= 0:
		s.usedBytes += n
		return true, nil, nil
	case !evict:
		return false, nil, nil
	case missing > s.idleBytes:
		return false, nil, storage.ErrFull
	}
	for missing > 0 {
		e := s.idle.Oldest()
		missing -= e.bytes()
		s.unlinkLocked(e)
		s.evictions++
		victims = append(victims, e)
	}
	return false, victims, nil
}

// release gives reserved bytes back.
func (s *Store) release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usedBytes -= n
}

// pinLocked keeps an entry from being evicted and its bytes from being given
// back. It wants s.mu held.
func (s *Store) pinLocked(e *entry) {
	if e.idle.Linked() {
		s.idle.Remove(&e.idle)
		s.idleBytes -= e.bytes()
	}
	e.opens++
}

func (s *Store) unpin(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.opens--
	switch {
	case e.opens > 0:
	case e.linked:
		s.idleLocked(e)
	case e.erased:
		s.usedBytes -= e.bytes()
	}
}

// idleLocked puts an entry that nobody has open up for eviction, last.
func (s *Store) idleLocked(e *entry) {
	s.idle.PushNewest(e, &e.idle)
	s.idleBytes += e.bytes()
}

// link makes an entry visible in place of what was stored under its key, and
// pins it. Its files are complete and its bytes reserved.
func (s *Store) link(e *entry) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return storage.ErrClosed
	}
	old := s.entries[e.key]
	if old != nil {
		s.unlinkLocked(old)
	}
	e.linked = true
	e.opens = 1
	s.entries[e.key] = e
	s.mu.Unlock()
	if old != nil {
		s.eraseReplaced(old)
	}
	return nil
}

// eraseReplaced erases an entry that a newer one has replaced. If that fails the
// newer one is still what a restart finds, so nobody need hear of it.
func (s *Store) eraseReplaced(e *entry) {
	if err := s.erase(e); err != nil {
		s.options.Log.Warn("disk: remove replaced object", "key", e.key.String(), "error", err)
	}
}

// linkMeta makes meta file n the one of the pinned entry e, if that is still
// stored, and removes the file that is then superfluous. bytes is reserved for
// the new one.
func (s *Store) linkMeta(e *entry, n uint64, bytes int64, stamp uint64) error {
	s.mu.Lock()
	oldN, oldBytes, linked := e.metaN, e.metaBytes, e.linked
	if linked {
		e.metaN, e.metaBytes, e.checked = n, bytes, newChecked(stamp)
	} else {
		oldN, oldBytes = n, bytes
	}
	s.mu.Unlock()
	err := s.removeAndRelease(s.metaPath(e.key, oldN), oldBytes)
	if !linked {
		return errors.Join(storage.ErrNotFound, err)
	}
	if err != nil {
		s.options.Log.Warn("disk: remove replaced meta", "key", e.key.String(), "error", err)
	}
	return nil
}

// unlinkLocked takes an entry out of the index. The caller erases it once it
// has released s.mu.
func (s *Store) unlinkLocked(e *entry) {
	delete(s.entries, e.key)
	e.linked = false
	if e.idle.Linked() {
		s.idle.Remove(&e.idle)
		s.idleBytes -= e.bytes()
	}
}

// erase removes the files of an unlinked entry, the meta file first since it is
// what a restart finds it by. Its bytes are given back now, or by the last
// Close if it is open.
func (s *Store) erase(e *entry) error {
	metaPath, bodyPath := s.metaPath(e.key, e.metaN), s.bodyPath(e.bodyID, e.bodyN)
	metaErr, bodyErr := s.remove(metaPath), s.remove(bodyPath)
	s.mu.Lock()
	defer s.mu.Unlock()
	if metaErr != nil { // its bytes go over to stuck
		s.stuck = append(s.stuck, stuckFile{metaPath, e.metaBytes})
		e.metaBytes = 0
	}
	if bodyErr != nil {
		s.stuck = append(s.stuck, stuckFile{bodyPath, e.bodyBytes})
		e.bodyBytes = 0
	}
	e.erased = true
	if e.opens == 0 {
		s.usedBytes -= e.bytes()
	}
	return errors.Join(metaErr, bodyErr)
}

// remove removes a file that may be gone already.
func (s *Store) remove(path string) error {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeAndRelease removes a file and gives its bytes back. If it cannot be
// removed they stay accounted for, and it is tried again later.
func (s *Store) removeAndRelease(path string, bytes int64) error {
	err := s.remove(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stuck = append(s.stuck, stuckFile{path, bytes})
	} else {
		s.usedBytes -= bytes
	}
	return err
}

// keepStuck notes a file that could not be removed and whose bytes are already
// accounted for.
func (s *Store) keepStuck(path string, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck = append(s.stuck, stuckFile{path, bytes})
}

// retryStuck tries once more to remove some files that could not be removed.
// The caller holds s.evicting.
func (s *Store) retryStuck() {
	s.mu.Lock()
	n := min(len(s.stuck), stuckTriesMax)
	stuck := append([]stuckFile(nil), s.stuck[:n]...)
	s.stuck = s.stuck[n:]
	s.mu.Unlock()
	for _, file := range stuck {
		_ = s.removeAndRelease(file.path, file.bytes) // back to the end of s.stuck if it fails
	}
}

// drop unlinks and erases an entry whose files are bad, if it is still stored
// and still has meta file metaN, or whichever if metaN is 0. It says whether it
// did. Only damage is counted as corrupt, not a file that could not be read.
func (s *Store) drop(e *entry, metaN uint64, why error) bool {
	s.mu.Lock()
	if !e.linked || (metaN != 0 && e.metaN != metaN) {
		s.mu.Unlock()
		return false
	}
	s.unlinkLocked(e)
	if errors.Is(why, storage.ErrCorrupt) {
		s.corrupt++
	}
	s.mu.Unlock()
	err := s.erase(e)
	s.options.Log.Warn("disk: object dropped", "key", e.key.String(), "why", why, "error", err)
	return true
}
