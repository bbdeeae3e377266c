package memory

import (
	"io"
	"math/bits"
	"unsafe"
)

// piece is a run of units within one segment.
type piece struct{ at, units ref }

// inlinePieces is how many pieces of a list need no table.
const inlinePieces = 2

// list is where something lies in the arena: its pieces in their order. Most
// have one. More than inlinePieces are in a chain of tables, which are runs of
// the arena themselves.
type list struct {
	inline [inlinePieces]piece
	pieces uint32
	table  ref
}

// table is how a run begins that has further pieces; they follow it.
type table struct {
	next  ref
	units ref // of the run
}

const (
	tableOwnBytes = 8
	pieceBytes    = 8
	// tableUnitsMax keeps tables short; a list of 1 MiB pieces that has filled
	// one of them is 511 MiB long.
	tableUnitsMax = 32
)

func tableRoom(units ref) int { return (int(units)*unitBytes - tableOwnBytes) / pieceBytes }

func unitsOf(bytes int64) int64 { return (bytes + unitBytes - 1) / unitBytes }

func (a *arena) table(t ref) *table { return (*table)(a.start(t)) }

// tablePieces gives the places for pieces in a table.
func (a *arena) tablePieces(t ref) []piece {
	n := tableRoom(a.table(t).units)
	return unsafe.Slice((*piece)(unsafe.Add(a.start(t), tableOwnBytes)), n)
}

// builder is a list that grows.
type builder struct {
	list
	units ref // of its pieces, without tables
	last  ref // table
	room  int // places left there
}

// grow adds units to a list, or nothing: false if there is no room for them
// and the tables that they need.
func (a *arena) grow(b *builder, units int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if units > int64(a.units-a.used) {
		return false
	}
	before := b.units
	for rest := ref(units); rest > 0; {
		p := piece{units: min(rest, segmentUnits)}
		if p.at = a.takeRun(p.units); p.at == none {
			p.at, p.units = a.takeLargest()
		}
		if p.at == none || !a.append(b, p, rest) {
			if p.at != none {
				a.giveRun(p.at, p.units)
			}
			a.cut(b, before)
			return false
		}
		rest -= p.units
	}
	return true
}

// takeInto adds a run of units to a list and gives it; none if there is no such
// run. One of a power of two of units begins at a multiple of it.
func (a *arena) takeInto(b *builder, units ref) ref {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.units-a.used < units {
		return none
	}
	u := a.takeRun(units)
	if u != none && !a.append(b, piece{u, units}, units) {
		a.giveRun(u, units)
		return none
	}
	return u
}

// append adds a piece to a list that is to have rest units more, this piece
// among them. mu is held.
func (a *arena) append(b *builder, p piece, rest ref) bool {
	if b.pieces < inlinePieces {
		b.inline[b.pieces] = p
	} else {
		if b.room == 0 && !a.extend(b, rest/p.units) {
			return false
		}
		room := a.tablePieces(b.last)
		room[len(room)-b.room] = p
		b.room--
	}
	b.pieces++
	b.units += p.units
	return true
}

// extend adds a table that has places for about so many pieces.
func (a *arena) extend(b *builder, pieces ref) bool {
	units := min(1+pieces*pieceBytes/unitBytes, tableUnitsMax)
	t := a.takeRun(units)
	if t == none {
		if t, units = a.takeLargest(); t == none {
			return false
		}
		if units > tableUnitsMax {
			a.giveRun(t+tableUnitsMax, units-tableUnitsMax)
			units = tableUnitsMax
		}
	}
	*a.table(t) = table{units: units}
	if b.last == none {
		b.table = t
	} else {
		a.table(b.last).next = t
	}
	b.last, b.room = t, tableRoom(units)
	return true
}

// trim gives back what a list has beyond units.
func (a *arena) trim(b *builder, units int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut(b, ref(units))
}

