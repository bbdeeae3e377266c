// Package memory is the store for the objects asked for most: meta and bodies
// in memory, within a budget that holds at every moment.
//
// A body lies in chunks that are never moved or changed once written, so it is
// read without a lock. An item is one body; what Get hands out is a view of it:
// the item with one meta. A refresh gives the item a new view.
//
//	item      in items  in idle  its bytes are accounted
//	stored    yes       yes      and may be had by evicting it
//	in use    yes       no       until it is unlinked and closed
//	unlinked  no        no       until the last view of it is closed
//
// The order in idle is that of the last Close: an object that is open now
// counts as used now.
package memory

import (
	"fmt"
	"sync"

	"weir/storage"
	"weir/storage/internal/lru"
)

// chunkBytes is the size of all chunks of a body but the last.
const chunkBytes = 64 << 10

// Options say how much a Store may hold. The zero value works.
type Options struct {
	// BudgetBytes bounds everything the store keeps: bodies, meta, its own
	// records, what is being written and what is unlinked but open.
	// Default 256 MiB.
	BudgetBytes int64
	// ObjectBytesMax is the longest body taken. Default an eighth of the
	// budget, so that one object never empties the store.
	ObjectBytesMax int64
}

func (o Options) withDefaults() Options {
	if o.BudgetBytes <= 0 {
		o.BudgetBytes = 256 << 20
	}
	if o.ObjectBytesMax <= 0 {
		o.ObjectBytesMax = o.BudgetBytes / 8
	}
	return o
}

// Store is a storage.Store in memory.
type Store struct {
	options Options

	// mu guards everything below, and all fields of items and views that
	// are not said to be immutable. Under it nothing waits and no body
	// byte is copied. A writer's own mutex is never taken under it.
	mu        sync.Mutex
	items     map[storage.Key]*item
	idle      lru.List[item]
	idleBytes int64 // what evicting all of idle would give
	usedBytes int64 // everything accounted for; never above the budget
	evictions int64
	closed    bool
}

var _ storage.Store = (*Store)(nil)

// New makes an empty store.
func New(o Options) *Store {
	return &Store{options: o.withDefaults(), items: make(map[storage.Key]*item)}
}

// Get implements storage.Store. It takes one lock and allocates nothing. The
// object it gives is shared: closing it twice takes away somebody else's
// opening, which is the caller's bug.
func (s *Store) Get(k storage.Key) (storage.Object, error) {
	s.mu.Lock()
	it := s.items[k]
	if it == nil {
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return nil, storage.ErrClosed
		}
		return nil, storage.ErrNotFound // unwrapped: a miss is no event worth an allocation
	}
	s.pin(it)
	v := it.current
	v.opens++
	s.mu.Unlock()
	return v, nil
}

// Peek implements storage.Store.
func (s *Store) Peek(k storage.Key) []storage.Copy {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[k]
	if it == nil {
		return nil
	}
	return []storage.Copy{{Tier: storage.TierMemory, Meta: it.current.meta}}
}

// Create implements storage.Store. Meta and a declared length are reserved
// here, so that Write of a declared body never meets a full store.
func (s *Store) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	if m.BodyBytes > s.options.ObjectBytesMax {
		return nil, fmt.Errorf("memory: create %s: %d bytes: %w", k, m.BodyBytes, storage.ErrTooLarge)
	}
	w := &writer{
		store: s, key: k, meta: m, declaredBytes: m.BodyBytes,
		viewBytes: viewBytes(m), bodyBytes: itemBytes + declaredCost(m.BodyBytes),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reserve(w.viewBytes + w.bodyBytes); err != nil {
		return nil, fmt.Errorf("memory: create %s: %w", k, err)
	}
	return w, nil
}

// Refresh implements storage.Store. ErrFull if the new meta finds no room;
// the old one then stays.
func (s *Store) Refresh(k storage.Key, m *storage.Meta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[k]
	if it == nil || it.current.meta.BodyID != m.BodyID || (m.BodyBytes >= 0 && m.BodyBytes != it.length) {
		return fmt.Errorf("memory: refresh %s: %w", k, storage.ErrNotFound)
	}
	s.pin(it) // lest the room for the new meta be made by evicting its own body
	defer s.unpin(it)
	bytes := viewBytes(m)
	if err := s.reserve(bytes); err != nil {
		return fmt.Errorf("memory: refresh %s: %w", k, err)
	}
	if m.BodyBytes < 0 {
		m.BodyBytes = it.length
	}
	old := it.current
	it.current = newView(it, m, bytes)
	s.releaseView(old)
	return nil
}

// Delete implements storage.Store.
func (s *Store) Delete(k storage.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[k]; it != nil {
		s.unlink(it)
	}
	return nil
}

// Clear implements storage.Store.
func (s *Store) Clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		s.unlink(it)
	}
	return nil
}

// Stats implements storage.Store.
func (s *Store) Stats() storage.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return storage.Stats{
		Objects:     len(s.items),
		Bytes:       s.usedBytes,
		BudgetBytes: s.options.BudgetBytes,
		Evictions:   s.evictions,
	}
}

// Close implements storage.Store: it lets go of every object.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, it := range s.items {
		s.unlink(it)
	}
	return nil
}
