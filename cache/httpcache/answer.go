package httpcache

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/cache"
	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
)

// writer turns one answer into one response.
type writer struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	access *Access
	// control reaches the connection's deadlines and its buffer.
	control *http.ResponseController
	broken  bool // the header has been written and the body cannot be finished
	flush   bool // the body may pause: what is there goes out at once
}

// answer writes what the engine found.
func (o *writer) answer(a *cache.Answer) {
	switch {
	case a.Err != nil:
		o.failed(a)
	case a.Response != nil:
		o.pass(a)
	default:
		o.object(a)
	}
}

// object answers from a stored object or a fill, with the conditions and
// ranges of this request (RFC 9110 sections 13.2 and 14.2).
func (o *writer) object(a *cache.Answer) {
	header := o.w.Header()
	for name, values := range rfc9111.ParseFields(a.Meta.Header) {
		header[name] = values
	}
	o.tiers(a)
	header.Set("Age", strconv.FormatInt(int64(a.Meta.Stored.Age(a.Now)/time.Second), 10))
	if o.h.Face == FaceEdges {
		header.Set(cache.StampField, cache.Version(a.Epoch, a.Meta.Stamp))
	}
	status, size := a.Meta.Status, a.Size()
	if status != http.StatusOK {
		o.body(a, status, 0, -1, size)
		return
	}
	header.Set("Accept-Ranges", "bytes")
	switch rfc9110.Evaluate(o.r.Method, o.r.Header, a.Meta.ETag, a.Meta.LastModified) {
	case rfc9110.NotModified:
		o.notModified()
		return
	case rfc9110.Failed:
		for _, name := range []string{"Content-Type", "Content-Encoding", "ETag", "Last-Modified"} {
			header.Del(name)
		}
		header.Set("Content-Length", "0")
		o.begin(http.StatusPreconditionFailed)
		return
	}
	o.ranged(a, size)
}

// notModified keeps the fields that RFC 9110 section 15.4.5 asks for and drops
// those that describe a body.
func (o *writer) notModified() {
	header := o.w.Header()
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Accept-Ranges"} {
		header.Del(name)
	}
	o.begin(http.StatusNotModified)
}

// ranged answers 206 for one satisfiable range of a body whose length is
// known, 416 for none that is satisfiable, and 200 otherwise: a server may
// ignore Range (RFC 9110 section 14.2), which is what several ranges get.
func (o *writer) ranged(a *cache.Answer, size int64) {
	field := o.r.Header.Get("Range")
	if field == "" || o.r.Method != http.MethodGet || size < 0 ||
		!rfc9110.IfRange(o.r.Header, a.Meta.ETag, strongDate(a.Meta.LastModified, o.w.Header().Get("Date"))) {
		o.body(a, http.StatusOK, 0, -1, size)
		return
	}
	ranges, verdict := rfc9110.ParseRange(field, size)
	switch {
	case verdict == rfc9110.Unsatisfiable:
		header := o.w.Header()
		for _, name := range []string{"Content-Type", "Content-Encoding", "ETag", "Last-Modified"} {
			header.Del(name)
		}
		header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		header.Set("Content-Length", "0")
		o.begin(http.StatusRequestedRangeNotSatisfiable)
	case verdict == rfc9110.Satisfiable && len(ranges) == 1:
		r := ranges[0]
		o.w.Header().Set("Content-Range", r.ContentRange(size))
		o.body(a, http.StatusPartialContent, r.Start, r.Length, r.Length)
	default:
		o.body(a, http.StatusOK, 0, -1, size)
	}
}

// strongDate gives a Last-Modified that may stand for one content: it is at
// least a second older than the Date it came with (RFC 9110 section 8.8.2.2).
func strongDate(modified, date string) string {
	m, err := http.ParseTime(modified)
	if err != nil {
		return ""
	}
	if d, err := http.ParseTime(date); err != nil || d.Sub(m) < time.Second {
		return ""
	}
	return modified
}

// body writes the header and n bytes of the body from off; length is what
// Content-Length says, negative if nobody knows yet.
func (o *writer) body(a *cache.Answer, status int, off, n, length int64) {
	if length >= 0 && hasBody(status) {
		o.w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	}
	o.flush = a.Streaming()
	o.begin(status)
	if o.r.Method == http.MethodHead || !hasBody(status) {
		return
	}
	written, err := a.WriteRange(o.r.Context(), o, off, n)
	o.access.Bytes = written
	o.access.Err, o.broken = err, err != nil
}

