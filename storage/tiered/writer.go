package tiered

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"weir/storage"
)

// writer writes into both stores for as long as both take it. The part that
// falls behind is given up, unless it is the last: that one stays for its
// readers.
type writer struct {
	store         *Store
	key           storage.Key
	declaredBytes int64 // negative: not known
	length        int64 // written so far
	broken        error // why it can no longer be written or committed
	done          bool  // committed

	// mu guards which parts there are. Readers hold it while they read, so
	// that no part is closed under them.
	mu           sync.RWMutex
	memory, disk storage.Writer
	closed       bool
}

var _ storage.Writer = (*writer)(nil)

// Write implements storage.Writer. ErrFull, once neither store takes it.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.write(p); err != nil {
		return 0, fmt.Errorf("tiered: write %s: %w", w.key, err)
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	memory, disk, err := w.parts()
	if err != nil {
		return err
	}
	if w.declaredBytes >= 0 && w.length+int64(len(p)) > w.declaredBytes {
		w.broken = storage.ErrLength
		return w.broken
	}
	memoryErr, diskErr := writePart(memory, p), writePart(disk, p)
	if memoryErr != nil && diskErr != nil {
		w.broken = fmt.Errorf("%w: memory: %v; disk: %v", storage.ErrFull, memoryErr, diskErr)
		if disk != nil { // or it has only not been worth a write, and memory had no room
			w.store.failed("write", w.key, diskErr)
		}
		return w.broken
	}
	w.length += int64(len(p))
	// The part that is given up is so only now that the other has p: what
	// readers could see they go on seeing.
	if memory != nil && memoryErr != nil {
		w.give(&w.memory)
	}
	if disk != nil && diskErr != nil {
		w.store.failed("write", w.key, diskErr)
		w.give(&w.disk)
	}
	return nil
}

var errNoPart = errors.New("given up")

func writePart(w storage.Writer, p []byte) error {
	if w == nil {
		return errNoPart
	}
	_, err := w.Write(p)
	return err
}

// parts gives the parts that are still written, or why none is.
func (w *writer) parts() (memory, disk storage.Writer, err error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	switch {
	case w.closed:
		return nil, nil, storage.ErrClosed
	case w.done:
		return nil, nil, errors.New("already committed")
	}
	return w.memory, w.disk, w.broken
}

// give gives a part up.
func (w *writer) give(part *storage.Writer) {
	w.mu.Lock()
	given := *part
	*part = nil
	w.mu.Unlock()
	w.store.failed("give up", w.key, given.Close())
}

// ReadAt implements storage.Writer, from memory as long as it is there.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	switch {
	case w.closed:
		return 0, storage.ErrClosed
	case w.memory != nil:
		return w.memory.ReadAt(p, off)
	case w.disk != nil:
		return w.disk.ReadAt(p, off)
	}
	return 0, io.EOF // not reached: the last part is never given up
}

// Commit implements storage.Writer. It succeeds if one part could be committed.
//
// The disk goes first, and forgets what it had if it has no part in this: were
// it the other way round, a Get between the two could be answered with the new
// object from memory, and after its eviction the next one with the old object
// from disk.
func (w *writer) Commit() error {
	if err := w.commit(); err != nil {
		return fmt.Errorf("tiered: commit %s: %w", w.key, err)
	}
	return nil
}

func (w *writer) commit() error {
	memory, disk, err := w.parts()
	if err != nil {
		return err
	}
	if w.declaredBytes >= 0 && w.length != w.declaredBytes {
		w.broken = fmt.Errorf("%d of %d bytes: %w", w.length, w.declaredBytes, storage.ErrLength)
		return w.broken
	}
	defer w.store.change(w.key)()
	diskErr := commitPart(disk)
	if diskErr != nil && disk != nil {
		w.store.failed("commit", w.key, diskErr)
	}
	if diskErr != nil && memory != nil {
		w.store.forget(w.store.disk, w.key)
	}
	memoryErr := commitPart(memory)
	if memoryErr != nil && diskErr != nil {
		w.broken = fmt.Errorf("%w: memory: %v; disk: %v", storage.ErrFull, memoryErr, diskErr)
		return w.broken
	}
	if memoryErr != nil {
		w.store.forget(w.store.memory, w.key)
	}
	w.done = true
	return nil
}

func commitPart(w storage.Writer) error {
	if w == nil {
		return errNoPart
	}
	return w.Commit()
}

// Close implements storage.Writer. A disk that cannot close is logged.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	var err error
	if w.memory != nil {
		err = w.memory.Close()
	}
	if w.disk != nil {
		w.store.failed("close", w.key, w.disk.Close())
	}
	if err != nil {
		return fmt.Errorf("tiered: close %s: %w", w.key, err)
	}
	return nil
}
