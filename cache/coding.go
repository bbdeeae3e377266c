package cache

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage"
)

// Encodings says how a site's responses are put into the content coding that
// each client takes. Engines that face clients have them; a shield does not: it
// hands on what the origin sent, and its edges do this. The zero value
// compresses nothing, and decodes for clients that do not take what is stored.
type Encodings struct {
	// Compress are the codings that text is compressed in, the best first.
	Compress []rfc9111.Coding
	// BytesMin and BytesMax bound the bodies that are compressed, and BytesMax
	// the coded ones that are decoded. Default 1 KiB and 10 MiB.
	BytesMin, BytesMax int64
}

func (s *Encodings) bytesMin() int64 { return cmp.Or(s.BytesMin, 1<<10) }

func (s *Encodings) bytesMax() int64 { return cmp.Or(s.BytesMax, 10<<20) }

// compresses says whether text of this length, negative while it is not known,
// is worth compressing.
func (s *Encodings) compresses(bytes int64) bool {
	return len(s.Compress) > 0 && (bytes < 0 || bytes >= s.bytesMin() && bytes <= s.bytesMax())
}

// representation says which of an object's representations answers a request:
// they have the same content and differ in their coding.
type representation struct {
	// base is the coding that the object is stored in, want the one that the
	// request is answered in if it can be had.
	base, want rfc9111.Coding
	// need says that base is of no use to the client: the request waits.
	need bool
	// others are codings that the request admits besides want, so that a copy
	// that the client has may be in one of them.
	others [len(rfc9111.Codings)]rfc9111.Coding
	count  int
}

// represent says how the object that m describes answers req; ok is false if it
// has but one representation. bytes is its length, negative while that is not
// known. It does not allocate.
func represent(req *Request, m *storage.Meta, bytes int64) (r representation, ok bool) {
	site := req.Site.Encodings
	form := rfc9111.FormOf(m.Status, m.Vary, m.Header)
	accepts := rfc9111.ParseAcceptance(req.Fields)
	r.base = form.Coding
	switch {
	case form.Fixed:
		return r, false
	case form.Coding == rfc9111.CodingIdentity:
		if !form.Text || !site.compresses(bytes) {
			return r, false
		}
		r.want = accepts.Best(site.Compress)
		r.need = r.want != r.base && !accepts.Admits(r.base)
		r.admit(&accepts, r.base)
		for _, c := range site.Compress {
			r.admit(&accepts, c)
		}
	case bytes > site.bytesMax():
		return r, false
	case accepts.Admits(form.Coding), !accepts.Given && !form.Text:
		// A client that says nothing about codings, and asks for no text, is
		// taken for one that wants the file.
		r.want = form.Coding
	default:
		r.want, r.need = rfc9111.CodingIdentity, true
	}
	return r, true
}

func (r *representation) admit(accepts *rfc9111.Acceptance, c rfc9111.Coding) {
	if c != r.want && accepts.Admits(c) && r.count < len(r.others) {
		r.others[r.count] = c
		r.count++
	}
}

// named gives the first coding, want before the others, of whose entity tag
// holds is true.
func (r *representation) named(base *storage.Meta, holds func(etag string) bool) (rfc9111.Coding, bool) {
	if holds(r.tag(base, r.want)) {
		return r.want, true
	}
	for _, c := range r.others[:r.count] {
		if holds(r.tag(base, c)) {
			return c, true
		}
	}
	return 0, false
}

// tag is the entity tag of the object in a coding.
func (r *representation) tag(base *storage.Meta, c rfc9111.Coding) string {
	if c == r.base {
		return base.ETag
	}
	return rfc9111.CodedTag(base.ETag, labelOf(c))
}

