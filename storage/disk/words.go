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

// hugeBytes is the size of a huge page, where there are any.
const hugeBytes = 2 << 20

// mapping is memory for a number of equal stretches at once, in huge pages if the
// kernel has them: to touch 200 MB for the first time in pages of 4 KiB takes longer
// than to read what goes there.
type mapping struct {
	all []byte
	use []byte // from a huge page's beginning on
}

// newMapping maps bytes; nil if they cannot be had, or are too few to be worth it.
func newMapping(bytes int) *mapping {
	if bytes < 2*hugeBytes {
		return nil
	}
	all, err := syscall.Mmap(-1, 0, bytes+hugeBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(all))) % hugeBytes
	m := &mapping{all: all, use: all[skip : skip+uintptr(bytes)]}
	adviseHuge(m.use)
	return m
}

// words gives a stretch of the mapping, in whole pages.
func (m *mapping) words(off, n int) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(m.use[off:off+n*8]))), n)
}

// has says whether words are a stretch of the mapping.
func (m *mapping) has(words []uint64) bool {
	if m == nil || len(words) == 0 {
		return false
	}
	from := uintptr(unsafe.Pointer(unsafe.SliceData(words))) - uintptr(unsafe.Pointer(unsafe.SliceData(m.all)))
	return from < uintptr(len(m.all))
}

// free gives all back. Nobody may look at it any more.
func (m *mapping) free() {
	if m != nil {
		_ = syscall.Munmap(m.all) // it is what Mmap gave
	}
}
