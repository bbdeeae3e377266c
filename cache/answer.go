package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage"
)

// Answer is how a request ended: from a stored object, from a fill that runs,
// from upstream alone, or with an error. Exactly one of those is set; for a
// request whose conditions make a 304 of it, Meta alone may be.
type Answer struct {
	Outcome Outcome
	Reason  Reason
	// Verdict is why the response may not be stored, for ReasonUncacheable.
	Verdict rfc9111.StoreVerdict
	// Collapsed says that another request's fill answered.
	Collapsed bool
	// FwdStatus is the status code that upstream gave, 0 if it was not asked.
	FwdStatus int
	// UpstreamCacheStatus is the Cache-Status that came with it.
	UpstreamCacheStatus string
	// Now is when the engine decided; Age and TTL count from it.
	Now time.Time
	// Epoch is the purge log in which Meta's stamp counts.
	Epoch string
	// Tier is where a stored object was read from.
	Tier storage.Tier

	// Negotiated says that the object has representations in several content
	// codings, of which this is one: Vary has to say so.
	Negotiated bool
	// Whole says that a Range in the request does not count: nothing says of
	// which representation it is.
	Whole bool

	// Meta describes the object or the fill; nil for a pass and an error.
	Meta *storage.Meta
	// Response is upstream's own, for a pass.
	Response *http.Response
	// Err says why there is no answer.
	Err *UpstreamError

	// engine and request are what resume needs.
	engine  *Engine
	request *Request
	soft    bool // a soft purge covers the object
	// compared is the version up to which no purge covers the object, unless a soft
	// one does; 0 where that is not known.
	compared uint64
	kept     bool // the response to a POST is being stored for later GETs
	expired  bool // an error or a pass although something stale was stored
	object   storage.Object
	reader   *reader
	sparse   *sparse
	fill     *fill
	// stop ends the request whose response Response is.
	stop context.CancelCauseFunc
}

// Close gives back what the answer holds.
func (a *Answer) Close() { a.drop() }

func (a *Answer) drop() {
	if a.object != nil {
		_ = a.object.Close()
	}
	if a.reader != nil {
		a.reader.leave()
	}
	if a.sparse != nil {
		a.sparse.close()
	}
	switch {
	case a.fill != nil:
		a.fill.release() // closes Response too
	case a.Response != nil:
		_ = a.Response.Body.Close()
	}
	if a.stop != nil {
		a.stop(nil)
	}
	a.object, a.reader, a.sparse, a.fill, a.Response, a.stop = nil, nil, nil, nil, nil, nil
}

// Stamp is the version, of the log that Epoch names, that the object is known to
// be as new as: its own stamp, or what it has been compared with since. Without
// that, who forgot the purges in between could not tell that it is good.
func (a *Answer) Stamp() uint64 {
	if !a.soft && a.compared > a.Meta.Stamp {
		// The node may have gone over to another log within this request.
		if epoch, _ := a.engine.Purges.Position(); epoch == a.Epoch {
			return a.compared
		}
	}
	return a.Meta.Stamp
}

// Size is the body's length in bytes; negative while a fill does not know it.
func (a *Answer) Size() int64 {
	switch {
	case a.object != nil:
		return a.object.Meta().BodyBytes
	case a.reader != nil:
		return a.reader.s.size()
	case a.sparse != nil:
		return a.sparse.head.Size
	case a.Response != nil:
		return a.Response.ContentLength
	}
	return -1
}

// Given gives the part with which upstream itself answered the request that
// caused its fill, or an equal one, and the Content-Range that came with it;
// ranges are what the request wants by this node's reckoning. ok is false for
// everything else.
func (a *Answer) Given(ranges []rfc9110.Range) (r rfc9110.Range, contentRange string, ok bool) {
	s := a.sparse
	if s == nil {
		return r, "", false
	}
	r, contentRange = part(s.head).Range, s.header.Get("Content-Range")
	ok = contentRange != "" && (s.asAsked || len(ranges) == 1 && ranges[0] == r)
	return r, contentRange, ok
}

// WriteRange writes n bytes of the body from offset off, as they arrive; n < 0
// means to the end. For a pass, off must be 0 and n negative. An error after
// the first byte means that the response cannot be finished.
func (a *Answer) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	switch {
	case a.reader != nil:
		return a.reader.writeRange(ctx, w, off, n)
	case a.sparse != nil:
		if n < 0 {
			n = a.sparse.head.Size - off
		}
		return a.sparse.writeRange(ctx, w, rfc9110.Range{Start: off, Length: n})
	case a.object != nil:
		if n < 0 {
			n = a.object.Meta().BodyBytes - off
		}
		written, err := writeObject(w, a.object, off, n)
		if errors.Is(err, storage.ErrCorrupt) {
			rest, resumed := a.resume(ctx, w, off+written, n-written)
			return written + rest, resumed
		}
		return written, err
	case a.Response != nil:
		return relay(w, a.Response.Body, a.engine.StallTimeout, a.stop)
	}
	return 0, nil
}

