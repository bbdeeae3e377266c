package purge

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"
)

// compactPiece is how many records one transaction of a compaction looks at, so
// that no purge waits long for it.
const compactPiece = 256

// weight gives the version up to which records may be missing, and the sum of what
// the records cost.
func (j *Journal) weight() (swept, targets uint64, err error) {
	err = j.db.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket(bucketState)
		swept, targets = getVersion(state, keySwept), getVersion(state, keyTargets)
		return nil
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.pending {
		targets += uint64(j.pending[i].cost())
	}
	return swept, targets, journalError("read", err)
}

// forget notes that everything stored has been compared with the purges up to a
// version, below the newest, of the log named. It is on disk before any record
// goes, and before the index forgets anything: whatever is left of the records, an
// index that is made of them covers all that is not known to be good.
func (j *Journal) forget(epoch string, version uint64) error {
	if err := j.flush(); err != nil {
		return err
	}
	return journalError("sweep", j.db.Update(func(tx *bbolt.Tx) error {
		state := tx.Bucket(bucketState)
		if string(state.Get(keyEpoch)) != epoch || version >= getVersion(state, keyApplied) {
			return errOtherLog
		}
		if version <= getVersion(state, keySwept) {
			return nil
		}
		return putVersion(state, keySwept, version)
	}))
}

// compact takes out what is needed no more of the records up to a version. The room
// is used again; the file does not become shorter.
func (j *Journal) compact(ctx context.Context, upTo uint64, needed func(Record) (Record, bool)) error {
	if err := j.flush(); err != nil {
		return err
	}
	var after []byte
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("compact purge journal: %w", err)
		}
		err := j.db.Update(func(tx *bbolt.Tx) (err error) {
			after, more, err = compactOnce(tx, after, upTo, needed)
			return err
		})
		if err != nil {
			return journalError("compact", err)
		}
	}
	return nil
}

// compactOnce looks at the records that follow a key, and gives the last one's.
func compactOnce(tx *bbolt.Tx, after []byte, upTo uint64, needed func(Record) (Record, bool)) (last []byte, more bool, err error) {
	state, bucket := tx.Bucket(bucketState), tx.Bucket(bucketRecords)
	targets := getVersion(state, keyTargets)
	var drop [][]byte
	var change []Record
	c := bucket.Cursor()
	k, v := c.First()
	if after != nil {
		if k, v = c.Seek(after); bytes.Equal(k, after) {
			k, v = c.Next()
		}
	}
	looked := 0
	for ; k != nil && looked < compactPiece; k, v = c.Next() {
		r := decodeEntry(k, v)
		if r.Version > upTo {
			k = nil
			break
		}
		looked++
		last = bytes.Clone(k)
		rest, keep := needed(r)
		switch {
		case !keep:
			drop = append(drop, last)
			targets -= min(targets, uint64(r.cost()))
		case rest.cost() < r.cost():
			change = append(change, rest)
			targets -= min(targets, uint64(r.cost()-rest.cost()))
		}
	}
	// Changing a bucket would move the cursor.
	for _, k := range drop {
		if err := bucket.Delete(k); err != nil {
			return nil, false, err
		}
	}
	for _, r := range change {
		if err := putEntry(bucket, r); err != nil {
			return nil, false, err
		}
	}
	return last, k != nil, putVersion(state, keyTargets, targets)
}
