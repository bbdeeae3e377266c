package cache

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"weir/cache/rfc9111"
	"weir/internal/planted"
	"weir/storage"
)

// settle decides what the response is and sets the fields below ready.
func (f *fill) settle(asked time.Time, response *http.Response, err error) {
	arrived := f.e.now()
	if err != nil {
		f.err = classify(err)
		return
	}
	f.status = response.StatusCode
	f.upstreamCacheStatus = cacheStatus(response.Header)
	if f.status == http.StatusNotModified {
		_ = response.Body.Close()
		f.refresh(asked, arrived, response)
		return
	}
	why := f.take(asked, arrived, response)
	if why == ReasonNone {
		return
	}
	f.result, f.why, f.response = resultPrivate, why, response
	if why == ReasonTooLarge || f.verdict == rfc9111.RefusedPartial || provesUnshared(f.verdict, f.status) {
		f.e.unshared.add(f.key, arrived, refusal{
			why: why, verdict: f.verdict, authorized: why == ReasonUncacheable && authorized(f.req.Fields),
		})
	}
	if f.base != nil && f.replaces() && !f.detached.Load() {
		// Upstream has said that there is something else now, so that the
		// old content must not come back as stale (RFC 9111 section 4.3.3).
		_ = f.e.Store.Delete(f.key)
	}
}

// replaces says whether a response that is not stored has taken the place of
// what is, for everybody: not an error of the server, nor one of the request,
// which anybody can provoke, nor what only those with credentials are told.
func (f *fill) replaces() bool {
	switch f.status {
	case http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
		http.StatusExpectationFailed, http.StatusMisdirectedRequest, http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
		return false
	}
	return f.status < http.StatusInternalServerError && f.verdict != rfc9111.RefusedAuthorization
}

// take stores what may be shared of a response. It gives the reason why the
// response is private, or ReasonNone.
func (f *fill) take(asked, arrived time.Time, response *http.Response) Reason {
	switch {
	case f.portion == nil:
		return f.admit(asked, arrived, response)
	case f.status == http.StatusPartialContent:
		return f.admitPart(asked, arrived, response)
	case f.portion.head != nil && f.status < http.StatusInternalServerError:
		f.verdict = rfc9111.RefusedStatus
		if authorized(f.req.Fields) && f.status >= http.StatusBadRequest {
			f.verdict = rfc9111.RefusedAuthorization
		}
		if !f.replaces() {
			return ReasonUncacheable
		}
		return f.outdated(arrived, response)
	default:
		return f.admit(asked, arrived, response)
	}
}

// refresh gives the stored object the meta that a 304 updated. Its stamp is
// the fill's, so a purge that came meanwhile still covers it.
func (f *fill) refresh(asked, arrived time.Time, response *http.Response) {
	policy := f.req.Site.Policy
	header, stored := rfc9111.Refresh(f.base.Status, rfc9111.ParseFields(f.base.Header), response.Header, asked, arrived, policy)
	if f.base.Status == http.StatusPartialContent {
		f.verdict = rfc9111.StorablePart(f.req.Fields, header, policy)
	} else {
		f.verdict = rfc9111.Storable(http.MethodGet, f.req.Fields, f.base.Status, header, policy)
	}
	m := f.newMeta(f.base.Status, header, stored, response)
	m.BodyID, m.BodyBytes, m.Start, m.Size = f.base.BodyID, f.base.BodyBytes, f.base.Start, f.base.Size
	m.Vary, m.Variant = f.base.Vary, f.base.Variant
	f.result, f.meta = resultRefreshed, m
	if f.detached.Load() {
		return
	}
	if f.verdict == rfc9111.RefusedAuthorization {
		return // what others may have is as it was
	}
	if f.verdict != rfc9111.CanStore {
		// The 304 took back what the stored response had allowed.
		_ = f.e.Store.Delete(f.key)
		return
	}
	err := f.e.Store.Refresh(f.key, m)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		f.e.Log.Warn("refresh failed", "key", f.key, "error", err)
	}
}

