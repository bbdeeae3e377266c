// Package tiered puts a small fast store above a large one: what is stored goes
// into both, what is asked for is looked for above first, and what is found
// below is put above again if it is small. Either store may be missing.
//
// The store below may fail: its errors are logged and cost its part of an
// object, never a request.
//
// After every change the two stores agree on each key: both have the object
// that was last stored, or one has it and the other has nothing. So when one
// evicts, what comes to light in the other is never something older. A promotion
// is the one thing that could break this, and promote.go tells how it does not.
package tiered

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"weir/storage"
)

// shardsMax is how many locks the keys are spread over.
const shardsMax = 256

// Options say what moves between the tiers. The zero value works.
type Options struct {
	// PromoteBytesMax is the longest body that a hit below puts above.
	// Default 1 MiB; negative: none.
	PromoteBytesMax int64
	// Log gets the errors of the store below, one a second. Default: nobody.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.PromoteBytesMax == 0 {
		o.PromoteBytesMax = 1 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is a storage.Store of two.
type Store struct {
	options Options
	memory  storage.Store // nil: none
	disk    storage.Store // nil: none
	shards  [shardsMax]shard

	loggedAt atomic.Int64 // when an error was last logged, in seconds since 1970
	unlogged atomic.Int64 // errors since then
}

// shard orders the changes of the keys whose first byte is its index.
type shard struct {
	// mu is held across a change of both stores, and by a promotion while it
	// becomes visible. Several are taken in the order of their indexes. The
	// stores' own locks come after it. A hit never takes it.
	mu sync.Mutex
	// changes counts up when a change begins and again when it ends. It
	// changes under mu and is read without it.
	changes atomic.Uint64
	// promoting has the keys whose promotion is under way; guarded by mu.
	promoting map[storage.Key]struct{}
}

var _ storage.Store = (*Store)(nil)

// New makes a store of the two, of which either may be nil. It closes them when
// it is closed.
func New(memory, disk storage.Store, o Options) *Store {
	s := &Store{options: o.withDefaults(), memory: memory, disk: disk}
	for i := range s.shards {
		s.shards[i].promoting = make(map[storage.Key]struct{})
	}
	return s
}

// Get implements storage.Store. An object found below is read whole, verified
// and promoted if it is short enough, and what is then served is the copy above;
// its Tier is nevertheless the one below, where this Get found it.
func (s *Store) Get(k storage.Key) (storage.Object, error) {
	if s.memory != nil {
		o, err := s.memory.Get(k)
		if err == nil || !errors.Is(err, storage.ErrNotFound) {
			return o, err
		}
	}
	if s.disk == nil {
		return nil, storage.ErrNotFound
	}
	changes := s.shardOf(k).changes.Load() // before the look-up: see promote
	o, err := s.disk.Get(k)
	switch {
	case err == nil:
		return s.promote(k, o, changes)
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrClosed):
		return nil, err
	}
	s.failed("get", k, err)
	return nil, storage.ErrNotFound
}

// Peek implements storage.Store: the copy above, then the one below.
func (s *Store) Peek(k storage.Key) []storage.Copy {
	var copies []storage.Copy
	for _, store := range []storage.Store{s.memory, s.disk} {
		if store != nil {
			copies = append(copies, store.Peek(k)...)
		}
	}
	return copies
}

// Create implements storage.Store. It fails only if neither store takes the
// object: with ErrTooLarge if that is what both say, and otherwise ErrFull.
func (s *Store) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	w := &writer{store: s, key: k, declaredBytes: m.BodyBytes}
	var memoryErr, diskErr error = storage.ErrTooLarge, storage.ErrTooLarge
	if s.memory != nil {
		w.memory, memoryErr = s.memory.Create(k, m)
	}
	if s.disk != nil {
		w.disk, diskErr = s.disk.Create(k, m)
	}
	if w.memory != nil || w.disk != nil {
		if s.disk != nil && w.disk == nil {
			s.failed("create", k, diskErr)
		}
		return w, nil
	}
	kind := storage.ErrFull
	switch {
	case errors.Is(memoryErr, storage.ErrClosed) || errors.Is(diskErr, storage.ErrClosed):
		kind = storage.ErrClosed
	case errors.Is(memoryErr, storage.ErrTooLarge) && errors.Is(diskErr, storage.ErrTooLarge):
		kind = storage.ErrTooLarge
	}
	s.failed("create", k, diskErr)
	return nil, fmt.Errorf("tiered: create %s: %w: memory: %v; disk: %v", k, kind, memoryErr, diskErr)
}

