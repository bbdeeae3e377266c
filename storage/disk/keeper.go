package disk

import (
	"errors"
	"time"

	"weir/storage"
)

// drainingShareMax is how much of the regions may wait for those who read them.
// Beyond it nothing more is taken back, and so nothing evicted, until some close.
const drainingShareMax = 0.25

// keep is the goroutine that writes: buffers, footers, and the table.
func (v *volume) keep() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		v.mu.Lock()
		closed := v.closed // before the steps, so that they see all that was put before
		v.mu.Unlock()
		for v.keepStep() {
		}
		if closed {
			return
		}
		v.mu.Lock()
		at := v.dueLocked()
		v.mu.Unlock()
		wait := time.Hour
		if !at.IsZero() {
			wait = max(0, time.Until(at))
		}
		timer.Reset(wait)
		select {
		case <-v.wake:
		case <-timer.C:
		}
	}
}

// dueLocked is when the keeper has something to do by itself; zero: never.
func (v *volume) dueLocked() (at time.Time) {
	if v.filling != nil {
		at = v.flushAt
	}
	if v.full && !v.retryAt.IsZero() && (at.IsZero() || v.retryAt.Before(at)) {
		at = v.retryAt
	}
	return at
}

// keepStep does one thing and says whether there was one to do.
func (v *volume) keepStep() bool {
	now := time.Now()
	v.mu.Lock()
	if v.filling != nil && (v.closed || !now.Before(v.flushAt)) {
		v.enqueueLocked()
	}
	if v.full && !v.retryAt.IsZero() && !now.Before(v.retryAt) {
		v.full, v.retryAt = false, time.Time{}
	}
	if len(v.owed) > 0 && !v.closed {
		v.payLocked()
	}
	unmarked := v.unmarked
	v.unmarked = false
	var todo work
	if len(v.queue) > 0 {
		todo = v.queue[0]
	}
	turn := !v.closed && !v.offline && (len(v.queue) == 0 || v.tail > v.geometry.regionBytes/2)
	open := turn && v.next == nil && !v.full
	prepare := turn && v.next != nil && v.ahead == nil && !v.noAhead
	v.mu.Unlock()

	switch {
	case unmarked:
		v.markOffline()
	case open:
		v.openNext()
	case prepare:
		v.prepareAhead()
	default:
		return v.writeQueued(todo)
	}
	return true
}

// writeQueued does the work that is first in the queue; false: there is none.
func (v *volume) writeQueued(todo work) bool {
	switch {
	case todo.segment != nil:
		v.flush(todo.segment)
	case todo.seal != nil:
		v.writeFooter(todo.seal, todo.entries)
	default:
		return false
	}
	return true
}

