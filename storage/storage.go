// Package storage keeps objects: one stored response each, meta and body.
//
// A Store is a map from Key to Object with a byte budget. storage/memory and
// storage/disk are stores; storage/tiered puts one above the other. Every
// store passes the suite in storage/storagetest.
//
// Life of an object:
//
//	state      entered by        readable through    left by
//	writing    Store.Create      Writer.ReadAt       Commit, or Close (it never happened)
//	stored     Writer.Commit     Store.Get           Delete, eviction, a newer Commit, a failed checksum
//	unlinked   (any of these)    Objects still open  the last Object.Close, which gives the bytes back
package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync/atomic"
)

// Errors that every Store returns, wrapped with the operation and the key.
var (
	// ErrNotFound says that no usable object is stored under the key. An
	// object that fails its checksum is dropped and reported like this.
	ErrNotFound = errors.New("object not found")
	// ErrFull says that the budget has no room for these bytes, not even
	// after evicting whatever may be evicted.
	ErrFull = errors.New("store is full")
	// ErrTooLarge says that the object is larger than the store takes.
	ErrTooLarge = errors.New("object is too large for the store")
	// ErrLength says that a body is longer, or at its Commit shorter, than
	// the length declared to Create.
	ErrLength = errors.New("body is not of the declared length")
	// ErrCorrupt says that a body being read failed its checksum. The bytes
	// of the failing block have not been given out, and the object has been
	// dropped.
	ErrCorrupt = errors.New("object failed its checksum")
	// ErrClosed says that the store, object or writer has been closed.
	ErrClosed = errors.New("store is closed")
)

// Key names one stored object: the first 128 bits of the SHA-256 of its key
// text. Whoever looks up compares Meta's own key fields too, so a collision is
// a miss, never a wrong answer.
type Key [16]byte

// KeyOf hashes a key text.
func KeyOf(text string) Key {
	sum := sha256.Sum256([]byte(text))
	return Key(sum[:16])
}

// String gives the key in lower-case hexadecimal, 32 digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Tier says which kind of store an object was read from; access logs, metrics
// and Cache-Status use its name.
type Tier uint8

// The tiers a node can have.
const (
	TierNone Tier = iota
	TierMemory
	TierDisk
)

// String gives the tier's one name.
func (t Tier) String() string {
	switch t {
	case TierMemory:
		return "memory"
	case TierDisk:
		return "disk"
	default:
		return "none"
	}
}

// Store keeps objects within a byte budget. All methods may be called from
// many goroutines.
type Store interface {
	// Get opens the object stored under k. The caller closes it.
	// ErrNotFound when there is none.
	Get(k Key) (Object, error)
	// Peek tells what Get would find under k, from the tier that it asks first
	// to the last; nothing where there is nothing to read. It is no use of the
	// object: no counter, no order of eviction and no file changes by it.
	Peek(k Key) []Copy
	// Create begins an object under k. Nothing is visible to Get before
	// Commit, and what was stored under k stays until then. The store keeps
	// m and nobody may change it afterwards, except that Commit sets
	// BodyBytes. If m.BodyBytes is not negative it is the length that is
	// coming: bytes beyond it, or a Commit short of it, are errors.
	// ErrTooLarge and ErrFull when the declared length cannot be taken.
	Create(k Key, m *Meta) (Writer, error)
	// Refresh replaces the meta of the object under k, its body untouched,
	// provided that the stored body is still the one named by m.BodyID.
	// ErrNotFound when it is not. Objects that are open keep the old meta.
	Refresh(k Key, m *Meta) error
	// Delete unlinks the object under k. Deleting what is not there is no error.
	Delete(k Key) error
	// Clear unlinks every object.
	Clear() error
	// Stats counts what the store holds now.
	Stats() Stats
	// Close stops the store. Objects and Writers must have been closed.
	Close() error
}

// Object is one stored response, open for reading. It stays readable after it
// has been deleted, evicted or replaced, until Close.
type Object interface {
	// ReaderAt reads body bytes; safe for concurrent use. A short read at
	// the end gives io.EOF. ErrCorrupt when a block fails its checksum.
	io.ReaderAt
	// WriterTo writes the whole body in as few writes as the store can.
	io.WriterTo
	// Meta is shared: read only. It is good for as long as anybody holds it,
	// after Close too; the object itself is not.
	Meta() *Meta
	// Tier says where the body is read from.
	Tier() Tier
	// Checked holds a purge version: no hard purge up to it covers the object,
	// and no soft one either if it is the newest in force or above. It is shared
	// by all openings of the object and starts at Meta().Stamp, or above where a
	// Sweep compared the object. What it gives is good until Close.
	Checked() *atomic.Uint64
	// Close gives the object back. Reading after it is an error.
	Close() error
}

// Copy is one tier's copy of a stored object, as Peek found it.
type Copy struct {
	Tier Tier
	// Meta is shared: read only.
	Meta *Meta
	// Checked is what Object.Checked would hold.
	Checked uint64
}

// Writer takes one object's body, in order. What has been written can be read
// at once, so that many readers follow a fill while it runs.
type Writer interface {
	// Write appends. ErrFull or ErrTooLarge leaves what was written before
	// readable; the object can then no longer be committed. Not for
	// concurrent use with itself or Commit; ReadAt may run beside it.
	io.Writer
	// ReaderAt reads what has been written so far; io.EOF beyond that.
	// Safe for concurrent use, also after Commit, until Close.
	io.ReaderAt
	// Commit makes the object visible to Get in place of what was there.
	Commit() error
	// Close gives the writer back. Without a Commit before it, nothing was
	// ever stored. Safe to call twice.
	Close() error
}

// Stats is what a store holds at one moment.
type Stats struct {
	Objects     int   // objects that Get can find
	Bytes       int64 // bytes accounted against the budget: bodies, meta, slack, writers in flight, unlinked but open
	BudgetBytes int64 // the budget
	Evictions   int64 // objects evicted since the store was opened
	Corrupt     int64 // objects dropped because a checksum failed, since opening
}
