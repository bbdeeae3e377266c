package memory

import (
	"io"
	"net"
	"slices"
	"sync/atomic"

	"weir/storage"
	"weir/storage/internal/lru"
)

// What the store's own records of an object take, in bytes, rounded up.
const (
	itemBytes     = 256 // item, its share of the map, a writer
	viewOwnBytes  = 96  // view
	chunkOwnBytes = 24  // one chunk's slice header
)

// item is one stored body.
type item struct {
	store  *Store
	key    storage.Key
	chunks [][]byte // immutable; all of chunkBytes but the last
	length int64    // immutable

	bytes   int64 // accounted for, without its views
	current *view
	opens   int // openings of all views, and writers and refreshes at work
	linked  bool
	idle    lru.Node[item]
}

// view is an item with one meta: the Object that Get gives out.
type view struct {
	item    *item
	meta    *storage.Meta
	bytes   int64 // accounted for
	checked atomic.Uint64
	opens   int
}

var _ storage.Object = (*view)(nil)

func newView(it *item, m *storage.Meta, bytes int64) *view {
	v := &view{item: it, meta: m, bytes: bytes}
	v.checked.Store(m.Stamp)
	return v
}

func viewBytes(m *storage.Meta) int64 { return viewOwnBytes + m.Bytes() }

// chunkCost is what a chunk of n bytes takes from the budget. Up to 32 KiB the
// allocator's size classes waste at most an eighth; above, it gives whole pages
// of 8 KiB.
func chunkCost(n int64) int64 {
	const pageBytes = 8 << 10
	if n <= 32<<10 {
		return n + n/8 + chunkOwnBytes
	}
	return (n+pageBytes-1)/pageBytes*pageBytes + chunkOwnBytes
}

// declaredCost is what the chunks of a body of n bytes take; none while the
// length is not known.
func declaredCost(n int64) int64 {
	if n <= 0 {
		return 0
	}
	cost := n / chunkBytes * chunkCost(chunkBytes)
	if rest := n % chunkBytes; rest > 0 {
		cost += chunkCost(rest)
	}
	return cost
}

// Meta implements storage.Object.
func (v *view) Meta() *storage.Meta { return v.meta }

// Tier implements storage.Object.
func (v *view) Tier() storage.Tier { return storage.TierMemory }

// Checked implements storage.Object.
func (v *view) Checked() *atomic.Uint64 { return &v.checked }

// ReadAt implements io.ReaderAt.
func (v *view) ReadAt(p []byte, off int64) (int, error) {
	return readAt(v.item.chunks, v.item.length, p, off)
}

// WriteTo implements io.WriterTo: one Write if the body has one chunk, and one
// writev for all of them if w is a TCP connection.
func (v *view) WriteTo(w io.Writer) (int64, error) {
	chunks := v.item.chunks
	switch len(chunks) {
	case 0:
		return 0, nil
	case 1:
		n, err := w.Write(chunks[0])
		return int64(n), err
	}
	buffers := net.Buffers(slices.Clone(chunks)) // WriteTo consumes the list
	return buffers.WriteTo(w)
}

// Close implements storage.Object.
func (v *view) Close() error {
	s := v.item.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.opens == 0 {
		return storage.ErrClosed
	}
	v.opens--
	if v != v.item.current {
		s.releaseView(v)
	}
	s.unpin(v.item)
	return nil
}

// readAt copies from chunks that hold length bytes.
func readAt(chunks [][]byte, length int64, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	n := 0
	for n < len(p) && off < length {
		chunk := chunks[off/chunkBytes]
		within := off % chunkBytes
		end := min(int64(len(chunk)), within+length-off)
		copied := copy(p[n:], chunk[within:end])
		n += copied
		off += int64(copied)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
