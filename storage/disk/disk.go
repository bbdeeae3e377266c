// Package disk is the store for many and large objects: in each of its
// directories a log of regions that is written round and round, with a small
// index in memory. README.md has the bytes on disk, and how a start reads them.
//
//	Store      directories, and which keys go where
//	volume     one directory: the log, its index and its keeper
//	region     a stretch of the log, given up as a whole
//	record     what the log is made of; footer: what a region has; table: what regions there are
//
// Nothing is lost but the last seconds by a kill or a power cut, nothing that
// was replaced or deleted before that returns, and no byte is given out that
// its checksum does not vouch for.
package disk

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"weir/internal/vfs"
	"weir/storage"
)

const (
	budgetBytesDefault = 1 << 30
	loadWaitDefault    = time.Second
)

// Directory is one place to keep objects in.
type Directory struct {
	Path string
	// Device, if set, has the regions: a block device, or a file of a fixed
	// length. It has to be empty or to have a label; see Format.
	Device string
	// BudgetBytes bounds everything in it, from 256 KiB up. Default 1 GiB, or
	// all of the device.
	BudgetBytes int64
}

// Options say where objects are kept and how many. Dir must be set.
type Options struct {
	// Dir is created if it is missing. One open Store at a time may have it.
	Dir string
	// Device, if set, has Dir's regions; see Directory.
	Device string
	// BudgetBytes bounds the bytes in Dir: records, footers, what is garbage
	// until its region is written again, and the region table. From 256 KiB
	// up. Default 1 GiB.
	BudgetBytes int64
	// More are further directories, on other disks. Each key belongs into one
	// of them all; what is in one that fails is a miss.
	More []Directory
	// ObjectBytesMax is the longest body taken. Default an eighth of the
	// smallest directory's budget; never above 128 GiB.
	ObjectBytesMax int64
	// AdmitAll writes every object. Otherwise, once the log has come round,
	// an object may have to be missed twice before it is worth a write.
	AdmitAll bool
	// WriteBytesPerSecondMax bounds what is written to each directory over
	// time. Default 0: no bound.
	WriteBytesPerSecondMax int64
	// LoadWait bounds how long Open waits for the index to be complete; after
	// that, what is not known yet is a miss. Default 1 s; negative: not at all.
	LoadWait time.Duration
	// AsyncReads has reads that the page cache cannot answer wait in the kernel
	// instead of in a thread; see vfs.Async. Not for simulated time.
	AsyncReads bool
	// FS is the file system. Default vfs.OS().
	FS vfs.FS
	// Log gets what the store noticed and dealt with by itself. Default: nobody.
	Log *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("no directory given")
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	o.BudgetBytes = budgetOf(o.FS, o.Device, o.BudgetBytes)
	smallest := o.BudgetBytes
	o.More = slices.Clone(o.More)
	for i := range o.More {
		o.More[i].BudgetBytes = budgetOf(o.FS, o.More[i].Device, o.More[i].BudgetBytes)
		smallest = min(smallest, o.More[i].BudgetBytes)
	}
	o.ObjectBytesMax = min(positiveOr(o.ObjectBytesMax, smallest/8), bodyBytesMax)
	o.LoadWait = cmp.Or(o.LoadWait, loadWaitDefault)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func positiveOr(n, otherwise int64) int64 {
	if n > 0 {
		return n
	}
	return otherwise
}

// Directories lists all of them, Dir first.
func (o Options) Directories() []Directory {
	return append([]Directory{{Path: o.Dir, Device: o.Device, BudgetBytes: o.BudgetBytes}}, o.More...)
}

// Store is a storage.Store in one or more directories.
type Store struct {
	options Options
	members []member
	walked  walkCache
}

// member is a directory of the store.
type member struct {
	hash   uint64 // of its path, which decides about its share of the keys
	path   string
	device string  // "": none
	volume *volume // nil: it could not be opened
	err    error   // why
}

var _ storage.Store = (*Store)(nil)

// Open opens the store and creates it if there is none. A directory that cannot
// be opened is out of service; if all are, or one is in use by another process
// (vfs.ErrLocked) or written by another version (ErrFormat), that is an error.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("disk: open: %w", err)
	}
	s := &Store{options: o}
	var errs []error
	opened := 0
	for _, d := range o.Directories() {
		m := member{path: filepath.Clean(d.Path), device: d.Device}
		h := fnv.New64a()
		_, _ = h.Write([]byte(m.path)) // it is documented never to fail
		m.hash = h.Sum64()
		v, err := openVolume(volumeOptions{
			dir: m.path, device: d.Device, budget: d.BudgetBytes, fs: o.FS, log: o.Log,
			admission: newAdmission(o, d.BudgetBytes), async: o.AsyncReads,
		})
		if err == nil {
			m.volume = v
			opened++
		} else {
			m.err = err
			errs = append(errs, err)
			o.Log.Error("disk: directory is out of service", "dir", m.path, "error", err)
		}
		s.members = append(s.members, m)
	}
	err = errors.Join(errs...)
	if opened > 0 && !errors.Is(err, vfs.ErrLocked) && !errors.Is(err, ErrFormat) {
		if err = s.settleMembers(); err == nil {
			s.start()
			return s, nil
		}
	}
	return nil, errors.Join(err, s.closeFiles())
}

