package disk

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weir/storage"
)

// Open opens the store in a directory, creating it if there is none, and finds
// again what was stored there. vfs.ErrLocked if another Store has it open. It
// reads the meta files and the names of the bodies, in these steps:
//
//  1. Take the lock: from here on nobody else changes the directory.
//  2. Read every meta file. Remove what is none, is damaged or cannot be read.
//  3. Of several with one key keep the one with the highest N. The others were
//     about to be removed when the store stopped.
//  4. List the bodies. Remove those that no meta file names: they were being
//     written, or about to be removed. Forget the objects that have no body.
//  5. Put all in the order in which they were used, which is that of the meta
//     files' times of change, and evict what is beyond the budget.
//
// Open fails if a directory cannot be listed, since the budget could then not
// be kept; a single bad file costs that file only.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("disk: open: %w", err)
	}
	s := &Store{options: o, fs: o.FS, entries: make(map[storage.Key]*entry)}
	s.blocks.New = func() any { return new([blockBytes]byte) }
	if err := s.load(); err != nil {
		if s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
		return nil, fmt.Errorf("disk: open %s: %w", o.Dir, err)
	}
	return s, nil
}

// directoryBytes is what the store's own directories may take, 256 for metas and
// 256 for bodies with a block each. It counts from the start, so that what du
// says of the folder stays within the budget; a budget in which it would be a
// large part is left alone.
func directoryBytes(budgetBytes int64) int64 {
	const most = (2*256 + 3) * fileUnitBytes
	if budgetBytes < 16*most {
		return 0
	}
	return most
}

// load is Open's steps. Nobody else has the store yet, so no lock is taken
// for the index.
func (s *Store) load() (err error) {
	if err := s.fs.MkdirAll(s.options.Dir, 0o700); err != nil {
		return err
	}
	if s.lock, err = s.fs.Lock(filepath.Join(s.options.Dir, "lock")); err != nil {
		return err
	}
	found := make(map[storage.Key]*recovered)
	if err := s.eachFile("objects", func(path, name string) { s.recoverMeta(found, path, name) }); err != nil {
		return err
	}
	bodies := make(map[string]*recovered, len(found))
	for _, r := range found {
		bodies[s.bodyPath(r.entry.bodyID, r.entry.bodyN)] = r
	}
	if err := s.eachFile("bodies", func(path, name string) { s.recoverBody(bodies, path, name) }); err != nil {
		return err
	}
	s.recoverOrder(found)
	return s.reserve(0) // evict what is beyond the budget
}

// recovered is an object that Open has found.
type recovered struct {
	entry   *entry
	used    int64 // time of last use, in nanoseconds since 1970
	hasBody bool
}

// eachFile calls do with every file in the two-digit directories of kind.
func (s *Store) eachFile(kind string, do func(path, name string)) error {
	top := filepath.Join(s.options.Dir, kind)
	if err := s.fs.MkdirAll(top, 0o700); err != nil {
		return err
	}
	dirs, err := s.fs.ReadDir(top)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if _, err := hex.DecodeString(dir.Name()); err != nil || len(dir.Name()) != 2 || !dir.IsDir() {
			continue // not ours
		}
		files, err := s.fs.ReadDir(filepath.Join(top, dir.Name()))
		if err != nil {
			return err
		}
		for _, file := range files {
			if file.Type().IsRegular() {
				do(filepath.Join(top, dir.Name(), file.Name()), file.Name())
			}
		}
	}
	return nil
}

// recoverMeta takes one file of objects/ into found, or removes it.
func (s *Store) recoverMeta(found map[storage.Key]*recovered, path, name string) {
	r, err := s.recoverEntry(path, name)
	if err != nil {
		s.discard(path, err)
		return
	}
	k := r.entry.key
	other := found[k]
	if other == nil {
		found[k] = r
		return
	}
	if other.entry.metaN > r.entry.metaN {
		r, other = other, r
	}
	found[k] = r
	s.discard(s.metaPath(k, other.entry.metaN), errors.New("replaced"))
}