// AdmitStored adds to a request's If-Match, for each entity tag that this node may
// have made for an object in another coding, the tag of the object as upstream has
// it: who changes what he has read has the content of either (RFC 9110 section
// 13.1.1), and upstream knows only its own.
func (s *Encodings) AdmitStored(header http.Header) {
	var stored []string
	for _, line := range header.Values("If-Match") {
		for _, c := range rfc9111.Codings {
			line = strings.ReplaceAll(line, "-"+labelOf(c)+`"`, `"`)
		}
		stored = append(stored, line)
	}
	if !slices.Equal(stored, header.Values("If-Match")) {
		header["If-Match"] = append(slices.Clone(header["If-Match"]), stored...)
	}
}

// adapt puts the answer into the coding that the client takes best. What is not
// stored in it yet is answered as it is, and made behind the answer; but a
// client for whom that would be of no use waits.
func (t *transaction) adapt() {
	a := t.ans
	if t.req.Site.Encodings == nil || a.Meta == nil || a.object == nil && a.reader == nil && a.sparse == nil {
		return
	}
	base := a.Meta
	r, ok := represent(t.req, base, a.Size())
	if !ok {
		return
	}
	a.Negotiated = true
	if rfc9111.ParseCacheControl(t.req.Fields.Values("Cache-Control")).NoTransform {
		return // RFC 9111 section 5.2.1.6
	}
	if t.confirm(base, &r) {
		return
	}
	t.conditions(base, &r)
	switch {
	case r.want == r.base:
	case a.sparse != nil:
		t.wholeOf(a.sparse, &r)
	case a.object != nil:
		t.derived(t.key, base, &r)
	case r.need:
		t.derivedFromFill(base, &r)
	}
}

// confirm answers a request that names the entity tag of a representation that
// is current, whether it is stored or not: the client has it (RFC 9110 section
// 13.1.2).
func (t *transaction) confirm(base *storage.Meta, r *representation) bool {
	if base.ETag == "" || len(t.req.Fields.Values("If-None-Match")) == 0 {
		return false
	}
	c, has := r.named(base, func(etag string) bool {
		return rfc9110.EvaluateStored(t.req.Method, t.req.Fields, etag, base.LastModified, "") == rfc9110.NotModified
	})
	switch {
	case !has:
		return false
	case c == r.base:
		return true
	case t.ans.Size() < 0:
		return false // base's own meta has yet to learn its length
	}
	t.ans.drop()
	t.ans.Meta = deriveMeta(base, c)
	return true
}

// conditions finds the representation that a request for a range, or with
// If-Match, is about. Ranges are of one representation's bytes (RFC 9110 section
// 14.1.2): of the one that a strong tag names, and without a tag of the stored
// one, if the client takes it. A date does not tell the representations of text
// apart, of which a client may have had any: then the whole is sent.
func (t *transaction) conditions(base *storage.Meta, r *representation) {
	fields := t.req.Fields
	ranged := t.req.Method == http.MethodGet && len(fields.Values("Range")) > 0
	ifRange := ranged && len(fields.Values("If-Range")) > 0
	ifMatch := len(fields.Values("If-Match")) > 0
	if ranged && !ifRange && !r.need {
		if !ifMatch || rfc9110.EvaluateStored(t.req.Method, fields, base.ETag, base.LastModified, "") != rfc9110.Failed {
			r.want = r.base
			return
		}
	}
	if !ifRange && !ifMatch {
		return
	}
	c, has := r.named(base, func(etag string) bool {
		return (!ifRange || rfc9110.IfRange(fields, etag, "")) &&
			(!ifMatch || rfc9110.EvaluateStored(t.req.Method, fields, etag, base.LastModified, "") != rfc9110.Failed)
	})
	if has {
		r.want = c
		return
	}
	t.ans.Whole = ifRange && r.base == rfc9111.CodingIdentity && (r.want != r.base || r.count > 0)
}

// derived answers with the object's representation in the wanted coding, if it
// is stored, and otherwise has it made: before the answer if the client needs
// it, and else behind it.
func (t *transaction) derived(key storage.Key, base *storage.Meta, r *representation) {
	job := derivation{base: key, bodyID: base.BodyID, key: derivedKey(key, base.BodyID, r.want), from: r.base, to: r.want}
	if t.fromDerived(&job, base) {
		return
	}
	d := t.e.derivations.start(job, r.need)
	if d == nil || !r.need {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.e.FillWait)
	defer cancel()
	if d.wait(ctx) {
		t.fromDerived(&job, base)
	}
}

