package disk

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/vfs"
	"weir/storage"
)

const (
	logFile = "regions.log"
	// LockFile is locked while a Store has the directory open.
	LockFile = "lock"

	flushAfter = time.Second
	syncAfter  = 2 * time.Second
	// roomWait bounds how long a write waits for the disk to take what was
	// written before it.
	roomWait = 10 * time.Second
	// retryAfter is when a directory that had no space is asked again.
	retryAfter = time.Second
	// queueMax is how many buffers wait to be written, besides the one that
	// is being filled.
	queueMax = 2
	// owedMax bounds the deletions that could not be written yet, in keys.
	owedMax = 64 << 10
)

// volume is one directory: a log of regions, the index of what is in it, and the
// goroutines that look after both.
//
// The log's lock is mu. What is appended is put into the index under the same
// lock, so the order of the log is the order in which things happened, and a
// restart finds what was found before it.
type volume struct {
	dir       string
	log       *slog.Logger
	geometry  geometry
	budget    int64
	salt      uint32
	fs        vfs.FS
	lock      io.Closer
	table     *table
	file      vfs.File // regions.log, or device
	device    *device  // nil: none
	regions   []region
	index     index
	checked   checkedVersions
	swept     atomic.Pointer[sweptMark] // nil: none
	health    health
	blocks    sync.Pool // of *[]byte, blockBytes long
	chunks    sync.Pool // of *gathered, chunkBytes long
	evictions atomic.Int64
	corrupt   atomic.Int64
	admission *admission    // nil: everything is written
	wake      chan struct{} // something for the keeper to do; holds one
	dirty     chan struct{} // something for the syncer to do; holds one
	stopping  chan struct{} // closed by close
	loaded    chan struct{} // closed when the index is complete
	onOffline func(*volume) // told once, by the keeper
	// devicePath is where the regions are, "" for regions.log.
	devicePath string
	workers    sync.WaitGroup

	// The loader's: mine says whether a key belongs into this directory, nil
	// that all do; recovered is what was found in the regions that were open;
	// whenLoaded, if set, is told once the rest is known.
	mine       func(storage.Key) bool
	recovered  []footerEntry
	whenLoaded func()
	loadFloor  uint64 // the floor at the start
	// sinceCheckpoint is how much has been written to the log since the last one.
	sinceCheckpoint atomic.Int64
	checkpointDue   chan struct{} // holds one
	// void says that nothing of what was there at the start counts any more.
	void atomic.Bool

	unsaved map[uint32]regionRow // changes that the table has not seen; the keeper's alone

	storeMu sync.Mutex // guards store, and is held while it is written; taken before mu
	store   storeRow

	// mu guards everything below. No call of the file system is made under it.
	mu         sync.Mutex
	sequence   uint64
	written    uint64 // the sequence of the newest record; 0: not known
	turn       uint64
	floor      uint64 // records of a lower sequence have been cleared
	current    *region
	next       *region // opened ahead, so that nobody waits for the table
	ring       []*region
	tail       int64 // where the next record goes in current
	entries    []footerEntry
	filling    *segment
	flushAt    time.Time
	queue      []work
	worked     uint64 // how much of the queue has been done since the start
	spare      []byte
	owed       map[storage.Key]struct{} // deletions that are not in the log yet
	unburied   bool                     // there were too many, and one was left out
	progress   chan struct{}            // closed and made anew whenever the keeper has done something
	full       bool                     // no region can be opened now
	ahead      *region                  // free, to be opened after next
	reclaiming bool                     // a region is being taken back
	noAhead    bool                     // none can be found now
	retryAt    time.Time                // when to see whether that is still so; zero: when something is closed
	loading    bool
	unsettled  bool // a region was taken back that the table still has
	closed     bool
	offline    bool
	unmarked   bool // out of service, and the table does not say so yet
}

// work is what the keeper writes: a segment, or a region's footer.
type work struct {
	segment *segment
	seal    *region
	entries []footerEntry
}

// who asks for room at the end of the log.
type who uint8

const (
	// askWait waits for the keeper, for roomWait at most.
	askWait who = iota
	// askNow gets ErrFull instead.
	askNow
	// askKeeper, too; but it alone may go on in the next region before one to
	// follow that is found. What is written again always has room there,
	// however fast others write.
	askKeeper
)

// roomLocked makes room for a record of n bytes at the end of the log, which stays
// until mu is released. It wants mu held and may release it while it waits.
func (v *volume) roomLocked(n int64, asks who) error {
	if n > v.geometry.recordMax {
		return fmt.Errorf("record of %d bytes: %w", n, storage.ErrTooLarge)
	}
	var deadline *time.Timer
	for {
		switch {
		case v.closed:
			return storage.ErrClosed
		case v.offline:
			return fmt.Errorf("%s is out of service: %w", v.dir, storage.ErrFull)
		case v.reclaiming && v.next == nil && asks != askKeeper:
			// What is left of the current region is for what is written again.
		case v.current != nil && v.fitsLocked(n):
			if v.bufferLocked(n) {
				return nil
			}
		case v.next != nil && (asks == askKeeper || v.ahead != nil || v.noAhead):
			v.rotateLocked()
			continue
		case v.next == nil && v.full:
			return fmt.Errorf("no region can be opened: %w", storage.ErrFull)
		}
		if asks != askWait {
			return storage.ErrFull
		}
		if deadline == nil {
			deadline = time.NewTimer(roomWait)
			defer deadline.Stop()
		}
		if !v.waitLocked(deadline.C) {
			return fmt.Errorf("the disk took nothing for %v: %w", roomWait, storage.ErrFull)
		}
	}
}

