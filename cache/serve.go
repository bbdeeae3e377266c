package cache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"weir/cache/rfc9111"
	"weir/storage"
)

// step is what a transaction does next.
type step uint8

const (
	stepStart    step = iota // is this request for the store at all?
	stepLookup               // find the object: list of variants, variant, purges
	stepJudge                // may the object found be used as it is?
	stepCollapse             // start a fill or join the one that runs
	stepWait                 // until the fill's response headers are there
	stepPass                 // upstream answers, past the store
	stepFailed               // upstream gave nothing: a stale object, or an error
	stepDone
)

// roundsMax bounds how often a transaction goes back to stepLookup: once for a
// fill that landed meanwhile, once for a list of variants that appeared, and
// once more for both together. A transaction beyond it passes.
const roundsMax = 4

// transaction is one request on its way through the engine.
type transaction struct {
	e   *Engine
	ctx context.Context
	req *Request
	now time.Time
	// directives are the request's own Cache-Control.
	directives rfc9111.Directives
	rounds     int

	// What look-up found. key is where the answer is, or would be, stored;
	// list is the list of variants on the way there, object the object.
	primary string
	key     storage.Key
	landed  uint64
	list    *storage.Meta
	object  storage.Object
	soft    bool // a soft purge covers object: it is stale
	// compared is the version up to which object is as new as the purges, if none
	// covers it.
	compared uint64
	// portion is what a fill would ask for, nil for the whole; fresh says that
	// object needs no validation, only more bytes.
	portion *portion
	fresh   bool
	// invalid says that object must not be used before upstream confirms it,
	// whatever allows stale answers.
	invalid bool

	fill  *fill
	owner bool
	err   *UpstreamError
	ans   *Answer
}

// Serve answers req. The answer is never nil and must be closed; when nothing
// could be found, its Err says why. ctx bounds the request, not the fill that
// it may start.
func (e *Engine) Serve(ctx context.Context, req *Request) *Answer {
	t := &transaction{e: e, ctx: ctx, req: req, now: e.now(), ans: &Answer{Reason: ReasonAbsent, engine: e, request: req}}
	t.ans.Now = t.now
	for s := stepStart; s != stepDone; {
		switch s {
		case stepStart:
			s = t.start()
		case stepLookup:
			s = t.lookup()
		case stepJudge:
			s = t.judge()
		case stepCollapse:
			s = t.collapse()
		case stepWait:
			s = t.wait()
		case stepPass:
			s = t.pass()
		case stepFailed:
			s = t.failed()
		}
	}
	t.drop()
	t.adapt()
	return t.ans
}

func (t *transaction) start() step {
	if !cacheable(t.req.Method) {
		return t.passBecause(ReasonMethod)
	}
	if t.req.Bypass {
		return t.passBecause(ReasonBypass)
	}
	if t.e.RefuseUntrusted && !t.e.trusted(t.now) {
		t.ans.Reason = ReasonUntrusted
		t.err = &UpstreamError{Status: http.StatusServiceUnavailable, Err: errUntrusted}
		return t.fail()
	}
	t.directives = rfc9111.RequestDirectives(t.req.Fields, t.req.Site.Policy)
	return stepLookup
}

// lookup finds the object for the request and asks whether it was purged.
//
// The counter of landed fills is read before the store: a fill that commits
// after this look-up and is gone before stepCollapse has changed it by then,
// and stepCollapse comes back here instead of fetching a second time.
func (t *transaction) lookup() step {
	t.drop()
	t.now = t.e.now()
	t.ans.Now = t.now
	t.list, t.soft, t.compared, t.portion, t.fresh, t.invalid = nil, false, 0, nil, false, false
	// Before the store: an object found after the node went over to another
	// log must not be told as one of the new log's.
	t.ans.Epoch, _ = t.e.Purges.Position()
	found := t.openPrimary(t.req.keyText())
	if found == nil {
		if primary, ok := t.e.hinted(t.req.Site.Name, t.req.Host, t.req.Target); ok && primary != t.primary {
			found = t.openPrimary(primary)
		}
	}
	if found != nil && found.Meta().Status == 0 {
		t.list = found.Meta()
		_ = found.Close()
		variant := t.req.variant(t.list.Vary)
		t.key = variantKey(t.primary, t.list, variant)
		t.landed = t.e.landedShard(t.key).Load()
		found = t.open(t.key, variant)
		if found == nil {
			return t.absent(ReasonVariant)
		}
	}
	if found == nil {
		if t.ans.Reason == ReasonPurged {
			return t.absent(ReasonPurged)
		}
		return t.absent(ReasonAbsent)
	}
	t.object = found
	return stepJudge
}

