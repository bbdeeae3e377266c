package cache

import (
	"context"
	"io"
	"net/http"
	"time"

	"weir/cache/rfc9111"
	"weir/storage"
)

// Answer is how a request ended: from a stored object, from a fill that runs,
// from upstream alone, or with an error. Exactly one of those is set.
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

	// Meta describes the object or the fill; nil for a pass and an error.
	Meta *storage.Meta
	// Response is upstream's own, for a pass.
	Response *http.Response
	// Err says why there is no answer.
	Err *UpstreamError

	expired bool // an error or a pass although something stale was stored
	object  storage.Object
	reader  *reader
	fill    *fill
}

// Close gives back what the answer holds.
func (a *Answer) Close() {
	if a.object != nil {
		_ = a.object.Close()
	}
	if a.reader != nil {
		a.reader.leave()
	}
	switch {
	case a.fill != nil:
		a.fill.release() // closes Response too
	case a.Response != nil:
		_ = a.Response.Body.Close()
	}
	a.object, a.reader, a.fill, a.Response = nil, nil, nil, nil
}

// Size is the body's length in bytes; negative while a fill does not know it.
func (a *Answer) Size() int64 {
	switch {
	case a.object != nil:
		return a.object.Meta().BodyBytes
	case a.reader != nil:
		return a.reader.s.size()
	case a.Response != nil:
		return a.Response.ContentLength
	}
	return -1
}

// WriteRange writes n bytes of the body from offset off, as they arrive; n < 0
// means to the end. For a pass, off must be 0 and n negative. An error after
// the first byte means that the response cannot be finished.
func (a *Answer) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	switch {
	case a.reader != nil:
		return a.reader.writeRange(ctx, w, off, n)
	case a.object != nil && off == 0 && (n < 0 || n == a.object.Meta().BodyBytes):
		return a.object.WriteTo(w)
	case a.object != nil:
		if n < 0 {
			n = a.object.Meta().BodyBytes - off
		}
		return io.Copy(w, io.NewSectionReader(a.object, off, n))
	case a.Response != nil:
		return io.Copy(w, a.Response.Body)
	}
	return 0, nil
}

// Streaming says that the body may pause: whoever writes it should flush.
func (a *Answer) Streaming() bool { return a.reader != nil || a.Response != nil }

// CacheStatus is this node's entry for the answer (RFC 9211 section 2).
func (a *Answer) CacheStatus(node string) rfc9111.CacheStatus {
	c := rfc9111.CacheStatus{Node: node, FwdStatus: a.FwdStatus, Collapsed: a.Collapsed}
	if a.Meta != nil {
		c.TTL, c.HasTTL = a.Meta.Stored.TTL(a.Now), true
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
		c.Fwd, c.Detail = passed(a.Reason), a.Reason.String()
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
