//go:build !linux

package disk

// adviseHuge asks for huge pages, on Linux.
func adviseHuge([]byte) {}

// releaseWords leaves the memory for when the whole mapping is freed.
func releaseWords([]uint64) {}
