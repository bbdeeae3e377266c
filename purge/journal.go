package purge

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// ErrJournalClosed says that the journal has been closed.
var ErrJournalClosed = errors.New("purge journal is closed")

// Format of purges.db, a bbolt file:
//
//	bucket "state"    "format"  "2"; in "1" there was neither "swept" nor a tail
//	                  "epoch"   identity of the log that the versions belong to; "" for none yet
//	                  "applied" version, 8 bytes, big-endian
//	                  "swept"   version, 8 bytes, big-endian: whatever is stored and was not compared with
//	                            it, or more, counts as purged; records up to it may be missing
//	                  "keys"    the sites' key policies, as JSON, see rekey.go
//	                  "salt"    of the tail, 4 bytes, big-endian, see journal_tail.go
//	                  "targets" sum of the records' costs, 8 bytes, big-endian
//	bucket "records"  key       version, 8 bytes, big-endian, so that keys are in log order
//	                  value     ┌──────────────┬───────────────────────────────┐
//	                            │ CRC-32C, 4 B │ JSON as in EncodeRecord       │
//	                            └──────────────┴───────────────────────────────┘
//
// The checksum covers key and JSON: bbolt has none over its data, and a flipped
// bit inside a target would be a purge that was never applied. A record that
// fails it is read as a distrust of everything up to its version.
var (
	bucketState   = []byte("state")
	bucketRecords = []byte("records")
	keyFormat     = []byte("format")
	keyEpoch      = []byte("epoch")
	keyApplied    = []byte("applied")
	keySwept      = []byte("swept")
	keySalt       = []byte("salt")
	keyKeys       = []byte("keys")
	keyTargets    = []byte("targets")
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

const journalFormat, journalFormatBefore = "2", "1"

// JournalOptions sets the limits of a Journal. The zero value gives the
// defaults.
type JournalOptions struct {
	// TargetsMax is how many targets the records may have together; beyond
	// it the oldest are folded, as far as a Sweeper has not taken them out
	// before. Default 1,000,000, which is about 100 MB.
	TargetsMax int
	// LockTimeout bounds the wait for another process to let go of the file.
	// Default 5 s.
	LockTimeout time.Duration
}

func (o JournalOptions) withDefaults() JournalOptions {
	o.TargetsMax = cmp.Or(o.TargetsMax, 1_000_000)
	o.LockTimeout = cmp.Or(o.LockTimeout, 5*time.Second)
	return o
}

// Journal keeps, in a file next to the store, the purges that a node has
// applied: how far, and of which log. After kill -9 an Index made of it is
// complete again. All methods may be called from many goroutines.
type Journal struct {
	JournalOptions
	db *bbolt.DB

	// mu guards what follows. It is held while the tail or the file is written.
	mu      sync.Mutex
	tail    *tail
	applied uint64   // the newest version in either
	pending []Record // those in the tail
	closed  bool
}

// ErrJournalHeld says that another process has the journal open.
var ErrJournalHeld = errors.New("purge journal is held by another process")

// OpenJournal opens the file at path and makes it, with mode 0600, if there is
// none. A file that another process holds is an error after LockTimeout.
func OpenJournal(path string, o JournalOptions) (_ *Journal, err error) {
	o = o.withDefaults()
	defer damageIsError(path, &err)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: o.LockTimeout,
		// The freelist is written with each commit: to rebuild it, bbolt walks
		// through all pages in a goroutine of its own, where a damaged one
		// panics and nobody can make an error of that.
		FreelistType: bbolt.FreelistMapType,
	})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: %w", path, ErrJournalHeld)
	}
	if err != nil {
		return nil, fmt.Errorf("open purge journal %s: %w", path, err)
	}
	j := &Journal{JournalOptions: o, db: db}
	if err := j.prepare(path); err != nil {
		return nil, errors.Join(fmt.Errorf("open purge journal %s: %w", path, err), j.closeFiles())
	}
	return j, nil
}

