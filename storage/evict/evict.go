// Package evict decides which objects leave a full store, and which are worth a
// disk's writes. It holds no bodies and no keys, only entries: a hash and a size
// in bytes, in flat arrays that the garbage collector does not look into.
//
// Priced is the policy that weir uses. LRU, S3FIFO and GDSF are the references
// that it is compared with. Admission and Ring are the rules of a disk: what is
// written, and what is written again when a log comes round.
//
// Life of an entry:
//
//	state  entered by            known by        left by
//	live   Policy.Add            its Entry       Evict, Remove
//	ghost  Evict                 its hash alone  the next Add of that hash, or time
//
// Nothing here waits, logs, or asks for the time or for randomness: the same
// calls give the same answers. `weir simulate` replays traces through it.
package evict

import "fmt"

// Entry names a live entry of one Policy. Entries are small numbers and are
// used again once they have left, so a store can keep what it knows of each in
// a slice with the same index.
type Entry uint32

// None is no entry.
const None = ^Entry(0)

// Policy chooses what leaves. It does not know the budget's use: the store
// calls Evict until what comes fits, and then Add.
//
// Hit may run beside other Hits, under a lock that many hold; every other
// method wants the policy to itself. Many shards, each with a policy and a
// share of the budget, make a cache with a lock a shard.
type Policy interface {
	// Add takes in what has been stored under a hash, of a size in bytes; one
	// below 1 counts as 1. The hash may be any 64 well-mixed bits of the
	// storage.Key; two objects with one hash share their past, no more.
	Add(hash uint64, bytes int64) Entry
	// Hit says that the entry has been asked for. It allocates nothing.
	Hit(e Entry)
	// Resize gives an entry another size in bytes: its object was replaced or
	// has a longer meta now. What is known of its use stays.
	Resize(e Entry, bytes int64)
	// Remove forgets an entry that was deleted or purged.
	Remove(e Entry)
	// Evict takes out the entry that is worth least and gives it; None if there
	// is nothing to evict: no entry, or none that is not in use.
	Evict() Entry
	// Len is the number of live entries.
	Len() int
	// Bytes is the sum of the sizes of the live entries.
	Bytes() int64
	// OverheadBytes is the memory that the policy's own arrays take now.
	OverheadBytes() int64
}

// Options say what a Policy is for. The zero value works.
type Options struct {
	// BudgetBytes is the store's budget (or the shard's): the unit of the
	// policy's clocks, and what bounds its ghosts. Default 256 MiB.
	BudgetBytes int64
	// GhostEntriesMax bounds the entries remembered after they left, 40 bytes
	// of memory each. Default: twice as many as are live, and 1,024.
	GhostEntriesMax int
	// InUse says that an entry is open now and cannot leave; Evict passes it
	// over and counts it as just used. Default: none is.
	InUse func(Entry) bool
}

func (o Options) withDefaults() Options {
	if o.BudgetBytes <= 0 {
		o.BudgetBytes = 256 << 20
	}
	if o.InUse == nil {
		o.InUse = func(Entry) bool { return false }
	}
	return o
}

// Kind names a policy.
type Kind uint8

// The policies. The zero value is the default.
const (
	KindObjects Kind = iota // Priced for the most requests answered
	KindBytes               // Priced for the most bytes answered
	KindLRU                 // the one used least recently
	KindS3FIFO              // S3-FIFO
	KindGDSF                // Greedy-Dual-Size-Frequency
)

// kindNames is in the order of the constants.
var kindNames = [...]string{"objects", "bytes", "lru", "s3-fifo", "gdsf"}

// Kinds gives all policies in their order.
func Kinds() []Kind { return []Kind{KindObjects, KindBytes, KindLRU, KindS3FIFO, KindGDSF} }

// String gives the policy's one name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("policy(%d)", uint8(k))
}

// MarshalText gives the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes a name.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown policy %.32q: want objects, bytes, lru, s3-fifo or gdsf", text)
}

// New makes an empty policy of a kind.
func New(k Kind, o Options) Policy {
	switch k {
	case KindLRU:
		return NewLRU(o)
	case KindS3FIFO:
		return NewS3FIFO(o)
	case KindGDSF:
		return NewGDSF(o)
	case KindBytes:
		return NewPriced(WorthBytes, o)
	default:
		return NewPriced(WorthObjects, o)
	}
}
