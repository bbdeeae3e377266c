//go:build !unix || race

package memory

import "sync"

// With the race detector the arena is made of Go's own memory, of which the
// detector sees every access: whoever reads what another may be overwriting is
// found out. Elsewhere it is for systems without mmap.

const poisons = true

// mappings is the memory of an arena.
type mappings struct{}

func (*mappings) segment(int) []byte { return make([]byte, segmentBytes) }

func (*mappings) refs(n int) []ref { return make([]ref, n) }

func (*mappings) unmap() {}

func release([]byte) {}

// objects are those that are closed, to be used again. The last few wait, so
// that who uses one after its Close is found out.
type objects struct {
	pool sync.Pool

	mu      sync.Mutex // guards what follows
	waiting [16]*object
	next    int
}

func (os *objects) put(o *object) {
	os.mu.Lock()
	defer os.mu.Unlock()
	if old := os.waiting[os.next]; old != nil {
		os.pool.Put(old)
	}
	os.waiting[os.next] = o
	os.next = (os.next + 1) % len(os.waiting)
}
