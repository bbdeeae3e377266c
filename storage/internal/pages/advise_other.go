//go:build !linux

package pages

// adviseHuge asks for huge pages, on Linux.
func adviseHuge([]byte) {}

// adviseSmall asks for small pages, on Linux.
func adviseSmall([]byte) {}

// Release has nothing to do it with here: the pages stay.
func Release([]byte) {}