// pass relays upstream's own response, body and trailers.
func (o *writer) pass(a *cache.Answer) {
	header := o.w.Header()
	for name, values := range a.Response.Header {
		header[name] = values
	}
	rfc9111.EndToEnd(header)
	if o.h.Face == FaceClients {
		dropInternal(header)
	}
	o.tiers(a)
	for name := range a.Response.Trailer {
		header.Add("Trailer", name)
	}
	o.body(a, a.Response.StatusCode, 0, -1, a.Response.ContentLength)
	for name, values := range a.Response.Trailer {
		header[http.TrailerPrefix+name] = values
	}
}

// tiers sets the fields that say which way the response came: Via (RFC 9110
// section 7.6.3) and Cache-Status (RFC 9211), this node last. Surrogate keys
// are for the tiers, not for clients.
func (o *writer) tiers(a *cache.Answer) {
	header := o.w.Header()
	appendList(header, "Via", "1.1 "+o.h.Node)
	if a.Outcome == cache.OutcomeHit || a.Outcome == cache.OutcomeStale {
		header.Del("Cache-Status") // no other tier handled this request
	} else if a.UpstreamCacheStatus != "" {
		header.Set("Cache-Status", a.UpstreamCacheStatus)
	}
	appendList(header, "Cache-Status", string(a.CacheStatus(o.h.Node).Append(nil)))
	if o.h.Face == FaceClients {
		header.Del("Surrogate-Key")
		header.Del("Cache-Tag")
	}
}

func appendList(h http.Header, name, member string) {
	if before := h.Values(name); len(before) > 0 {
		member = strings.Join(before, ", ") + ", " + member
	}
	h.Set(name, member)
}

// failed says that upstream gave nothing (RFC 9209 says why) and that nobody
// may keep this answer.
func (o *writer) failed(a *cache.Answer) {
	header := o.w.Header()
	o.tiers(a)
	if a.Err.Type != "" {
		header.Set("Proxy-Status", string(rfc9111.AppendProxyStatus(nil, o.h.Node, a.Err.Type, "")))
	}
	o.access.Err = a.Err
	text := "The origin could not be reached, and no stored copy may be used."
	switch {
	case a.Reason == cache.ReasonOnlyIfCached:
		text = "Nothing usable is stored, and the request said only-if-cached."
	case a.Err.Relayed:
		text = "The origin answered with an error."
	}
	o.plain(a.Err.Status, text)
}

// refuse answers a request that did not reach the engine. The connection is
// closed after a malformed one: what follows it may be its tail.
func (o *writer) refuse(f *Refusal) {
	switch f.Status {
	case http.StatusBadRequest:
		if o.r.ProtoMajor == 1 {
			o.w.Header().Set("Connection", "close")
		}
	case http.StatusMethodNotAllowed:
		o.w.Header().Set("Allow", "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE")
	}
	o.w.Header().Set("Via", "1.1 "+o.h.Node)
	status := rfc9111.CacheStatus{Node: o.h.Node, Detail: "refused"}
	o.w.Header().Set("Cache-Status", string(status.Append(nil)))
	o.plain(f.Status, f.Text)
}

func (o *writer) plain(status int, text string) {
	body := fmt.Sprintf("%d %s\n\n%s\n", status, http.StatusText(status), text)
	header := o.w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	o.begin(status)
	if o.r.Method != http.MethodHead {
		n, _ := io.WriteString(o.w, body)
		o.access.Bytes = int64(n)
	}
}

func (o *writer) begin(status int) {
	o.access.Status = status
	o.access.FirstByte = time.Since(o.access.Start)
	// Also without a body: the deadline of the answer before this one on the
	// same connection may have passed while it was idle.
	_ = o.control.SetWriteDeadline(time.Now().Add(o.h.WriteTimeout))
	o.w.WriteHeader(status)
}

// Write passes body bytes on. The client has WriteTimeout for each call.
func (o *writer) Write(p []byte) (int, error) {
	_ = o.control.SetWriteDeadline(time.Now().Add(o.h.WriteTimeout))
	n, err := o.w.Write(p)
	if err == nil && o.flush {
		err = o.control.Flush()
	}
	return n, err
}

// hasBody says whether a response of this status has one (RFC 9110 section 6.4.1).
func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
