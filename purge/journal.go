package purge

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// ErrJournalClosed says that the journal has been closed.
var ErrJournalClosed = errors.New("purge journal is closed")

// Format of purges.db, a bbolt file:
//
//	bucket "state"    "format"  "1", or "2" once there is "swept"
//	                  "epoch"   identity of the log that the versions belong to; "" for none yet
//	                  "applied" version, 8 bytes, big-endian
//	                  "swept"   version, 8 bytes, big-endian: whatever is stored and was not compared with
//	                            it, or more, counts as purged; records up to it may be missing
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
	keyTargets    = []byte("targets")
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

// journalFormatSwept keeps those who know nothing of "swept" from believing what is
// left.
const journalFormat, journalFormatSwept = "1", "2"

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
// complete again. One goroutine writes; others may read.
type Journal struct {
	JournalOptions
	db *bbolt.DB
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
	if err := db.Update(prepareJournal); err != nil {
		return nil, errors.Join(fmt.Errorf("open purge journal %s: %w", path, err), db.Close())
	}
	return j, nil
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
	case journalFormat, journalFormatSwept:
		return nil
	case "":
		return state.Put(keyFormat, []byte(journalFormat))
	default:
		return fmt.Errorf("format %.32q is not known, only %q", format, journalFormatSwept)
	}
}

// Close closes the file.
func (j *Journal) Close() error {
	if err := j.db.Close(); err != nil {
		return fmt.Errorf("close purge journal: %w", err)
	}
	return nil
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

// Append writes records, in one transaction, and returns when they are on disk.
// Those that the journal has already are left out.
func (j *Journal) Append(records []Record) error {
	return journalError("append", j.db.Update(func(tx *bbolt.Tx) error {
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
		return errors.Join(putVersion(state, keyApplied, applied), putVersion(state, keyTargets, targets))
	}))
}

// Reset empties the journal and makes it the journal of another log.
func (j *Journal) Reset(epoch string) error {
	return journalError("reset", j.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketRecords); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketRecords); err != nil {
			return err
		}
		state := tx.Bucket(bucketState)
		return errors.Join(
			state.Put(keyEpoch, []byte(epoch)),
			putVersion(state, keyApplied, 0),
			putVersion(state, keySwept, 0),
			putVersion(state, keyTargets, 0),
		)
	}))
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
