package cache

import (
	"net/http"
	"strings"
	"time"

	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage"
)

// Explanation is what a node knows of a request, and what the request would get
// now. It has no body, and of the request only what its key and variant are made
// of. Seconds have a precision of a millisecond.
type Explanation struct {
	// Site is the site's name. Key is where the answer is, or would be, stored:
	// that of the variant where there are variants. KeyText is what the key
	// without its variant is made of.
	Site    string `json:"site"`
	Key     string `json:"key"`
	KeyText string `json:"key_text"`
	// Vary are the request fields that choose the variant, as far as the node
	// has stored them; Variant is what they make of this request.
	Vary    []string `json:"vary,omitempty"`
	Variant string   `json:"variant,omitempty"`

	// Outcome and Reason are how the request would end. What upstream will say
	// is not known: revalidated becomes a miss where it has something else, and
	// a miss a pass where its response may not be shared.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	// Verdict is why the last response for the key was not stored, for reasons
	// uncacheable and hit-for-miss, and UnsharedSeconds for how long that is
	// remembered yet.
	Verdict         string  `json:"verdict,omitempty"`
	UnsharedSeconds float64 `json:"unshared_seconds,omitempty"`

	// Stored is the object stored; nil if there is none.
	Stored *ExplainedObject `json:"stored,omitempty"`
	// Fill is the fill that runs for the key, or for the first block that the
	// request lacks; nil if there is none.
	Fill *ExplainedFill `json:"fill,omitempty"`

	// Asks are the nodes upstream that would be asked, the first one first, where
	// several share the keys.
	Asks []string `json:"asks,omitempty"`

	// Applied is the newest purge in force on the node, in the form of Version.
	Applied string `json:"applied"`
	// Trusted says whether the node trusts its view of the log; while it does
	// not, everything stored is validated before use (promise P4).
	Trusted bool `json:"trusted"`
}

