package disk

import (
	"fmt"
	"io"
	"sync/atomic"

	"weir/storage"
)

// object is one opening of an entry.
type object struct {
	store   *Store
	entry   *entry
	meta    *storage.Meta
	checked *atomic.Uint64
	body    body
	closed  atomic.Bool
}

var _ storage.Object = (*object)(nil)

// Meta implements storage.Object.
func (o *object) Meta() *storage.Meta { return o.meta }

// Tier implements storage.Object.
func (o *object) Tier() storage.Tier { return storage.TierDisk }

// Checked implements storage.Object.
func (o *object) Checked() *atomic.Uint64 { return o.checked }

// ReadAt implements storage.Object. Reads of whole blocks, at multiples of
// 64 KiB, need no copy.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	if o.closed.Load() {
		return 0, storage.ErrClosed
	}
	n, err := o.store.readAt(o.body, p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	if err != errNegativeOffset && !o.closed.Load() {
		o.store.drop(o.entry, 0, err)
	}
	return n, fmt.Errorf("disk: read %s: %w", o.entry.key, err)
}

// WriteTo implements storage.Object: one write for each block of 64 KiB.
func (o *object) WriteTo(w io.Writer) (written int64, err error) {
	buffer := o.store.blocks.Get().(*[blockBytes]byte)
	defer o.store.blocks.Put(buffer)
	for written < o.body.length {
		p := buffer[:min(blockBytes, o.body.length-written)]
		if _, err := o.ReadAt(p, written); err != nil {
			return written, err
		}
		n, err := w.Write(p)
		written += int64(n)
		if err != nil {
			return written, err
		}
		if n < len(p) {
			return written, io.ErrShortWrite
		}
	}
	return written, nil
}

// Close implements storage.Object.
func (o *object) Close() error {
	if o.closed.Swap(true) {
		return storage.ErrClosed
	}
	err := o.body.file.Close()
	o.store.unpin(o.entry)
	if err != nil {
		return fmt.Errorf("disk: close %s: %w", o.entry.key, err)
	}
	return nil
}
