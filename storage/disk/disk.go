// Package disk is the store for many and large objects: two files each, a body
// and a meta file, within a budget that holds at every moment.
//
//	DIR/lock                                      held while a Store is open
//	DIR/bodies/xx/BBBBBBBBBBBBBBBB-NNNNNNNNNNNNNNNN.body
//	DIR/objects/xx/KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK-NNNNNNNNNNNNNNNN.meta
//
// B is the BodyID, K the key, N a number that the store draws anew for every
// file and never twice, all in hexadecimal; xx are the first two digits of the
// name. So no file ever replaces another, no file changes once it is complete,
// and of two meta files with one key the one with the higher N is the newer.
//
// Life of an object's files:
//
//	state     body file      meta file       readable through   left by
//	writing   growing        none            Writer.ReadAt      Commit, Close
//	stored    complete       renamed to it   Get                Delete, eviction, newer Commit, bad checksum
//	unlinked  removed        removed         Objects open now   the last Close, which gives its bytes back
//
// The rename that gives a meta file its name is the commit. Nothing is synced:
// after a power cut a meta file or a block may be missing or torn, which its
// checksum tells, and the object is a miss.
//
// What the index keeps in memory of an object is what finds and evicts it; the
// meta and the checksums are read from the meta file by each Get.
package disk

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/internal/lru"
)

const (
	budgetBytesDefault = 1 << 30
	bodyBytesMax       = 1 << 40 // so that a meta file's checksums fit into memory
	triesMax           = 8       // a Get or Refresh that meets changes of its object each time gives up
	stuckTriesMax      = 16      // files that could not be removed, tried again in one go
	touchSeconds       = 60      // how exactly the order of use survives a restart
)

// Options say where a Store is and how much it may hold.
type Options struct {
	// Dir is the store's directory; created if missing. Required.
	Dir string
	// BudgetBytes bounds the bytes of all files, each rounded up to 4 KiB:
	// bodies, meta, what is being written and what is removed but open. The
	// directories themselves are not counted. Default 1 GiB.
	BudgetBytes int64
	// ObjectBytesMax is the longest body taken. Default an eighth of the
	// budget; never above 1 TiB.
	ObjectBytesMax int64
	// FS is the file system. Default vfs.OS().
	FS vfs.FS
	// Log gets what the store noticed and dealt with by itself. Default: nobody.
	Log *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("no directory given")
	}
	if o.BudgetBytes <= 0 {
		o.BudgetBytes = budgetBytesDefault
	}
	if o.ObjectBytesMax <= 0 {
		o.ObjectBytesMax = o.BudgetBytes / 8
	}
	o.ObjectBytesMax = min(o.ObjectBytesMax, bodyBytesMax)
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Store is a storage.Store in a directory.
type Store struct {
	options Options
	fs      vfs.FS
	lock    io.Closer
	lastN   atomic.Uint64 // the number drawn last for a file
	blocks  sync.Pool     // of *[blockBytes]byte, for reads that need a whole block

	// evicting is held by whoever makes room, across the removal of files,
	// so that nobody is told that the store is full while room is being
	// made. It is taken before mu.
	evicting sync.Mutex

	// mu guards what follows and all fields of entries that change. No call
	// of the file system is made under it.
	mu        sync.Mutex
	entries   map[storage.Key]*entry
	idle      lru.List[entry] // stored and not open, so that they may be evicted
	idleBytes int64           // what evicting all of idle would give
	usedBytes int64           // everything accounted for; never above the budget
	stuck     []stuckFile     // files that could not be removed; still accounted for
	evictions int64
	corrupt   int64
	closed    bool
}

var _ storage.Store = (*Store)(nil)

// Get implements storage.Store. It reads the meta file; blocks of the body are
// verified as they are read. An object whose files cannot be read is dropped
// and reported as ErrNotFound.
//
// Files are opened without a lock, so the object may change in between:
//
//  1. Get finds entry E with meta file 7.
//  2. Refresh or Commit writes meta file 8, and removes 7 and perhaps E's body.
//  3. Get opens 7: no such file.
//
// E is then no longer stored or no longer has meta file 7, which is how this
// is told from a damaged object, and Get starts over.
func (s *Store) Get(k storage.Key) (storage.Object, error) {
	for range triesMax {
		e, metaN, checked, err := s.find(k)
		if err != nil {
			return nil, err
		}
		o, err := s.open(e, metaN, checked)
		if err == nil {
			return o, nil
		}
		if noMoreFiles(err) {
			s.unpin(e) // nothing is wrong with the object
			s.options.Log.Warn("disk: get", "key", k.String(), "error", err)
			return nil, storage.ErrNotFound
		}
		dropped := s.drop(e, metaN, err)
		s.unpin(e)
		if dropped {
			return nil, storage.ErrNotFound
		}
	}
	return nil, storage.ErrNotFound
}

// find pins the entry of k and says which meta file it has now.
func (s *Store) find(k storage.Key) (e *entry, metaN uint64, checked *atomic.Uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0, nil, storage.ErrClosed
	}
	e = s.entries[k]
	if e == nil {
		return nil, 0, nil, storage.ErrNotFound
	}
	s.pinLocked(e)
	return e, e.metaN, e.checked, nil
}

