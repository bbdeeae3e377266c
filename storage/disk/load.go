package disk

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"weir/internal/vfs"
	"weir/storage"
)

const (
	// footersMax is how many footers are read at a time.
	footersMax = 4
	// applyBatch is how many records are put into the index at once.
	applyBatch = 512 << 10
	// closeWait bounds how long close waits for room for deletions.
	closeWait = 2 * time.Second
	// sequenceGap is how far a start leaves the sequences before it behind: more
	// than what can stand, unseen, behind damage in a region.
	sequenceGap = 1 << 32
)

// volumeOptions is what Open says of one directory.
type volumeOptions struct {
	dir       string
	device    string // "": the regions are in dir
	budget    int64
	fs        vfs.FS
	log       *slog.Logger
	admission *admission
	async     bool
}

// openVolume opens a directory as far as writing into it goes. start begins its
// service. What was opened before an error is closed again.
func openVolume(o volumeOptions) (v *volume, err error) {
	v = &volume{
		dir: o.dir, log: o.log, budget: o.budget, fs: o.fs, admission: o.admission,
		wake: make(chan struct{}, 1), dirty: make(chan struct{}, 1), checkpointDue: make(chan struct{}, 1), stopping: make(chan struct{}),
		loaded: make(chan struct{}), progress: make(chan struct{}),
		owed: make(map[storage.Key]struct{}), unsaved: make(map[uint32]regionRow), loading: true,
	}
	v.blocks.New = func() any { b := make([]byte, blockBytes); return &b }
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("disk: open %s: %w", o.dir, err), v.closeFiles())
		}
	}()
	if err := o.fs.MkdirAll(o.dir, 0o700); err != nil {
		return v, err
	}
	if v.lock, err = o.fs.Lock(filepath.Join(o.dir, LockFile)); err != nil {
		return v, err
	}
	if err := removeLegacy(o.fs, o.dir, o.log); err != nil {
		return v, err
	}
	if v.table, err = openTable(o.fs, filepath.Join(o.dir, tableFile)); err != nil {
		return v, whatToDo(err)
	}
	if o.device != "" {
		if v.device, err = openDevice(o.fs, o.device, o.budget); err != nil {
			return v, err
		}
		if v.devicePath, err = filepath.Abs(o.device); err != nil {
			return v, err
		}
	}
	rows, err := v.readTable()
	if err != nil {
		return v, err
	}
	if v.device != nil {
		v.file = v.device
	} else if v.file, err = o.fs.OpenFile(filepath.Join(o.dir, logFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return v, err
	}
	if o.async && v.device != nil {
		v.device.File = vfs.Async(v.device.File)
	} else if o.async {
		v.file = vfs.Async(v.file)
	}
	return v, v.recover(rows)
}

// readTable reads what is there already, or begins anew.
func (v *volume) readTable() (rows map[uint32]regionRow, err error) {
	if v.store, rows, err = v.table.load(); err != nil {
		return nil, whatToDo(err)
	}
	if v.geometry, err = geometryOf(v.budget, v.store.regionBytes); err != nil && v.store.regionBytes > 0 {
		v.geometry, err = geometryOf(v.budget, 0) // it is made anew, in smaller regions
		v.store.void = true
	}
	if err != nil {
		return nil, err
	}
	why := ""
	switch {
	case v.store.salt == 0:
		return nil, v.begin()
	case v.store.void:
		why = "it went out of service, and may be older than what was served since, or its budget is too small for it"
	case v.device != nil && v.device.salt != v.store.salt:
		why = "the device is not the one that it was stored on, or has been formatted: " + v.devicePath
	case v.device == nil && v.onDevice():
		why = "it was stored on a device, and none is given now"
	case slices.ContainsFunc(keysOf(rows), func(id uint32) bool { return int(id) >= v.geometry.regions }):
		why = "its budget has become smaller"
	case v.geometry.tooShort(v.budget, len(rows)):
		why = "its budget has become very much larger, and its regions are too short for that"
	default:
		v.salt = v.store.salt
		return rows, v.table.setDevice(v.devicePath) // it may have another name by now
	}
	v.log.Warn("disk: everything stored is dropped", "dir", v.dir, "why", why)
	if v.geometry, err = geometryOf(v.budget, 0); err != nil {
		return nil, err
	}
	return nil, v.begin()
}

func keysOf(rows map[uint32]regionRow) []uint32 {
	ids := make([]uint32, 0, len(rows))
	for id := range rows {
		ids = append(ids, id)
	}
	return ids
}

// onDevice says whether the directory's regions were on a device.
func (v *volume) onDevice() bool {
	path, err := v.table.devicePath()
	return err == nil && path != ""
}

