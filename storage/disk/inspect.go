package disk

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"weir/internal/vfs"
	"weir/storage"
)

// Inspection is a directory as it was when Inspect looked: read only, and without
// a word to the process that may have it open. What that one writes meanwhile may
// be missing; what it writes over is seen to be gone.
type Inspection struct {
	reader  logReader
	close   func() error
	regions map[uint32]regionRow
	newest  map[storage.Key]Stored
	// Changed is when the store's own row in the table was last written.
	Changed time.Time
	// Damage is what fails its checksum besides objects: footers, and stretches of
	// regions without one. Of a directory that a process has open, it can also be
	// what that one is writing.
	Damage []string
}

// Stored is one object of an Inspection.
type Stored struct {
	Key      storage.Key
	Kind     string // "object" or "head"
	Region   int
	Offset   int64 // in the region, in bytes
	Sequence uint64
	Bytes    int64

	firstSequence uint64
}

// RegionStat is one region of an Inspection.
type RegionStat struct {
	Region  int
	State   string
	Turn    uint64
	Footer  bool // false: it was scanned
	Records int
	Objects int   // newest of their keys
	Bytes   int64 // accounted for these
}

// inspectTriesMax is how often a table is copied again that changed meanwhile.
const inspectTriesMax = 5

// Inspect reads the table and the footers of a directory. The caller closes what
// it gives.
func Inspect(dir string) (*Inspection, []RegionStat, error) {
	i, stats, err := inspect(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("disk: inspect %s: %w", dir, err)
	}
	return i, stats, nil
}

func inspect(dir string) (*Inspection, []RegionStat, error) {
	t, err := copyTable(filepath.Join(dir, tableFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("no node has kept a cache here: name STATE/NODE/cache, or a dir of disks: %w", err)
	}
	if err != nil {
		return nil, nil, err
	}
	store := t.store
	file, err := t.openLog(dir)
	if err != nil {
		return nil, nil, err
	}
	g := geometry{regionBytes: store.regionBytes, recordMax: store.regionBytes - footerBytes(1)}
	i := &Inspection{
		reader: logReader{file: file, geometry: g, salt: store.salt}, close: file.Close,
		regions: t.regions, newest: make(map[storage.Key]Stored), Changed: store.changed,
	}
	i.reader.damaged = func(region uint32, from, to int64, last bool) {
		if last && t.device != "" {
			return // or it is what the device had on it before
		}
		i.Damage = append(i.Damage, fmt.Sprintf("region %d, offset %d: %d bytes without a record: %v", region, from, to-from, storage.ErrCorrupt))
	}
	stats, err := i.readRegions(store.floor)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return i, stats, nil
}

// tableCopy is what a table had in it.
type tableCopy struct {
	store   storeRow
	regions map[uint32]regionRow
	device  string
}

// openLog opens the regions, wherever they are, to read them.
func (t *tableCopy) openLog(dir string) (vfs.File, error) {
	if t.device == "" {
		return vfs.OS().OpenFile(filepath.Join(dir, logFile), os.O_RDONLY, 0)
	}
	file, err := vfs.OS().OpenFile(t.device, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return &device{File: file, path: t.device}, nil
}

// copyTable reads a copy of the table, since its file is locked while a node runs. A
// copy that was torn by a write is made again.
func copyTable(path string) (t tableCopy, err error) {
	copied, err := os.CreateTemp("", "weir-table-")
	if err != nil {
		return t, err
	}
	defer os.Remove(copied.Name())
	if err := copied.Close(); err != nil {
		return t, err
	}
	for range inspectTriesMax {
		var b []byte
		if b, err = os.ReadFile(path); err != nil {
			return t, err
		}
		if err = os.WriteFile(copied.Name(), b, 0o600); err != nil {
			return t, err
		}
		t, err = readTableFile(copied.Name())
		if err == nil || errors.Is(err, ErrFormat) {
			return t, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return t, err
}

func readTableFile(path string) (t tableCopy, err error) {
	defer damageIsError(&err)()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: tableLockTimeout, PageSize: pageBytes})
	if err != nil {
		return t, err
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketStore)
		if b == nil || string(b.Get(keyFormat)) != tableFormat {
			return ErrFormat
		}
		t.device = string(b.Get(keyDevice))
		return nil
	})
	if err != nil {
		return t, err
	}
	t.store, t.regions, err = (&table{db: db}).load()
	if err == nil && t.store.regionBytes < regionBytesMin {
		err = errors.New("there is no store yet")
	}
	return t, err
}

