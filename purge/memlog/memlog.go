// Package memlog is a purge log in memory, for tests: each follower reaches it
// over a Link of its own, which can be cut, slowed, or made to lose deliveries.
// It starts no goroutine, and all its waits are timers and channels, so that it
// runs on the time of testing/synctest.
package memlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"weir/purge"
)

// ErrPartitioned is what a cut Link gives.
var ErrPartitioned = errors.New("memlog: link is cut")

// ErrReplaced is what a feed gives whose log was replaced.
var ErrReplaced = errors.New("memlog: log was replaced")

// batchMax is how many records a feed gives at once.
const batchMax = 256

// Log is an ordered log. It forgets nothing unless told to.
type Log struct {
	// mu guards all fields, and those of the log's links.
	mu      sync.Mutex
	epoch   string
	first   uint64 // version of entries[0]
	entries []entry
	down    bool
	// changed is closed, and replaced, when anything changes.
	changed chan struct{}
}

type entry struct {
	record  purge.Record
	at      time.Time
	removed bool
}

// New makes an empty log.
func New(epoch string) *Log {
	return &Log{epoch: epoch, first: 1, changed: make(chan struct{})}
}

// wake tells every waiting feed to look again. mu is held.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// last is the newest version. mu is held.
func (l *Log) last() uint64 { return l.first + uint64(len(l.entries)) - 1 }

// Append gives r the next version. Where the log has a record of the same Key,
// it answers that one's, with purge.ErrRepeated.
func (l *Log) Append(_ context.Context, r purge.Record) (uint64, error) {
	if _, err := purge.EncodeRecord(r); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, fmt.Errorf("memlog: %w", purge.ErrUnavailable)
	}
	if version := l.keyed(r.Key); version > 0 {
		return version, fmt.Errorf("memlog: %w", purge.ErrRepeated)
	}
	r.Version = l.last() + 1
	l.entries = append(l.entries, entry{record: r, at: time.Now()})
	l.wake()
	return r.Version, nil
}

// keyed is the version that has a key; 0 if there is none. mu is held.
func (l *Log) keyed(key string) uint64 {
	for _, e := range l.entries {
		if key != "" && e.record.Key == key {
			return e.record.Version
		}
	}
	return 0
}

// State gives the log's identity and ends.
func (l *Log) State(context.Context) (purge.LogState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return purge.LogState{}, fmt.Errorf("memlog: %w", purge.ErrUnavailable)
	}
	return purge.LogState{Epoch: l.epoch, First: l.first, Last: l.last()}, nil
}

// Scan reads records, as purge.History says.
func (l *Log) Scan(_ context.Context, first, last uint64, each func(purge.Record) bool) error {
	for v := first; ; {
		r, there, err := l.record(v)
		if err != nil || there && !each(r) || v == last {
			return err
		}
		if first > last {
			v--
		} else {
			v++
		}
	}
}

func (l *Log) record(version uint64) (r purge.Record, there bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return r, false, fmt.Errorf("memlog: %w", purge.ErrUnavailable)
	}
	if version < l.first || version > l.last() || l.entries[version-l.first].removed {
		return r, false, nil
	}
	return l.entries[version-l.first].record, true, nil
}

// SetDown makes Append and every link fail, or work again.
func (l *Log) SetDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	l.wake()
}

// Trim forgets what is older than first, or all that there is.
func (l *Log) Trim(first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first = min(first, l.last()+1); first > l.first {
		l.entries = l.entries[first-l.first:]
		l.first = first
	}
	l.wake()
}

// Remove leaves a hole in the log where a version was.
func (l *Log) Remove(version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if version >= l.first && version <= l.last() {
		l.entries[version-l.first].removed = true
	}
}

// Replace puts an empty log of another epoch in this one's place.
func (l *Log) Replace(epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.first, l.entries = epoch, 1, nil
	l.wake()
}

// Rename gives the log another epoch, with all that it has.
func (l *Log) Rename(epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
	l.wake()
}

