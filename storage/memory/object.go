package memory

import (
	"io"
	"net"
	"sync/atomic"

	"weir/storage"
)

// object is an opening of a view. It is used again after its Close, so that a
// Get allocates nothing.
type object struct {
	store *Store
	view  *view // nil: closed
	at    ref
	meta  *storage.Meta // nil until it is asked for
}

var _ storage.Object = (*object)(nil)

// Meta implements storage.Object. What it gives stays good after Close.
func (o *object) Meta() *storage.Meta {
	if o.view == nil {
		panic("memory: Meta of an object that has been closed")
	}
	if o.meta == nil {
		o.meta = o.store.metaOf(o.view)
	}
	return o.meta
}

// Tier implements storage.Object.
func (o *object) Tier() storage.Tier { return storage.TierMemory }

// Checked implements storage.Object. What it gives is good until Close.
func (o *object) Checked() *atomic.Uint64 { return &o.view.checked }

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	if o.view == nil {
		return 0, storage.ErrClosed
	}
	return o.store.arena.readAt(&o.view.body, o.view.length, p, off)
}

const (
	copyBytes    = 32 << 10
	vectorPieces = 64 // in one writev
)

// WriteTo implements io.WriterTo: with one writev for as many pieces as that
// takes if w is a TCP connection, and through a buffer otherwise.
//
// Not every Write is done with its bytes when it returns: that of an HTTP/2
// response comes back early when the client resets the stream, while the frame
// is being written. The arena's bytes may be another object's by then, so such
// a writer only gets to see a buffer, and one in which a Write failed is not
// used again.
func (o *object) WriteTo(w io.Writer) (int64, error) {
	if o.view == nil {
		return 0, storage.ErrClosed
	}
	if c, ok := w.(*net.TCPConn); ok {
		return o.writeTCP(c)
	}
	buffer := o.store.buffers.Get().(*[copyBytes]byte)
	var written int64
	b := bodyReader{cursor: cursor{arena: o.store.arena, list: &o.view.body}, rest: o.view.length}
	for {
		n := b.read(buffer[:])
		if n == 0 {
			o.store.buffers.Put(buffer)
			return written, nil
		}
		wrote, err := w.Write(buffer[:n])
		written += int64(wrote)
		if err == nil && wrote < n {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, err
		}
	}
}

func (o *object) writeTCP(c *net.TCPConn) (written int64, err error) {
	vector := o.store.vectors.Get().(*vector)
	defer o.store.vectors.Put(vector)
	b := bodyReader{cursor: cursor{arena: o.store.arena, list: &o.view.body}, rest: o.view.length}
	for b.rest > 0 {
		vector.buffers = vector.pieces[:0]
		for len(vector.buffers) < vectorPieces && b.rest > 0 {
			vector.buffers = append(vector.buffers, b.piece())
		}
		n, err := vector.buffers.WriteTo(c)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// vector is what a writev needs.
type vector struct {
	pieces  [vectorPieces][]byte
	buffers net.Buffers
}

// Close implements storage.Object.
func (o *object) Close() error {
	if o.view == nil {
		return storage.ErrClosed
	}
	s, at := o.store, o.at
	o.view, o.at, o.meta = nil, none, nil
	s.unpin(at)
	s.objects.put(o)
	return nil
}

// bodyReader reads a body from its beginning on.
type bodyReader struct {
	cursor cursor
	rest   int64  // of the body, in bytes
	left   []byte // of a piece
}

// piece gives the next piece, or what is left of one.
func (b *bodyReader) piece() []byte {
	p := b.left
	b.left = nil
	if len(p) == 0 {
		at, ok := b.cursor.next()
		if !ok {
			b.rest = 0
			return nil
		}
		p = b.cursor.arena.at(at.at, at.units)
		p = p[:min(int64(len(p)), b.rest)]
	}
	b.rest -= int64(len(p))
	return p
}

// read fills p; less only at the body's end.
func (b *bodyReader) read(p []byte) (n int) {
	for n < len(p) && b.rest > 0 {
		from := b.piece()
		copied := copy(p[n:], from)
		n += copied
		b.left = from[copied:]
		b.rest += int64(len(b.left))
	}
	return n
}