// readRegions reads what is in the regions, the oldest first, and keeps the newest of
// each key.
func (i *Inspection) readRegions(floor uint64) ([]RegionStat, error) {
	ids := keysOf(i.regions)
	slices.SortFunc(ids, func(a, b uint32) int { return int(int64(i.regions[a].turn) - int64(i.regions[b].turn)) })
	var stats []RegionStat
	for _, id := range ids {
		row := i.regions[id]
		entries, footed, err := i.reader.entries(id, row.firstSequence)
		if err != nil {
			return nil, fmt.Errorf("region %d: %w", id, err)
		}
		if !footed && row.state == regionSealed {
			i.Damage = append(i.Damage, fmt.Sprintf("region %d: its footer: %v", id, storage.ErrCorrupt))
		}
		stats = append(stats, RegionStat{Region: int(id), State: row.state.String(), Turn: row.turn, Footer: footed, Records: len(entries)})
		for _, e := range entries {
			switch {
			case e.sequence < floor || e.kind == kindChunk:
			case e.kind == kindTombstone:
				delete(i.newest, e.key)
			default:
				i.newest[e.key] = Stored{
					Key: e.key, Kind: e.kind.String(), Region: int(id), Offset: int64(e.unit) * unitBytes,
					Sequence: e.sequence, Bytes: e.accounted, firstSequence: row.firstSequence,
				}
			}
		}
	}
	at := make(map[int]int, len(stats))
	for n := range stats {
		at[stats[n].Region] = n
	}
	for _, s := range i.newest {
		stat := &stats[at[s.Region]]
		stat.Objects++
		stat.Bytes += s.Bytes
	}
	return stats, nil
}

// Objects gives the newest object of each key, the newest written first.
func (i *Inspection) Objects() iter.Seq[Stored] {
	all := make([]Stored, 0, len(i.newest))
	for _, s := range i.newest {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stored) int { return int(int64(b.Sequence) - int64(a.Sequence)) })
	return slices.Values(all)
}

// Find gives the object of a key.
func (i *Inspection) Find(k storage.Key) (Stored, bool) {
	s, found := i.newest[k]
	return s, found
}

// Meta reads an object's meta. ErrNotFound if it has been written over meanwhile.
func (i *Inspection) Meta(s Stored) (*storage.Meta, error) {
	m, _, err := i.read(s)
	return m, err
}

func (i *Inspection) read(s Stored) (*storage.Meta, *record, error) {
	r, err := i.recordAt(place{region: uint32(s.Region), unit: uint32(s.Offset / unitBytes)})
	if err == nil && (r.key != s.Key || r.sequence != s.Sequence) {
		err = storage.ErrNotFound
	}
	m := new(storage.Meta)
	if err == nil {
		err = m.UnmarshalBinary(r.meta)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("region %d, offset %d: %w", s.Region, s.Offset, err)
	}
	return m, r, nil
}

func (i *Inspection) recordAt(p place) (*record, error) {
	w := window{file: i.reader.file, base: int64(p.region) * i.reader.geometry.regionBytes, bytes: i.reader.geometry.regionBytes}
	r, _, err := i.reader.record(&w, p.offset())
	if err == nil && r == nil {
		err = storage.ErrCorrupt
	}
	return r, err
}

// WriteBody verifies an object's body and writes it to w. An error that wraps
// storage.ErrCorrupt says where a checksum fails.
func (i *Inspection) WriteBody(s Stored, w io.Writer) error {
	_, r, err := i.read(s)
	if err != nil {
		return err
	}
	if r.kind == kindObject {
		return i.writePart(part{place: place{region: uint32(s.Region), unit: uint32(s.Offset / unitBytes)}, sequence: s.Sequence, bytes: r.length}, s.Key, w)
	}
	for _, p := range r.parts {
		if row, used := i.regions[p.region]; !used || row.firstSequence > p.sequence {
			return fmt.Errorf("region %d: a part was evicted: %w", p.region, storage.ErrNotFound)
		}
		if err := i.writePart(p, s.Key, w); err != nil {
			return err
		}
	}
	return nil
}

func (i *Inspection) writePart(p part, k storage.Key, w io.Writer) error {
	r, err := i.recordAt(p.place)
	if err == nil && (r.key != k || r.sequence != p.sequence || r.length != p.bytes) {
		err = storage.ErrCorrupt
	}
	if err != nil {
		return fmt.Errorf("region %d, offset %d: %w", p.region, p.offset(), err)
	}
	at := int64(p.region)*i.reader.geometry.regionBytes + p.offset() + r.frontBytes()
	block := make([]byte, blockBytes)
	for n, sum := range r.sums {
		b := block[:min(blockBytes, r.length-int64(n)*blockBytes)]
		if err := i.reader.readFull(b, at+int64(n)*blockBytes); err != nil {
			return fmt.Errorf("region %d, offset %d, block %d: %w", p.region, p.offset(), n, err)
		}
		if sumsOf(b)[0] != sum {
			return fmt.Errorf("region %d, offset %d, block %d: %w", p.region, p.offset(), n, storage.ErrCorrupt)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Gone says whether an object that could not be read has only been written over
// since the inspection began, by the process that has the directory open.
func (i *Inspection) Gone(dir string, s Stored) bool {
	t, err := copyTable(filepath.Join(dir, tableFile))
	if err != nil {
		return false
	}
	for id, row := range i.regions {
		if now, used := t.regions[id]; used && now.firstSequence == row.firstSequence {
			continue
		}
		if int(id) == s.Region {
			return true
		}
		if _, r, err := i.read(s); err == nil {
			for _, p := range r.parts {
				if p.region == id {
					return true
				}
			}
		}
	}
	return false
}

// Close gives the directory back.
func (i *Inspection) Close() error { return i.close() }