func (s *Store) recoverEntry(path, name string) (*recovered, error) {
	k, n, err := parseMetaName(name)
	if err != nil || path != s.metaPath(k, n) {
		return nil, errors.Join(err, errors.New("not the name of a meta file"))
	}
	s.sawN(n)
	b, status, err := readFile(s.fs, path)
	if err != nil {
		return nil, err
	}
	f, err := decodeNamed(path, b, k, n)
	if err != nil {
		s.corrupt++
		return nil, err
	}
	e := &entry{
		key: k, bodyID: f.meta.BodyID, bodyN: f.bodyN, length: f.meta.BodyBytes,
		bodyBytes: roundUp(f.meta.BodyBytes), metaBytes: roundUp(int64(len(b))),
		metaN: n, checked: newChecked(f.meta.Stamp),
	}
	e.touched.Store(status.ModTime().Unix())
	return &recovered{entry: e, used: status.ModTime().UnixNano()}, nil
}

// parseMetaName takes the name of a meta file apart.
func parseMetaName(name string) (k storage.Key, n uint64, err error) {
	name, isMeta := strings.CutSuffix(name, metaSuffix)
	key, number, isPair := strings.Cut(name, "-")
	if !isMeta || !isPair || len(key) != 2*len(k) {
		return k, 0, errors.New("no meta file")
	}
	if _, err := hex.Decode(k[:], []byte(key)); err != nil {
		return k, 0, err
	}
	n, err = parseN(number)
	return k, n, err
}

// parseN refuses numbers so high that the next ones could run out.
func parseN(text string) (uint64, error) { return strconv.ParseUint(text, 16, 63) }

// sawN makes sure that no number in use is drawn again.
func (s *Store) sawN(n uint64) { s.lastN.Store(max(s.lastN.Load(), n)) }

// recoverBody marks the object whose body a file is, or removes the file.
func (s *Store) recoverBody(bodies map[string]*recovered, path, name string) {
	if _, number, ok := strings.Cut(strings.TrimSuffix(name, bodySuffix), "-"); ok {
		if n, err := parseN(number); err == nil {
			s.sawN(n)
		}
	}
	if r := bodies[path]; r != nil {
		r.hasBody = true
		return
	}
	s.discard(path, errors.New("no meta file names it"))
}

// discard removes a file that is of no use. If that fails it is accounted for
// with its size and tried again later.
func (s *Store) discard(path string, why error) {
	s.options.Log.Debug("disk: leftover removed", "file", path, "why", why)
	if err := s.remove(path); err != nil {
		bytes := s.leftoverBytes(path)
		s.options.Log.Warn("disk: leftover stays", "file", path, "bytes", bytes, "error", err)
		s.usedBytes += bytes
		s.stuck = append(s.stuck, stuckFile{path, bytes})
	}
}

// leftoverBytes is the size of a file, or of a small one if it cannot be had.
func (s *Store) leftoverBytes(path string) int64 {
	files, err := s.fs.ReadDir(filepath.Dir(path))
	if err != nil {
		return fileUnitBytes
	}
	i := slices.IndexFunc(files, func(f fs.DirEntry) bool { return f.Name() == filepath.Base(path) })
	if i < 0 {
		return 0
	}
	status, err := files[i].Info()
	if err != nil {
		return fileUnitBytes
	}
	return roundUp(status.Size())
}

// recoverOrder fills the index with what has been found whole.
func (s *Store) recoverOrder(found map[storage.Key]*recovered) {
	objects := make([]*recovered, 0, len(found))
	for k, r := range found {
		if !r.hasBody {
			s.discard(s.metaPath(k, r.entry.metaN), errors.New("its body is gone"))
			continue
		}
		objects = append(objects, r)
	}
	slices.SortFunc(objects, func(a, b *recovered) int {
		return cmp.Or(cmp.Compare(a.used, b.used), cmp.Compare(a.entry.metaN, b.entry.metaN))
	})
	for _, r := range objects {
		r.entry.linked = true
		s.entries[r.entry.key] = r.entry
		s.usedBytes += r.entry.bytes()
		s.idleLocked(r.entry)
	}
}
