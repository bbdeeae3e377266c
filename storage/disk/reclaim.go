package disk

import (
	"errors"

	"weir/storage"
	"weir/storage/evict"
)

// reclaim empties the oldest region: what was hit since it was written is written
// again at the end of the log, as far as the share allows, and all else that lives
// there is evicted. What is open stays readable until it is closed.
//
// Regions are taken back in the order in which they were written, and in no
// other. So whatever a record makes void, by replacing or deleting it, is gone
// before that record is.
func (v *volume) reclaim(r *region) {
	v.setReclaiming(true)
	defer v.setReclaiming(false)
	r.set(regionDraining)
	entries, err := v.entriesOf(r)
	if err != nil {
		// Nobody can say any more what was here.
		v.log.Warn("disk: region lost", "dir", v.dir, "region", r.id, "error", err)
		v.mu.Lock()
		removed := v.index.sweep(func(e entry) bool { return e.place().region == r.id })
		v.mu.Unlock()
		v.evictions.Add(int64(removed))
		return
	}
	rewritten := int64(0)
	done := make(map[storage.Key]struct{}) // objects whose chunks here have been seen to
	for _, fe := range entries {
		f := fingerprintOf(fe.key)
		e := v.index.get(f)
		here := e.place() == place{region: r.id, unit: fe.unit}
		switch {
		case e == 0, fe.kind == kindTombstone, e.kind() == kindTombstone:
			continue
		case here && !e.hit():
			v.evict(fe.key, e, r)
			continue
		case here && fe.kind == kindObject:
		case e.kind() == kindHead && (fe.kind == kindChunk || fe.kind == kindObject || here):
			// A part of what the head names, perhaps; and a head is never
			// older than its parts.
			if _, seen := done[fe.key]; seen {
				continue
			}
			done[fe.key] = struct{}{}
		default:
			continue // replaced or deleted since
		}
		rewritten += v.leave(fe.key, e, r, rewritten)
	}
}

func (v *volume) setReclaiming(on bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reclaiming = on
	v.signalLocked()
}

// leave takes an object out of a region that is taken back, and gives the bytes
// that were written again for it, after those before it.
func (v *volume) leave(k storage.Key, e entry, r *region, before int64) (rewritten int64) {
	o, err := v.openOnce(k)
	if err != nil {
		if o != nil && !errors.Is(err, errChanged) && !errors.Is(err, storage.ErrNotFound) {
			v.drop(k, o.entry, err)
		}
		return 0 // it has gone, or has another main record by now
	}
	defer o.release()
	if !o.entry.same(e) || !o.isIn(r) {
		return 0
	}
	if evict.Rewrite(e.hit(), o.bytesIn(r), before, v.geometry.regionBytes) {
		if rewritten, err = v.rewrite(o, r); err == nil {
			return rewritten
		}
		if errors.Is(err, errChanged) {
			return 0
		}
	}
	v.evict(k, e, r)
	return 0
}

// evict takes an object out of the index, if e still stands for it. A main record
// that stays in a later region must not be found there after a restart.
func (v *volume) evict(k storage.Key, e entry, r *region) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.index.remove(fingerprintOf(k), e) == 0 {
		return
	}
	v.evictions.Add(1)
	if e.place().region != r.id {
		_ = v.buryLocked(k, askKeeper) // or else it is found, and its parts are not
	}
}

// isIn says whether some of the object is in the region.
func (o *object) isIn(r *region) bool {
	if o.opening.place.region == r.id {
		return true
	}
	for _, s := range o.stretches {
		if s.region == r.id {
			return true
		}
	}
	return false
}

// bytesIn is what moving the object out of the region writes.
func (o *object) bytesIn(r *region) int64 {
	n := o.record.frontBytes()
	for _, s := range o.stretches {
		if s.region == r.id {
			n += recordHeadBytes + s.bytes
		}
	}
	return n
}

// rewrite writes what the object has in the region again.
func (v *volume) rewrite(o *object, r *region) (written int64, err error) {
	fresh := &record{kind: kindObject, key: o.key, stamp: o.known(), meta: o.record.meta, length: o.length}
	if len(o.stretches) == 1 && o.length <= v.geometry.chunkBytes {
		if fresh.body, err = o.readStretchWhole(o.stretches[0]); err != nil {
			return 0, err
		}
		fresh.sums = sumsOf(fresh.body)
		return fresh.bytes(), v.relink(fresh, o.entry, false)
	}
	fresh.kind = kindHead
	defer func() {
		for _, p := range fresh.parts {
			v.unpin(p.region)
		}
	}()
	for _, s := range o.stretches {
		p := s.part
		if s.region == r.id {
			if p, err = v.moveChunk(o, s); err != nil {
				return written, err
			}
			written += recordHeadBytes + p.bytes
		} else {
			v.pin(p.region)
		}
		fresh.parts = append(fresh.parts, p)
	}
	// What lies in the regions that come next has not been written again yet,
	// and the hit is its hit too.
	return written + fresh.bytes(), v.relink(fresh, o.entry, v.isOld(fresh.parts))
}

// isOld says whether some part is in the older half of the log.
func (v *volume) isOld(parts []part) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range parts {
		if v.turn-v.regions[p.region].turn > uint64(len(v.regions)/2) {
			return true
		}
	}
	return false
}

// moveChunk writes a stretch again, and pins its new region.
func (v *volume) moveChunk(o *object, s *stretch) (part, error) {
	b, err := o.readStretchWhole(s)
	if err != nil {
		return part{}, err
	}
	r := &record{kind: kindChunk, key: o.key, length: s.bytes, body: b, sums: sumsOf(b)}
	for {
		at, err := v.chunk(r, askKeeper)
		if err == nil {
			return part{place: at, sequence: r.sequence, bytes: s.bytes}, nil
		}
		if !errors.Is(err, storage.ErrFull) || !v.writeFirst() {
			return part{}, err
		}
	}
}

// relink replaces the object's main record.
func (v *volume) relink(fresh *record, e entry, hit bool) error {
	for {
		err := v.replace(fresh, e, hit, askKeeper)
		if !errors.Is(err, storage.ErrFull) || !v.writeFirst() {
			return err
		}
	}
}

// writeFirst writes the first of what waits to be written, and says whether there
// was any. Only the keeper may call it.
func (v *volume) writeFirst() bool {
	v.mu.Lock()
	var todo work
	if len(v.queue) > 0 {
		todo = v.queue[0]
	}
	v.mu.Unlock()
	return v.writeQueued(todo)
}

// readStretchWhole reads and verifies all of a stretch.
func (o *object) readStretchWhole(s *stretch) ([]byte, error) {
	if o.whole != nil {
		return o.whole, nil
	}
	b := make([]byte, s.bytes)
	if len(b) == 0 {
		return b, nil
	}
	n, err := o.readAt(b, s.start)
	if n < len(b) {
		return nil, err
	}
	return b, nil
}
