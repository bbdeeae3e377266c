package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"

	"weir/storage"
)

const (
	// sweepRounds is how often a sweep goes over the log. A round after the first
	// looks only at what was written since the one before began, which is little: most
	// of all the objects that were taken out of the oldest region meanwhile.
	sweepRounds = 3
	// settleWait bounds how long a sweep waits for what was written before it ended.
	settleWait = 30 * time.Second
	// settleLook is how often it looks meanwhile whether it is to end.
	settleLook = 100 * time.Millisecond
)

// errLoading says that the index is not complete yet.
var errLoading = errors.New("what is stored is not all known yet")

// sweptMark says of the records of a directory whose sequence is in [from, to):
// every object whose main record is one of them, or ever comes back as one after a
// kill, has been compared with the hard purges up to version, and none covers it.
type sweptMark struct {
	from, to uint64
	last     uint64 // the sequence of the newest record there was; 0: not known
	version  uint64
}

// The mark stands in table.db's bucket "store" under "swept", integers
// little-endian:
//
//	bytes   field
//	4       salt of the directory: the mark of one that was begun anew says nothing
//	4 × 8   from, to, last, version
//	4       crc32c of key and value
var keySwept = []byte("swept")

const sweptBytes = 4 + 4*8 + 4

func (m sweptMark) append(b []byte, salt uint32) []byte {
	b = binary.LittleEndian.AppendUint32(b, salt)
	for _, v := range [...]uint64{m.from, m.to, m.last, m.version} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, rowSum(keySwept, b))
}

// decodeSwept reads what append wrote; false for anything else.
func decodeSwept(b []byte, salt uint32) (m sweptMark, ok bool) {
	if len(b) != sweptBytes || binary.LittleEndian.Uint32(b) != salt ||
		binary.LittleEndian.Uint32(b[sweptBytes-4:]) != rowSum(keySwept, b[:sweptBytes-4]) {
		return m, false
	}
	return sweptMark{
		from: binary.LittleEndian.Uint64(b[4:]), to: binary.LittleEndian.Uint64(b[12:]),
		last: binary.LittleEndian.Uint64(b[20:]), version: binary.LittleEndian.Uint64(b[28:]),
	}, true
}

// setSwept writes the mark down.
func (t *table) setSwept(m sweptMark, salt uint32) error {
	return t.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStore).Put(keySwept, m.append(nil, salt)) })
}

// swept reads the mark; false if there is none for this salt.
func (t *table) swept(salt uint32) (m sweptMark, ok bool, err error) {
	defer damageIsError(&err)()
	err = t.db.View(func(tx *bbolt.Tx) error {
		m, ok = decodeSwept(tx.Bucket(bucketStore).Get(keySwept), salt)
		return nil
	})
	return m, ok, err
}

// recallSwept takes up the mark that the table has, if all is there that was when
// it was written. Where damage has hit a record, what that replaced or deleted may be
// found again, at which no sweep has looked.
func (v *volume) recallSwept() error {
	m, ok, err := v.table.swept(v.salt)
	for i := range v.recovered {
		v.written = max(v.written, v.recovered[i].sequence)
	}
	if ok && v.written >= m.last && !v.holed(m.to) {
		v.swept.Store(&m)
	}
	return err
}

// holed says whether something is missing between the records of regions that were
// open, before one of a lower sequence.
func (v *volume) holed(to uint64) bool {
	end := uint32(0) // of the record before, in units
	for i := range v.recovered {
		e := &v.recovered[i]
		if e.unit < end {
			end = 0 // another region
		}
		if e.unit > end && e.sequence < to {
			return true
		}
		end = e.unit + e.units
	}
	return false
}

// comparedWith is the version with whose hard purges an object has been compared
// at least: its record says one, and perhaps the mark another.
func (v *volume) comparedWith(sequence, recorded uint64) uint64 {
	if m := v.swept.Load(); m != nil && m.from <= sequence && sequence < m.to {
		return max(recorded, m.version)
	}
	return recorded
}

// Sweep has every object compared that has not been compared with more than
// version, and when it returns nil each directory in service remembers, on stable
// storage, that what it has was compared with version; not so what was written in
// the last moments, which the objects' own records speak for. Objects are read one
// by one, front only, with no lock held; it is no use of them.
func (s *Store) Sweep(ctx context.Context, version uint64, compare storage.Compare) error {
	for _, m := range s.members {
		if m.volume == nil {
			continue // nothing of it is found, and no mark is set
		}
		if err := m.volume.sweep(ctx, version, compare); err != nil {
			return fmt.Errorf("disk: sweep %s: %w", m.path, err)
		}
	}
	return nil
}

// sweep is Sweep for a directory:
//
//  1. Compare, newest first, each object whose main record was written before the
//     round began. What is written again meanwhile has a later record, and the next
//     round looks at it.
//  2. Wait until all that was written by now is on stable storage: replacements and
//     deletions because of which an object was not looked at, and tombstones of those
//     that were covered, must not be lost by a kill once the mark says that everything was
//     compared.
//  3. Only then write the mark. It begins with the oldest region that has not been
//     taken back: a region that has may still come back, since the table says so last.
func (v *volume) sweep(ctx context.Context, version uint64, compare storage.Compare) error {
	v.mu.Lock()
	loading := v.loading
	v.mu.Unlock()
	if loading {
		return errLoading
	}
	to, last := uint64(0), uint64(0)
	for range sweepRounds {
		since := to
		v.mu.Lock()
		closed, offline := v.closed, v.offline
		to, last = v.sequence+1, v.written
		v.mu.Unlock()
		switch {
		case closed:
			return storage.ErrClosed
		case offline:
			return nil // nothing of it is found, nor believed after a restart
		}
		if err := v.sweepSince(ctx, since, version, compare); err != nil {
			return err
		}
	}
	if err := v.settle(ctx); err != nil {
		return err
	}
	from, err := v.oldestSequence()
	if err != nil {
		return err
	}
	mark := sweptMark{from: min(from, to), to: to, last: last, version: version}
	if err := v.table.setSwept(mark, v.salt); err != nil {
		v.failed(err)
		return err
	}
	v.swept.Store(&mark)
	return nil
}

