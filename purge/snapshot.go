package purge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"
)

// A node that was away for longer than the log reaches back asks control for a
// snapshot: what control's own journal has of the versions after the node's, which
// is all that they still have to say. Where a target was purged again, its
// newest purge stands for those before; where there were too many, one purge of a
// whole site stands for the oldest. What is missing in between is covered by what
// follows, so that a snapshot holds as a whole or not at all: the node gathers
// all of it, writes it into its journal in one transaction, puts it in force at once
// and only then confirms its last version.
//
//	node                                  control
//	{"epoch":"E","after":17}         ──►
//	                                 ◄──  {"epoch":"E","applied":900,"records":[{"version":20,"record":{…}}, …]}
//	{"epoch":"E","after":312}        ──►  and so on, until there are no records
//
// Any control may answer, each page another one.

const (
	// snapshotTargetsMax bounds a snapshot: what control keeps for it, in targets.
	snapshotTargetsMax = 250_000
	// snapshotBytesMax bounds what a node takes of one, encoded; beyond it the node
	// distrusts what it has.
	snapshotBytesMax = 128 << 20
	// snapshotPageBytes is how much a page has, unless its one record is longer.
	snapshotPageBytes = 512 << 10
	// snapshotWaitMax bounds how long a node tries to get one.
	snapshotWaitMax  = 10 * time.Second
	snapshotAskMax   = 3 * time.Second
	snapshotPagesMax = 100_000
	// compactPause is how often control looks whether its journal is full.
	compactPause = 10 * time.Second
)

// errNoSnapshot says that there is no snapshot that fits the log.
var errNoSnapshot = errors.New("no snapshot of the purges that the log no longer has")

type snapshotQuestion struct {
	Epoch string `json:"epoch"`
	After uint64 `json:"after"`
}

type snapshotPage struct {
	Epoch   string           `json:"epoch"`
	Applied uint64           `json:"applied"` // by the control that answers
	Records []snapshotRecord `json:"records,omitempty"`
	Error   string           `json:"error,omitempty"`
}

type snapshotRecord struct {
	Version uint64          `json:"version"`
	Record  json.RawMessage `json:"record"` // as EncodeRecord writes it
}

// SnapshotJournalOptions are those of the journal that snapshots are made of.
func SnapshotJournalOptions() JournalOptions { return JournalOptions{TargetsMax: snapshotTargetsMax} }

// Snapshots answers nodes that are behind the log's tail, out of a journal that a
// Follower of control's keeps at the log's end.
type Snapshots struct{ Journal *Journal }

// Run keeps the journal from being folded for purges that were repeated, until ctx
// ends; it then returns nil.
func (s Snapshots) Run(ctx context.Context) error {
	tick := time.NewTicker(compactPause)
	defer tick.Stop()
	full := s.Journal.TargetsMax / 2
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		_, targets, err := s.Journal.weight()
		if err == nil && targets >= uint64(full) {
			err = s.Compact(ctx)
			_, targets, _ = s.Journal.weight()
			full = max(s.Journal.TargetsMax/2, int(targets)*9/8) // else it would be looked through again and again
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("snapshots: %w", err)
		}
	}
}

// Compact takes out of the journal what later records say again.
func (s Snapshots) Compact(ctx context.Context) error {
	x := NewIndex(IndexOptions{TargetsMax: math.MaxInt})
	for r, err := range s.Journal.Records() {
		if err != nil {
			return err
		}
		x.Apply([]Record{r})
	}
	return s.Journal.compact(ctx, x.Applied(), x.latest)
}

