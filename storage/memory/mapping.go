//go:build unix && !race

package memory

import (
	"sync"
	"unsafe"

	"weir/storage/internal/pages"
)

// poisons says whether memory is overwritten when it is given back: in builds
// with the race detector, which the tests are run with.
const poisons = false

// mappingSegments is how many segments are mapped at a time: 64 MiB.
const mappingSegments = 64

// mappings is the memory of an arena and of the buckets as the system gave it:
// in huge pages, if the system has them. With a million objects in pages of
// 4 KiB, the entries of the page table alone are more than the processor's
// caches hold, and a look-up waits for these as well.
type mappings struct {
	all  [][]byte
	rest []byte // of the arena's last one, not handed out yet
}

// segment gives one more segment, of as many as are wanted yet; nil if the
// system has no memory. The last that is wanted may be needed in part only, so
// it is in small pages: a huge one is all taken with its first byte, and that
// would be more than is counted.
func (m *mappings) segment(wanted int) []byte {
	if len(m.rest) == 0 {
		segments := min(wanted, mappingSegments)
		whole := segments
		if segments == wanted {
			whole--
		}
		if m.rest = m.take(segments*segmentBytes, whole*segmentBytes); m.rest == nil {
			return nil
		}
	}
	segment := m.rest[:segmentBytes:segmentBytes]
	m.rest = m.rest[segmentBytes:]
	return segment
}

// refs gives n buckets, all none. Few are not worth a mapping.
func (m *mappings) refs(n int) []ref {
	if n*refBytes >= pages.HugeBytes {
		if mapped := m.take(n*refBytes, n*refBytes); mapped != nil {
			return unsafe.Slice((*ref)(unsafe.Pointer(unsafe.SliceData(mapped))), n)
		}
	}
	return make([]ref, n)
}

// take maps bytes, the first huge ones of them in huge pages; nil if the system has
// no memory.
func (m *mappings) take(bytes, huge int) []byte {
	use, whole := pages.Map(bytes, huge)
	if whole != nil {
		m.all = append(m.all, whole)
	}
	return use
}

// unmap gives all of it back. Nobody may hold any of it.
func (m *mappings) unmap() {
	for _, mapped := range m.all {
		pages.Unmap(mapped)
	}
	m.all, m.rest = nil, nil
}

// release lets the system have whole pages back until they are written again.
func release(p []byte) { pages.Release(p) }

// objects are those that are closed, to be used again.
type objects struct{ pool sync.Pool }

func (os *objects) put(o *object) { os.pool.Put(o) }
