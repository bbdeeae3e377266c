//go:build unix && !race

package memory

import (
	"sync"
	"syscall"
)

// poisons says whether memory is overwritten when it is given back: in builds
// with the race detector, which the tests are run with.
const poisons = false

// mappingSegments is how many segments are mapped at a time: 64 MiB.
const mappingSegments = 64

// mappings is the memory of an arena as the system gave it.
type mappings struct {
	all  [][]byte
	rest []byte // of the last one, not handed out yet
}

// segment gives one more segment, of as many as are wanted yet; nil if the
// system has no memory.
func (m *mappings) segment(wanted int) []byte {
	if len(m.rest) == 0 {
		mapped, err := syscall.Mmap(-1, 0, min(wanted, mappingSegments)*segmentBytes,
			syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return nil
		}
		m.all, m.rest = append(m.all, mapped), mapped
	}
	segment := m.rest[:segmentBytes:segmentBytes]
	m.rest = m.rest[segmentBytes:]
	return segment
}

// unmap gives all of it back. Nobody may hold any of it.
func (m *mappings) unmap() {
	for _, mapped := range m.all {
		_ = syscall.Munmap(mapped) // it can only fail for what was never mapped
	}
	m.all, m.rest = nil, nil
}

// objects are those that are closed, to be used again.
type objects struct{ pool sync.Pool }

func (os *objects) put(o *object) { os.pool.Put(o) }
