package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache/rfc9111"
	"weir/storage"
)

// A derived object is an object's body in another content coding, stored under
// a key of its own, made of the object's (its base's):
//
//	SHA-256(base's key · base's BodyID, 8 bytes little-endian · label)
//
// It is only ever looked for when its base has been found and judged, and so
// shares its base's purges, freshness and stamp. A base that is replaced, or
// dropped by a purge, has another BodyID when it comes back, and what was
// derived from the old one is out of reach for good.
//
//	state      entered by            left by
//	absent                           a hit that wants it: start
//	queued     start                 a worker
//	running    worker                its end
//	stored     Writer.Commit         eviction, a purge of its base
//	refused    not worth it, broken  the base's end
const (
	workersMax          = 4       // derivations that run, each with an encoder's 10 MB
	derivationsQueueMax = 256     // derivations that wait for a worker
	outcomesMax         = 1 << 15 // derivations whose end is remembered
	derivationTimeout   = 30 * time.Second

	// againAfter is how long a derivation that ended well, or could not be
	// stored, is not begun again: its object was evicted at once, or will be.
	againAfter = time.Minute
)

// labelOf names a coding and the revision of what makes it: a strong entity tag
// with this label names bytes. The revision goes up with any change of an
// encoder's output; a test holds it to that.
func labelOf(c rfc9111.Coding) string {
	switch c {
	case rfc9111.CodingZstd:
		return "zstd1"
	case rfc9111.CodingBrotli:
		return "br1"
	case rfc9111.CodingGzip:
		return "gzip1"
	default:
		return "identity1"
	}
}

// derivedKey does not allocate.
func derivedKey(base storage.Key, bodyID uint64, c rfc9111.Coding) storage.Key {
	var b [len(base) + 8 + 16]byte
	n := copy(b[:], base[:])
	binary.LittleEndian.PutUint64(b[n:], bodyID)
	n += 8
	n += copy(b[n:], labelOf(c))
	sum := sha256.Sum256(b[:n])
	return storage.Key(sum[:len(base)])
}

// variantSeparator stands between the base's variant and the label in a derived
// object's Variant, which no request's variant text has in it.
const variantSeparator = "\n"

// deriveMeta makes the meta of an object derived from base. BodyBytes is not
// known yet.
func deriveMeta(base *storage.Meta, c rfc9111.Coding) *storage.Meta {
	m := *base
	m.BodyBytes = -1
	m.Variant = base.Variant + variantSeparator + labelOf(c)
	m.ETag = rfc9111.CodedTag(base.ETag, labelOf(c))
	m.Header = rfc9111.AppendFields(nil, rfc9111.CodedFields(rfc9111.ParseFields(base.Header), c, m.ETag))
	return &m
}

// derivedObject opens what is stored under k if it is derived from base. It
// does not allocate more than the store does.
func (e *Engine) derivedObject(k storage.Key, base *storage.Meta, c rfc9111.Coding) storage.Object {
	o, err := e.Store.Get(k)
	if err != nil {
		if !errors.Is(err, storage.ErrNotFound) {
			e.Log.Warn("look-up failed", "key", k, "error", err)
		}
		return nil
	}
	if !derivedFrom(o.Meta(), base, c) {
		_ = o.Close()
		return nil
	}
	return o
}

// derivedFrom says whether m is that of base in the coding c.
func derivedFrom(m, base *storage.Meta, c rfc9111.Coding) bool {
	rest, isVariant := strings.CutPrefix(m.Variant, base.Variant)
	label, separated := strings.CutPrefix(rest, variantSeparator)
	return m.BodyID == base.BodyID && m.Site == base.Site && m.Host == base.Host && m.Target == base.Target &&
		isVariant && separated && label == labelOf(c)
}

// sameAge says that a derived object's meta was made of base as it is now: each
// refresh gives base another time and perhaps another stamp and lifetime.
func sameAge(derived, base *storage.Meta) bool {
	d, b := derived.Stored, base.Stored
	same := d.ResponseTime.Equal(b.ResponseTime)
	d.ResponseTime = b.ResponseTime // of which == would compare the location too
	return same && d == b && derived.Stamp == base.Stamp && derived.LastModified == base.LastModified
}

// DerivationResult says how a derivation ended.
type DerivationResult uint8

// The results.
const (
	DerivationDone     DerivationResult = iota // stored
	DerivationCurrent                          // it was there; at most its meta was brought up to date
	DerivationNotWorth                         // the text did not shrink enough
	DerivationBomb                             // the coded body grew beyond what is allowed
	DerivationBroken                           // the coded body cannot be decoded
	DerivationFailed                           // the store or the time did not allow it
)

