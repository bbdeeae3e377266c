// Package memory is the store for the objects asked for most: meta and bodies
// in memory that the garbage collector does not see, within a budget that
// counts everything.
//
//	Store
//	├─ shards   a lock, buckets of views, an evict.Policy
//	├─ arena    views, encoded metas and bodies, in units of 128 bytes
//	└─ metas    the metas asked for most, decoded
//
// A hit finds a view under its shard's lock, which it holds with others, pins it,
// and tells the policy; it moves nothing and allocates nothing. Once pinned, a
// view and its body are read without a lock: they stay where they are until the
// last Close. A meta is decoded when it is asked for, into Go's memory, and is
// good for as long as anybody holds it (metas.go).
//
// Locks, in the order in which they are taken: a writer's; ballastMu; a
// shard's; the arena's. No two of a kind are held at once.
package memory

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"weir/storage"
	"weir/storage/evict"
)

// Options say how much a Store may hold, and what. The zero value works.
type Options struct {
	// BudgetBytes bounds everything the store keeps: bodies, meta, its own
	// records and tables, what lies unused between them, what is being written
	// and what is unlinked but open. Default 256 MiB.
	BudgetBytes int64
	// ObjectBytesMax is the longest body taken. Default an eighth of the
	// budget, so that one object never empties the store.
	ObjectBytesMax int64
	// Eviction is the policy that says what leaves. Default evict.KindObjects.
	Eviction evict.Kind
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

// There is a shard for each 64 MiB of the budget: a policy knows more with more
// entries to choose from, and a lock less busy with fewer.
const (
	shardBytes = 64 << 20
	shardsMax  = 64
)

// Store is a storage.Store in memory.
type Store struct {
	options    Options
	seeds      [2]uint64
	shardBytes int64 // of the budget
	periodic   bool  // the policy is told of one use a period
	shards     []shard
	arena      *arena
	metas      metas
	ids        atomic.Uint64 // the newest view's
	closed     atomic.Bool

	floorBytes    int64
	overheadBytes atomic.Int64 // that the policies' arrays take
	ballastUnits  atomic.Int64
	ballastStep   int64
	ballastMu     sync.Mutex // guards what follows
	ballast       builder
	sweep         ref // the stretch that was cleared last for ballast

	objects          objects
	buffers, vectors sync.Pool
}

var _ storage.Store = (*Store)(nil)

// New makes an empty store. The memory that it comes to take is given back when
// neither it nor anything that it gave out is referred to any more.
func New(o Options) *Store {
	o = o.withDefaults()
	s := &Store{
		options: o, seeds: [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1},
		shards: make([]shard, min(ceilPower(o.BudgetBytes/shardBytes), shardsMax)),
	}
	s.arena = s.divide()
	s.periodic = o.Eviction == evict.KindObjects || o.Eviction == evict.KindBytes
	s.objects.pool.New = func() any { return &object{store: s} }
	s.buffers.New = func() any { return new([copyBytes]byte) }
	s.vectors.New = func() any { return new(vector) }
	for i := range s.shards {
		s.begin(&s.shards[i])
	}
	runtime.AddCleanup(s, (*mappings).unmap, s.arena.mapped)
	return s
}

// Get implements storage.Store. It allocates nothing. The object that it gives
// is used again after its Close: closing it twice takes away somebody else's
// opening, which is the caller's bug.
func (s *Store) Get(k storage.Key) (storage.Object, error) { return s.get(k, true) }

func (s *Store) get(k storage.Key, use bool) (storage.Object, error) {
	if s.closed.Load() {
		return nil, storage.ErrClosed
	}
	u, v := s.open(&k, use)
	if v == nil {
		return nil, storage.ErrNotFound // unwrapped: a miss is no event worth an allocation
	}
	o := s.objects.pool.Get().(*object)
	o.view, o.at = v, u
	return o, nil
}

// Peek implements storage.Store.
func (s *Store) Peek(k storage.Key) []storage.Copy {
	if s.closed.Load() {
		return nil
	}
	u, v := s.open(&k, false)
	if v == nil {
		return nil
	}
	defer s.unpin(u)
	return []storage.Copy{{Tier: storage.TierMemory, Meta: s.metaOf(v), Checked: v.checked.Load()}}
}

// Create implements storage.Store. Meta and a declared length are taken from
// the budget here, so that Write of a declared body never meets a full store.
func (s *Store) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	w := &writer{store: s, key: k, meta: m, declaredBytes: m.BodyBytes}
	if err := s.create(w); err != nil {
		return nil, fmt.Errorf("memory: create %s: %w", k, err)
	}
	return w, nil
}