// prepare makes what is missing, and takes over what a kill has left in the tail.
func (j *Journal) prepare(path string) error {
	has := false
	err := j.db.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket(bucketState)
		has = state != nil && string(state.Get(keyFormat)) == journalFormat
		return nil
	})
	if err != nil {
		return err
	}
	// The tail before the format that says there is one.
	if j.tail, err = openTail(path+tailSuffix, has); err != nil {
		return err
	}
	if err := j.db.Update(prepareJournal); err != nil {
		return err
	}
	err = j.db.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket(bucketState)
		j.applied, j.tail.salt = getVersion(state, keyApplied), getSalt(state)
		return nil
	})
	if err != nil {
		return err
	}
	left, err := j.tail.records()
	if err != nil {
		return err
	}
	return j.store(left)
}

func prepareJournal(tx *bbolt.Tx) error {
	state, err := tx.CreateBucketIfNotExists(bucketState)
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucketIfNotExists(bucketRecords); err != nil {
		return err
	}
	switch format := state.Get(keyFormat); string(format) {
	case journalFormat:
		return nil
	case "", journalFormatBefore:
		return errors.Join(state.Put(keyFormat, []byte(journalFormat)), putSalt(state))
	default:
		return fmt.Errorf("format %.32q is not known, only %q", format, journalFormat)
	}
}

func getSalt(state *bbolt.Bucket) uint32 {
	if b := state.Get(keySalt); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// putSalt draws a new salt: nothing counts that is in the tail.
func putSalt(state *bbolt.Bucket) error {
	salt, err := newTailSalt()
	if err != nil {
		return err
	}
	return state.Put(keySalt, binary.BigEndian.AppendUint32(nil, salt))
}

// Close closes the file.
func (j *Journal) Close() error {
	err := j.flush()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	// What was not flushed is in the tail.
	if err := errors.Join(err, j.closeFiles()); err != nil {
		return fmt.Errorf("close purge journal: %w", err)
	}
	return nil
}

func (j *Journal) closeFiles() error {
	if j.tail == nil {
		return j.db.Close()
	}
	return errors.Join(j.tail.file.Close(), j.db.Close())
}

// damageIsError makes an error of a panic: bbolt panics where the pages of a
// file contradict each other.
func damageIsError(path string, err *error) {
	if damage := recover(); damage != nil {
		*err = fmt.Errorf("purge journal %s is damaged: %v", path, damage)
	}
}

// State gives the identity of the log that the journal follows, "" for none
// yet, and the newest version that is in it.
func (j *Journal) State() (epoch string, applied uint64, err error) {
	if err := j.flush(); err != nil {
		return "", 0, err
	}
	err = j.db.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket(bucketState)
		epoch, applied = string(state.Get(keyEpoch)), getVersion(state, keyApplied)
		return nil
	})
	return epoch, applied, journalError("read", err)
}

// Records gives every record in the order of versions. It ends after the first
// error.
func (j *Journal) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := j.flush(); err != nil {
			yield(Record{}, err)
			return
		}
		stopped := errors.New("stopped")
		err := j.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketRecords).ForEach(func(k, v []byte) error {
				if !yield(decodeEntry(k, v), nil) {
					return stopped
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(Record{}, journalError("read", err))
		}
	}
}

// Append writes records and returns when they are on disk, all or, after an error,
// none. Those that the journal has already are left out.
func (j *Journal) Append(records []Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journalError("append", ErrJournalClosed)
	}
	fresh := make([]Record, 0, len(records))
	applied := j.applied
	for _, r := range records {
		if r.Version > applied {
			fresh = append(fresh, r)
			applied = r.Version
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	put, err := j.tail.put(fresh)
	switch {
	case err != nil:
		return journalError("append", err)
	case put:
		j.pending, j.applied = append(j.pending, fresh...), applied
		return nil
	}
	return j.store(append(j.pending, fresh...))
}

// flush takes over what is in the tail.
func (j *Journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journalError("write", ErrJournalClosed)
	}
	if len(j.pending) == 0 {
		return nil
	}
	return j.store(j.pending)
}

