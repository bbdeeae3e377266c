package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage"
)

// result is what a fill's response headers came to.
type result uint8

const (
	resultFailed    result = iota // no response
	resultStream                  // shared: the body is being stored and readers stream it
	resultRefreshed               // 304: the stored body is current, meta is new
	resultPrivate                 // not shared: the owner alone reads the response
	resultPart                    // a part that stands alone is being stored
	resultBlock                   // a block of a partial object is being stored
	resultChanged                 // the partial object that was to get a block is outdated: look again
)

// fill is one fetch that may be written into the store. It runs on its own
// context: the request that caused it may leave.
//
//	state     entered by            map      left by
//	asking    enter                 in       response headers, an error
//	storing   admit                 in       the body's end, or the store refusing more
//	relaying  stream, on ErrFull    out      the body's end
//	landed    commit, refresh       out      the last release
//	private   settle                out      the owner's release
//
// Fields below ready are written before ready is closed and not afterwards.
type fill struct {
	e       *Engine
	req     *Request // the owner's; only Site, Host, Target and Fields are used
	primary string
	key     storage.Key   // what the request looked up
	at      storage.Key   // where the response is stored; known from admit on
	keys    []storage.Key // under which it stands in Engine.fills; guarded by Engine.mu
	base    *storage.Meta // what the request's condition names, or nil
	beside  bool          // something is stored already that may still be of use
	list    *storage.Meta // the list of variants that look-up found, or nil
	portion *portion      // what is asked for, or nil for the whole
	headAt  storage.Key   // under which the partial object stands that the body is for
	brings  rfc9110.Range // the bytes of the representation that the body is
	epoch   string        // the purge log when the fill began
	stamp   uint64        // the version in force then (promise P3)
	grouped uint64        // likewise for invalidated groups
	began   time.Time
	out     *http.Request
	cancel  context.CancelCauseFunc
	// refs counts the goroutine, the owner and the readers; the last one
	// closes what is still open.
	refs atomic.Int32
	// detached says that a newer fill took its place: it must not commit.
	detached atomic.Bool
	// tagged tells transactions that meta is set: its tags are known.
	tagged atomic.Pointer[storage.Meta]

	ready               chan struct{}
	result              result
	status              int
	why                 Reason
	verdict             rfc9111.StoreVerdict
	meta                *storage.Meta
	stream              *stream
	response            *http.Response
	err                 *UpstreamError
	upstreamCacheStatus string
}

// entry says how a transaction came to its fill.
type entry uint8

const (
	entryOwner  entry = iota // a new fill, caused by this request
	entryReader              // one that runs already
	entryLanded              // one has landed since the look-up: look again
	entryFull                // FillsMax fills run
	entryClosed              // the engine is closing
)

// enter finds or starts the fill for t.key.
//
// The one race that matters: A looks up and finds nothing; B's fill for the
// same key commits and leaves the map; A comes here, finds no fill, and would
// fetch again. A fill therefore counts itself as landed after its commit and
// before it leaves the map, and A compares the count with the one it read
// before its look-up.
func (e *Engine) enter(t *transaction) (*fill, entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, entryClosed
	}
	alone := e.unshared.has(t.key, t.now, t.req.Fields)
	switch f := e.fills[t.key]; {
	case alone:
	case f != nil && f.admits(t.req):
		f.refs.Add(1)
		return f, entryReader
	case f != nil:
		e.detach(f)
	case e.landedShard(t.key).Load() != t.landed:
		return nil, entryLanded
	}
	if e.FillsRunning() >= e.FillsMax {
		return nil, entryFull
	}
	f := e.newFill(t)
	f.refs.Store(2)
	e.begin(f, alone)
	return f, entryOwner
}

// fillBehind starts a fill that nobody waits for, unless one runs or has landed
// since the look-up.
func (e *Engine) fillBehind(t *transaction) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.landedShard(t.key).Load() != t.landed {
		return
	}
	if f := e.fills[t.key]; f != nil {
		if f.admits(t.req) {
			return
		}
		e.detach(f)
	}
	if e.closed || e.FillsRunning() >= e.FillsMax {
		return
	}
	f := e.newFill(t)
	f.refs.Store(1)
	e.begin(f, false)
}