func (s *Store) create(w *writer) error {
	if w.declaredBytes > s.options.ObjectBytesMax {
		return fmt.Errorf("%d bytes: %w", w.declaredBytes, storage.ErrTooLarge)
	}
	encoded, err := w.meta.AppendBinary(nil)
	if err != nil {
		return err
	}
	body := unitsOf(max(w.declaredBytes, 0))
	if err := s.makeRoom(1 + unitsOf(int64(len(encoded))) + body); err != nil {
		return err
	}
	if w.at, err = s.takeUnit(); err != nil {
		return err
	}
	if err = s.writeMeta(&w.metaList, encoded); err == nil {
		err = s.grow(&w.body, body)
	}
	if err != nil {
		_ = w.Close() // which cannot fail
		return err
	}
	w.metaBytes = len(encoded)
	w.filler.cursor = cursor{arena: s.arena, list: &w.body.list}
	return nil
}

// writeMeta puts an encoded meta into the arena.
func (s *Store) writeMeta(b *builder, encoded []byte) error {
	if err := s.grow(b, unitsOf(int64(len(encoded)))); err != nil {
		return err
	}
	f := filler{cursor: cursor{arena: s.arena, list: &b.list}}
	f.write(encoded)
	return nil
}

// fill makes the view at u, which is not linked yet.
func (s *Store) fill(u ref, k storage.Key, m *storage.Meta, length int64, metaBytes int, meta *builder, body list, bodyUnits ref) {
	v := s.viewAt(u)
	v.state.Store(0)
	v.checked.Store(m.Stamp)
	v.key, v.id, v.bodyID, v.length = k, s.ids.Add(1), m.BodyID, length
	v.metaBytes, v.shared, v.next = uint32(metaBytes), none, none
	v.units = 1 + s.arena.unitsWithTables(meta) + bodyUnits
	v.meta, v.body = meta.list, body
}

// Refresh implements storage.Store. ErrFull if the new meta finds no room;
// the old one then stays.
func (s *Store) Refresh(k storage.Key, m *storage.Meta) error {
	if err := s.refresh(k, m); err != nil {
		return fmt.Errorf("memory: refresh %s: %w", k, err)
	}
	s.settle()
	return nil
}

func (s *Store) refresh(k storage.Key, m *storage.Meta) error {
	u, v := s.open(&k, false) // pinned, lest the room for the new meta be made by evicting its own body
	if v == nil {
		return storage.ErrNotFound
	}
	defer s.unpin(u)
	if !v.holds(m) {
		return storage.ErrNotFound
	}
	if m.BodyBytes < 0 {
		m.BodyBytes = v.length
	}
	encoded, err := m.AppendBinary(nil)
	if err != nil {
		return err
	}
	var own [2]ref // the view, and the counter of the body's views
	var list builder
	for i := range own {
		if err == nil {
			own[i], err = s.takeUnit()
		}
	}
	if err == nil {
		err = s.writeMeta(&list, encoded)
	}
	if err == nil && !s.replace(k, m, own, &list, len(encoded)) {
		err = storage.ErrNotFound
	}
	if err != nil {
		s.arena.drop(&list.list)
		for _, u := range own {
			if u != none {
				s.arena.give(u, 1)
			}
		}
	}
	return err
}

// replace gives the body stored under k a view with another meta; false if it
// is another body by now. It takes over what it is given if it is not.
func (s *Store) replace(k storage.Key, m *storage.Meta, own [2]ref, meta *builder, metaBytes int) bool {
	sh, bucket := s.place(&k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, old := s.find(bucket, &k)
	if old == nil || !old.holds(m) {
		return false
	}
	counter := own[1]
	if old.shared == none {
		old.shared = counter
		s.counter(counter).Store(1)
	} else {
		s.arena.give(counter, 1)
		counter = old.shared
	}
	s.counter(counter).Add(1)
	bodyUnits := old.units - 1 - s.arena.unitsWithTables(&builder{list: old.meta, units: ref(unitsOf(int64(old.metaBytes)))})
	s.fill(own[0], k, m, old.length, metaBytes, meta, old.body, bodyUnits)
	s.viewAt(own[0]).shared = counter
	s.link(sh, bucket, own[0])
	s.unshareView(s.viewAt(own[0])) // nobody had the old view open
	return true
}

// holds says whether a view has the body that a refresh is for.
func (v *view) holds(m *storage.Meta) bool {
	return v.bodyID == m.BodyID && (m.BodyBytes < 0 || m.BodyBytes == v.length)
}

// Delete implements storage.Store.
func (s *Store) Delete(k storage.Key) error {
	s.unlink(&k)
	return nil
}

// Clear implements storage.Store.
func (s *Store) Clear() error {
	for i := range s.shards {
		s.clear(&s.shards[i])
	}
	s.settle()
	return nil
}

// Stats implements storage.Store.
func (s *Store) Stats() storage.Stats {
	stats := storage.Stats{Bytes: s.arena.usedBytes(), BudgetBytes: s.options.BudgetBytes}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		stats.Objects += sh.policy.Len()
		sh.mu.RUnlock()
		stats.Evictions += sh.evictions.Load()
	}
	return stats
}

// Close implements storage.Store. It visits no object: all of the memory goes
// back at once, see New.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}
