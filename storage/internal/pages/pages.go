// Package pages gets memory from the system that the garbage collector does not
// see, in huge pages where these pay: the stores' arenas and tables.
package pages

import (
	"syscall"
	"unsafe"
)

// HugeBytes is the size of a huge page, where there are any.
const HugeBytes = 2 << 20

// Map maps bytes, zeroed, from a huge page's beginning on, with as many huge pages
// as there are whole ones in the first huge bytes, and small ones behind. whole is
// what Unmap takes. Both are nil if the system has no memory.
func Map(bytes, huge int) (use, whole []byte) {
	whole, err := syscall.Mmap(-1, 0, bytes+HugeBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(whole))) % HugeBytes)
	huge &^= HugeBytes - 1
	adviseHuge(whole[skip : skip+huge])
	adviseSmall(whole[skip+huge:])
	return whole[skip : skip+bytes : skip+bytes], whole
}

// Unmap gives back what Map gave as whole. Nobody may look at any of it any more.
func Unmap(whole []byte) {
	_ = syscall.Munmap(whole) // it can only fail for what was never mapped
}