// absent asks upstream for what is not stored, or may not be used any more.
func (t *transaction) absent(r Reason) step {
	t.ans.Reason = r
	t.portion = t.e.firstPortion(t.req)
	return stepCollapse
}

// expired asks upstream whether what is stored may be used. If a part is
// stored, no more than a part of what has taken its place is wanted either.
func (t *transaction) expired() step {
	t.ans.Reason = ReasonExpired
	if t.object.Meta().Status == http.StatusPartialContent {
		t.portion = t.e.firstPortion(t.req)
	}
	return stepCollapse
}

// openPrimary gets what stands under a primary key, and notes where the answer
// would be stored if nothing does.
func (t *transaction) openPrimary(primary string) storage.Object {
	key := storage.KeyOf(primary)
	t.primary, t.key = primary, key
	if t.req.Extra != "" {
		t.key = variantKey(primary, unlisted, t.req.Extra)
	}
	t.landed = t.e.landedShard(t.key).Load()
	found := t.open(key, "")
	if found != nil && found.Meta().Status != 0 && t.req.Extra != "" {
		// Stored before the site had Extra in its keys: it is for nobody.
		_ = found.Close()
		return nil
	}
	return found
}

// open gets the object under k unless its own key fields say that it is
// another's: two texts can share a hash.
func (t *transaction) open(k storage.Key, variant string) storage.Object {
	o, err := t.e.Store.Get(k)
	if err != nil {
		if !errors.Is(err, storage.ErrNotFound) {
			t.e.Log.Warn("look-up failed", "key", k, "error", err)
		}
		return nil
	}
	if m := o.Meta(); m.Variant != variant || !t.req.answers(m) {
		_ = o.Close()
		return nil
	}
	return o
}

// judge asks the purges and the rules what the object found is good for.
func (t *transaction) judge() step {
	meta := t.object.Meta()
	hard, soft := t.purged()
	if hard {
		_ = t.e.Store.Delete(t.key)
		t.drop()
		return t.absent(ReasonPurged)
	}
	t.soft = soft
	if t.invalid = !t.e.groups.valid(meta); t.invalid {
		return t.expired()
	}
	switch t.e.reuse(meta, t.req, t.directives, t.now, t.soft) {
	case rfc9111.Fresh:
		return t.fromStore(OutcomeHit, ReasonFresh)
	case rfc9111.StaleWhileRevalidate:
		if t.req.NoStale || t.directives.NoStore || !t.holdsWanted() {
			return t.expired()
		}
		t.e.fillBehind(t)
		return t.fromStore(OutcomeStale, ReasonStaleWhileRevalidate)
	default:
		return t.expired()
	}
}

// purged compares the object found with the purges, also those of the target
// asked for where it was stored under another.
func (t *transaction) purged() (hard, soft bool) {
	meta := t.object.Meta()
	hard, soft, t.compared = t.e.purged(t.object)
	if meta.Target != t.req.Target {
		h, s := t.e.Purges.Covering(meta.Site, meta.Host, t.req.Target, nil)
		hard, soft = hard || h > meta.Stamp, soft || s > meta.Stamp
	}
	return hard, soft
}

// reuse is what a stored object is good for at now. On a node that does not
// trust its view of the log it has to be validated (promise P4).
func (e *Engine) reuse(m *storage.Meta, req *Request, d rfc9111.Directives, now time.Time, soft bool) rfc9111.Reuse {
	if !e.trusted(now) {
		return rfc9111.Revalidate
	}
	d = m.Stored.SpareImmutable(now, d, func() http.Header { return rfc9111.ParseFields(m.Header) }, req.Site.Policy)
	return m.Stored.Reuse(now, d, req.Site.Policy, soft)
}

// purged compares an object with the purges, and remembers the version so that
// the next look-up pays one atomic load while nothing is new. If neither hard nor
// soft, it was compared with everything up to that version.
//
// Hard purges up to the remembered version have been compared before, by a look-up
// or a sweep, and what a sweep compared with everything may have been forgotten
// since: it comes back as a purge of all that is older, and not of this object.
func (e *Engine) purged(o storage.Object) (hard, soft bool, compared uint64) {
	applied := e.Purges.Applied()
	checked := o.Checked()
	known := checked.Load()
	if applied <= known {
		return false, false, known
	}
	m := o.Meta()
	h, s := e.Purges.Covering(m.Site, m.Host, m.Target, m.Tags)
	if h > known {
		return true, false, known
	}
	if s > m.Stamp {
		// Not remembered: it stays stale until a refresh gives it a newer stamp.
		return false, true, known
	}
	checked.Store(applied)
	return false, false, applied
}