// waitLocked waits for the keeper to have done something, with mu released.
func (v *volume) waitLocked(deadline <-chan time.Time) (inTime bool) {
	progress := v.progress
	v.mu.Unlock()
	defer v.mu.Lock()
	v.wakeKeeper()
	select {
	case <-progress:
		return true
	case <-deadline:
		return false
	}
}

func (v *volume) fitsLocked(n int64) bool {
	return v.tail+n+footerBytes(len(v.entries)+1) <= v.geometry.regionBytes
}

// bufferLocked sees to it that filling takes n bytes more. False: the buffers are
// all full.
func (v *volume) bufferLocked(n int64) bool {
	if v.filling != nil && v.filling.bytes+n > v.geometry.bufferBytes {
		if len(v.queue) >= queueMax {
			return false
		}
		v.enqueueLocked()
	}
	if v.filling == nil {
		data := v.spare
		v.spare = nil
		if data == nil {
			data = make([]byte, 0, v.geometry.bufferBytes)
		}
		v.filling = &segment{region: v.current, off: v.tail, copied: data[:0]}
		v.flushAt = time.Now().Add(flushAfter)
		v.wakeKeeper() // it sets its clock by flushAt
	}
	return true
}

// enqueueLocked hands what has been gathered to the keeper.
func (v *volume) enqueueLocked() {
	if v.filling != nil {
		v.queue = append(v.queue, work{segment: v.filling})
		v.filling = nil
		v.wakeKeeper()
	}
}

// rotateLocked ends the current region and goes on in the next one.
func (v *volume) rotateLocked() {
	v.enqueueLocked()
	if v.current != nil {
		v.sealLocked(v.current, v.entries)
	}
	v.current, v.next, v.noAhead = v.next, nil, false
	v.tail, v.entries = 0, nil
	v.wakeKeeper()
}

func (v *volume) sealLocked(r *region, entries []footerEntry) {
	r.records = len(entries)
	v.ring = append(v.ring, r)
	v.queue = append(v.queue, work{seal: r, entries: entries})
}

// putLocked appends a record for which there is room, and gives its place.
func (v *volume) putLocked(r *record) place {
	v.sequence++
	r.sequence, v.written = v.sequence, v.sequence
	at := place{region: v.current.id, unit: uint32(v.tail / unitBytes)}
	v.filling.append(r, v.salt)
	e := footerEntry{key: r.key, sequence: r.sequence, unit: at.unit, units: uint32(r.bytes() / unitBytes), kind: r.kind}
	if r.kind == kindObject || r.kind == kindHead {
		e.accounted = r.accountedBytes()
	}
	v.entries = append(v.entries, e)
	v.tail += r.bytes()
	v.admission.wrote(r.bytes())
	return at
}

// linkLocked makes a record that was just put what is found under its key.
func (v *volume) linkLocked(r *record, at place) {
	delete(v.owed, r.key) // it is older than what is linked
	e := makeEntry(at, r.kind, r.accountedBytes())
	v.index.put(fingerprintOf(r.key), e)
	v.index.used.Add(e.accounted())
}

// commit appends the main record of a new object and links it. writing is what
// was accounted for its body while that was being written.
func (v *volume) commit(r *record, writing int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.roomLocked(r.bytes(), askWait); err != nil {
		return err
	}
	if !v.partsHoldLocked(r.parts) {
		return fmt.Errorf("the log came round before the body was complete: %w", storage.ErrFull)
	}
	v.index.used.Add(-writing)
	v.linkLocked(r, v.putLocked(r))
	return nil
}

// errChanged says that an object was replaced while it was looked at.
var errChanged = errors.New("the object has changed")

// replace links a new main record in place of that which e stands for; hit says
// whether it counts as asked for. errChanged if that is no more there.
func (v *volume) replace(r *record, e entry, hit bool, asks who) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.roomLocked(r.bytes(), asks); err != nil {
		return err
	}
	f := fingerprintOf(r.key)
	if !v.index.get(f).same(e) || !v.partsHoldLocked(r.parts) {
		return errChanged
	}
	at := v.putLocked(r)
	v.linkLocked(r, at)
	if hit {
		v.index.markHit(f, makeEntry(at, r.kind, r.accountedBytes()))
	}
	return nil
}

// chunk appends a part of a body, and pins its region.
func (v *volume) chunk(r *record, asks who) (place, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.roomLocked(r.bytes(), asks); err != nil {
		return place{}, err
	}
	at := v.putLocked(r)
	v.pin(at.region)
	return at, nil
}

