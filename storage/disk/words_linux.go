package disk

import (
	"syscall"
	"unsafe"
)

// adviseHuge asks for huge pages. Where there are none, small ones do.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }

// releaseWords gives the memory of a stretch of a mapping back, which stays mapped.
func releaseWords(words []uint64) {
	_ = syscall.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8), syscall.MADV_DONTNEED)
}