// DerivationResults lists every result, for metrics that want all series from
// the start.
var DerivationResults = [...]DerivationResult{
	DerivationDone, DerivationCurrent, DerivationNotWorth, DerivationBomb, DerivationBroken, DerivationFailed,
}

// String gives the result's one name.
func (r DerivationResult) String() string {
	switch r {
	case DerivationDone:
		return "done"
	case DerivationCurrent:
		return "current"
	case DerivationNotWorth:
		return "not-worth-it"
	case DerivationBomb:
		return "bomb"
	case DerivationBroken:
		return "broken"
	default:
		return "failed"
	}
}

// final says that the same body would end in the same way again.
func (r DerivationResult) final() bool {
	return r == DerivationNotWorth || r == DerivationBomb || r == DerivationBroken
}

// DerivationCounts is what has been derived in one coding since the engine was
// made.
type DerivationCounts struct {
	// Ended counts derivations by their DerivationResult.
	Ended [len(DerivationResults)]int64
	// BytesIn and BytesOut are those of bodies read and stored by derivations
	// that are done.
	BytesIn, BytesOut int64
}

type derivationCounters struct {
	ended             [len(DerivationResults)]atomic.Int64
	bytesIn, bytesOut atomic.Int64
}

// Derivations counts what has been derived in a coding; CodingIdentity stands
// for what has been decoded.
func (e *Engine) Derivations(c rfc9111.Coding) DerivationCounts {
	from := &e.derivations.counts[c]
	counts := DerivationCounts{BytesIn: from.bytesIn.Load(), BytesOut: from.bytesOut.Load()}
	for i := range from.ended {
		counts.Ended[i] = from.ended[i].Load()
	}
	return counts
}

// derivation makes one derived object. What it needs of the base it reads from
// the store when its turn comes.
type derivation struct {
	base     storage.Key
	bodyID   uint64
	key      storage.Key // of the derived object
	from, to rfc9111.Coding
	done     chan struct{} // closed at its end, whatever that was
}

// wait gives true once the derivation has ended, and false if ctx ends first.
func (d *derivation) wait(ctx context.Context) bool {
	select {
	case <-d.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// derivations are an engine's: a bounded queue, and a few workers that live
// while there is something in it.
type derivations struct {
	e *Engine
	// workersMax leaves processors to the requests that are being answered.
	workersMax int
	// running counts the workers, so that Close can wait for them.
	running sync.WaitGroup
	counts  [len(rfc9111.Codings)]derivationCounters

	// mu guards all below. Nothing blocks under it, and no other lock is taken.
	mu      sync.Mutex
	closed  bool
	workers int
	queue   []*derivation
	jobs    map[storage.Key]*derivation // queued and running
	// ended has the keys that are not to be begun again at once.
	ended map[storage.Key]ending
}

// ending is what a derivation came to, and until when it is not begun again; the
// zero time stands for never.
type ending struct {
	result DerivationResult
	until  time.Time
}

func newDerivations(e *Engine) *derivations {
	return &derivations{
		e: e, workersMax: min(max(1, runtime.GOMAXPROCS(0)/2), workersMax),
		jobs: make(map[storage.Key]*derivation), ended: make(map[storage.Key]ending),
	}
}

// start queues a derivation, before all others if it is urgent, and gives it,
// or the one that is under way for its key. nil: there is no room, or it has
// ended before and is not to be tried again.
func (ds *derivations) start(d derivation, urgent bool) *derivation {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if known := ds.jobs[d.key]; known != nil {
		return known
	}
	if ds.refused(d.key, urgent) {
		return nil
	}
	return ds.enqueue(&d, urgent)
}

// refresh queues a derivation of which it is known that its object is there.
func (ds *derivations) refresh(d derivation) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.jobs[d.key] == nil {
		ds.enqueue(&d, false)
	}
}

// enqueue is where start and refresh come together. mu is held.
func (ds *derivations) enqueue(job *derivation, urgent bool) *derivation {
	if ds.closed || len(ds.queue) >= derivationsQueueMax {
		return nil
	}
	job.done = make(chan struct{})
	ds.jobs[job.key] = job
	if urgent {
		ds.queue = append([]*derivation{job}, ds.queue...)
	} else {
		ds.queue = append(ds.queue, job)
	}
	if ds.workers < ds.workersMax {
		ds.workers++
		ds.running.Go(ds.work)
	}
	return job
}

// refused says whether a derivation has ended in a way that tells against
// another one now. One that was stored, and has been evicted since, is made again
// for a client who cannot do without it. mu is held.
func (ds *derivations) refused(k storage.Key, urgent bool) bool {
	e, found := ds.ended[k]
	if found && (urgent && e.result == DerivationDone || !e.until.IsZero() && !time.Now().Before(e.until)) {
		delete(ds.ended, k)
		return false
	}
	return found
}

// work runs derivations until the queue is empty.
func (ds *derivations) work() {
	for job := ds.next(nil, DerivationDone); job != nil; {
		result := ds.run(job)
		ds.counts[job.to].ended[result].Add(1)
		job = ds.next(job, result)
	}
}

// next ends a worker's derivation and gives it another, or nil if it may go.
func (ds *derivations) next(ended *derivation, result DerivationResult) *derivation {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ended != nil {
		ds.remember(ended.key, result)
		delete(ds.jobs, ended.key)
		close(ended.done)
	}
	if len(ds.queue) == 0 {
		ds.workers--
		return nil
	}
	job := ds.queue[0]
	ds.queue = ds.queue[1:]
	return job
}

// remember keeps how a derivation ended. When there is no room, some other end
// is forgotten: at worst it is tried once more. mu is held.
func (ds *derivations) remember(k storage.Key, result DerivationResult) {
	if result == DerivationCurrent {
		return
	}
	if len(ds.ended) >= outcomesMax {
		for other := range ds.ended {
			delete(ds.ended, other)
			break
		}
	}
	e := ending{result: result}
	if !result.final() {
		e.until = time.Now().Add(againAfter)
	}
	ds.ended[k] = e
}

// close drops what is queued; what runs ends with the engine's context.
func (ds *derivations) close() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.closed = true
	for _, job := range ds.queue {
		delete(ds.jobs, job.key)
		close(job.done)
	}
	ds.queue = nil
}

