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

// of gives the version of the object whose main record has this sequence; it
// begins at the object's stamp.
func (c *checkedVersions) of(k storage.Key, sequence, stamp uint64) *atomic.Uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, known := c.newer[k]
	if known && found.sequence == sequence {
		return found.version
	}
	if !known {
		found, known = c.older[k]
	}
	if !known || found.sequence != sequence {
		found = checkedVersion{sequence: sequence, version: new(atomic.Uint64)}
		found.version.Store(stamp)
	}
	if c.newer == nil || len(c.newer) >= checkedMax {
		c.newer, c.older = make(map[storage.Key]checkedVersion), c.newer
	}
	c.newer[k] = found
	return found.version
}