func (s *Store) closeFiles() error {
	var errs []error
	for _, m := range s.members {
		if m.volume != nil {
			errs = append(errs, m.volume.closeFiles())
		}
	}
	return errors.Join(errs...)
}

// start begins the service and waits a little for what is stored to be known.
func (s *Store) start() {
	deadline := time.NewTimer(max(0, s.options.LoadWait))
	defer deadline.Stop()
	for _, m := range s.members {
		if m.volume != nil {
			m.volume.start()
		}
	}
	for _, m := range s.members {
		if m.volume == nil {
			continue
		}
		select {
		case <-m.volume.loaded:
		case <-deadline.C:
			return
		}
	}
}

// volumeOf gives the directory of a key; nil if it is out of service. It is the one
// whose hash with the key's is highest, so that only the keys of a directory
// that is added or removed move.
func (s *Store) volumeOf(k storage.Key) *volume {
	return s.members[s.memberOf(k)].volume
}

func (s *Store) memberOf(k storage.Key) int {
	if len(s.members) == 1 {
		return 0
	}
	best, bestAt := uint64(0), 0
	for i, m := range s.members {
		// SplitMix64's last steps, over the half of the key that is no fingerprint.
		x := binary.LittleEndian.Uint64(k[8:]) ^ m.hash
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		if x ^= x >> 31; x >= best {
			best, bestAt = x, i
		}
	}
	return bestAt
}

// Get implements storage.Store. Blocks of the body are verified as they are
// read. An object that cannot be read is dropped and reported as ErrNotFound.
func (s *Store) Get(k storage.Key) (storage.Object, error) {
	v := s.volumeOf(k)
	if v == nil {
		return nil, storage.ErrNotFound
	}
	o, err := v.open(k)
	if err == nil {
		v.admission.hit(k, o.length)
		return o, nil
	}
	if errors.Is(v.usable(), storage.ErrClosed) {
		return nil, storage.ErrClosed
	}
	return nil, err
}

// Create implements storage.Store. ErrFull, too, for what is not worth a write
// yet; see Options.AdmitAll.
func (s *Store) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	v := s.volumeOf(k)
	if v == nil {
		return nil, fmt.Errorf("disk: create %s: out of service: %w", k, storage.ErrFull)
	}
	w, err := v.create(k, m, s.options.ObjectBytesMax)
	if err != nil {
		return nil, fmt.Errorf("disk: create %s: %w", k, err)
	}
	return w, nil
}

