package disk

import (
	"sync"
	"sync/atomic"
)

// referBytesMin is from where on a body is not copied into its segment.
const referBytesMin = 64 << 10

// segment is a stretch of a region that is gathered, or waits to be written.
// Short records are copied into it, one behind the other; a long body is written
// from where its writer has gathered it, since another copy of it, under the log's
// lock, would cost as much as the kernel's own.
type segment struct {
	region *region
	off    int64 // where it begins in the region
	bytes  int64
	copied []byte // what is not referred to
	pieces []piece
}

// piece is a stretch of a segment whose bytes are together in memory.
type piece struct {
	off  int64 // in the segment
	data []byte
	body *gathered // whose the bytes are; nil: the segment's
}

// append appends a record.
func (s *segment) append(r *record, salt uint32) {
	s.copy(func(b []byte) []byte { return r.appendFront(b, salt) })
	if r.gathered != nil && len(r.body) >= referBytesMin {
		r.gathered.retain()
		s.pieces = append(s.pieces, piece{off: s.bytes, data: r.body, body: r.gathered})
		s.bytes += int64(len(r.body))
	} else {
		s.copy(func(b []byte) []byte { return append(b, r.body...) })
	}
	s.copy(r.appendPadding)
}

// copy appends what add appends, in the piece before it if that is the segment's.
// Should copied have to move, earlier pieces keep the bytes that they have.
func (s *segment) copy(add func(b []byte) []byte) {
	before := len(s.copied)
	s.copied = add(s.copied)
	n := len(s.copied) - before
	if n == 0 {
		return
	}
	last := len(s.pieces) - 1
	if last < 0 || s.pieces[last].body != nil {
		s.pieces = append(s.pieces, piece{off: s.bytes, data: s.copied[before:]})
	} else {
		s.pieces[last].data = s.copied[before-len(s.pieces[last].data):]
	}
	s.bytes += int64(n)
}

// read copies what a segment has from an offset of a region on.
func (s *segment) read(r *region, off int64, p []byte) (n int) {
	if s == nil || s.region != r || off < s.off || off >= s.off+s.bytes {
		return 0
	}
	off -= s.off
	for _, part := range s.pieces {
		if within := off - part.off; within >= 0 && within < int64(len(part.data)) {
			copied := copy(p[n:], part.data[within:])
			n += copied
			off += int64(copied)
		}
	}
	return n
}

// release gives back what the segment refers to. Nobody may read it any more.
func (s *segment) release() {
	for _, p := range s.pieces {
		if p.body != nil {
			p.body.release()
		}
	}
	s.pieces = nil
}

// gathered is memory in which a writer gathers a stretch of a body. The segment
// that the stretch is written from holds it, too: the last to release it gives it
// back.
type gathered struct {
	data []byte
	refs atomic.Int32
	pool *sync.Pool // nil: it is the garbage collector's
}

// gather gives memory for n bytes; for more than half of a chunk it is a chunk's.
func (v *volume) gather(n int64) *gathered {
	if n <= v.geometry.chunkBytes/2 {
		g := &gathered{data: make([]byte, 0, n)}
		g.retain()
		return g
	}
	g, _ := v.chunks.Get().(*gathered)
	if g == nil {
		g = &gathered{data: make([]byte, 0, v.geometry.chunkBytes), pool: &v.chunks}
	}
	g.retain()
	return g
}

func (g *gathered) retain() { g.refs.Add(1) }

func (g *gathered) release() {
	if g.refs.Add(-1) == 0 && g.pool != nil {
		g.data = g.data[:0]
		g.pool.Put(g)
	}
}