// collapse makes the transaction the owner of a new fill or a reader of the
// one that runs for its key.
func (t *transaction) collapse() step {
	if t.directives.OnlyIfCached {
		t.ans.Reason = ReasonOnlyIfCached
		t.err = &UpstreamError{Status: http.StatusGatewayTimeout, Err: errOnlyIfCached}
		return t.fail()
	}
	if t.directives.NoStore {
		// RFC 9111 section 5.2.1.5: nothing of what upstream says to this
		// request may be stored, so that others would wait for it in vain.
		return t.passBecause(ReasonRequestNoStore)
	}
	if t.rounds++; t.rounds > roundsMax {
		return t.passBecause(ReasonUnsettled)
	}
	if t.req.selective() && t.e.unshared.has(t.key, t.now, t.req.Fields) {
		return t.passBecause(ReasonHitForMiss)
	}
	var how entry
	t.fill, how = t.e.enter(t)
	switch how {
	case entryOwner:
		t.owner = true
		return stepWait
	case entryReader:
		t.owner = false
		return stepWait
	case entryLanded:
		return stepLookup
	case entryClosed:
		t.err = &UpstreamError{Status: http.StatusServiceUnavailable, Err: storage.ErrClosed}
		return stepFailed
	default:
		return t.passBecause(ReasonFillsMax)
	}
}

// wait is for the fill's headers, or for what ends the patience of the one who
// waits: its client, or FillWait.
func (t *transaction) wait() step {
	if t.object != nil && t.req.Hint != nil && !t.invalid {
		t.req.Hint(t.object.Meta())
	}
	patience := time.NewTimer(t.e.FillWait)
	defer patience.Stop()
	select {
	case <-t.fill.ready:
	case <-t.ctx.Done():
		t.err = &UpstreamError{Status: http.StatusGatewayTimeout, Err: t.ctx.Err()}
		return t.fail()
	case <-patience.C:
		if t.owner {
			t.err = &UpstreamError{Status: http.StatusGatewayTimeout, Type: rfc9111.ProxyHTTPResponseTimeout, Err: errHeadersLate}
			return stepFailed
		}
		return t.passBecause(ReasonWait)
	}
	t.now = t.e.now()
	t.ans.Now = t.now
	t.ans.Collapsed = !t.owner
	t.ans.FwdStatus = t.fill.status
	t.ans.Epoch = t.fill.epoch
	t.ans.UpstreamCacheStatus = t.fill.upstreamCacheStatus
	switch t.fill.result {
	case resultStream:
		return t.fromFill()
	case resultRefreshed:
		return t.fromRefreshed()
	case resultPart, resultBlock:
		return t.fromPortion()
	case resultChanged:
		return stepLookup
	case resultPrivate:
		return t.fromPrivate()
	default:
		t.err = t.fill.err
		return stepFailed
	}
}

// fromFill joins the body that is arriving, if it is this request's variant.
// The response has proved that it may be shared, whoever caused the fill.
func (t *transaction) fromFill() step {
	m := t.fill.meta
	if !t.suits(m) {
		return stepLookup
	}
	if t.seeksAhead() {
		return t.passBecause(ReasonPartial)
	}
	reader := t.fill.stream.attach()
	if reader == nil {
		return t.passBecause(ReasonTooLarge)
	}
	t.ans.Outcome, t.ans.Meta, t.ans.reader = OutcomeMiss, m, reader
	t.ans.fill, t.fill = t.fill, nil
	return stepDone
}

// suits says whether what a fill brings is this request's variant, and its
// target in all that matters.
func (t *transaction) suits(m *storage.Meta) bool {
	return t.req.answers(m) && t.req.variant(m.Vary) == m.Variant
}

// fromRefreshed answers with the body that the transaction holds and the meta
// that the 304 gave it. Who holds another body, or none, looks again.
func (t *transaction) fromRefreshed() step {
	m := t.fill.meta
	if t.object == nil || t.object.Meta().BodyID != m.BodyID {
		return stepLookup
	}
	if m.Status == http.StatusPartialContent {
		t.leave()
		return t.fromPart(m, OutcomeRevalidated, ReasonExpired)
	}
	t.ans.Outcome, t.ans.Reason, t.ans.Meta = OutcomeRevalidated, ReasonExpired, m
	t.ans.Tier = t.object.Tier()
	t.ans.object, t.object = t.object, nil
	return stepDone
}