// ExplainedObject is a stored object as an Explanation shows it.
type ExplainedObject struct {
	// Tiers are the tiers that have it, that which would answer first.
	Tiers []string `json:"tiers"`
	// Status is 206 for a partial object, which is BodyBytes of one piece and
	// blocks besides, of a whole of WholeBytes; MissingFrom is the first byte
	// that the request wants and the node does not have.
	Status      int    `json:"status"`
	BodyBytes   int64  `json:"body_bytes"`
	WholeBytes  int64  `json:"whole_bytes,omitempty"`
	MissingFrom *int64 `json:"missing_from,omitempty"`
	ETag        string `json:"etag,omitempty"`
	// LastModified is the field as received.
	LastModified string   `json:"last_modified,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	// AgeSeconds and LifetimeSeconds are current_age and freshness_lifetime of
	// RFC 9111 section 4.2. FreshSeconds is how long it stays fresh: zero or
	// negative once it is stale, which a soft purge makes it at once.
	AgeSeconds      float64 `json:"age_seconds"`
	LifetimeSeconds float64 `json:"lifetime_seconds"`
	FreshSeconds    float64 `json:"fresh_seconds"`
	// NoCache says that each use must be validated first, MustRevalidate that
	// it is never served stale, StaleIfError that it may answer now if upstream
	// fails.
	NoCache        bool `json:"no_cache,omitempty"`
	MustRevalidate bool `json:"must_revalidate,omitempty"`
	StaleIfError   bool `json:"stale_if_error,omitempty"`
	// Stamp is the purge version that it is known to be as new as, in the form
	// of Version. HardPurge and SoftPurge are the newest purges above it that
	// cover the object; 0 where there is none.
	Stamp     string `json:"stamp"`
	HardPurge uint64 `json:"hard_purge,omitempty"`
	SoftPurge uint64 `json:"soft_purge,omitempty"`
	// Groups are those of Cache-Groups (RFC 9875). GroupsInvalid says that an
	// unsafe request has made one of them invalid, or may have.
	Groups        []string `json:"groups,omitempty"`
	GroupsInvalid bool     `json:"groups_invalid,omitempty"`
	// Codings are the content codings that it is stored in besides its own.
	Codings []ExplainedCoding `json:"codings,omitempty"`
}

// ExplainedCoding is a stored object in another content coding.
type ExplainedCoding struct {
	Coding    string   `json:"coding"`
	BodyBytes int64    `json:"body_bytes"`
	Tiers     []string `json:"tiers"`
}

// ExplainedFill is a fill as an Explanation shows it.
type ExplainedFill struct {
	// Stamp is the purge version in force when it began, in the form of Version.
	Stamp      string  `json:"stamp"`
	AgeSeconds float64 `json:"age_seconds"`
	// Arriving says that upstream's header has arrived.
	Arriving bool `json:"arriving"`
	// Joins says whether the request would wait for it: not if a purge that may
	// cover it came after it began (promise P3), nor while the key is remembered
	// as not shared.
	Joins bool `json:"joins"`
}

// explaining is one Explain on its way: a transaction that touches nothing.
type explaining struct {
	e          *Engine
	req        *Request
	now        time.Time
	epoch      string
	directives rfc9111.Directives

	// primary and key are as in transaction.
	primary string
	key     storage.Key
	copies  []storage.Copy
	// object is what a request would be answered from; nil if there is none.
	object *storage.Meta
	// lacks is the first byte wanted that a partial object does not have; nil if
	// it has all. blockKey is that of the block with it, if joinable.
	lacks      *int64
	joinable   bool
	blockKey   storage.Key
	hard, soft uint64 // the newest purges that cover it, if above its stamp
	invalid    bool   // one of its groups was made invalid
	absent     Reason // why there is none: ReasonAbsent or ReasonVariant
	out        Explanation
}

// Explain says what Serve would do with req now, by going its way as far as that
// needs nobody else. It changes nothing: no object is opened, used or dropped, no
// fill started, and no purge remembered as checked.
func (e *Engine) Explain(req *Request) Explanation {
	x := &explaining{
		e: e, req: req, now: e.now(), absent: ReasonAbsent,
		directives: rfc9111.RequestDirectives(req.Fields, req.Site.Policy),
	}
	// Before the store, as in lookup.
	var applied uint64
	x.epoch, applied = e.Purges.Position()
	x.out.Site = req.Site.Name
	x.out.Applied, x.out.Trusted = Version(x.epoch, applied), e.trusted(x.now)
	x.lookup()
	x.out.Key, x.out.KeyText = x.key.String(), x.primary
	if x.object != nil {
		x.compare()
		x.seek()
		x.out.Stored = x.describe()
	}
	x.out.Fill = e.explainFill(x.key, req, x.now)
	outcome, reason := x.judge()
	x.out.Outcome, x.out.Reason = outcome.String(), reason.String()
	if several, ok := req.Site.Upstream.(interface {
		Order(host, target string) []string
	}); ok {
		x.out.Asks = several.Order(req.Host, req.Target)
	}
	return x.out
}

// lookup finds the object, as transaction.lookup does.
func (x *explaining) lookup() {
	x.peekPrimary(x.req.keyText())
	if x.object == nil {
		if primary, ok := x.hinted(); ok && primary != x.primary {
			x.peekPrimary(primary)
		}
	}
	if x.object == nil || x.object.Status != 0 {
		return
	}
	list := x.object
	x.out.Vary, x.out.Variant = list.Vary, x.req.variant(list.Vary)
	x.key, x.absent = variantKey(x.primary, list, x.out.Variant), ReasonVariant
	x.peek(x.out.Variant)
}

// hinted is the primary key to look under next, as Engine.hinted has it.
func (x *explaining) hinted() (primary string, ok bool) {
	path, _, found := strings.Cut(x.req.Target, "?")
	if !found {
		return "", false
	}
	copies := x.e.Store.Peek(searchKey(x.req.Site.Name, x.req.Host, path))
	if len(copies) == 0 {
		return "", false
	}
	return byHint(copies[0].Meta, x.req.Site.Name, x.req.Host, x.req.Target)
}

// peekPrimary is transaction.openPrimary.
func (x *explaining) peekPrimary(primary string) {
	x.primary, x.key = primary, storage.KeyOf(primary)
	x.peek("")
	if x.req.Extra == "" {
		return
	}
	if x.object != nil && x.object.Status != 0 {
		x.object = nil
	}
	if x.object == nil {
		x.key, x.out.Variant = variantKey(primary, unlisted, x.req.Extra), x.req.Extra
	}
}

func (x *explaining) peek(variant string) {
	x.copies, x.object = x.e.Store.Peek(x.key), nil
	if len(x.copies) == 0 {
		return
	}
	if m := x.copies[0].Meta; m.Variant == variant && x.req.answers(m) {
		x.object = m
	}
}

// compare asks the purges and the groups, as a look-up does.
func (x *explaining) compare() {
	m := x.object
	known := x.copies[0].Checked
	hard, soft := x.e.Purges.Covering(m.Site, m.Host, m.Target, m.Tags)
	if m.Target != x.req.Target {
		h, s := x.e.Purges.Covering(m.Site, m.Host, x.req.Target, nil)
		soft = max(soft, s)
		if hard <= known && h > m.Stamp {
			hard, known = h, m.Stamp
		}
	}
	if hard > known {
		x.hard = hard
	}
	if soft > m.Stamp {
		x.soft = soft
	}
	x.invalid = !x.e.groups.valid(m)
}

// seek finds out whether a partial object has what the request wants, as
// sparse.missing does.
func (x *explaining) seek() {
	head := x.object
	if head.Status != http.StatusPartialContent {
		return
	}
	s := &sparse{e: x.e, req: x.req, primary: x.primary, at: x.key, head: head, header: rfc9111.ParseFields(head.Header)}
	s.from, s.wanted = part(head).Range, x.req.wanted(s.header, head.Size)
	at, missing := s.lacks(func(block rfc9110.Range) bool {
		copies := x.e.Store.Peek(s.keyOf(block))
		return len(copies) > 0 && isBlock(copies[0].Meta, head, block)
	})
	if !missing {
		return
	}
	x.lacks, x.joinable = &at, joinable(s.header)
	if x.joinable {
		x.blockKey = s.keyOf(s.block(at))
	}
}

func (x *explaining) describe() *ExplainedObject {
	m, ttl := x.object, x.object.Stored.TTL(x.now)
	if x.soft > 0 {
		ttl = min(ttl, 0) // as Answer.CacheStatus has it
	}
	o := &ExplainedObject{
		Status: m.Status, BodyBytes: m.BodyBytes, WholeBytes: m.Size, MissingFrom: x.lacks, ETag: m.ETag, LastModified: m.LastModified, Tags: m.Tags,
		AgeSeconds: seconds(m.Stored.Age(x.now)), LifetimeSeconds: seconds(m.Stored.Lifetime), FreshSeconds: seconds(ttl),
		NoCache: m.Stored.NoCache, MustRevalidate: m.Stored.MustRevalidate,
		StaleIfError: x.hard == 0 && !x.invalid && x.lacks == nil && x.out.Trusted && m.Stored.MayServeStaleOnError(x.now, x.req.Site.Policy, x.soft > 0),
		Stamp:        Version(x.epoch, m.Stamp), HardPurge: x.hard, SoftPurge: x.soft,
		Groups: m.Groups, GroupsInvalid: x.invalid,
	}
	for _, c := range x.copies {
		o.Tiers = append(o.Tiers, c.Tier.String())
	}
	o.Codings = x.codings()
	return o
}

// codings are what has been derived of the object.
func (x *explaining) codings() []ExplainedCoding {
	if x.req.Site.Encodings == nil {
		return nil
	}
	var derived []ExplainedCoding
	for _, c := range rfc9111.Codings {
		copies := x.e.Store.Peek(derivedKey(x.key, x.object.BodyID, c))
		if len(copies) == 0 || !derivedFrom(copies[0].Meta, x.object, c) {
			continue
		}
		d := ExplainedCoding{Coding: c.String(), BodyBytes: copies[0].Meta.BodyBytes}
		for _, copied := range copies {
			d.Tiers = append(d.Tiers, copied.Tier.String())
		}
		derived = append(derived, d)
	}
	return derived
}

// explainFill describes the fill that runs for a key, if one does.
func (e *Engine) explainFill(k storage.Key, req *Request, now time.Time) *ExplainedFill {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.fills[k]
	if f == nil {
		return nil
	}
	_, alone := e.unshared.peek(k, now, req.Fields)
	x := &ExplainedFill{
		Stamp: Version(f.epoch, f.stamp), AgeSeconds: seconds(now.Sub(f.began)),
		Joins: !alone && f.admits(req),
	}
	select {
	case <-f.ready:
		x.Arriving = true
	default:
	}
	return x
}

// judge says how the request would end, as transaction.judge and collapse do.
func (x *explaining) judge() (Outcome, Reason) {
	switch {
	case !cacheable(x.req.Method):
		return OutcomePass, ReasonMethod
	case x.req.Bypass:
		return OutcomePass, ReasonBypass
	case x.e.RefuseUntrusted && !x.out.Trusted:
		return OutcomeError, ReasonUntrusted
	case x.object == nil:
		return x.collapse(x.key, x.absent)
	case x.hard > 0:
		return x.collapse(x.key, ReasonPurged)
	case x.invalid:
		return x.collapse(x.key, ReasonExpired)
	}
	switch x.e.reuse(x.object, x.req, x.directives, x.now, x.soft > 0) {
	case rfc9111.Fresh:
		if x.lacks != nil {
			return x.fetchPart()
		}
		return OutcomeHit, ReasonFresh
	case rfc9111.StaleWhileRevalidate:
		if !x.req.NoStale && !x.directives.NoStore && x.lacks == nil {
			return OutcomeStale, ReasonStaleWhileRevalidate
		}
	}
	return x.collapse(x.key, ReasonExpired)
}

// fetchPart says how a request would end that wants more than a fresh partial
// object has, as transaction.fromPart does.
func (x *explaining) fetchPart() (Outcome, Reason) {
	switch {
	case x.joinable:
		return x.collapse(x.blockKey, ReasonPartial)
	case x.e.firstPortion(x.req) != nil:
		return OutcomePass, ReasonPartial
	}
	return x.collapse(x.key, ReasonPartial)
}

// collapse says how a request would end that upstream has to answer, by a fill
// under k.
func (x *explaining) collapse(k storage.Key, r Reason) (Outcome, Reason) {
	if k != x.key {
		x.out.Fill = x.e.explainFill(k, x.req, x.now)
	}
	joins := x.out.Fill != nil && x.out.Fill.Joins
	unshared, alone := x.e.unshared.peek(k, x.now, x.req.Fields)
	if alone {
		x.out.UnsharedSeconds = seconds(unshared.until.Sub(x.now))
		if unshared.why == ReasonUncacheable {
			x.out.Verdict = unshared.verdict.String()
		}
	}
	switch {
	case x.directives.OnlyIfCached:
		return OutcomeError, ReasonOnlyIfCached
	case x.directives.NoStore:
		return OutcomePass, ReasonRequestNoStore
	case alone && x.req.selective():
		return OutcomePass, ReasonHitForMiss
	case !joins && x.e.FillsRunning() >= x.e.FillsMax:
		return OutcomePass, ReasonFillsMax
	case alone && unshared.ofWhole():
		return OutcomePass, unshared.why
	case r == ReasonExpired && x.lacks == nil && (x.object.ETag != "" || x.object.LastModified != ""):
		return OutcomeRevalidated, r
	}
	return OutcomeMiss, r
}

// seconds is d in seconds, to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
