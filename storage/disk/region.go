package disk

import (
	"fmt"
	"sync/atomic"
)

// regionState is where a region is in its life:
//
//	state     entered by                                 left by
//	free      made, or the last Close of what is read    opened
//	open      the table says so, before the first write  its footer is written
//	sealed    its footer                                 its turn to be taken back
//	draining  taken back; its objects have left it       the last Close of what is read there
type regionState uint32

const (
	regionFree regionState = iota
	regionOpen
	regionSealed
	regionDraining
)

// String gives the state's one name.
func (s regionState) String() string {
	switch s {
	case regionFree:
		return "free"
	case regionOpen:
		return "open"
	case regionSealed:
		return "sealed"
	case regionDraining:
		return "draining"
	default:
		return fmt.Sprintf("state(%d)", uint32(s))
	}
}

// region is a stretch of the log that is written from front to end, and given
// up as a whole.
type region struct {
	id    uint32
	state atomic.Uint32
	// firstSequence is below that of every record written in this life of the
	// region, and above all before.
	firstSequence atomic.Uint64
	// written is how many bytes can be read from the file.
	written atomic.Int64
	// pins counts what keeps the region from being written again: objects
	// that are open, and bodies being written.
	pins atomic.Int32

	// Guarded by the log's lock:
	turn     uint64 // counts up with each region opened, so that it orders them
	records  int
	lostFrom int64 // what could not be written, from and to; nothing if equal
	lostTo   int64

	allocated bool // space is reserved; known to the keeper alone
}

func (r *region) is(s regionState) bool { return regionState(r.state.Load()) == s }

func (r *region) set(s regionState) { r.state.Store(uint32(s)) }

// holds says whether a record of this sequence can still be where it was
// written. A region that drains can still be read by who has it pinned.
func (r *region) holds(sequence uint64) bool {
	return !r.is(regionFree) && r.firstSequence.Load() <= sequence
}
