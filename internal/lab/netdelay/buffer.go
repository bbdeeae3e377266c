package netdelay

import (
	"math/bits"
	"sync"
)

// Memory comes in powers of two from 2 KiB to 64 KiB, so that many small
// writes cost about what they hold.
const (
	pieceBytesMax   = 64 << 10
	classBytesMin   = 2 << 10
	classes         = 6
	pieceExtraBytes = 64 // what a piece costs beside its memory
)

// spare keeps memory for reuse, by class.
var spare [classes]sync.Pool

// buffer is bytes in memory that goes back to a pool.
type buffer struct {
	bytes  []byte
	memory *[]byte // nil in the zero buffer
}

// newBuffer gives length bytes, at most pieceBytesMax; their content is left
// over from others.
func newBuffer(length int) buffer {
	if length == 0 {
		return buffer{}
	}
	class := classOf(length)
	memory, ok := spare[class].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, classBytesMin<<class)
		memory = &fresh
	}
	return buffer{bytes: (*memory)[:length], memory: memory}
}

func classOf(length int) int { return bits.Len(uint(length-1) / classBytesMin) }

// free gives the memory back; nobody may use the bytes any more.
func (b buffer) free() {
	if b.memory != nil {
		spare[classOf(len(*b.memory))].Put(b.memory)
	}
}

// size is what the buffer costs, in bytes.
func (b buffer) size() int {
	if b.memory == nil {
		return pieceExtraBytes
	}
	return pieceExtraBytes + len(*b.memory)
}

// split gives the first n bytes of a buffer from newBuffer(pieceBytesMax) as
// one to keep, and an empty one of full length. Few bytes are copied, so that
// they do not hold on to much memory.
func (b buffer) split(n int) (full, empty buffer) {
	if n > pieceBytesMax/2 {
		b.bytes = b.bytes[:n]
		return b, newBuffer(pieceBytesMax)
	}
	full = newBuffer(n)
	copy(full.bytes, b.bytes[:n])
	return full, b
}
