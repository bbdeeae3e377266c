package memory

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"weir/storage"
)

var (
	errNegativeOffset = errors.New("negative offset")
	errCommitted      = errors.New("already committed")
)

// writer takes one body. Only its owner writes, so only what readers see is
// under the mutex; the bytes of a chunk up to length never change again and
// are copied out without it.
type writer struct {
	store         *Store
	key           storage.Key
	meta          *storage.Meta
	declaredBytes int64 // negative: not known
	viewBytes     int64 // reserved for the meta
	bodyBytes     int64 // reserved for the body and the item
	broken        error // why it can no longer be written or committed

	mu     sync.Mutex // guards what follows; s.mu is never wanted under it
	chunks [][]byte
	length int64
	item   *item // set by Commit
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
	chunks, length, err := w.state()
	if err != nil {
		return err
	}
	end := length + int64(len(p))
	if err := w.admit(end, int64(len(chunks))); err != nil {
		w.broken = err
		return err
	}
	for at := length; len(p) > 0; {
		i := at / chunkBytes
		if i == int64(len(chunks)) {
			chunks = append(chunks, make([]byte, w.nextChunkBytes(i)))
		}
		n := copy(chunks[i][at%chunkBytes:], p)
		p = p[n:]
		at += int64(n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.chunks, w.length = chunks, end
	return nil
}

// state gives what has been written, or why nothing more can be.
func (w *writer) state() (chunks [][]byte, length int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, 0, storage.ErrClosed
	case w.item != nil:
		return nil, 0, errCommitted
	}
	return w.chunks, w.length, w.broken
}

// admit checks that the body may grow to end bytes and reserves the chunks that
// it still lacks. The chunks of a declared length are reserved already.
func (w *writer) admit(end, chunks int64) error {
	switch {
	case w.declaredBytes >= 0 && end > w.declaredBytes:
		return storage.ErrLength
	case w.declaredBytes >= 0:
		return nil
	case end > w.store.options.ObjectBytesMax:
		return storage.ErrTooLarge
	}
	missing := (end+chunkBytes-1)/chunkBytes - chunks
	if missing <= 0 {
		return nil
	}
	return w.reserve(missing * chunkCost(chunkBytes))
}

func (w *writer) reserve(n int64) error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if err := w.store.reserve(n); err != nil {
		return err
	}
	w.bodyBytes += n
	return nil
}

// nextChunkBytes is the size of chunk i: exact for the last one of a declared
// length, and otherwise full.
func (w *writer) nextChunkBytes(i int64) int64 {
	if w.declaredBytes < 0 {
		return chunkBytes
	}
	return min(chunkBytes, w.declaredBytes-i*chunkBytes)
}

// ReadAt implements storage.Writer.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	chunks, length, closed := w.chunks, w.length, w.closed
	w.mu.Unlock()
	if closed {
		return 0, storage.ErrClosed
	}
	return readAt(chunks, length, p, off)
}

// Commit implements storage.Writer.
func (w *writer) Commit() error {
	_, length, err := w.state()
	if err == nil && w.declaredBytes >= 0 && length != w.declaredBytes {
		err = fmt.Errorf("%d of %d bytes: %w", length, w.declaredBytes, storage.ErrLength)
		w.broken = err
	}
	if err != nil {
		return fmt.Errorf("memory: commit %s: %w", w.key, err)
	}
	if w.declaredBytes < 0 {
		w.trim()
	}
	if w.meta.BodyBytes < 0 { // unless the other store of a tiered one has set it
		w.meta.BodyBytes = length
	}
	s := w.store
	it := &item{store: s, key: w.key, chunks: w.chunks, length: length, bytes: w.bodyBytes}
	it.current = newView(it, w.meta, w.viewBytes)

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("memory: commit %s: %w", w.key, storage.ErrClosed)
	}
	s.pin(it) // until Close, for ReadAt
	s.link(it)
	s.mu.Unlock()

	w.mu.Lock()
	defer w.mu.Unlock()
	w.item = it
	return nil
}

// trim cuts the last chunk of a body whose length was not known down to what is
// used of it, and moves that into a chunk of its size, so that small answers do
// not keep 64 KiB each. Where the budget has no room for both, it is not moved.
func (w *writer) trim() {
	rest := w.length % chunkBytes
	if rest == 0 {
		return
	}
	last := len(w.chunks) - 1
	chunks := slices.Clone(w.chunks) // readers may still hold the old list
	chunks[last] = chunks[last][:rest]
	moved := chunkCost(rest) < chunkCost(chunkBytes) && w.reserve(chunkCost(rest)) == nil
	if moved {
		chunks[last] = append(make([]byte, 0, rest), chunks[last]...)
	}
	w.mu.Lock()
	w.chunks = chunks
	w.mu.Unlock()
	if moved {
		w.release(chunkCost(chunkBytes))
	}
}

func (w *writer) release(n int64) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.usedBytes -= n
	w.bodyBytes -= n
}

// Close implements storage.Writer.
func (w *writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	it := w.item
	w.chunks = nil
	w.mu.Unlock()

	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if it != nil {
		s.unpin(it)
	} else {
		s.usedBytes -= w.bodyBytes + w.viewBytes
	}
	return nil
}
