package disk

import (
	"syscall"
	"unsafe"
)

// mappedWordsMin is where memory of its own begins to pay: a page.
const mappedWordsMin = pageBytes / 8

// allocateWords gives zeroed words. Many of them are memory from the kernel,
// which the garbage collector neither looks into nor counts; freeWords gives
// it back.
func allocateWords(n int) []uint64 {
	if n < mappedWordsMin {
		return make([]uint64, n)
	}
	b, err := syscall.Mmap(-1, 0, n*8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]uint64, n) // no pointers either, but counted
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// freeWords gives words back. Nobody may look at them any more.
func freeWords(words []uint64) {
	if len(words) < mappedWordsMin {
		return
	}
	// Munmap knows its own maps by their last byte and refuses all other
	// memory, which is then the garbage collector's.
	_ = syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8))
}
