package disk

import (
	"sync"
	"sync/atomic"

	"weir/storage"
)

// checkedMax is how many objects' checked versions are kept at least, and half
// of how many at most.
const checkedMax = 8192

// checkedVersions remembers with which purge version objects have last been
// compared. What it forgets is compared once more.
type checkedVersions struct {
	mu           sync.Mutex // guards both
	newer, older map[storage.Key]checkedVersion
}

type checkedVersion struct {
	sequence uint64 // of the object's main record
	version  *atomic.Uint64
}

// of gives the version of the object whose main record has this sequence. It is
// known or more: what is known besides, by the object's record and the directory's
// swept mark.
func (c *checkedVersions) of(k storage.Key, sequence, known uint64) *atomic.Uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, inNewer := c.findLocked(k, sequence)
	if found.version == nil {
		found = checkedVersion{sequence: sequence, version: new(atomic.Uint64)}
	}
	for now := found.version.Load(); now < known && !found.version.CompareAndSwap(now, known); {
		now = found.version.Load()
	}
	if inNewer {
		return found.version
	}
	if c.newer == nil || len(c.newer) >= checkedMax {
		c.newer, c.older = make(map[storage.Key]checkedVersion), c.newer
	}
	c.newer[k] = found
	return found.version
}

// peek gives what of would, and remembers nothing.
func (c *checkedVersions) peek(k storage.Key, sequence, known uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, _ := c.findLocked(k, sequence); found.version != nil {
		return max(known, found.version.Load())
	}
	return known
}

// findLocked gives what is remembered of a record, without a version if that is
// nothing. It wants mu held.
func (c *checkedVersions) findLocked(k storage.Key, sequence uint64) (found checkedVersion, inNewer bool) {
	if found = c.newer[k]; found.version != nil && found.sequence == sequence {
		return found, true
	}
	if found = c.older[k]; found.version != nil && found.sequence == sequence {
		return found, false
	}
	return checkedVersion{}, false
}