// sweepSince compares the objects whose main record has this sequence or a later one.
func (v *volume) sweepSince(ctx context.Context, since, version uint64, compare storage.Compare) error {
	var read walkCache
	for at := firstPlace(0); ; {
		region, entries, lowest, where := v.entriesBefore(&read, at)
		if region == nil {
			return nil
		}
		at = where
		if len(entries) == 0 {
			if err := v.readable(region); err != nil {
				return err
			}
		}
		for at.index > lowest {
			at.index--
			e := &entries[at.index-lowest]
			if e.sequence < since {
				return nil // and so is all that follows
			}
			if err := v.sweepEntry(ctx, region, e, version, compare); err != nil {
				return err
			}
		}
		if at.index > 0 {
			continue // what is not written yet comes in pieces
		}
		if at.turn == 0 {
			return nil
		}
		at = at.older()
	}
}

// readable says whether it can be told what is in a region.
func (v *volume) readable(r *region) error {
	if !r.is(regionSealed) {
		return nil
	}
	_, err := v.entriesOf(r)
	return err
}

func (v *volume) sweepEntry(ctx context.Context, r *region, e *footerEntry, version uint64, compare storage.Compare) (err error) {
	if !v.isMain(r.id, e) || v.checked.peek(e.key, e.sequence, 0) > version {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	opening, main := v.index.take(fingerprintOf(e.key), v.pin)
	if opening == nil {
		return nil
	}
	o := &object{body: body{volume: v, key: e.key}, entry: main, opening: opening}
	defer o.release()
	if opening.place != (place{region: r.id, unit: e.unit}) {
		return nil // another round sees it
	}
	if o.record, o.meta, err = v.readMeta(e.key, opening.place); err != nil {
		v.drop(e.key, main, err)
		return nil
	}
	if o.meta == nil {
		return nil // the other key of this fingerprint
	}
	_, err = compare(e.key, o.meta, o.compared())
	return err
}

// readMeta reads the front of a main record. No meta: it is another key's.
func (v *volume) readMeta(k storage.Key, at place) (*record, *storage.Meta, error) {
	r, _, err := v.readRecord(at, 0)
	if err != nil || r.key != k {
		return r, nil, err
	}
	m := new(storage.Meta)
	if err := m.UnmarshalBinary(r.meta); err != nil {
		return nil, nil, errors.Join(err, storage.ErrCorrupt)
	}
	return r, m, nil
}

// settle returns when all that has been put into the log, and every deletion that is
// owed, is on stable storage.
func (v *volume) settle(ctx context.Context) error {
	deadline := time.Now().Add(settleWait)
	v.mu.Lock()
	defer v.mu.Unlock()
	paid := func() bool { return len(v.owed) == 0 }
	for again := true; again; again = !paid() { // what could not be written is owed
		if err := v.settleLocked(ctx, deadline, paid); err != nil {
			return err
		}
		v.enqueueLocked()
		until := v.worked + uint64(len(v.queue))
		if err := v.settleLocked(ctx, deadline, func() bool { return v.worked >= until }); err != nil {
			return err
		}
	}
	if v.unburied {
		return errors.New("a deletion was not written down, and would be undone by a restart")
	}
	v.mu.Unlock()
	err := v.file.Sync()
	v.mu.Lock()
	if err != nil {
		v.failed(err)
	}
	return err
}

// settleLocked waits for the keeper until done says so.
func (v *volume) settleLocked(ctx context.Context, deadline time.Time, done func() bool) error {
	for !done() {
		switch {
		case v.closed:
			return storage.ErrClosed
		case v.offline:
			return storage.ErrFull
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("what was written did not get to the disk in %v: %w", settleWait, storage.ErrFull)
		}
		look := time.NewTimer(settleLook)
		v.waitLocked(look.C)
		look.Stop()
	}
	return nil
}

// oldestSequence is the sequence of the first record in the regions that have not
// been taken back; none of those that have has a record that is as new.
func (v *volume) oldestSequence() (uint64, error) {
	v.mu.Lock()
	ring := append([]*region(nil), v.ring...)
	oldest := uint64(math.MaxUint64)
	if len(v.entries) > 0 {
		oldest = v.entries[0].sequence
	}
	for _, w := range v.queue {
		if len(w.entries) > 0 {
			oldest = min(oldest, w.entries[0].sequence)
		}
	}
	v.mu.Unlock()
	for _, r := range ring {
		if !r.is(regionSealed) {
			continue
		}
		entries, err := v.entriesOf(r)
		if err != nil {
			return 0, err
		}
		if len(entries) > 0 {
			return min(oldest, entries[0].sequence), nil
		}
	}
	return oldest, nil
}