// admit opens the store for a response that may be shared. It gives the reason
// why the response is private, or ReasonNone.
func (f *fill) admit(asked, arrived time.Time, response *http.Response) Reason {
	policy := f.req.Site.Policy
	f.verdict = rfc9111.Storable(http.MethodGet, f.req.Fields, response.StatusCode, response.Header, policy)
	if f.verdict != rfc9111.CanStore {
		return ReasonUncacheable
	}
	if response.StatusCode >= http.StatusInternalServerError && f.beside {
		// An error never replaces an object that may still be of use, nor the
		// partial object that it was to bring more of.
		f.verdict = rfc9111.RefusedStatus
		return ReasonUncacheable
	}
	return f.store(f.newMeta(response.StatusCode, rfc9111.StoredFields(response.Header),
		rfc9111.NewStored(response.StatusCode, response.Header, asked, arrived, policy), response), response)
}

// store opens the store for a whole response of which m is known, and lets
// readers in. It gives the reason why there was no room, or ReasonNone.
func (f *fill) store(m *storage.Meta, response *http.Response) Reason {
	m.BodyID, m.BodyBytes = rand.Uint64(), response.ContentLength
	key, err := f.place(m, response.Header)
	if err == nil {
		err = f.open(key, m)
	}
	if err != nil {
		f.e.Log.Debug("not stored", "key", f.primary, "error", err)
		return ReasonTooLarge
	}
	f.let(resultStream, m)
	return ReasonNone
}

// place gives the key for an object with the response fields in h, and makes it
// the variant that these say.
func (f *fill) place(m *storage.Meta, h http.Header) (storage.Key, error) {
	f.reduce(h)
	m.Vary, _ = rfc9111.VaryFields(h)
	if f.req.Extra != "" {
		m.Vary = slices.DeleteFunc(m.Vary, f.req.Site.Key.Covers)
	}
	if len(m.Vary) == 0 && f.req.Extra == "" {
		return storage.KeyOf(f.primary), nil
	}
	list, err := f.variants(m)
	if err != nil {
		return storage.Key{}, err
	}
	return variantKey(f.primary, list, m.Variant), nil
}

// open begins the object that the fill's body will be.
func (f *fill) open(key storage.Key, m *storage.Meta) error {
	w, err := f.e.Store.Create(key, m)
	if err != nil {
		return err
	}
	f.at = key
	f.stream = newStream(w, m.BodyBytes, f.e.StallTimeout, &f.e.relays, func() int { return int(f.refs.Load()) - 1 })
	return nil
}

// let lets readers in; m is what they see of the response.
func (f *fill) let(r result, m *storage.Meta) {
	f.result, f.meta = r, m
	f.tagged.Store(m)
	f.e.unshared.remove(f.key)
	f.alias(f.at)
}

// variants gives the list of variants that m belongs to: the one found, if it
// names the same fields, or a new one; m's variant is on it. It is stored at
// once, so that a request for another variant finds it while this fill still
// runs.
func (f *fill) variants(m *storage.Meta) (*storage.Meta, error) {
	f.e.listing.Lock()
	defer f.e.listing.Unlock()
	key := storage.KeyOf(f.primary)
	now := f.listNow(key)
	if f.req.Extra != "" {
		// Fills that Extra tells apart run beside each other: the list that
		// look-up found may have been replaced by another's.
		f.list = now
		m.Vary = f.varyWith(m.Vary)
	}
	m.Variant = f.req.variant(m.Vary)
	list := &storage.Meta{
		Site: m.Site, Host: m.Host, Target: m.Target,
		BodyID: rand.Uint64(), Stamp: m.Stamp, Vary: m.Vary,
	}
	if f.list != nil && slices.Equal(f.list.Vary, m.Vary) {
		*list = *f.list
	}
	if f.detached.Load() {
		return list, nil
	}
	if now != nil && now.BodyID == list.BodyID {
		list.Header = now.Header // others may have been added
	}
	return list, f.enlist(key, list, variantKey(f.primary, list, m.Variant))
}