// Answer gives the page that a node asks for.
func (s Snapshots) Answer(question []byte) []byte {
	var q snapshotQuestion
	p := snapshotPage{}
	err := json.Unmarshal(question, &q)
	if err == nil {
		p, err = s.Journal.page(q)
	}
	if err != nil {
		p = snapshotPage{Error: err.Error()}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // as in EncodeRecord
	if err := enc.Encode(p); err != nil {
		return nil // a record that could be decoded can be encoded
	}
	return text.Bytes()
}

// page gives the first records after a version.
func (j *Journal) page(q snapshotQuestion) (p snapshotPage, err error) {
	if err := j.flush(); err != nil {
		return p, err
	}
	err = j.db.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket(bucketState)
		p.Epoch, p.Applied = string(state.Get(keyEpoch)), getVersion(state, keyApplied)
		if p.Epoch != q.Epoch {
			return fmt.Errorf("this control follows another log: %w", errNoSnapshot)
		}
		size := 0
		c := tx.Bucket(bucketRecords).Cursor()
		for k, v := c.Seek(versionKey(q.After + 1)); k != nil && size < snapshotPageBytes; k, v = c.Next() {
			r := decodeEntry(k, v) // what is damaged is a distrust
			body, err := EncodeRecord(r)
			if err != nil {
				return err
			}
			if size += len(body); size > snapshotPageBytes && len(p.Records) > 0 {
				break
			}
			p.Records = append(p.Records, snapshotRecord{r.Version, body})
		}
		return nil
	})
	return p, journalError("read", err)
}

// behind catches up with a log whose tail is newer than what this node has applied:
// from a snapshot, or else by distrusting everything stored.
func (f *Follower) behind(ctx context.Context, state LogState) error {
	applied := f.Index.Applied()
	if f.Snapshot != nil {
		if f.behindSince.IsZero() {
			f.behindSince = time.Now()
		}
		records, err := f.gather(ctx, state)
		switch {
		case err == nil:
			f.behindSince = time.Time{}
			f.Log.Info("purge log begins too late, its purges came from a snapshot", "node", f.Name,
				"applied", applied, "first", state.First, "records", len(records), "through", records[len(records)-1].Version)
			f.mu.Lock()
			f.status.Snapshots++
			f.mu.Unlock()
			return f.apply(records)
		case ctx.Err() != nil:
			return err
		case time.Since(f.behindSince) < snapshotWaitMax && !errors.Is(err, ErrTooLarge):
			return err // the next session tries again
		}
		f.Log.Warn("no snapshot of the purges that the log no longer has", "node", f.Name, "error", err)
	}
	f.behindSince = time.Time{}
	f.Log.Warn("purge log begins too late, everything stored is distrusted",
		"node", f.Name, "applied", applied, "first", state.First)
	return f.distrust(state.First-1, "the log began too late")
}

// gather gets a whole snapshot that reaches the log's tail.
func (f *Follower) gather(ctx context.Context, state LogState) (records []Record, err error) {
	q, size := snapshotQuestion{Epoch: state.Epoch, After: f.Index.Applied()}, 0
	for range snapshotPagesMax {
		p, err := f.askPage(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(p.Records) == 0 {
			if len(records) == 0 || q.After < state.First-1 {
				return nil, fmt.Errorf("control has %d, the log begins at %d: %w", p.Applied, state.First, errNoSnapshot)
			}
			return records, nil
		}
		for _, r := range p.Records {
			record, err := DecodeRecord(r.Version, r.Record)
			if err != nil || r.Version <= q.After {
				return nil, fmt.Errorf("snapshot: record %d after %d: %w", r.Version, q.After, errors.Join(err, errNoSnapshot))
			}
			if size += len(r.Record); size > snapshotBytesMax {
				return nil, fmt.Errorf("snapshot of more than %d bytes: %w", snapshotBytesMax, ErrTooLarge)
			}
			records, q.After = append(records, record), r.Version
		}
	}
	return nil, fmt.Errorf("snapshot of more than %d pages: %w", snapshotPagesMax, ErrTooLarge)
}

func (f *Follower) askPage(ctx context.Context, q snapshotQuestion) (p snapshotPage, err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotAskMax)
	defer cancel()
	question, err := json.Marshal(q)
	if err != nil {
		return p, err
	}
	answer, err := f.Snapshot(ctx, question)
	if err != nil {
		return p, fmt.Errorf("ask for a snapshot: %w", err)
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return p, fmt.Errorf("read snapshot: %w", err)
	}
	if p.Error != "" || p.Epoch != q.Epoch {
		return p, fmt.Errorf("control answers %q of log %q: %w", p.Error, p.Epoch, errNoSnapshot)
	}
	return p, nil
}