// partsHoldLocked says whether every part is still where it was written and will
// be after a restart.
func (v *volume) partsHoldLocked(parts []part) bool {
	for _, p := range parts {
		r := &v.regions[p.region]
		if r.is(regionDraining) || !r.holds(p.sequence) || (p.offset() >= r.lostFrom && p.offset() < r.lostTo) {
			return false
		}
	}
	return true
}

// delete takes a key out of the index and says so in the log. If there is no
// room for that now it is owed.
func (v *volume) delete(k storage.Key) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return storage.ErrClosed
	}
	f := fingerprintOf(k)
	if v.index.remove(f, 0) == 0 && !v.loading && !v.unsettled {
		return nil
	}
	return v.buryLocked(k, askNow)
}

// buryLocked writes a tombstone, or owes it.
func (v *volume) buryLocked(k storage.Key, asks who) error {
	if v.offline || v.closed {
		// What is there is not believed after a restart; and what the keeper
		// evicts while the store closes has lost its parts, which is seen.
		return nil
	}
	r := &record{kind: kindTombstone, key: k}
	if v.roomLocked(r.bytes(), asks) != nil {
		if len(v.owed) >= owedMax {
			v.unburied = true
			return fmt.Errorf("%d deletions are not written yet: %w", owedMax, storage.ErrFull)
		}
		v.owed[k] = struct{}{}
		return nil
	}
	delete(v.owed, k)
	at := v.putLocked(r)
	if v.loading {
		v.index.put(fingerprintOf(k), makeEntry(at, kindTombstone, 0))
	}
	return nil
}

// payLocked writes the tombstones that are owed, as far as there is room.
func (v *volume) payLocked() {
	for k := range v.owed {
		r := &record{kind: kindTombstone, key: k}
		if v.roomLocked(r.bytes(), askKeeper) != nil {
			return
		}
		delete(v.owed, k)
		v.putLocked(r)
	}
}

// drop forgets an object that cannot be read, if it is still the one that e
// stands for.
func (v *volume) drop(k storage.Key, e entry, why error) {
	v.mu.Lock()
	removed := v.index.remove(fingerprintOf(k), e) != 0
	if removed {
		_ = v.buryLocked(k, askNow) // so that nothing older is found after a restart
	}
	v.mu.Unlock()
	if !removed {
		return
	}
	if errors.Is(why, storage.ErrCorrupt) {
		v.corrupt.Add(1)
	}
	v.log.Warn("disk: object dropped", "dir", v.dir, "key", k.String(), "why", why)
}

// clear unlinks everything; the table makes it last.
func (v *volume) clear() error {
	v.storeMu.Lock()
	defer v.storeMu.Unlock()
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return storage.ErrClosed
	}
	v.sequence++
	v.floor = v.sequence
	v.void.Store(true)
	v.index.clear()
	clear(v.owed)
	floor, offline := v.floor, v.offline
	v.mu.Unlock()
	if offline {
		return nil
	}
	row := v.store
	row.floor = floor
	return v.saveStoreLocked(row)
}

// saveStoreLocked writes the store's row. It wants storeMu held.
func (v *volume) saveStoreLocked(row storeRow) error {
	row.changed = time.Now()
	if err := v.table.setStore(row); err != nil {
		v.failed(err)
		return err
	}
	v.store = row
	return nil
}

func (v *volume) pin(region uint32) { v.regions[region].pins.Add(1) }

// unpin may make a region free that had to wait for it.
func (v *volume) unpin(region uint32) {
	r := &v.regions[region]
	if r.pins.Add(-1) > 0 || !r.is(regionDraining) {
		return
	}
	v.mu.Lock()
	v.noAhead = false
	if v.full && v.retryAt.IsZero() {
		v.full = false
	}
	v.mu.Unlock()
	v.wakeKeeper()
}

func (v *volume) wakeKeeper() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// failed counts an error against the directory and may take it out of service.
func (v *volume) failed(err error) {
	if !isFault(err) || !v.health.note(err, time.Now()) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.offline, v.unmarked = true, true
	v.void.Store(true)
	v.index.clear()
	v.signalLocked()
	v.wakeKeeper()
}

// markOffline ends the service of the directory. What is in it could come back
// older than what was served meanwhile, so it is marked as not to be trusted;
// should that fail too, the other directories know that it was away.
func (v *volume) markOffline() {
	v.storeMu.Lock()
	row := v.store
	row.void, row.changed = true, time.Now()
	err := v.table.setStore(row)
	v.storeMu.Unlock()
	v.log.Error("disk: directory is out of service", "dir", v.dir, "why", v.health.report(v.dir, time.Now()).LastError, "marked", err == nil)
	if v.onOffline != nil {
		v.onOffline(v)
	}
}

func (v *volume) signalLocked() {
	close(v.progress)
	v.progress = make(chan struct{})
}

// usable says whether look-ups and writes may come here.
func (v *volume) usable() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return storage.ErrClosed
	case v.offline:
		return storage.ErrFull
	}
	return nil
}
