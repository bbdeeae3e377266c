//go:build unix && !linux && !race

package memory

// adviseHuge asks for huge pages, on Linux.
func adviseHuge([]byte) {}

// adviseSmall asks for small pages, on Linux.
func adviseSmall([]byte) {}

// release has nothing to do it with here: the pages of ballast stay.
func release([]byte) {}
