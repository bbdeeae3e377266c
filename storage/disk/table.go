package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"weir/internal/vfs"
)

// ErrFormat says that a directory was written by another version of weir.
var ErrFormat = errors.New("the cache directory has another format")

const (
	tableFile        = "table.db"
	tableFormat      = "1"
	tableLockTimeout = time.Second
	storeRowBytes    = 52
	regionRowBytes   = 29
)

// Format of table.db, a bbolt file. Integers in values are little-endian:
//
//	bucket "store"    "format"  "1"
//	                  "store"   salt (4 bytes), bytes of a region (8), floor (8): records of a lower
//	                            sequence have been cleared; generation (8), hash of the directories (8),
//	                            time of the last change (8, seconds since 1970), 1 if not to be trusted
//	                            (1), zeros (3), crc32c of key and value (4)
//	                  "swept"   what the last sweep has compared, see sweep.go
//	                  "device"  path of the device that has the regions; missing: regions.log
//	bucket "regions"  key       region, 4 bytes, big-endian
//	                  value     state (1), first sequence (8), turn (8), records (8), crc32c of key and value (4)
//
// bbolt has no checksum over its data, and what stands here decides which
// records are believed.
var (
	bucketStore   = []byte("store")
	bucketRegions = []byte("regions")
	keyFormat     = []byte("format")
	keyStore      = []byte("store")
	keyDevice     = []byte("device")
)

// storeRow is what a directory knows of itself.
type storeRow struct {
	salt        uint32
	regionBytes int64
	// floor is the sequence below which everything has been cleared.
	floor uint64
	// generation counts up when the set of directories changes or one of
	// them goes out of service, in all the others.
	generation uint64
	// members is a hash of the directories that the store was made of.
	members uint64
	changed time.Time
	// void says that changes could not be written down any more.
	void bool
}

// regionRow is what the table knows of a region that is in use.
type regionRow struct {
	state         regionState
	firstSequence uint64
	turn          uint64
	records       uint64 // about how many; for the size of the index
}

// table is the region table of a directory. Every change is on stable storage
// when it returns.
type table struct{ db *bbolt.DB }

// openTable opens the table at path and makes it if there is none. ErrFormat
// for one of another version.
func openTable(fsys vfs.FS, path string) (t *table, err error) {
	defer damageIsError(&err)()
	probe, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // so that a faulty file system is asked too
	if err != nil {
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: tableLockTimeout, PageSize: pageBytes,
		// Without a stored list of free pages bbolt looks for them in a
		// goroutine of its own, where damage ends the process.
		NoFreelistSync: false, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	t = &table{db: db}
	if err := db.Update(prepareTable); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return t, nil
}

func prepareTable(tx *bbolt.Tx) error {
	if _, err := tx.CreateBucketIfNotExists(bucketRegions); err != nil {
		return err
	}
	store, err := tx.CreateBucketIfNotExists(bucketStore)
	if err != nil {
		return err
	}
	switch format := store.Get(keyFormat); string(format) {
	case tableFormat:
		return nil
	case "":
		return store.Put(keyFormat, []byte(tableFormat))
	default:
		return fmt.Errorf("format %.32q, and this weir knows only %q: empty the directory, or run the weir that wrote it: %w",
			format, tableFormat, ErrFormat)
	}
}

// damageIsError makes errors of what a damaged file or a disk that cannot be
// read does to bbolt, which reads through mapped memory: it panics, or the
// kernel sends SIGBUS.
func damageIsError(err *error) (done func()) {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if damage := recover(); damage != nil {
			*err = fmt.Errorf("the region table cannot be read: %v", damage)
		}
	}
}

// whatToDo adds to an error of a table that is damaged what to do about it.
func whatToDo(err error) error {
	if isFull(err) || errors.Is(err, ErrFormat) || errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO) {
		return err
	}
	return fmt.Errorf("%s: %w: to begin with an empty cache, empty the directory and restart the node", tableFile, err)
}

func (t *table) update(do func(tx *bbolt.Tx) error) (err error) {
	defer damageIsError(&err)()
	return t.db.Update(do)
}

func (t *table) close() (err error) {
	defer damageIsError(&err)()
	return t.db.Close()
}

// load reads everything. A row that fails its checksum is an error: without it
// nobody knows which records to believe.
func (t *table) load() (store storeRow, regions map[uint32]regionRow, err error) {
	defer damageIsError(&err)()
	regions = make(map[uint32]regionRow)
	err = t.db.View(func(tx *bbolt.Tx) error {
		var err error
		if store, err = decodeStoreRow(tx.Bucket(bucketStore).Get(keyStore)); err != nil {
			return err
		}
		return tx.Bucket(bucketRegions).ForEach(func(k, v []byte) error {
			row, err := decodeRegionRow(k, v)
			if err == nil {
				regions[binary.BigEndian.Uint32(k)] = row
			}
			return err
		})
	})
	return store, regions, err
}

