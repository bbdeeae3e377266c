package memory

import (
	"fmt"
	"sync/atomic"

	"weir/storage"
)

// A meta lies encoded in the arena, and is decoded into Go's own memory for who
// asks for it: strings of it go into logs, headers and new metas, and nobody
// counts them. So a *storage.Meta is good for as long as anybody holds it, and
// only the metas asked for most are kept decoded.
const (
	metasMax       = 4096 // kept decoded: what the garbage collector has to look into
	metasWays      = 2    // places in which one can be
	metaBytesUsual = 1536
	metaBytesMax   = 16 << 10 // longer ones are not kept
	metasShare     = 64       // of the budget, at most this part is for them
)

// decoded is a meta as it is handed out.
type decoded struct {
	id    uint64 // of its view
	bytes int64
	meta  storage.Meta
	// texts is room for those of the meta's lists: most have no more.
	texts [4]string
}

// metas keeps decoded metas, by the id of their view. An id is never used
// again, so that what is kept here is never wrong.
type metas struct {
	bytesMax int64
	bytes    atomic.Int64
	hand     atomic.Uint64 // moves over the places to make room
	places   []atomic.Pointer[decoded]
}

func (m *metas) init(bytesMax int64) {
	m.bytesMax = bytesMax
	m.places = make([]atomic.Pointer[decoded], min(max(ceilPower(bytesMax/metaBytesUsual), metasWays), metasMax))
}

func (m *metas) at(id uint64, way int) *atomic.Pointer[decoded] {
	return &m.places[(id*metasWays+uint64(way))%uint64(len(m.places))]
}

// find gives the meta of a view if it is kept.
func (m *metas) find(id uint64) *storage.Meta {
	for way := range metasWays {
		if d := m.at(id, way).Load(); d != nil && d.id == id {
			return &d.meta
		}
	}
	return nil
}

// keep keeps d in place of another, if there is room for it.
func (m *metas) keep(d *decoded) {
	if d.bytes > metaBytesMax {
		return
	}
	turn := m.hand.Add(1)
	for i := uint64(0); m.bytes.Load()+d.bytes > m.bytesMax; i++ {
		if i == 4 {
			return
		}
		m.put(&m.places[(turn*4+i)%uint64(len(m.places))], nil)
	}
	place := m.at(d.id, int(turn%metasWays))
	for way := range metasWays {
		if free := m.at(d.id, way); free.Load() == nil {
			place = free
		}
	}
	m.put(place, d)
}

func (m *metas) put(place *atomic.Pointer[decoded], d *decoded) {
	if d != nil {
		m.bytes.Add(d.bytes)
	}
	if old := place.Swap(d); old != nil {
		m.bytes.Add(-old.bytes)
	}
}

// drop forgets the meta of a view that is gone.
func (m *metas) drop(id uint64) {
	for way := range metasWays {
		place := m.at(id, way)
		if d := place.Load(); d != nil && d.id == id && place.CompareAndSwap(d, nil) {
			m.bytes.Add(-d.bytes)
		}
	}
}

// metaOf gives the meta of a view that is pinned.
func (s *Store) metaOf(v *view) *storage.Meta {
	if m := s.metas.find(v.id); m != nil {
		return m
	}
	d := &decoded{id: v.id}
	if err := d.meta.Decode(s.encodedMeta(v), d.texts[:]); err != nil {
		// It was made by AppendBinary and kept in memory: this memory is broken.
		panic(fmt.Sprintf("memory: meta of %s: %v", v.key, err))
	}
	d.meta.BodyBytes = v.length
	d.bytes = d.meta.Bytes() + int64(v.metaBytes)
	s.metas.keep(d)
	return &d.meta
}

// encodedMeta gives the bytes of a view's meta, which are the arena's if they
// are in one piece.
func (s *Store) encodedMeta(v *view) []byte {
	n := int64(v.metaBytes)
	if v.meta.pieces == 1 {
		p := v.meta.inline[0]
		return s.arena.at(p.at, p.units)[:n]
	}
	b := make([]byte, n)
	_, _ = s.arena.readAt(&v.meta, n, b, 0) // all n bytes are there
	return b
}
