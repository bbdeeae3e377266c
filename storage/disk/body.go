package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"sync/atomic"

	"weir/storage"
)

const (
	// frontGuessBytes is read of a record whose length is not known: most
	// fronts are shorter.
	frontGuessBytes = 4096
	// wholeBytesMax is up to where a record is read in one go, body and all.
	wholeBytesMax = 64 << 10
)

var errNegativeOffset = errors.New("negative offset")

// stretch is a part of a body, with what it takes to read it.
type stretch struct {
	part
	start int64                 // where it begins in the body
	front atomic.Pointer[front] // of its record, once it has been read
}

// front is what the front of a record says of the stretch behind it.
type front struct {
	bytes int64 // before the body
	sums  []uint32
}

// body reads a body from its stretches.
type body struct {
	volume    *volume
	key       storage.Key
	stretches []*stretch
	length    int64
}

// add appends a part.
func (b *body) add(p part) *stretch {
	s := &stretch{part: p, start: b.length}
	b.stretches = append(b.stretches, s)
	b.length += p.bytes
	return s
}

// readAt is ReadAt on a body. Each block it touches is read and verified whole:
// in p if p takes it whole, and otherwise in a block of the pool.
func (b *body) readAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	at := sort.Search(len(b.stretches), func(i int) bool { return b.stretches[i].start+b.stretches[i].bytes > off })
	for ; n < len(p) && at < len(b.stretches); at++ {
		s := b.stretches[at]
		got, err := b.readStretch(s, p[n:min(int64(len(p)), int64(n)+s.start+s.bytes-off)], off-s.start)
		n += got
		off += int64(got)
		if err != nil {
			clear(p[n:]) // nothing of a block that is not verified
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readStretch fills p from within a stretch.
func (b *body) readStretch(s *stretch, p []byte, within int64) (n int, err error) {
	f, err := b.frontOf(s)
	if err != nil {
		return 0, err
	}
	for n < len(p) {
		block := within / blockBytes
		start := block * blockBytes
		size := min(blockBytes, s.bytes-start)
		copied := 0
		if within == start && int64(len(p)-n) >= size {
			copied, err = int(size), b.readBlock(s, f, block, p[n:n+int(size)])
		} else {
			copied, err = b.readInBlock(s, f, block, size, within-start, p[n:])
		}
		if err != nil {
			return n, err
		}
		n += copied
		within += int64(copied)
	}
	return n, nil
}

// readInBlock copies from within a block, which has size bytes, to p.
func (b *body) readInBlock(s *stretch, f *front, block, size, within int64, p []byte) (int, error) {
	buffer := b.volume.blocks.Get().(*[]byte)
	defer b.volume.blocks.Put(buffer)
	if err := b.readBlock(s, f, block, (*buffer)[:size]); err != nil {
		return 0, err
	}
	return copy(p, (*buffer)[within:size]), nil
}

// readBlock reads a block into p, which has its size, and verifies it.
func (b *body) readBlock(s *stretch, f *front, block int64, p []byte) error {
	if err := b.volume.readFull(s.region, s.offset()+f.bytes+block*blockBytes, p); err != nil {
		return fmt.Errorf("region %d: block %d at %d: %w", s.region, block, s.offset(), err)
	}
	if crc32.Checksum(p, castagnoli) != f.sums[block] {
		return fmt.Errorf("region %d: block %d at %d: %w", s.region, block, s.offset(), storage.ErrCorrupt)
	}
	return nil
}

// frontOf reads the front of a stretch's record once.
func (b *body) frontOf(s *stretch) (*front, error) {
	if f := s.front.Load(); f != nil {
		return f, nil
	}
	r, _, err := b.volume.readRecord(s.place, 0)
	if err != nil {
		return nil, err
	}
	if r.key != b.key || r.sequence != s.sequence || r.length != s.bytes || (r.kind != kindChunk && r.kind != kindObject) {
		return nil, fmt.Errorf("region %d: another record at %d: %w", s.region, s.offset(), storage.ErrCorrupt)
	}
	f := &front{bytes: r.frontBytes(), sums: r.sums}
	s.front.Store(f)
	return f, nil
}

// readRecord reads the front of the record at p, and what of its body was read
// with it: all of it if whole is the record's length in bytes, and short enough.
func (v *volume) readRecord(p place, whole int64) (r *record, rest []byte, err error) {
	guess := int64(frontGuessBytes)
	inOneGo := whole > 0 && whole <= wholeBytesMax
	if inOneGo {
		guess = whole
	}
	b := make([]byte, min(guess, v.geometry.regionBytes-p.offset()))
	n, err := v.readSome(p.region, p.offset(), b)
	if err != nil {
		return nil, nil, fmt.Errorf("region %d: record at %d: %w", p.region, p.offset(), err)
	}
	if inOneGo && n < len(b) { // the file was cut short
		return nil, nil, fmt.Errorf("region %d: %d of %d bytes of the record at %d: %w", p.region, n, len(b), p.offset(), storage.ErrCorrupt)
	}
	b = b[:n]
	size, _, ok := recordSize(b, v.geometry.recordMax)
	if !ok || p.offset()+size > v.geometry.regionBytes {
		return nil, nil, fmt.Errorf("region %d: no record at %d: %w", p.region, p.offset(), storage.ErrCorrupt)
	}
	if size > int64(len(b)) {
		b = make([]byte, size)
		if err := v.readFull(p.region, p.offset(), b); err != nil {
			return nil, nil, fmt.Errorf("region %d: record at %d: %w", p.region, p.offset(), err)
		}
	}
	r, err = decodeFront(b[:size], v.salt, v.geometry.recordMax)
	if err != nil {
		return nil, nil, fmt.Errorf("region %d: record at %d: %w", p.region, p.offset(), err)
	}
	return r, b[size:], nil
}

// wholeBody verifies a body that was read with its record; nil if it was not.
func wholeBody(r *record, rest []byte) ([]byte, error) {
	if r.kind == kindHead || int64(len(rest)) < r.length {
		return nil, nil
	}
	rest = rest[:r.length:r.length]
	for i, sum := range r.sums {
		if crc32.Checksum(rest[i*blockBytes:min(len(rest), (i+1)*blockBytes)], castagnoli) != sum {
			return nil, fmt.Errorf("block %d: %w", i, storage.ErrCorrupt)
		}
	}
	return rest, nil
}

// readFull reads all of p.
func (v *volume) readFull(region uint32, off int64, p []byte) error {
	n, err := v.readSome(region, off, p)
	if err == nil && n < len(p) {
		err = fmt.Errorf("%d of %d bytes: %w", n, len(p), storage.ErrCorrupt)
	}
	return err
}

// readSome reads up to len(p) bytes of a record, from the file or from what waits to be
// written to it. A record is in either as a whole.
func (v *volume) readSome(region uint32, off int64, p []byte) (int, error) {
	r := &v.regions[region]
	if off >= r.written.Load() {
		if n := v.readGathered(r, off, p); n > 0 {
			return n, nil
		}
	}
	n, err := v.file.ReadAt(p, v.base(region)+off)
	if err == io.EOF {
		err = nil
	}
	if err != nil {
		v.failed(err)
	}
	return n, err
}

func (v *volume) readGathered(r *region, off int64, p []byte) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := v.filling.read(r, off, p); n > 0 {
		return n
	}
	for _, w := range v.queue {
		if n := w.segment.read(r, off, p); n > 0 {
			return n
		}
	}
	return 0
}