// cut is trim with mu held. It takes the list apart and puts together again
// what stays, piece by piece, in the tables that are there.
func (a *arena) cut(b *builder, units ref) {
	if b.units == units {
		return
	}
	c := cursor{arena: a, list: &b.list}
	kept := builder{}
	for p, ok := c.next(); ok; p, ok = c.next() {
		if keep := min(p.units, units-kept.units); keep < p.units {
			a.giveRun(p.at+keep, p.units-keep)
			p.units = keep
		}
		if p.units == 0 {
			continue
		}
		if kept.pieces < inlinePieces {
			kept.inline[kept.pieces] = p
		} else {
			if c.table != kept.last {
				kept.last, kept.room = c.table, tableRoom(a.table(c.table).units)
				kept.table = b.table
			}
			room := a.tablePieces(kept.last)
			room[len(room)-kept.room] = p
			kept.room--
		}
		kept.pieces++
		kept.units += p.units
	}
	a.giveTablesAfter(b, kept.last)
	*b = kept
}

// giveTablesAfter gives back the tables behind last; all for none.
func (a *arena) giveTablesAfter(b *builder, last ref) {
	t := b.table
	if last != none {
		t = a.table(last).next
		a.table(last).next = none
	}
	a.giveTables(t)
}

func (a *arena) giveTables(t ref) {
	for t != none {
		own := *a.table(t)
		a.giveRun(t, own.units)
		t = own.next
	}
}

// drop gives back all of a list.
func (a *arena) drop(l *list) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := cursor{arena: a, list: l}
	for p, ok := c.next(); ok; p, ok = c.next() {
		a.giveRun(p.at, p.units)
	}
	a.giveTables(l.table)
}

// unitsWithTables is what a list takes from the arena.
func (a *arena) unitsWithTables(b *builder) ref {
	n := b.units
	for t := b.table; t != none; t = a.table(t).next {
		n += a.table(t).units
	}
	return n
}

// cursor walks over a list's pieces.
type cursor struct {
	arena *arena
	list  *list
	taken uint32
	table ref // the one that it is in
	at    int // in that
}

// next gives the next piece. It reads a table before it gives the pieces of
// that table, and not again: what it has given may be changed.
func (c *cursor) next() (p piece, ok bool) {
	if c.taken == c.list.pieces {
		return p, false
	}
	if c.taken < inlinePieces {
		p = c.list.inline[c.taken]
		c.taken++
		return p, true
	}
	switch {
	case c.table == none:
		c.table, c.at = c.list.table, 0
	case c.at == tableRoom(c.arena.table(c.table).units):
		c.table, c.at = c.arena.table(c.table).next, 0
	}
	p = c.arena.tablePieces(c.table)[c.at]
	c.at++
	c.taken++
	return p, true
}

// touches says whether a list has a part in units from first on.
func (a *arena) touches(l *list, first, units ref) bool {
	c := cursor{arena: a, list: l}
	for p, ok := c.next(); ok; p, ok = c.next() {
		if p.at < first+units && first < p.at+p.units {
			return true
		}
		if c.table != none && c.table-first < units {
			return true
		}
	}
	return false
}

// readAt copies from a list that holds length bytes.
func (a *arena) readAt(l *list, length int64, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	n := 0
	c := cursor{arena: a, list: l}
	for begin := int64(0); n < len(p) && off < length; {
		at, ok := c.next()
		if !ok {
			break
		}
		bytes := int64(at.units) * unitBytes
		if within := off - begin; within < bytes {
			end := min(bytes, length-begin)
			copied := copy(p[n:], a.at(at.at, at.units)[within:end])
			n += copied
			off += int64(copied)
		}
		begin += bytes
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// filler writes into a list from its beginning on.
type filler struct {
	cursor cursor
	rest   []byte // of the piece that is being written
}

// write copies all of p; the list has room for it.
func (f *filler) write(p []byte) {
	for len(p) > 0 {
		if len(f.rest) == 0 {
			at, _ := f.cursor.next()
			f.rest = f.cursor.arena.at(at.at, at.units)
		}
		n := copy(f.rest, p)
		p, f.rest = p[n:], f.rest[n:]
	}
}

// ceilPower is the smallest power of two that is at least n.
func ceilPower(n int64) int64 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len64(uint64(n-1))
}
