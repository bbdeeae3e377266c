package disk

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"weir/storage"
)

// writer takes a body. What does not fill a chunk waits in buffer, so that a
// short body goes into the log in one record with its meta; each chunk that is
// full goes into the log at once, and until Commit nothing names it.
type writer struct {
	meta     *storage.Meta
	declared int64 // negative: not known
	bytesMax int64
	broken   error // why it can no longer be written or committed
	done     bool  // committed
	writing  int64 // accounted for the chunks

	// mu guards what follows against readers; it is not held while the log is
	// read or written. Only Write, Commit and Close change it.
	mu     sync.RWMutex
	body   body      // what is in the log
	buffer *gathered // nil: nothing is in it
	length int64     // what readers see
	closed bool
}

var _ storage.Writer = (*writer)(nil)

// create begins an object of a body of at most bytesMax bytes.
func (v *volume) create(k storage.Key, m *storage.Meta, bytesMax int64) (*writer, error) {
	if err := v.usable(); err != nil {
		return nil, err
	}
	if m.BodyBytes > bytesMax {
		return nil, fmt.Errorf("%d of %d bytes: %w", m.BodyBytes, bytesMax, storage.ErrTooLarge)
	}
	encoded, err := m.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	if n := recordHeadBytes + int64(len(encoded)); n > v.geometry.recordMax {
		return nil, fmt.Errorf("meta of %d bytes: %w", len(encoded), storage.ErrTooLarge)
	}
	if !v.admission.admits(k, m.BodyBytes) {
		return nil, fmt.Errorf("not worth a write yet: %w", storage.ErrFull)
	}
	return &writer{meta: m, declared: m.BodyBytes, bytesMax: bytesMax, body: body{volume: v, key: k}}, nil
}

// Write implements storage.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.write(p); err != nil {
		return 0, fmt.Errorf("disk: write %s: %w", w.body.key, err)
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	length := w.length + int64(len(p))
	switch {
	case w.closed:
		return storage.ErrClosed
	case w.done:
		return errors.New("already committed")
	case w.broken != nil:
		return w.broken
	case w.declared >= 0 && length > w.declared:
		w.broken = storage.ErrLength
		return w.broken
	case length > w.bytesMax:
		w.broken = storage.ErrTooLarge
		return w.broken
	}
	for len(p) > 0 {
		if w.broken = w.makeRoom(); w.broken != nil {
			return w.broken
		}
		n := min(cap(w.buffer.data)-len(w.buffer.data), len(p))
		w.mu.Lock()
		w.buffer.data = append(w.buffer.data, p[:n]...)
		w.mu.Unlock()
		p = p[n:]
	}
	w.mu.Lock()
	w.length = length
	w.mu.Unlock()
	return nil
}

// unknownBytes is what a body is gathered in at first whose length is not declared.
const unknownBytes = 16 << 10

// makeRoom sees to it that the buffer takes at least a byte more.
func (w *writer) makeRoom() error {
	v := w.body.volume
	switch b := w.buffer; {
	case b == nil || len(b.data) < cap(b.data):
	case int64(len(b.data)) >= v.geometry.chunkBytes:
		if err := w.spill(); err != nil {
			return err
		}
	default:
		grown := v.gather(min(int64(len(b.data))*4, v.geometry.chunkBytes))
		grown.data = append(grown.data, b.data...)
		w.swap(grown)
	}
	if w.buffer == nil {
		left := w.declared - w.body.length
		if w.declared < 0 && w.body.length == 0 {
			left = unknownBytes
		} else if w.declared < 0 {
			left = v.geometry.chunkBytes
		}
		w.swap(v.gather(min(left, v.geometry.chunkBytes)))
	}
	return nil
}

// swap replaces the buffer.
func (w *writer) swap(b *gathered) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.swapLocked(b)
}

func (w *writer) swapLocked(b *gathered) {
	if w.buffer != nil {
		w.buffer.release()
	}
	w.buffer = b
}