// store writes records, those in the tail among them, in one transaction. mu is held,
// or nobody has the journal yet.
func (j *Journal) store(records []Record) error {
	salt, newest := uint32(0), uint64(0)
	err := j.db.Update(func(tx *bbolt.Tx) error {
		state, bucket := tx.Bucket(bucketState), tx.Bucket(bucketRecords)
		// Keys only grow: full pages in place of half-empty ones.
		bucket.FillPercent = 0.95
		applied, targets := getVersion(state, keyApplied), getVersion(state, keyTargets)
		for _, r := range records {
			if r.Version <= applied {
				continue
			}
			if err := putEntry(bucket, r); err != nil {
				return err
			}
			applied = r.Version
			targets += uint64(r.cost())
		}
		if targets > uint64(j.TargetsMax) {
			folded, err := foldOldest(bucket, targets, uint64(j.TargetsMax))
			if err != nil {
				return err
			}
			targets = folded
		}
		err := errors.Join(putVersion(state, keyApplied, applied), putVersion(state, keyTargets, targets), putSalt(state))
		salt, newest = getSalt(state), applied
		return err
	})
	if err != nil {
		return journalError("append", err)
	}
	j.tail.salt, j.tail.end = salt, 0
	j.pending, j.applied = nil, newest
	return nil
}

// Reset empties the journal and makes it the journal of another log.
func (j *Journal) Reset(epoch string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journalError("reset", ErrJournalClosed)
	}
	salt := uint32(0)
	err := j.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketRecords); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketRecords); err != nil {
			return err
		}
		state := tx.Bucket(bucketState)
		err := errors.Join(
			state.Put(keyEpoch, []byte(epoch)),
			putVersion(state, keyApplied, 0),
			putVersion(state, keySwept, 0),
			putVersion(state, keyTargets, 0),
			forgetChanges(state),
			putSalt(state),
		)
		salt = getSalt(state)
		return err
	})
	if err != nil {
		return journalError("reset", err)
	}
	j.tail.salt, j.tail.end = salt, 0
	j.pending, j.applied = nil, 0
	return nil
}

func journalError(operation string, err error) error {
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		err = ErrJournalClosed
	}
	if err != nil {
		return fmt.Errorf("%s purge journal: %w", operation, err)
	}
	return nil
}

// foldOldest makes room: it takes records from the oldest on, until the rest
// fits with a sixteenth to spare, and leaves in their place one hard purge of
// each of their sites whole, at the newest version taken. That covers what
// they covered; what it covers besides was stored before that version, the
// longest ago. It gives the sum of costs that is left.
//
// The work is bounded by what is taken, so that no purge waits long for it.
func foldOldest(bucket *bbolt.Bucket, targets, targetsMax uint64) (uint64, error) {
	keep := targetsMax - targetsMax/16
	folded := make(map[string]Record)
	var taken [][]byte
	c := bucket.Cursor()
	for k, v := c.First(); k != nil && targets+uint64(len(folded)) > keep; k, v = c.Next() {
		r := decodeEntry(k, v)
		targets -= min(targets, uint64(r.cost()))
		taken = append(taken, bytes.Clone(k))
		whole := ScopeSite
		if r.Site == "" {
			whole = ScopeAll
		}
		folded[r.Site] = Record{
			Version: r.Version, Site: r.Site, Scope: whole, Mode: ModeHard,
			Who: "folded from older purges", At: r.At,
		}
	}
	// Deleting under a cursor would move it.
	for _, k := range taken {
		if err := bucket.Delete(k); err != nil {
			return targets, err
		}
	}
	for _, r := range folded {
		if err := putEntry(bucket, r); err != nil {
			return targets, err
		}
		targets += uint64(r.cost())
	}
	return targets, nil
}

func putEntry(bucket *bbolt.Bucket, r Record) error {
	body, err := EncodeRecord(r)
	if err != nil {
		return err
	}
	key := versionKey(r.Version)
	value := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), entrySum(key, body))
	return bucket.Put(key, append(value, body...))
}

func versionKey(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// decodeEntry reads what putEntry wrote. What cannot be read becomes a distrust
// record: whatever it was, that covers it.
func decodeEntry(key, value []byte) Record {
	var version uint64
	if len(key) == 8 {
		version = binary.BigEndian.Uint64(key)
	}
	if len(value) < 4 || binary.BigEndian.Uint32(value) != entrySum(key, value[4:]) {
		return Distrust(version, "record in the journal failed its checksum")
	}
	r, err := DecodeRecord(version, value[4:])
	if err != nil {
		return Distrust(version, "record in the journal cannot be read")
	}
	return r
}

func entrySum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

func getVersion(b *bbolt.Bucket, key []byte) uint64 {
	if v := b.Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func putVersion(b *bbolt.Bucket, key []byte, v uint64) error {
	return b.Put(key, binary.BigEndian.AppendUint64(nil, v))
}