// enlist puts a variant on a list, the oldest off it if there are too many, and
// stores the list. Engine.listing is held.
func (f *fill) enlist(key storage.Key, list *storage.Meta, variant storage.Key) error {
	const size = len(storage.Key{})
	for known := range slices.Chunk(list.Header, size) {
		if bytes.Equal(known, variant[:]) {
			return nil
		}
	}
	list.Header = append(slices.Clone(list.Header), variant[:]...)
	for len(list.Header) > f.e.VariantsMax*size {
		if err := f.e.Store.Delete(storage.Key(list.Header[:size])); err != nil {
			f.e.Log.Warn("oldest variant not deleted", "key", f.primary, "error", err)
		}
		list.Header = list.Header[size:]
	}
	if f.e.Store.Refresh(key, list) == nil {
		return nil
	}
	w, err := f.e.Store.Create(key, list)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	return w.Commit()
}

// listNow gives the list of variants that is stored now, or nil.
func (f *fill) listNow(key storage.Key) *storage.Meta {
	o, err := f.e.Store.Get(key)
	if err != nil {
		return nil
	}
	defer func() { _ = o.Close() }()
	m := o.Meta()
	if m.Status != 0 || !f.req.answers(m) {
		return nil
	}
	return m
}

// varyWith adds the fields of the list that is there to those of a response.
// Responses that Extra tells apart can differ in Vary for good, and would
// otherwise put each other's list away again and again. What it costs are more
// variants than need be.
func (f *fill) varyWith(vary []string) []string {
	if f.list == nil {
		return vary
	}
	both := slices.Compact(slices.Sorted(slices.Values(slices.Concat(f.list.Vary, vary))))
	if len(both) > listFieldsMax {
		return vary
	}
	return both
}

// listFieldsMax bounds the fields by which the variants of one list differ.
const listFieldsMax = 16

// alias registers the fill under the key of the variant that it turned out to
// be, unless another fill is there.
func (f *fill) alias(k storage.Key) {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.detached.Load() || len(f.keys) == 0 || e.fills[k] != nil {
		return
	}
	f.keys = append(f.keys, k)
	e.fills[k] = f
}

// newMeta puts together what is stored of a response: header in its stored
// form, and the response that it arrived with for the stamp.
func (f *fill) newMeta(status int, header http.Header, stored rfc9111.Stored, with *http.Response) *storage.Meta {
	header.Del("Content-Length") // the body's own length says it
	if header.Get("Date") == "" {
		header.Set("Date", stored.ResponseTime.UTC().Format(http.TimeFormat))
	}
	return &storage.Meta{
		Site: f.req.Site.Name, Host: f.req.Host, Target: f.req.Target,
		Stamp: f.stampOf(with.Header), Tags: rfc9111.Tags(header),
		Groups: rfc9111.CacheGroups(header), GroupStamp: f.grouped,
		Status: status, Header: rfc9111.AppendFields(nil, header),
		ETag: header.Get("ETag"), LastModified: header.Get("Last-Modified"),
		Stored: stored,
	}
}

// stampOf reads the stamp that a shield's answer carries. Without one the
// answer comes from the origin itself, and is as new as the fill. One of
// another log says nothing here: any purge may cover the object.
func (f *fill) stampOf(h http.Header) uint64 {
	own := f.stamp
	if planted.In(planted.LateStamp) {
		own = f.e.Purges.Applied()
	}
	field := h.Get(StampField)
	if field == "" || planted.In(planted.ShieldStampIgnored) {
		return own
	}
	epoch, version, ok := ParseVersion(field)
	if !ok || epoch != f.epoch {
		return 0
	}
	return min(version, own)
}