// bodyOf makes what is in the buffer the body of a record.
func (w *writer) bodyOf(r *record) {
	if w.buffer != nil {
		r.body, r.gathered = w.buffer.data, w.buffer
	}
	r.sums = sumsOf(r.body)
}

// spill puts the buffer into the log; the next bytes need another one.
func (w *writer) spill() error {
	v := w.body.volume
	r := &record{kind: kindChunk, key: w.body.key, length: int64(len(w.buffer.data))}
	w.bodyOf(r)
	at, err := v.chunk(r, askWait)
	if err != nil {
		return err
	}
	v.index.used.Add(r.bytes())
	w.writing += r.bytes()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.body.add(part{place: at, sequence: r.sequence, bytes: r.length})
	s.front.Store(&front{bytes: r.frontBytes(), sums: r.sums})
	w.swapLocked(nil)
	return nil
}

// ReadAt implements storage.Writer.
func (w *writer) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	for n < len(p) {
		got, inLog, err := w.readBuffer(p[n:], off+int64(n))
		if err == nil && got == 0 { // it is in the log, which is read without the lock
			want := p[n:min(int64(len(p)), int64(n)+inLog.length-off-int64(n))]
			got, err = inLog.readAt(want, off+int64(n))
		}
		n += got
		if err != nil && err != io.EOF {
			err = fmt.Errorf("disk: read %s: %w", w.body.key, err)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readBuffer copies what is in the buffer, or gives what is in the log.
func (w *writer) readBuffer(p []byte, off int64) (n int, inLog body, err error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	switch {
	case w.closed:
		return 0, body{}, storage.ErrClosed
	case off >= w.length:
		return 0, body{}, io.EOF
	case off < w.body.length:
		inLog = w.body
		inLog.length = min(inLog.length, w.length) // the rest belongs to a Write that is not done
		return 0, inLog, nil
	}
	return copy(p[:min(int64(len(p)), w.length-off)], w.buffer.data[off-w.body.length:]), body{}, nil
}

// Commit implements storage.Writer.
func (w *writer) Commit() error {
	if err := w.commit(); err != nil {
		return fmt.Errorf("disk: commit %s: %w", w.body.key, err)
	}
	return nil
}

func (w *writer) commit() error {
	switch {
	case w.closed:
		return storage.ErrClosed
	case w.done:
		return errors.New("already committed")
	case w.broken != nil:
		return w.broken
	case w.declared >= 0 && w.length != w.declared:
		w.broken = fmt.Errorf("%d of %d bytes: %w", w.length, w.declared, storage.ErrLength)
		return w.broken
	}
	if w.meta.BodyBytes < 0 { // readers of a declared one have it in their hands
		w.meta.BodyBytes = w.length
	}
	r, err := w.mainRecord()
	if err == nil {
		err = w.body.volume.commit(r, w.writing)
	}
	if err != nil {
		w.broken = err
		return err
	}
	w.writing = 0
	w.done = true
	return nil
}

// mainRecord is the record that makes the object: with the body in it, or a head
// for the chunks that are in the log already and the last one.
func (w *writer) mainRecord() (r *record, err error) {
	if len(w.body.stretches) > 0 && w.buffer != nil {
		if err := w.spill(); err != nil {
			return nil, err
		}
	}
	r = &record{kind: kindObject, key: w.body.key, stamp: w.meta.Stamp, length: w.length}
	if r.meta, err = w.meta.AppendBinary(nil); err != nil {
		return nil, err
	}
	if len(w.body.stretches) == 0 {
		w.bodyOf(r)
		return r, nil
	}
	r.kind = kindHead
	for _, s := range w.body.stretches {
		r.parts = append(r.parts, s.part)
	}
	return r, nil
}

// Close implements storage.Writer. Chunks that no head names are garbage, until
// their regions are taken back.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	v := w.body.volume
	v.index.used.Add(-w.writing)
	for _, s := range w.body.stretches {
		v.unpin(s.region)
	}
	w.swapLocked(nil)
	return nil
}