// writeObject writes n bytes of an object's body from offset off.
func writeObject(w io.Writer, o storage.Object, off, n int64) (int64, error) {
	if off == 0 && n == o.Meta().BodyBytes {
		return o.WriteTo(w)
	}
	return io.Copy(w, io.NewSectionReader(o, off, n))
}

// resume goes on with the same request after a block of the object has failed
// its checksum, and the object is dropped: what comes now is another fill's,
// and fits if it says by its strong entity tag that it is the same.
func (a *Answer) resume(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	if a.engine == nil {
		return 0, storage.ErrCorrupt
	}
	again := a.engine.Serve(ctx, from(a.request, off, n))
	defer again.Close()
	again.engine = nil // once is enough
	tag := a.Meta.ETag
	if again.Meta == nil || tag == "" || strings.HasPrefix(tag, "W/") || again.Meta.ETag != tag {
		return 0, storage.ErrCorrupt
	}
	return again.WriteRange(ctx, w, off, n)
}

// from is a request for what is left of a range. As a client words it, a range
// counted from an end that is not known, or one of several, would be asked for past the store.
func from(r *Request, off, n int64) *Request {
	if len(r.Fields.Values("Range")) == 0 {
		return r
	}
	rest := *r
	rest.Fields = rangeFields{Fields: r.Fields, value: fmt.Sprintf("bytes=%d-%d", off, off+n-1)}
	return &rest
}

// rangeFields are fields with another Range.
type rangeFields struct {
	rfc9111.Fields
	value string
}

// Values implements rfc9111.Fields.
func (f rangeFields) Values(name string) []string {
	if name == "Range" {
		return []string{f.value}
	}
	return f.Fields.Values(name)
}

// Streaming says that the body may pause: whoever writes it should flush.
func (a *Answer) Streaming() bool { return a.reader != nil || a.sparse != nil || a.Response != nil }

// CacheStatus is this node's entry for the answer (RFC 9211 section 2).
func (a *Answer) CacheStatus(node string) rfc9111.CacheStatus {
	c := rfc9111.CacheStatus{Node: node, FwdStatus: a.FwdStatus, Collapsed: a.Collapsed}
	if a.Meta != nil {
		c.TTL, c.HasTTL = a.Meta.Stored.TTL(a.Now), true
	}
	if a.soft {
		c.TTL = min(c.TTL, 0) // a purge made it stale before its time
	}
	switch a.Outcome {
	case OutcomeHit:
		c.Hit, c.Detail = true, a.Tier.String()
	case OutcomeStale:
		c.Hit, c.Detail = true, a.Reason.String()
		if a.Reason == ReasonStaleIfError {
			c.Hit, c.Fwd = false, rfc9111.FwdStale
		}
	case OutcomeRevalidated:
		c.Fwd = rfc9111.FwdStale
	case OutcomeMiss:
		c.Fwd, c.Stored = missed(a.Reason), true
		if a.Reason == ReasonPurged {
			c.Detail = a.Reason.String()
		}
	case OutcomePass:
		c.Fwd, c.Stored, c.Detail = passed(a.Reason), a.kept, a.Reason.String()
		if a.Reason == ReasonUncacheable {
			c.Detail = a.Verdict.String()
		}
		if a.expired {
			c.Fwd = rfc9111.FwdStale
		}
	case OutcomeError:
		c.Fwd, c.Detail = rfc9111.FwdMiss, a.Reason.String()
		if a.expired {
			c.Fwd = rfc9111.FwdStale
		}
	}
	return c
}

func missed(r Reason) string {
	switch r {
	case ReasonVariant:
		return rfc9111.FwdVaryMiss
	case ReasonExpired:
		return rfc9111.FwdStale
	case ReasonPartial:
		return rfc9111.FwdPartial
	case ReasonPurged:
		return rfc9111.FwdMiss
	default:
		return rfc9111.FwdURIMiss
	}
}

func passed(r Reason) string {
	switch r {
	case ReasonMethod:
		return rfc9111.FwdMethod
	case ReasonBypass:
		return rfc9111.FwdBypass
	default:
		return rfc9111.FwdMiss
	}
}
