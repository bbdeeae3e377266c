package disk

import (
	"syscall"
	"unsafe"

	"weir/storage/internal/pages"
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

// mapping is memory for a number of equal stretches at once, in huge pages if the
// system has them: to touch 200 MB for the first time in pages of 4 KiB takes longer
// than to read what goes there.
type mapping struct{ use, whole []byte }

// newMapping maps bytes; nil if they cannot be had, or are too few to be worth it.
func newMapping(bytes int) *mapping {
	if bytes < 2*pages.HugeBytes {
		return nil
	}
	m := &mapping{}
	if m.use, m.whole = pages.Map(bytes, bytes); m.whole == nil {
		return nil
	}
	return m
}

// words gives a stretch of the mapping, in whole pages.
func (m *mapping) words(off, n int) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(m.use[off:off+n*8]))), n)
}

// release gives the memory of words back if they are a stretch of the mapping, which
// keeps their place.
func (m *mapping) release(words []uint64) bool {
	if m == nil || len(words) == 0 {
		return false
	}
	from := uintptr(unsafe.Pointer(unsafe.SliceData(words))) - uintptr(unsafe.Pointer(unsafe.SliceData(m.use)))
	if from >= uintptr(len(m.use)) {
		return false
	}
	pages.Release(m.use[from : from+uintptr(len(words)*8)])
	return true
}

// free gives all back. Nobody may look at it any more.
func (m *mapping) free() {
	if m != nil {
		pages.Unmap(m.whole)
	}
}