// Refresh implements storage.Store: it writes a head with the new meta, which
// names the body where it is.
func (s *Store) Refresh(k storage.Key, m *storage.Meta) error {
	v := s.volumeOf(k)
	if v == nil {
		return fmt.Errorf("disk: refresh %s: %w", k, storage.ErrNotFound)
	}
	if err := v.refresh(k, m); err != nil {
		return fmt.Errorf("disk: refresh %s: %w", k, err)
	}
	return nil
}

// refresh begins again when the object changes meanwhile.
func (v *volume) refresh(k storage.Key, m *storage.Meta) error {
	for range openTriesMax {
		o, err := v.open(k)
		if err != nil {
			return err
		}
		err = v.refreshOpen(o, m)
		o.release()
		if !errors.Is(err, errChanged) {
			return err
		}
	}
	return storage.ErrNotFound
}

func (v *volume) refreshOpen(o *object, m *storage.Meta) error {
	if o.meta.BodyID != m.BodyID || (m.BodyBytes >= 0 && m.BodyBytes != o.length) {
		return storage.ErrNotFound
	}
	if m.BodyBytes < 0 {
		m.BodyBytes = o.length
	}
	r := &record{kind: kindHead, key: o.key, stamp: m.Stamp, length: o.length}
	for _, s := range o.stretches {
		r.parts = append(r.parts, s.part)
	}
	var err error
	if r.meta, err = m.AppendBinary(nil); err != nil {
		return err
	}
	return v.replace(r, o.entry, o.entry.hit() || o.settled(), askWait) // it is in use, or nobody had asked the origin
}

// Delete implements storage.Store. An error says that the object is gone for
// this Store, and may be there again after a restart.
func (s *Store) Delete(k storage.Key) error {
	v := s.volumeOf(k)
	if v == nil {
		return nil // nothing of it is believed if it comes back
	}
	if err := v.delete(k); err != nil {
		return fmt.Errorf("disk: delete %s: %w", k, err)
	}
	return nil
}

// Clear implements storage.Store. Unlike Delete it waits for stable storage. An
// error is as for Delete.
func (s *Store) Clear() error {
	var errs []error
	for _, m := range s.members {
		if m.volume == nil {
			continue
		}
		if err := m.volume.clear(); err != nil {
			errs = append(errs, fmt.Errorf("disk: clear %s: %w", m.path, err))
		}
	}
	return errors.Join(errs...)
}

// Stats implements storage.Store. Bytes is what objects take, open ones and bodies
// being written included: what cannot be used again without losing one of
// them. The files are longer by garbage, footers and room that is reserved,
// and within the budget with all that.
func (s *Store) Stats() storage.Stats {
	var total storage.Stats
	for i, d := range s.options.Directories() {
		v := s.members[i].volume
		if v == nil {
			continue
		}
		total.BudgetBytes += d.BudgetBytes
		total.Objects += int(v.index.live.Load())
		total.Bytes += v.index.used.Load()
		total.Evictions += v.evictions.Load()
		total.Corrupt += v.corrupt.Load()
	}
	return total
}

// Health says how each directory is.
func (s *Store) Health() []Health {
	now := time.Now()
	all := make([]Health, 0, len(s.members))
	for _, m := range s.members {
		h := Health{Dir: m.path, State: StateOffline, Errors: 1, LastError: m.err}
		if m.volume != nil {
			h = m.volume.health.report(m.path, now)
		}
		h.Device = m.device
		all = append(all, h)
	}
	return all
}

// Loaded says whether everything that is stored is known by now.
func (s *Store) Loaded() bool {
	for _, m := range s.members {
		if m.volume == nil {
			continue
		}
		select {
		case <-m.volume.loaded:
		default:
			return false
		}
	}
	return true
}

// Close implements storage.Store. What is stored stays for the next Open.
func (s *Store) Close() error {
	var errs []error
	for _, m := range s.members {
		if m.volume != nil {
			errs = append(errs, m.volume.close())
		}
	}
	return errors.Join(errs...)
}
