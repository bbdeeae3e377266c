//go:build !race

package memory

import "syscall"

// release lets the system have pages back until they are written again. p
// begins and ends at a page.
func release(p []byte) {
	_ = syscall.Madvise(p, syscall.MADV_DONTNEED) // without it they stay, which is counted anyway
}