// run makes the derived object, or brings the meta of the one that is stored
// up to date.
func (ds *derivations) run(job *derivation) DerivationResult {
	base, err := ds.e.Store.Get(job.base)
	if err != nil {
		return DerivationFailed // evicted meanwhile
	}
	defer base.Close()
	if base.Meta().BodyID != job.bodyID {
		return DerivationFailed // replaced meanwhile
	}
	if there := ds.e.derivedObject(job.key, base.Meta(), job.to); there != nil {
		defer there.Close()
		return ds.renew(job, base.Meta(), there.Meta())
	}
	ctx, cancel := context.WithTimeout(ds.e.ctx, derivationTimeout)
	defer cancel()
	result, err := ds.derive(ctx, job, base)
	if err != nil {
		level := slog.LevelWarn
		if result == DerivationNotWorth || ds.e.ctx.Err() != nil {
			level = slog.LevelDebug
		}
		m := base.Meta()
		ds.e.Log.Log(ctx, level, "not derived", "key", keyText(m.Site, m.Host, m.Target),
			"from", job.from.String(), "to", job.to.String(), "result", result.String(), "error", err)
	}
	return result
}

// renew gives the derived object that is there the meta that base has now.
func (ds *derivations) renew(job *derivation, base, there *storage.Meta) DerivationResult {
	if sameAge(there, base) {
		return DerivationCurrent
	}
	m := deriveMeta(base, job.to)
	m.BodyBytes = there.BodyBytes
	if err := ds.e.Store.Refresh(job.key, m); err != nil && !errors.Is(err, storage.ErrNotFound) {
		ds.e.Log.Warn("refresh failed", "key", job.key, "error", err)
		return DerivationFailed
	}
	return DerivationCurrent
}

// derive writes the derived object. Nothing is stored unless all of it went well.
func (ds *derivations) derive(ctx context.Context, job *derivation, base storage.Object) (DerivationResult, error) {
	w, err := ds.e.Store.Create(job.key, deriveMeta(base.Meta(), job.to))
	if err != nil {
		return DerivationFailed, err
	}
	defer func() { _ = w.Close() }()
	in := base.Meta().BodyBytes
	out, err := transcode(ctx, w, base, job.from, job.to)
	switch {
	case err == nil:
		err = w.Commit()
	case errors.Is(err, errNotWorth):
		return DerivationNotWorth, err
	case errors.Is(err, errBomb):
		return DerivationBomb, err
	case errors.Is(err, errBroken):
		return DerivationBroken, err
	}
	if err != nil {
		return DerivationFailed, fmt.Errorf("derive %s: %w", job.key, err)
	}
	ds.counts[job.to].bytesIn.Add(in)
	ds.counts[job.to].bytesOut.Add(out)
	return DerivationDone, nil
}