// newFill stamps the fill before anything is sent: what upstream answers is at
// least as new as every purge applied by now.
func (e *Engine) newFill(t *transaction) *fill {
	ctx, cancel := context.WithCancelCause(e.ctx)
	epoch, applied := e.Purges.Position()
	f := &fill{
		e: e, req: t.req, primary: t.primary, key: t.key, list: t.list, portion: t.portion,
		epoch: epoch, stamp: applied, grouped: e.groups.stamp(), began: e.now(), cancel: cancel,
		beside: t.object != nil || t.fresh, ready: make(chan struct{}),
	}
	f.out = t.req.Forward.Fill(ctx)
	// Upstream chooses among what the key tells apart, and nothing else.
	f.req.Site.Policy.Negotiate(f.out.Header)
	if f.portion != nil {
		f.out.Header.Set("Range", f.portion.field())
	}
	if t.object != nil && !t.fresh {
		f.out.Header.Set(FreshField, "1")
		f.condition(t.object.Meta())
	}
	return f
}

// condition makes the fill a validation of base (RFC 9111 section 4.3.1).
func (f *fill) condition(base *storage.Meta) {
	if base.ETag != "" {
		f.out.Header.Set("If-None-Match", base.ETag)
		f.base = base
	}
	if base.LastModified != "" {
		f.out.Header.Set("If-Modified-Since", base.LastModified)
		f.base = base
	}
}

func (f *fill) unconditional() {
	f.out.Header.Del("If-None-Match")
	f.out.Header.Del("If-Modified-Since")
	f.base = nil
}

// begin runs the fill, and registers it for others to join unless it is for
// one request alone. Engine.mu is held.
func (e *Engine) begin(f *fill, alone bool) {
	if !alone {
		f.keys = []storage.Key{f.key}
		e.fills[f.key] = f
	}
	e.storing[f] = struct{}{}
	e.running.Add(1)
	e.count.Add(1)
	go f.run()
}

// admits says whether a request that arrives now may be answered by the fill:
// not if a purge that may cover it came after the fill began (promise P3), nor
// if one of its groups was made invalid, or may have been.
func (f *fill) admits(req *Request) bool {
	if f.grouped != f.e.groups.stamp() {
		if meta := f.tagged.Load(); meta == nil || !f.e.groups.valid(meta) {
			return false
		}
	}
	purges := f.e.Purges
	if purges.Applied() <= f.stamp {
		return true
	}
	var tags []string
	if meta := f.tagged.Load(); meta != nil {
		tags = meta.Tags
	} else if purges.NewestTag(req.Site.Name) > f.stamp {
		return false
	}
	hard, soft := purges.Covering(req.Site.Name, req.Host, req.Target, tags)
	if own := f.req.Target; own != req.Target && max(hard, soft) <= f.stamp {
		hard, soft = purges.Covering(req.Site.Name, req.Host, own, tags)
	}
	return max(hard, soft) <= f.stamp
}

// detach takes a fill out of the map for good: its readers get their body, the
// store does not. Engine.mu is held.
func (e *Engine) detach(f *fill) {
	f.detached.Store(true)
	e.forget(f)
}

// forget takes the fill's keys out of the map where they are still its own: it
// has landed, or is not to. Engine.mu is held.
func (e *Engine) forget(f *fill) {
	delete(e.storing, f)
	for _, k := range f.keys {
		e.forgetKey(f, k)
	}
}

func (e *Engine) forgetKey(f *fill, k storage.Key) {
	if e.fills[k] == f {
		e.landedShard(k).Add(1)
		delete(e.fills, k)
	}
}

// settled takes the fill out of the map: later requests look in the store.
func (f *fill) settled() {
	f.e.mu.Lock()
	f.e.forget(f)
	f.e.mu.Unlock()
}

// relay is what becomes of a fill whose store takes no more: others do not wait
// for it.
func (f *fill) relay() {
	f.e.unshared.add(f.key, f.e.now(), refusal{why: ReasonTooLarge, verdict: f.verdict})
	f.settled()
}

// release gives up one part in the fill. The last one out closes the rest.
func (f *fill) release() {
	if f.refs.Add(-1) > 0 {
		return
	}
	if f.stream != nil {
		f.stream.close()
	}
	if f.response != nil {
		_ = f.response.Body.Close()
	}
	f.cancel(nil)
}

// run is the fill's goroutine: ask, settle, and copy the body if it is shared.
func (f *fill) run() {
	defer f.e.ended()
	defer f.release()
	age := time.AfterFunc(f.e.FillTimeout, func() { f.cancel(errFillAge) })
	stall := time.AfterFunc(f.e.StallTimeout, func() { f.cancel(errHeadersLate) })
	defer age.Stop()
	defer stall.Stop()

	asked := f.e.now()
	response, err := f.ask()
	f.settle(asked, response, err)
	if f.stream == nil {
		f.settled()
	}
	close(f.ready)
	if f.stream == nil {
		return
	}
	err = f.copy(response.Body, stall)
	_ = response.Body.Close()
	f.land(err)
}

