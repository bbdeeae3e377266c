package disk

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"weir/storage"
)

var errCommitted = errors.New("already committed")

// writer takes one body. Only its owner writes, so only what readers see is
// under the mutex; a reader takes the body it finds there and reads the file
// without it.
type writer struct {
	store         *Store
	key           storage.Key
	meta          *storage.Meta
	declaredBytes int64 // negative: not known
	metaBytes     int64 // of the encoded meta
	bodyN         uint64
	reservedBytes int64 // for both files
	broken        error // why it can no longer be written or committed

	mu     sync.Mutex // guards what follows; no other lock is wanted under it
	body   body
	entry  *entry // set by Commit
	closed bool
	bad    bool // a checksum failed while it was written
}

var _ storage.Writer = (*writer)(nil)

// Create implements storage.Store. Both files of a body of declared length are
// reserved here. ErrTooLarge also for a meta beyond the limits of
// storage.Meta.AppendBinary. Errors of the file system are wrapped.
func (s *Store) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	w := &writer{store: s, key: k, meta: m, declaredBytes: m.BodyBytes}
	if err := w.begin(); err != nil {
		return nil, fmt.Errorf("disk: create %s: %w", k, err)
	}
	return w, nil
}

func (w *writer) begin() error {
	if w.declaredBytes > w.store.options.ObjectBytesMax {
		return fmt.Errorf("%d bytes: %w", w.declaredBytes, storage.ErrTooLarge)
	}
	encoded, err := w.meta.AppendBinary(nil)
	if err != nil {
		return err
	}
	w.metaBytes = int64(len(encoded))
	if err := w.reserve(max(w.declaredBytes, 0)); err != nil {
		return err
	}
	w.bodyN = w.store.drawN()
	file, err := w.store.createFile(w.bodyPath())
	if err != nil {
		return errors.Join(err, w.store.removeAndRelease(w.bodyPath(), w.reservedBytes))
	}
	w.body.file = file
	return nil
}

func (w *writer) bodyPath() string { return w.store.bodyPath(w.meta.BodyID, w.bodyN) }

// fileBytes is what the two files take in the budget when the body has length.
func (w *writer) fileBytes(length int64) (bodyBytes, metaBytes int64) {
	return roundUp(length), roundUp(metaFileBytes(w.metaBytes, length))
}

// reserve sees to it that the files of a body of that length are reserved.
func (w *writer) reserve(length int64) error {
	bodyBytes, metaBytes := w.fileBytes(length)
	missing := bodyBytes + metaBytes - w.reservedBytes
	if missing <= 0 {
		return nil
	}
	if err := w.store.reserve(missing); err != nil {
		return err
	}
	w.reservedBytes += missing
	return nil
}

// Write implements storage.Writer. It takes all of p or, whatever part of it
// may have reached the file, nothing.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.write(p); err != nil {
		return 0, fmt.Errorf("disk: write %s: %w", w.key, err)
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	b, err := w.state()
	if err != nil {
		return err
	}
	if err = w.admit(b.length + int64(len(p))); err == nil {
		var n int
		n, err = b.file.WriteAt(p, b.length)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
	}
	if err != nil {
		w.broken = err
		return err
	}
	b = b.extended(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.body = b
	return nil
}

// state gives what has been written, or why nothing more can be.
func (w *writer) state() (body, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return body{}, storage.ErrClosed
	case w.entry != nil:
		return body{}, errCommitted
	case w.bad:
		return body{}, storage.ErrCorrupt
	}
	return w.body, w.broken
}

// admit checks that the body may have that length and reserves for it.
func (w *writer) admit(length int64) error {
	switch {
	case w.declaredBytes >= 0 && length > w.declaredBytes:
		return storage.ErrLength
	case length > w.store.options.ObjectBytesMax:
		return storage.ErrTooLarge
	}
	return w.reserve(length)
}

// ReadAt implements storage.Writer; it verifies blocks as an object does.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	b, closed := w.body, w.closed
	w.mu.Unlock()
	if closed {
		return 0, storage.ErrClosed
	}
	n, err := w.store.readAt(b, p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	if err != errNegativeOffset {
		w.distrust(err)
	}
	return n, fmt.Errorf("disk: read %s: %w", w.key, err)
}

// distrust sees to it that a body that could not be read back is not stored.
func (w *writer) distrust(why error) {
	w.mu.Lock()
	e, closed := w.entry, w.closed
	w.bad = w.bad || !closed
	w.mu.Unlock()
	if e != nil && !closed {
		w.store.drop(e, 0, why)
	}
}

// Commit implements storage.Writer.
func (w *writer) Commit() error {
	if err := w.commit(); err != nil {
		return fmt.Errorf("disk: commit %s: %w", w.key, err)
	}
	return nil
}

func (w *writer) commit() error {
	b, err := w.state()
	if err != nil {
		return err
	}
	if w.declaredBytes >= 0 && b.length != w.declaredBytes {
		w.broken = fmt.Errorf("%d of %d bytes: %w", b.length, w.declaredBytes, storage.ErrLength)
		return w.broken
	}
	if w.meta.BodyBytes < 0 {
		w.meta.BodyBytes = b.length
	}
	e, err := w.publish(b)
	if err != nil {
		w.broken = err
		return err
	}
	w.mu.Lock()
	bad := w.bad
	w.entry = e
	w.mu.Unlock()
	if bad { // found out while the meta file was written
		w.store.drop(e, 0, storage.ErrCorrupt)
		return storage.ErrCorrupt
	}
	return nil
}

// publish writes the meta file and links the entry, which takes over the bytes
// reserved for both files.
func (w *writer) publish(b body) (*entry, error) {
	s := w.store
	file := metaFile{key: w.key, n: s.drawN(), bodyN: w.bodyN, meta: w.meta, sums: b.allSums()}
	encoded, err := file.append(nil)
	if err != nil {
		return nil, err
	}
	if stuckBytes, err := s.writeMetaFile(w.key, file.n, encoded); err != nil {
		w.reservedBytes -= stuckBytes
		return nil, err
	}
	e := &entry{
		key: w.key, bodyID: w.meta.BodyID, bodyN: w.bodyN, length: b.length,
		metaN: file.n, checked: newChecked(w.meta.Stamp),
	}
	e.bodyBytes, e.metaBytes = w.fileBytes(b.length)
	e.touched.Store(time.Now().Unix())
	if err := s.link(e); err != nil {
		return nil, errors.Join(err, s.remove(s.metaPath(w.key, file.n)))
	}
	return e, nil
}

// Close implements storage.Writer.
func (w *writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	e := w.entry
	w.mu.Unlock()

	err := w.body.file.Close()
	if e != nil {
		w.store.unpin(e)
	} else {
		err = errors.Join(err, w.store.removeAndRelease(w.bodyPath(), w.reservedBytes))
	}
	if err != nil {
		return fmt.Errorf("disk: close %s: %w", w.key, err)
	}
	return nil
}