// open opens the files of a pinned entry. The object takes over the pin.
func (s *Store) open(e *entry, metaN uint64, checked *atomic.Uint64) (*object, error) {
	meta, err := s.readMetaFile(e.key, metaN)
	if err != nil {
		return nil, err
	}
	file, err := s.openBody(e)
	if err != nil {
		return nil, err
	}
	s.touch(e, metaN)
	body := body{file: file, length: e.length, sums: meta.sums}
	return &object{store: s, entry: e, meta: meta.meta, checked: checked, body: body}, nil
}

// touch notes in the meta file's time of change that the object was used, at
// most once in touchSeconds. That it could not is no error: the object is then
// evicted a little early after a restart.
func (s *Store) touch(e *entry, metaN uint64) {
	now := time.Now()
	last := e.touched.Load()
	if now.Unix()-last >= touchSeconds && e.touched.CompareAndSwap(last, now.Unix()) {
		_ = s.fs.Chtimes(s.metaPath(e.key, metaN), now, now)
	}
}

// noMoreFiles says whether err is this process's lack of file descriptors or
// memory, which is no fault of the file that was to be opened.
func noMoreFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// Refresh implements storage.Store: it writes a new meta file and removes the
// old one. An object whose meta file cannot be read is dropped.
func (s *Store) Refresh(k storage.Key, m *storage.Meta) error {
	for range triesMax {
		again, err := s.refresh(k, m)
		if err != nil {
			return fmt.Errorf("disk: refresh %s: %w", k, err)
		}
		if !again {
			return nil
		}
	}
	return fmt.Errorf("disk: refresh %s: %w", k, storage.ErrNotFound)
}

// refresh says again if the object changed while it was read, as in Get.
func (s *Store) refresh(k storage.Key, m *storage.Meta) (again bool, err error) {
	e, metaN, _, err := s.find(k)
	if err != nil {
		return false, err
	}
	defer s.unpin(e)
	if e.bodyID != m.BodyID || (m.BodyBytes >= 0 && m.BodyBytes != e.length) {
		return false, storage.ErrNotFound
	}
	old, err := s.readMetaFile(k, metaN)
	switch {
	case err == nil:
	case noMoreFiles(err):
		return false, err
	case s.drop(e, metaN, err):
		return false, storage.ErrNotFound
	default:
		return true, nil
	}
	if m.BodyBytes < 0 {
		m.BodyBytes = e.length
	}
	fresh := metaFile{key: k, n: s.drawN(), bodyN: e.bodyN, meta: m, sums: old.sums}
	return false, s.replaceMeta(e, &fresh)
}

// replaceMeta writes a new meta file for the pinned entry e.
func (s *Store) replaceMeta(e *entry, fresh *metaFile) error {
	encoded, err := fresh.append(nil)
	if err != nil {
		return err
	}
	bytes := roundUp(int64(len(encoded)))
	if err := s.reserve(bytes); err != nil {
		return err
	}
	if stuckBytes, err := s.writeMetaFile(fresh.key, fresh.n, encoded); err != nil {
		s.release(bytes - stuckBytes)
		return err
	}
	return s.linkMeta(e, fresh.n, bytes, fresh.meta.Stamp)
}

// Delete implements storage.Store. An error says that a file could not be
// removed: the object is gone for this Store, and may be there again after a
// restart.
func (s *Store) Delete(k storage.Key) error {
	s.mu.Lock()
	e := s.entries[k]
	if e == nil {
		s.mu.Unlock()
		return nil
	}
	s.unlinkLocked(e)
	s.mu.Unlock()
	if err := s.erase(e); err != nil {
		return fmt.Errorf("disk: delete %s: %w", k, err)
	}
	return nil
}

// Clear implements storage.Store. An error is as for Delete.
func (s *Store) Clear() error {
	s.mu.Lock()
	entries := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		s.unlinkLocked(e)
		entries = append(entries, e)
	}
	s.mu.Unlock()
	var errs []error
	for _, e := range entries {
		if err := s.erase(e); err != nil {
			errs = append(errs, fmt.Errorf("disk: clear %s: %w", e.key, err))
		}
	}
	return errors.Join(errs...)
}

// Stats implements storage.Store.
func (s *Store) Stats() storage.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return storage.Stats{
		Objects:     len(s.entries),
		Bytes:       s.usedBytes,
		BudgetBytes: s.options.BudgetBytes,
		Evictions:   s.evictions,
		Corrupt:     s.corrupt,
	}
}

// Close implements storage.Store. What is stored stays for the next Open.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("disk: close %s: %w", s.options.Dir, err)
	}
	return nil
}

// The paths of an object's files.

func (s *Store) metaPath(k storage.Key, n uint64) string {
	return s.path("objects", fmt.Sprintf("%s-%016x%s", k, n, metaSuffix))
}

func (s *Store) bodyPath(id, n uint64) string {
	return s.path("bodies", fmt.Sprintf("%016x-%016x%s", id, n, bodySuffix))
}

func (s *Store) path(kind, name string) string {
	return filepath.Join(s.options.Dir, kind, name[:2], name)
}

func (s *Store) drawN() uint64 { return s.lastN.Add(1) }