// flush writes a segment. If it cannot, nor at a second try, what was in it is
// lost: those keys are deleted, so that nothing older is found under them.
func (v *volume) flush(s *segment) {
	err := v.writeSegment(s)
	if err != nil {
		err = v.writeSegment(s)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doneLocked()
	if err == nil {
		s.region.written.Store(s.off + s.bytes)
	} else {
		v.loseLocked(s)
	}
	s.release()
	if int64(cap(s.copied)) == v.geometry.bufferBytes {
		v.spare = s.copied
	}
	v.signalLocked()
	select {
	case v.dirty <- struct{}{}:
	default:
	}
}

// doneLocked takes what has been done out of the queue.
func (v *volume) doneLocked() {
	v.queue = v.queue[1:]
	v.worked++
}

// writeSegment writes what is in a segment: the bodies first that it refers to, so
// that a kill leaves no front of a record in the file without its body.
func (v *volume) writeSegment(s *segment) error {
	for _, bodies := range []bool{true, false} {
		for _, p := range s.pieces {
			if (p.body != nil) != bodies {
				continue
			}
			if err := v.write(s.region, s.off+p.off, p.data); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes to a region, and counts what goes wrong.
func (v *volume) write(r *region, off int64, p []byte) error {
	err := writeFull(v.file, p, v.base(r.id)+off)
	if err != nil {
		v.failed(err)
		v.log.Warn("disk: write", "dir", v.dir, "region", r.id, "bytes", len(p), "error", err)
	}
	return err
}

func (v *volume) base(region uint32) int64 { return int64(region) * v.geometry.regionBytes }

// loseLocked deletes what was in a segment that could not be written.
func (v *volume) loseLocked(s *segment) {
	r, to := s.region, s.off+s.bytes
	if r.lostFrom == r.lostTo {
		r.lostFrom = s.off
	}
	r.lostTo = to
	entries := &v.entries
	if r != v.current {
		for i := range v.queue {
			if v.queue[i].seal == r {
				entries = &v.queue[i].entries
			}
		}
	}
	kept := (*entries)[:0:0]
	for _, e := range *entries {
		if at := int64(e.unit) * unitBytes; at < s.off || at >= to {
			kept = append(kept, e)
			continue
		}
		if e.kind == kindChunk {
			continue // the commit of its object, if that is still to come, sees that it is lost
		}
		lost := makeEntry(place{region: r.id, unit: e.unit}, e.kind, e.accounted)
		v.index.remove(fingerprintOf(e.key), lost)
		if len(v.owed) < owedMax && !v.offline {
			v.owed[e.key] = struct{}{}
		} else {
			v.unburied = true
		}
	}
	*entries = kept
}

// writeFooter seals a region. Without its footer it is scanned when that is needed.
func (v *volume) writeFooter(r *region, entries []footerEntry) {
	footer := appendFooter(nil, entries, r.firstSequence.Load(), v.salt)
	_ = v.write(r, v.geometry.regionBytes-int64(len(footer)), footer)
	r.set(regionSealed)
	v.unsaved[r.id] = v.rowOf(r)
	v.sealedOne()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doneLocked()
	v.signalLocked()
}

func (v *volume) rowOf(r *region) regionRow {
	return regionRow{state: regionState(r.state.Load()), firstSequence: r.firstSequence.Load(), turn: r.turn, records: uint64(r.records)}
}

// openNext opens the region that follows the current one. If there is none the
// volume is full for now.
func (v *volume) openNext() {
	v.mu.Lock()
	r := v.ahead
	v.ahead = nil
	v.mu.Unlock()
	var err error
	if r == nil {
		r, err = v.freeRegion()
	}
	if err == nil && r == nil {
		v.setFull(time.Time{})
		return
	}
	if err == nil {
		err = v.openRegion(r)
	}
	if err != nil {
		v.failed(err)
		if !errors.Is(err, storage.ErrFull) {
			v.log.Warn("disk: no region can be opened", "dir", v.dir, "error", err)
		}
		v.setFull(time.Now().Add(retryAfter))
	}
}

// prepareAhead finds the region to open after the next one, so that one more is at
// hand whenever a region is taken back.
func (v *volume) prepareAhead() {
	r, err := v.freeRegion()
	if err != nil {
		v.failed(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ahead, v.noAhead = r, r == nil && !v.drainedLocked()
	v.signalLocked()
}

func (v *volume) setFull(retryAt time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.full, v.retryAt = true, retryAt
	if retryAt.IsZero() && v.drainedLocked() {
		v.full = false // somebody closed in between
	}
	v.signalLocked()
}

// drainedLocked says whether some region only waits to be made free.
func (v *volume) drainedLocked() bool {
	for i := range v.regions {
		if r := &v.regions[i]; r.is(regionDraining) && r.pins.Load() == 0 {
			return true
		}
	}
	return false
}

// openRegion makes a free region the next one, in the table first.
func (v *volume) openRegion(r *region) error {
	v.mu.Lock()
	v.sequence++
	v.turn++
	r.turn, r.records, r.lostFrom, r.lostTo = v.turn, 0, 0, 0
	r.firstSequence.Store(v.sequence)
	v.mu.Unlock()
	r.written.Store(0)
	r.set(regionOpen)
	v.unsaved[r.id] = v.rowOf(r)
	if err := v.table.setRegions(v.unsaved); err != nil {
		r.set(regionFree)
		v.unsaved[r.id] = regionRow{state: regionFree}
		return err
	}
	clear(v.unsaved)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unsettled = false
	v.next = r
	v.full = false
	v.signalLocked()
	return nil
}

// freeRegion finds a region that can be opened: nil if all have to wait for
// somebody to close.
func (v *volume) freeRegion() (*region, error) {
	draining := 0
	var fresh *region
	for i := range v.regions {
		r := &v.regions[i]
		switch {
		case r.is(regionDraining) && r.pins.Load() == 0:
			r.set(regionFree)
			return r, nil
		case r.is(regionDraining):
			draining++
		case r.is(regionFree) && r.allocated:
			return r, nil
		case r.is(regionFree) && fresh == nil:
			fresh = r
		}
	}
	if fresh != nil {
		err := v.file.Allocate(v.base(fresh.id), v.geometry.regionBytes)
		if err == nil {
			fresh.allocated = true
			return fresh, nil
		}
		if !isFull(err) {
			return nil, err
		}
		v.log.Warn("disk: no space for another region: the log stays as it is", "dir", v.dir, "error", err)
	}
	return v.takeBack(draining)
}

// takeBack reclaims the oldest regions until one of them is free.
func (v *volume) takeBack(draining int) (*region, error) {
	for float64(draining) < drainingShareMax*float64(len(v.regions)) {
		v.mu.Lock()
		if v.loading {
			v.mu.Unlock()
			return nil, storage.ErrFull // the index does not know yet what is in it
		}
		if len(v.ring) == 0 || !v.ring[0].is(regionSealed) {
			v.mu.Unlock()
			return nil, storage.ErrFull
		}
		oldest := v.ring[0]
		v.ring = v.ring[1:]
		v.unsettled = true
		v.mu.Unlock()

		v.reclaim(oldest)
		v.unsaved[oldest.id] = regionRow{state: regionFree}
		if oldest.pins.Load() == 0 {
			oldest.set(regionFree)
			return oldest, nil
		}
		draining++
	}
	return nil, nil
}

// sync is the goroutine that bounds what a power cut takes.
func (v *volume) sync() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-v.stopping:
			return
		case <-v.dirty:
		}
		if err := v.file.Sync(); err != nil {
			v.failed(err)
			v.log.Warn("disk: sync", "dir", v.dir, "error", err)
		}
		timer.Reset(syncAfter)
		select {
		case <-v.stopping:
			return
		case <-timer.C:
		}
	}
}