// begin makes an empty store of whatever is there: a new salt is what no old
// record has been written with.
func (v *volume) begin() error {
	salt, err := newSalt()
	if err != nil {
		return err
	}
	v.salt = salt
	row := storeRow{salt: salt, regionBytes: v.geometry.regionBytes, generation: v.store.generation, members: v.store.members, changed: time.Now()}
	if err := v.table.reset(row); err != nil {
		return err
	}
	v.store = row
	for _, name := range []string{logFile, checkpointFile, checkpointNewFile} {
		if err := v.fs.Remove(filepath.Join(v.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if v.device == nil {
		return v.table.setDevice("")
	}
	return errors.Join(v.table.setDevice(v.devicePath), v.device.setLabel(salt))
}

// recover makes the regions out of the table's rows, and finds the end of the log.
func (v *volume) recover(rows map[uint32]regionRow) error {
	v.floor, v.loadFloor = v.store.floor, v.store.floor
	v.regions = make([]region, v.geometry.regions)
	var open []*region
	limit := int64(v.geometry.regions) * v.geometry.regionBytes
	if status, err := v.file.Stat(); err != nil {
		return err
	} else if status.Size() > limit { // regions that were given up when the budget was cut
		if err := v.file.Truncate(limit); err != nil {
			return err
		}
	}
	records := 0
	for i := range v.regions {
		r := &v.regions[i]
		r.id = uint32(i)
		row, used := rows[r.id]
		if !used {
			continue
		}
		r.set(row.state)
		r.firstSequence.Store(row.firstSequence)
		r.written.Store(v.geometry.regionBytes)
		r.turn, r.records, r.allocated = row.turn, int(row.records), true
		v.turn, v.sequence = max(v.turn, row.turn), max(v.sequence, row.firstSequence)
		records += r.records
		if row.state == regionOpen {
			open = append(open, r)
		} else {
			v.ring = append(v.ring, r)
		}
	}
	byTurn := func(a, b *region) int { return cmp.Compare(a.turn, b.turn) }
	slices.SortFunc(v.ring, byTurn)
	slices.SortFunc(open, byTurn)
	v.index.expect(records)
	if err := v.recoverOpen(open); err != nil {
		return err
	}
	v.sequence += sequenceGap
	return v.recallSwept()
}

// recoverOpen scans the regions that were open, the oldest first. The last one that
// has records is gone on with; those before it are sealed, and one behind it is next.
func (v *volume) recoverOpen(open []*region) error {
	reader := v.reader()
	reader.torn = func() { v.corrupt.Add(1) }
	for _, r := range open {
		entries, footed, err := reader.entries(r.id, r.firstSequence.Load())
		if err != nil {
			return err
		}
		for _, e := range entries {
			if s, ok := v.slotOf(r, e); ok {
				v.index.used.Add(s.entry.accounted())
				v.index.put(s.fingerprint, s.entry)
			}
			v.sequence = max(v.sequence, e.sequence)
		}
		v.recovered = append(v.recovered, entries...)
		if len(entries) == 0 && v.current != nil && v.next == nil {
			v.next = r
			r.written.Store(0)
			continue
		}
		if v.current != nil {
			v.sealLocked(v.current, v.entries)
			v.current = nil
		}
		if footed {
			r.records = len(entries)
			r.set(regionSealed)
			v.unsaved[r.id] = v.rowOf(r)
			v.ring = append(v.ring, r)
			continue
		}
		v.current, v.entries, v.tail = r, entries, 0
		if n := len(entries); n > 0 {
			v.tail = int64(entries[n-1].unit+entries[n-1].units) * unitBytes
		}
		r.written.Store(v.tail)
	}
	return nil
}

func (v *volume) reader() logReader {
	return logReader{file: v.file, geometry: v.geometry, salt: v.salt}
}

// entriesOf reads what is in a region.
func (v *volume) entriesOf(r *region) ([]footerEntry, error) {
	entries, _, err := v.reader().entries(r.id, r.firstSequence.Load())
	if err != nil {
		v.failed(err)
	}
	return entries, err
}

// start begins the service: look-ups are answered from what is known so far.
func (v *volume) start() {
	v.mu.Lock()
	regions := slices.Clone(v.ring)
	v.mu.Unlock()
	v.workers.Go(v.keep)
	v.workers.Go(v.sync)
	v.workers.Go(v.checkpoints)
	v.workers.Go(func() { v.load(regions) })
}

// footer is what was read of a region.
type footer struct {
	region  *region
	entries []footerEntry
	err     error
}

// load fills the index, the newest first: a look-up never finds what something that
// is not known yet has replaced. Footers come first, of regions that the checkpoint
// does not cover, and then the checkpoint.
func (v *volume) load(regions []*region) {
	defer close(v.loaded)
	v.disown(v.recovered)
	v.recovered = nil
	older := regions
	c, file := v.openCheckpoint()
	var covered []bool
	if c != nil {
		defer file.Close() // it is only read
		covered = c.covered(v.regions)
		n := slices.IndexFunc(regions, func(r *region) bool { return !covered[r.id] })
		if n < 0 {
			n = len(regions)
		}
		older, regions = regions[:n], regions[n:]
	}
	suspect := v.loadFooters(regions)
	uncovered := len(regions)
	if c != nil && !suspect && !v.applyCheckpoint(c, file, covered) {
		suspect = v.loadFooters(older)
		uncovered += len(older)
	}
	v.sinceCheckpoint.Add(int64(uncovered) * v.geometry.regionBytes) // so that the next start need not do this again
	select {
	case <-v.stopping:
		// Some of it was not read. It stays as if it were still loading, so that
		// neither a checkpoint nor the set of directories is vouched for by that.
		return
	default:
	}
	if v.whenLoaded != nil && !suspect {
		v.whenLoaded()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loading = false
	v.index.dropTombstones()
	v.full, v.noAhead = false, false
	v.wakeKeeper()
}

// loadFooters reads the footers of regions, several at a time, and applies them from
// the last to the first. It says whether one could not be read.
func (v *volume) loadFooters(regions []*region) (suspect bool) {
	queue := make(chan chan footer, footersMax)
	v.workers.Go(func() {
		defer close(queue)
		for _, r := range slices.Backward(regions) {
			read := make(chan footer, 1)
			select {
			case queue <- read:
			case <-v.stopping:
				return
			}
			v.workers.Go(func() {
				entries, footed, err := v.reader().entries(r.id, r.firstSequence.Load())
				if err != nil {
					v.failed(err)
				} else if !footed {
					v.swept.Store(nil) // what was replaced by a record that is damaged may be found
				}
				read <- footer{r, entries, err}
			})
		}
	})
	return v.applyAll(queue)
}

// applyAll applies footers as they come, many at once: what goes into one shard of
// the index then finds it in the processor's cache. It says whether a region could
// not be read, so that nothing older was applied.
func (v *volume) applyAll(queue chan chan footer) (suspect bool) {
	var batch [indexShards][]slot
	gathered := 0
	for read := range queue {
		f := <-read
		if f.err != nil && !suspect {
			suspect = true
			v.log.Warn("disk: a region cannot be read: what was written before it is forgotten, since it may be void",
				"dir", v.dir, "region", f.region.id, "error", f.err)
		}
		if suspect {
			continue
		}
		for _, fe := range slices.Backward(f.entries) {
			if s, ok := v.slotOf(f.region, fe); ok {
				shard := &batch[s.fingerprint>>56]
				*shard = append(*shard, s)
			}
		}
		v.disown(f.entries)
		if gathered += len(f.entries); gathered >= applyBatch {
			v.applyBatch(&batch)
			gathered = 0
		}
	}
	v.applyBatch(&batch)
	return suspect
}

// slotOf is what a footer says of an object or a deletion; false for the rest.
func (v *volume) slotOf(r *region, fe footerEntry) (slot, bool) {
	if fe.sequence < v.loadFloor || (fe.kind != kindObject && fe.kind != kindHead && fe.kind != kindTombstone) {
		return slot{}, false
	}
	if v.mine != nil && !v.mine(fe.key) {
		return slot{}, false
	}
	return slot{fingerprintOf(fe.key), makeEntry(place{region: r.id, unit: fe.unit}, fe.kind, fe.accounted)}, true
}

// applyBatch puts what was gathered into the index, shards side by side.
func (v *volume) applyBatch(batch *[indexShards][]slot) {
	var workers sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		workers.Go(func() {
			for i := w; i < indexShards; i += n {
				v.index.load(i, batch[i], &v.void)
				batch[i] = batch[i][:0]
			}
		})
	}
	workers.Wait()
}

// disown deletes what belongs into another directory by now.
func (v *volume) disown(entries []footerEntry) {
	if v.mine == nil {
		return
	}
	for _, e := range entries {
		if v.mine(e.key) || (e.kind != kindObject && e.kind != kindHead) {
			continue
		}
		r := &record{kind: kindTombstone, key: e.key}
		v.mu.Lock()
		v.index.remove(fingerprintOf(e.key), 0)
		if v.roomLocked(r.bytes(), askWait) == nil {
			v.putLocked(r)
		} else {
			v.owed[e.key] = struct{}{}
		}
		v.mu.Unlock()
	}
}

// close writes what waits to be written and gives everything back.
func (v *volume) close() error {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil
	}
	deadline := time.NewTimer(closeWait)
	defer deadline.Stop()
	for v.payLocked(); len(v.owed) > 0 && !v.offline && v.waitLocked(deadline.C); {
		v.payLocked()
	}
	v.closed = true
	v.signalLocked()
	v.mu.Unlock()
	close(v.stopping)
	v.wakeKeeper()
	v.workers.Wait()
	if v.sinceCheckpoint.Load() > 0 {
		v.writeCheckpoint()
	}
	var err error
	if len(v.owed) > 0 {
		err = fmt.Errorf("%d deletions could not be written: these objects may be there again", len(v.owed))
	}
	if len(v.unsaved) > 0 && !v.offline {
		err = errors.Join(err, v.table.setRegions(v.unsaved))
	}
	v.index.clear()
	if err = errors.Join(err, v.closeFiles()); err != nil {
		return fmt.Errorf("disk: close %s: %w", v.dir, err)
	}
	return nil
}

func (v *volume) closeFiles() error {
	var errs []error
	if v.device != nil {
		errs = append(errs, v.device.Close())
	} else if v.file != nil {
		errs = append(errs, v.file.Close())
	}
	if v.table != nil {
		errs = append(errs, v.table.close())
	}
	if v.lock != nil {
		errs = append(errs, v.lock.Close())
	}
	return errors.Join(errs...)
}
