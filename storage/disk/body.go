package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"weir/internal/vfs"
	"weir/storage"
)

// blockBytes is how much of a body one checksum covers.
const blockBytes = 64 << 10

var errNegativeOffset = errors.New("negative offset")

func blocksOf(bodyBytes int64) int64 { return (bodyBytes + blockBytes - 1) / blockBytes }

// body is a body file up to some length, with the checksums of its blocks. It
// is a value: a reader keeps the one it has while the writer makes a longer one.
type body struct {
	file   vfs.File
	length int64
	sums   []uint32 // of the blocks; of a growing body those that are full
	tail   uint32   // of the last block, while that is not full and its body grows
}

// extended is the body with p behind it. Only the one who writes calls it: it
// may append to sums in place, beyond what any older body looks at.
func (b body) extended(p []byte) body {
	for len(p) > 0 {
		n := min(int64(len(p)), blockBytes-b.length%blockBytes)
		b.tail = crc32.Update(b.tail, castagnoli, p[:n])
		b.length += n
		p = p[n:]
		if b.length%blockBytes == 0 {
			b.sums = append(b.sums, b.tail)
			b.tail = 0
		}
	}
	return b
}

// allSums are the checksums of all blocks, the last one included.
func (b body) allSums() []uint32 {
	if b.length%blockBytes == 0 {
		return b.sums
	}
	return append(b.sums[:len(b.sums):len(b.sums)], b.tail)
}

func (b body) sum(block int64) uint32 {
	if block < int64(len(b.sums)) {
		return b.sums[block]
	}
	return b.tail
}

// readAt is ReadAt on a body. Each block it touches is read and verified whole:
// in p if p takes it whole, and otherwise in a block of the pool.
func (s *Store) readAt(b body, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	for n < len(p) && off < b.length {
		block := off / blockBytes
		start := block * blockBytes
		size := min(blockBytes, b.length-start)
		var copied int
		if off == start && int64(len(p)-n) >= size {
			copied, err = int(size), b.readBlock(block, p[n:n+int(size)])
		} else {
			copied, err = s.readPart(b, block, size, off-start, p[n:])
		}
		if err != nil {
			clear(p[n:]) // nothing of a block that is not verified
			return n, err
		}
		n += copied
		off += int64(copied)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readPart copies from within a block, which has size bytes, to p.
func (s *Store) readPart(b body, block, size, within int64, p []byte) (int, error) {
	buffer := s.blocks.Get().(*[blockBytes]byte)
	defer s.blocks.Put(buffer)
	if err := b.readBlock(block, buffer[:size]); err != nil {
		return 0, err
	}
	return copy(p, buffer[within:size]), nil
}

// readBlock reads a block into p, which has its size, and verifies it.
func (b body) readBlock(block int64, p []byte) error {
	n, err := b.file.ReadAt(p, block*blockBytes)
	switch {
	case n < len(p) && (err == nil || err == io.EOF):
		return fmt.Errorf("block %d has %d of %d bytes: %w", block, n, len(p), storage.ErrCorrupt)
	case n < len(p):
		return err
	case crc32.Checksum(p, castagnoli) != b.sum(block):
		return fmt.Errorf("block %d: %w", block, storage.ErrCorrupt)
	}
	return nil
}

// openBody opens the body file of an entry and checks its length.
func (s *Store) openBody(e *entry) (vfs.File, error) {
	path := s.bodyPath(e.bodyID, e.bodyN)
	file, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	status, err := file.Stat()
	if err == nil && status.Size() != e.length {
		err = fmt.Errorf("%s: %d of %d bytes: %w", path, status.Size(), e.length, storage.ErrCorrupt)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