// fromDerived answers with the derived object, if it is stored. Its meta is
// that of the base as it was when it was derived. If a 304 has refreshed the
// base since, the answer has the new meta, and so will the derived object.
func (t *transaction) fromDerived(job *derivation, base *storage.Meta) bool {
	object := t.e.derivedObject(job.key, base, job.to)
	if object == nil {
		return false
	}
	m := object.Meta()
	if !sameAge(m, base) {
		bytes := m.BodyBytes
		m = deriveMeta(base, job.to)
		m.BodyBytes = bytes
		t.e.derivations.refresh(*job)
	}
	t.ans.drop()
	t.ans.object, t.ans.Meta = object, m
	if t.ans.Outcome != OutcomeMiss {
		t.ans.Tier = object.Tier()
	}
	return true
}

// wholeOf has all of a partial object fetched, since nothing can be derived of
// less: behind the answer, or, if that is of no use to the client, before it. A
// whole that could not be kept is not asked for again at once.
func (t *transaction) wholeOf(s *sparse, r *representation) {
	if t.e.unshared.has(s.at, t.now, t.req.Fields) {
		return
	}
	ask := &transaction{
		e: t.e, ctx: t.ctx, req: t.req, now: t.e.now(), primary: s.primary, list: s.list,
		key: s.at, landed: t.e.landedShard(s.at).Load(), ans: t.ans, fresh: true,
	}
	if !r.need {
		t.e.fillBehind(ask)
		return
	}
	f, how := t.e.enter(ask)
	if how != entryOwner && how != entryReader {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.e.FillWait)
	defer cancel()
	reader := t.joinWhole(ctx, f)
	if reader == nil {
		f.release()
		return
	}
	t.ans.drop()
	t.ans.Outcome, t.ans.Reason, t.ans.Meta, t.ans.Tier = OutcomeMiss, ReasonPartial, f.meta, storage.TierNone
	t.ans.FwdStatus, t.ans.Collapsed, t.ans.UpstreamCacheStatus = f.status, how == entryReader, f.upstreamCacheStatus
	t.ans.reader, t.ans.fill = reader, f
	if again, ok := represent(t.req, f.meta, t.ans.Size()); ok && again.need {
		t.derivedFromFill(f.meta, &again)
	}
}

// joinWhole waits until a fill's body arrives that is stored whole, and gives a
// reader of it; nil for any other, and for what is not for this request.
func (t *transaction) joinWhole(ctx context.Context, f *fill) *reader {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil
	}
	if f.result != resultStream || !t.suits(f.meta) {
		return nil
	}
	return f.stream.attach()
}

// derivedFromFill waits until a body has been stored whose coding the client
// does not take, and answers with the decoded one. What does not land in time,
// or not at all, goes out as it is.
func (t *transaction) derivedFromFill(base *storage.Meta, r *representation) {
	ctx, cancel := context.WithTimeout(t.ctx, t.e.FillWait)
	defer cancel()
	if !t.ans.reader.s.landed(ctx, t.req.Site.Encodings.bytesMax()) {
		return
	}
	t.derived(t.ans.fill.at, base, r)
}

// landed waits until the body is stored whole. It gives up where ctx ends, a
// longer body than bytesMax arrives, or the store refuses more of it.
func (s *stream) landed(ctx context.Context, bytesMax int64) bool {
	for {
		s.mu.Lock()
		ended, whole, wake := s.ended, s.err == nil && !s.relaying.Load(), s.wake
		giveUp := s.relaying.Load() || s.base > bytesMax
		s.mu.Unlock()
		if ended || giveUp {
			return ended && whole && !giveUp
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		}
	}
}