// setStore writes the store's own row.
func (t *table) setStore(row storeRow) error {
	return t.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketStore).Put(keyStore, row.append(nil))
	})
}

// devicePath gives where the regions are, "" for the directory's own log. It is
// for whoever looks from outside: what is read there is believed by its salt.
func (t *table) devicePath() (path string, err error) {
	defer damageIsError(&err)()
	err = t.db.View(func(tx *bbolt.Tx) error {
		path = string(tx.Bucket(bucketStore).Get(keyDevice))
		return nil
	})
	return path, err
}

// setDevice writes down where the regions are, if that has changed.
func (t *table) setDevice(path string) error {
	if known, err := t.devicePath(); err != nil || known == path {
		return err
	}
	return t.update(func(tx *bbolt.Tx) error {
		if path == "" {
			return tx.Bucket(bucketStore).Delete(keyDevice)
		}
		return tx.Bucket(bucketStore).Put(keyDevice, []byte(path))
	})
}

// setRegions writes rows, those of free regions by removing them.
func (t *table) setRegions(rows map[uint32]regionRow) error {
	return t.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRegions)
		for id, row := range rows {
			key := binary.BigEndian.AppendUint32(nil, id)
			if row.state == regionFree {
				if err := b.Delete(key); err != nil {
					return err
				}
			} else if err := b.Put(key, row.append(key)); err != nil {
				return err
			}
		}
		return nil
	})
}

// reset forgets all regions and writes the store's row.
func (t *table) reset(row storeRow) error {
	return t.update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketRegions); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketRegions); err != nil {
			return err
		}
		return tx.Bucket(bucketStore).Put(keyStore, row.append(nil))
	})
}

// newSalt draws a salt, never 0: that is a store that has none yet.
func newSalt() (uint32, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b[:]) | 1, nil
}

func (row storeRow) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, row.salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(row.regionBytes))
	b = binary.LittleEndian.AppendUint64(b, row.floor)
	b = binary.LittleEndian.AppendUint64(b, row.generation)
	b = binary.LittleEndian.AppendUint64(b, row.members)
	b = binary.LittleEndian.AppendUint64(b, uint64(row.changed.Unix()))
	void := byte(0)
	if row.void {
		void = 1
	}
	b = append(b, void, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, rowSum(keyStore, b))
}

// decodeStoreRow reads what append wrote; nothing is a store without a salt.
func decodeStoreRow(b []byte) (storeRow, error) {
	if len(b) == 0 {
		return storeRow{}, nil
	}
	if len(b) != storeRowBytes || binary.LittleEndian.Uint32(b[storeRowBytes-4:]) != rowSum(keyStore, b[:storeRowBytes-4]) {
		return storeRow{}, errors.New("the store's row in the region table is damaged")
	}
	return storeRow{
		salt: binary.LittleEndian.Uint32(b), regionBytes: int64(binary.LittleEndian.Uint64(b[4:])),
		floor: binary.LittleEndian.Uint64(b[12:]), generation: binary.LittleEndian.Uint64(b[20:]),
		members: binary.LittleEndian.Uint64(b[28:]),
		changed: time.Unix(int64(binary.LittleEndian.Uint64(b[36:])), 0), void: b[44] != 0,
	}, nil
}

func (row regionRow) append(key []byte) []byte {
	b := binary.LittleEndian.AppendUint64([]byte{byte(row.state)}, row.firstSequence)
	b = binary.LittleEndian.AppendUint64(b, row.turn)
	b = binary.LittleEndian.AppendUint64(b, row.records)
	return binary.LittleEndian.AppendUint32(b, rowSum(key, b))
}

func decodeRegionRow(key, b []byte) (regionRow, error) {
	if len(key) != 4 || len(b) != regionRowBytes || binary.LittleEndian.Uint32(b[regionRowBytes-4:]) != rowSum(key, b[:regionRowBytes-4]) {
		return regionRow{}, fmt.Errorf("row %x of the region table is damaged", key)
	}
	row := regionRow{
		state: regionState(b[0]), firstSequence: binary.LittleEndian.Uint64(b[1:]),
		turn: binary.LittleEndian.Uint64(b[9:]), records: binary.LittleEndian.Uint64(b[17:]),
	}
	if row.state != regionOpen && row.state != regionSealed {
		return regionRow{}, fmt.Errorf("row %x of the region table has state %d", key, b[0])
	}
	return row, nil
}

func rowSum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}