// fromPrivate gives the response to the request that caused it, and to nobody
// else: the others ask upstream themselves. An upstream that is failing is not
// asked again by each of them.
func (t *transaction) fromPrivate() step {
	f := t.fill
	if f.status >= http.StatusInternalServerError {
		t.err = &UpstreamError{Status: f.status, Err: errUpstreamStatus, Relayed: t.owner}
		if !t.owner || t.staleUsable() {
			return stepFailed
		}
	}
	t.ans.Verdict = f.verdict
	if !t.owner && f.verdict == rfc9111.RefusedAuthorization && !authorized(t.req.Fields) {
		return stepLookup // it says nothing about this request, nor about others like it
	}
	if !t.owner {
		return t.passBecause(f.why)
	}
	if !t.req.mayHave(f.status, f.portion) {
		return t.passBecause(f.why)
	}
	if f.status == http.StatusOK && f.why == ReasonTooLarge && t.req.selective() {
		// The fill asked for the whole, of which this client wants a part: a
		// seek in a large file costs the bytes that it wants.
		return t.passBecause(f.why)
	}
	t.ans.Outcome, t.ans.Reason, t.ans.Response = OutcomePass, f.why, f.response
	t.ans.expired, t.ans.stop = t.object != nil, f.cancel
	t.ans.fill, t.fill = t.fill, nil
	return stepDone
}

func (t *transaction) passBecause(r Reason) step {
	t.ans.Reason = r
	return stepPass
}

// pass lets upstream answer this request alone. One that has changed something
// makes what is stored under its targets unusable (RFC 9111 section 4.4): what
// landed before the answer is dropped, and fills that still run may have read
// the old state and do not land.
func (t *transaction) pass() step {
	t.leave()
	t.ans.Collapsed, t.ans.expired = false, t.object != nil && !t.fresh
	before := t.e.beforePost()
	ctx, stop := context.WithCancelCause(t.ctx)
	out := t.req.Forward.Pass(ctx)
	if t.req.Bypass {
		out.Header.Set(FreshField, "1") // upstream may be behind what the request has seen as well
	}
	response, err := t.req.Site.Upstream.RoundTrip(out)
	if err != nil {
		stop(nil)
		t.err = classify(err)
		return stepFailed
	}
	t.ans.stop = stop
	if rfc9111.Invalidates(t.req.Method, response.StatusCode) {
		t.e.invalidate(t.req, t.req.Target)
		for _, target := range t.req.named(response.Header) {
			t.e.invalidate(t.req, target)
		}
		t.e.groups.invalidate(t.req.Site.Name, t.req.Host, rfc9111.GroupInvalidation(t.req.Method, response.StatusCode, response.Header))
		t.keep(before, out, response)
	}
	t.ans.Outcome, t.ans.Response, t.ans.FwdStatus = OutcomePass, response, response.StatusCode
	t.ans.UpstreamCacheStatus = cacheStatus(response.Header)
	return stepDone
}

// failed answers from a stale object where the rules allow it.
func (t *transaction) failed() step {
	if t.staleUsable() {
		return t.fromStore(OutcomeStale, ReasonStaleIfError)
	}
	if t.object != nil && t.object.Meta().Stored.MustRevalidate && !t.err.Relayed {
		// RFC 9111 section 5.2.2.2: a cache that cannot reach the origin
		// answers 504 rather than with what must be revalidated.
		t.err.Status = http.StatusGatewayTimeout
	}
	t.ans.Reason, t.ans.expired = ReasonUpstream, t.object != nil
	return t.fail()
}

// staleUsable says whether the object found may answer in place of what
// upstream did not. It was judged before the wait for upstream, and a node that
// was away then may have caught up meanwhile: trust, and then the purges, are
// looked at again (promise P4).
func (t *transaction) staleUsable() bool {
	if t.object == nil || t.invalid || !t.e.Purges.Trusted(time.Now()) || !t.holdsWanted() {
		return false
	}
	hard, soft := t.purged()
	if hard {
		return false
	}
	t.soft = t.soft || soft
	return t.object.Meta().Stored.MayServeStaleOnError(t.now, t.req.Site.Policy, t.soft)
}

func (t *transaction) fail() step {
	t.ans.Outcome, t.ans.Err = OutcomeError, t.err
	return stepDone
}

// fromStore answers with the object found.
func (t *transaction) fromStore(o Outcome, r Reason) step {
	if m := t.object.Meta(); m.Status == http.StatusPartialContent {
		return t.fromPart(m, o, r)
	}
	t.ans.Outcome, t.ans.Reason = o, r
	t.ans.Meta, t.ans.Tier = t.object.Meta(), t.object.Tier()
	t.ans.object, t.object = t.object, nil
	t.ans.soft, t.ans.compared = t.soft, t.compared
	return stepDone
}

// leave gives up the transaction's part in a fill.
func (t *transaction) leave() {
	if t.fill != nil {
		t.fill.release()
		t.fill = nil
	}
}

// drop gives back whatever the answer did not take over.
func (t *transaction) drop() {
	t.leave()
	if t.object != nil {
		_ = t.object.Close()
		t.object = nil
	}
}