// Refresh implements storage.Store. It succeeds if one of the stores had the
// body and took the new meta; the other is then made to forget what it has.
//
// The disk goes first, as in Commit: what memory may evict at any moment must
// never be newer than what is then found below.
func (s *Store) Refresh(k storage.Key, m *storage.Meta) error {
	defer s.change(k)()
	var memoryErr, diskErr error = storage.ErrNotFound, storage.ErrNotFound
	if s.disk != nil {
		diskErr = s.disk.Refresh(k, m)
		s.failed("refresh", k, diskErr)
	}
	if s.memory != nil {
		if diskErr != nil && s.inMemory(k, m.BodyID) {
			s.forget(s.disk, k)
		}
		memoryErr = s.memory.Refresh(k, m)
	}
	switch {
	case diskErr == nil && memoryErr != nil:
		s.forget(s.memory, k)
	case diskErr != nil && !errors.Is(diskErr, storage.ErrNotFound) && errors.Is(memoryErr, storage.ErrNotFound):
		return fmt.Errorf("tiered: refresh %s: %w", k, diskErr)
	case diskErr != nil && memoryErr != nil:
		return fmt.Errorf("tiered: refresh %s: %w", k, memoryErr)
	}
	return nil
}

// inMemory says whether the store above has that body under k.
func (s *Store) inMemory(k storage.Key, bodyID uint64) bool {
	o, err := s.memory.Get(k)
	if err != nil {
		return false
	}
	defer o.Close()
	return o.Meta().BodyID == bodyID
}

// Delete implements storage.Store. The object is gone whatever error there is;
// one says that it might come back from disk after a restart.
func (s *Store) Delete(k storage.Key) error {
	defer s.change(k)()
	return s.each(func(store storage.Store) error { return store.Delete(k) })
}

// Clear implements storage.Store. Errors are as for Delete.
func (s *Store) Clear() error {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		defer s.shards[i].mu.Unlock()
		s.shards[i].changes.Add(1)
		defer s.shards[i].changes.Add(1)
	}
	return s.each(storage.Store.Clear)
}

// Stats implements storage.Store: the sums of both stores, except that Objects
// is the number in the store that has more, since most are in both.
func (s *Store) Stats() storage.Stats {
	memory, disk := s.Tiers()
	return storage.Stats{
		Objects:     max(memory.Objects, disk.Objects),
		Bytes:       memory.Bytes + disk.Bytes,
		BudgetBytes: memory.BudgetBytes + disk.BudgetBytes,
		Evictions:   memory.Evictions + disk.Evictions,
		Corrupt:     memory.Corrupt + disk.Corrupt,
	}
}

// Tiers gives the counts of each store by itself; zeros for one that is missing.
func (s *Store) Tiers() (memory, disk storage.Stats) {
	if s.memory != nil {
		memory = s.memory.Stats()
	}
	if s.disk != nil {
		disk = s.disk.Stats()
	}
	return memory, disk
}

// Close implements storage.Store: it closes both.
func (s *Store) Close() error { return s.each(storage.Store.Close) }

func (s *Store) each(do func(storage.Store) error) error {
	var errs []error
	for _, store := range []storage.Store{s.memory, s.disk} {
		if store != nil {
			errs = append(errs, do(store))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) shardOf(k storage.Key) *shard { return &s.shards[k[0]] }

// change begins a change of k and returns what ends it.
func (s *Store) change(k storage.Key) (end func()) {
	shard := s.shardOf(k)
	shard.mu.Lock()
	shard.changes.Add(1)
	return func() {
		shard.changes.Add(1)
		shard.mu.Unlock()
	}
}

// forget deletes k in a store that had no part in a change, so that nothing
// older than the change comes to light there. It belongs into a change.
func (s *Store) forget(store storage.Store, k storage.Key) {
	if store == nil {
		return
	}
	s.failed("forget", k, store.Delete(k))
}

// failed logs an error of the store below that is dealt with by going without
// it, at most one a second: a dead disk has one for every request. What failed its
// checksum is a miss, and the store that dropped it has said so.
func (s *Store) failed(operation string, k storage.Key, err error) {
	if err == nil || errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrTooLarge) ||
		errors.Is(err, storage.ErrCorrupt) {
		return
	}
	now, last := time.Now().Unix(), s.loggedAt.Load()
	if now == last || !s.loggedAt.CompareAndSwap(last, now) {
		s.unlogged.Add(1)
		return
	}
	s.options.Log.Error("disk store failed", "operation", operation, "key", k.String(), "error", err, "unlogged", s.unlogged.Swap(0))
}
