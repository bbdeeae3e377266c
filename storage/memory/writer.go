package memory

import (
	"errors"
	"fmt"
	"sync"

	"weir/storage"
)

var (
	errNegativeOffset = errors.New("negative offset")
	errCommitted      = errors.New("already committed")
)

// A body whose length is not known grows by as much as it has, within these.
const (
	growthUnitsMin = 16 << 10 / unitBytes
	growthUnitsMax = segmentUnits
)

// writer takes one body. Only its owner writes, into what is beyond length and
// nobody reads yet.
type writer struct {
	store         *Store
	key           storage.Key
	meta          *storage.Meta
	declaredBytes int64 // negative: not known
	at            ref   // of the view that it becomes
	metaBytes     int
	metaList      builder
	filler        filler
	broken        error // why it can no longer be written or committed
	committed     bool

	// mu guards what follows. Readers hold it while they copy, so that nothing
	// is given back under them. It is taken before a shard's lock.
	mu     sync.RWMutex
	body   builder
	length int64
	closed bool
}

var _ storage.Writer = (*writer)(nil)

// Write implements storage.Writer. It takes all of p or nothing.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.write(p); err != nil {
		return 0, fmt.Errorf("memory: write %s: %w", w.key, err)
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	if err := w.writable(); err != nil {
		return err
	}
	end := w.length + int64(len(p))
	if err := w.admit(end); err != nil {
		w.broken = err
		return err
	}
	w.filler.write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.length = end
	return nil
}

// writable says why nothing more can be written.
func (w *writer) writable() error {
	switch {
	case w.closed:
		return storage.ErrClosed
	case w.committed:
		return errCommitted
	}
	return w.broken
}

// admit checks that the body may grow to end bytes, and takes the units that it
// lacks. Those of a declared length are there already.
func (w *writer) admit(end int64) error {
	switch {
	case w.declaredBytes >= 0 && end > w.declaredBytes:
		return storage.ErrLength
	case w.declaredBytes >= 0:
		return nil
	case end > w.store.options.ObjectBytesMax:
		return storage.ErrTooLarge
	}
	have := int64(w.body.units)
	missing := unitsOf(end) - have
	if missing <= 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ahead := min(max(have, growthUnitsMin), growthUnitsMax, unitsOf(w.store.options.ObjectBytesMax)-have)
	if ahead > missing && w.store.arena.grow(&w.body, ahead) {
		return nil
	}
	return w.store.grow(&w.body, missing)
}

// ReadAt implements storage.Writer.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return 0, storage.ErrClosed
	}
	return w.store.arena.readAt(&w.body.list, w.length, p, off)
}

// Commit implements storage.Writer.
func (w *writer) Commit() error {
	if err := w.commit(); err != nil {
		return fmt.Errorf("memory: commit %s: %w", w.key, err)
	}
	w.store.settle()
	return nil
}

func (w *writer) commit() error {
	if err := w.writable(); err != nil {
		return err
	}
	if w.declaredBytes >= 0 && w.length != w.declaredBytes {
		w.broken = fmt.Errorf("%d of %d bytes: %w", w.length, w.declaredBytes, storage.ErrLength)
		return w.broken
	}
	if w.declaredBytes < 0 {
		w.mu.Lock()
		w.store.arena.trim(&w.body, unitsOf(w.length))
		w.mu.Unlock()
	}
	if w.meta.BodyBytes < 0 { // unless the other store of a tiered one has set it
		w.meta.BodyBytes = w.length
	}
	s := w.store
	sh, bucket := s.place(&w.key)
	s.fill(w.at, w.key, w.meta, w.length, w.metaBytes, &w.metaList, w.body.list, s.arena.unitsWithTables(&w.body))
	s.viewAt(w.at).state.Store(1) // until Close, for ReadAt
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.closed.Load() {
		return storage.ErrClosed
	}
	s.link(sh, bucket, w.at)
	w.committed = true
	return nil
}

// Close implements storage.Writer.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	if w.committed {
		w.store.unpin(w.at)
		return nil
	}
	w.store.arena.drop(&w.metaList.list)
	w.store.arena.drop(&w.body.list)
	w.store.arena.give(w.at, 1)
	return nil
}