// ask sends the request, once more without its condition if upstream confirms
// a body that is not the one asked about (RFC 9111 section 4.3.4), and once more
// without its Range if the rest came that cannot be joined to what is stored.
func (f *fill) ask() (*http.Response, error) {
	response, err := f.roundTrip()
	if err == nil && response.StatusCode == http.StatusPartialContent && f.portion != nil && f.portion.rest {
		_ = response.Body.Close()
		f.portion = nil
		f.out.Header.Del("Range")
		response, err = f.roundTrip()
	}
	if err != nil || response.StatusCode != http.StatusNotModified || f.confirmsBase(response) {
		return response, err
	}
	_ = response.Body.Close()
	f.unconditional()
	response, err = f.roundTrip()
	if err == nil && response.StatusCode == http.StatusNotModified {
		_ = response.Body.Close()
		return nil, errUnasked304
	}
	return response, err
}

func (f *fill) roundTrip() (*http.Response, error) {
	response, err := f.req.Site.Upstream.RoundTrip(f.out)
	if err != nil {
		// The transport says "context canceled"; the cause says why.
		if cause := context.Cause(f.out.Context()); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, err
	}
	return response, nil
}

func (f *fill) confirmsBase(response *http.Response) bool {
	return f.base != nil && rfc9111.Updates(rfc9111.ParseFields(f.base.Header), response.Header)
}

// copyBufferBytes is how much of a body is read from upstream at once.
const copyBufferBytes = 64 << 10

// copy appends the body to the stream until it ends. Upstream's silence is
// bounded by the stall timer; what readers and the store take is bounded by
// the stream.
func (f *fill) copy(body io.Reader, stall *time.Timer) error {
	buf := make([]byte, copyBufferBytes)
	for {
		stall.Reset(f.e.StallTimeout)
		n, err := body.Read(buf)
		stall.Stop()
		if n > 0 {
			if failed := f.stream.append(f.out.Context(), buf[:n], f.relay); failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if cause := context.Cause(f.out.Context()); cause != nil {
				err = cause
			}
			return err
		}
	}
}

// land commits a whole body, then takes the fill out of the map, then tells
// the readers that the end is the end. A body that did not arrive whole, or
// that was detached, is not stored. A fill that is detached while it commits
// takes its object back, though that may take a newer one with it: a miss.
func (f *fill) land(err error) {
	if err == nil && !f.detached.Load() {
		if commit := f.stream.commit(); commit != nil {
			f.e.Log.Warn("commit failed", "key", f.primary, "error", commit)
		}
		if f.detached.Load() {
			_ = f.e.Store.Delete(f.at)
		}
	}
	if err != nil && !errors.Is(err, errNobody) {
		f.e.Log.Warn("fill failed", "key", f.primary, "error", err)
	}
	f.settled()
	f.stream.end(err)
}

// Reset drops everything stored, and what the fills that run now would store.
// A node calls it when its objects' stamps are of another log.
func (e *Engine) Reset() error {
	defer e.sweeping.stop()()
	e.mu.Lock()
	for f := range e.storing {
		e.detach(f)
	}
	e.mu.Unlock()
	return e.Store.Clear()
}

// invalidate makes what is stored under a target of the request's host
// unusable. Fills that run may have read the old state, so they are detached;
// where queries that differ may mean the same, those for any query of the path.
func (e *Engine) invalidate(req *Request, target string) {
	texts := []string{keyText(req.Site.Name, req.Host, target)}
	other, hinted := e.hinted(req.Site.Name, req.Host, target)
	if hinted {
		texts = append(texts, other)
	}
	path, _, _ := strings.Cut(target, "?")
	e.mu.Lock()
	for f := range e.storing {
		if f.req.Site != req.Site || f.req.Host != req.Host {
			continue
		}
		if own, _, _ := strings.Cut(f.req.Target, "?"); f.req.Target == target || hinted && own == path {
			e.detach(f)
		}
	}
	e.mu.Unlock()
	for _, text := range texts {
		if err := e.Store.Delete(storage.KeyOf(text)); err != nil {
			e.Log.Warn("invalidation failed", "key", text, "error", err)
		}
	}
}