// Link is one follower's way to the log, a purge.Source.
type Link struct {
	log   *Log
	cut   bool
	delay time.Duration
	drop  int
	// scramble is how many deliveries are yet to come twice or out of order.
	scramble int
}

// Link makes a new way to the log.
func (l *Log) Link() *Link { return &Link{log: l} }

// Partition cuts the link, or mends it. While it is cut, State fails, a feed
// stays silent, and announcements are lost.
func (k *Link) Partition(cut bool) {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	k.cut = cut
	k.log.wake()
}

// Delay makes every delivery come this long after it was appended.
func (k *Link) Delay(d time.Duration) {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	k.delay = d
	k.log.wake()
}

// Drop makes feeds leave out the next n records that they would deliver.
func (k *Link) Drop(n int) {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	k.drop += n
}

// Scramble makes the next n deliveries come twice, behind an older one, or in
// the wrong order, in turn. Delivered they are.
func (k *Link) Scramble(n int) {
	k.log.mu.Lock()
	defer k.log.mu.Unlock()
	k.scramble += n
}

// scrambled is what becomes of a delivery. log.mu is held.
func (k *Link) scrambled(batch []purge.Record) []purge.Record {
	if k.scramble == 0 || len(batch) == 0 {
		return batch
	}
	k.scramble--
	switch l := k.log; k.scramble % 3 {
	case 0:
		return slices.Concat(batch, batch)
	case 1:
		if before := batch[0].Version - 1; before >= l.first {
			return slices.Concat([]purge.Record{l.entries[before-l.first].record}, batch, batch[:1])
		}
		return slices.Concat(batch[:1], batch)
	default:
		slices.Reverse(batch)
		return batch
	}
}

// Announcer passes announcements on to observe while the link is whole.
func (k *Link) Announcer(observe func(purge.Announcement)) func(purge.Announcement) error {
	return func(a purge.Announcement) error {
		k.log.mu.Lock()
		cut := k.cut || k.log.down
		k.log.mu.Unlock()
		if cut {
			return ErrPartitioned
		}
		observe(a)
		return nil
	}
}

// State gives the log's identity and ends.
func (k *Link) State(context.Context) (purge.LogState, error) {
	l := k.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.cut || l.down {
		return purge.LogState{}, ErrPartitioned
	}
	return purge.LogState{Epoch: l.epoch, First: l.first, Last: l.last()}, nil
}

// Follow delivers from a version on.
func (k *Link) Follow(_ context.Context, from uint64) (purge.Feed, error) {
	l := k.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.cut || l.down {
		return nil, ErrPartitioned
	}
	return &feed{link: k, epoch: l.epoch, next: from}, nil
}

type feed struct {
	link  *Link
	epoch string
	next  uint64
}

// Next waits for records that have arrived over the link.
func (f *feed) Next(ctx context.Context) ([]purge.Record, error) {
	for {
		batch, changed, due, err := f.ready()
		if err != nil || len(batch) > 0 {
			return batch, err
		}
		var timer <-chan time.Time
		if due > 0 {
			timer = time.After(due)
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ready takes what can be delivered now; failing that, it gives what to wait
// for: a change, and the time until the next delivery is due, if there is one.
func (f *feed) ready() (batch []purge.Record, changed chan struct{}, due time.Duration, err error) {
	k, l := f.link, f.link.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.epoch != l.epoch {
		return nil, nil, 0, ErrReplaced
	}
	f.next = max(f.next, l.first)
	for !k.cut && !l.down && f.next <= l.last() && len(batch) < batchMax {
		e := l.entries[f.next-l.first]
		if due = time.Until(e.at.Add(k.delay)); due > 0 {
			break
		}
		f.next++
		if e.removed {
			continue
		}
		if k.drop > 0 {
			k.drop--
			continue
		}
		batch = append(batch, e.record)
	}
	return k.scrambled(batch), l.changed, due, nil
}

// Close has nothing to do.
func (f *feed) Close() {}
