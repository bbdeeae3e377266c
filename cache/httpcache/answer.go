package httpcache

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

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
	interim *interim
	request *requestBody // nil if the request has no body
	upgrade string       // the protocols that the client would switch to
	broken  bool         // the header has been written and the body cannot be finished
	flush   bool         // the body may pause: what is there goes out at once
}

func newWriter(h *Handler, w http.ResponseWriter, r *http.Request, access *Access) *writer {
	control := http.NewResponseController(w)
	relay := newInterim(w, r, control)
	return &writer{
		h: h, w: w, r: r, access: access, control: control,
		interim: relay, request: newRequestBody(r, control, relay, &h.Options),
	}
}

// forward sets how the request is sent upstream. One that may leave HTTP has to
// be answered by upstream, whatever is stored.
func (o *writer) forward(request *cache.Request) *Refusal {
	if upgrade := upgradeOf(o.r); upgrade != "" {
		if !o.h.tunnels.take() {
			return errTunnelsMax
		}
		o.upgrade, request.Bypass = upgrade, true
	}
	if o.takesHints() {
		request.Hint = o.hint
	}
	request.Forward = &forwarder{
		h: o.h, r: o.r, request: request,
		body: o.request, interim: o.interim, upgrade: o.upgrade,
	}
	return nil
}

// end gives back what the response held, whichever way it went.
func (o *writer) end() {
	o.interim.stop()
	o.request.end()
	if o.upgrade != "" {
		o.h.tunnels.release()
	}
}

// answer writes what the engine found.
func (o *writer) answer(a *cache.Answer) {
	switch {
	case a.Err != nil:
		o.failed(a)
	case a.Response != nil && a.Response.StatusCode == http.StatusSwitchingProtocols:
		o.switchProtocols(a)
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
	if a.Negotiated {
		rfc9111.VaryByCoding(header)
	}
	o.tiers(a)
	header.Set("Age", strconv.FormatInt(int64(a.Meta.Stored.Age(a.Now)/time.Second), 10))
	if o.h.Face == FaceEdges {
		header.Set(cache.StampField, cache.Version(a.Epoch, a.Stamp()))
	}
	status, size := a.Meta.Status, a.Size()
	if status != http.StatusOK {
		o.body(a, status, 0, -1, size)
		return
	}
	header.Set("Accept-Ranges", "bytes")
	switch rfc9110.EvaluateStored(o.r.Method, o.r.Header, a.Meta.ETag, a.Meta.LastModified, header.Get("Date")) {
	case rfc9110.NotModified:
		o.notModified()
	case rfc9110.Failed:
		o.withoutContent()
		o.begin(http.StatusPreconditionFailed)
	default:
		o.ranged(a, size)
	}
}

// notModified keeps the fields that RFC 9110 section 15.4.5 asks for and drops
// those that describe a body.
func (o *writer) notModified() {
	header := o.w.Header()
	header.Del("Accept-Ranges")
	if media := header.Get("Content-Type"); media != "" && o.h.Face == FaceEdges {
		header.Set(cache.TypeField, media)
	}
	if o.h.Face == FaceClients {
		// An edge learns from them what has changed of its own copy's fields.
		for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition"} {
			header.Del(name)
		}
	}
	o.begin(http.StatusNotModified)
}

// withoutContent makes the header one for a 412 or 416: nothing of what is
// stored describes that answer, and its lifetime least of all.
func (o *writer) withoutContent() {
	header := o.w.Header()
	for name := range header {
		if strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "Content-Security-") {
			delete(header, name)
		}
	}
	for _, name := range []string{
		"Etag", "Last-Modified", "Expires", "Pragma", "Surrogate-Control", "Cdn-Cache-Control", "Digest", "Repr-Digest",
	} {
		delete(header, name)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", "0")
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
		if length < 0 && o.r.ProtoMajor == 3 {
			// Else quic-go says that the length is 0 (RFC 9110 section 8.6).
			_ = o.control.Flush()
		}
		return
	}
	if a.Response != nil && length != 0 {
		// The body may be long in coming: events, or an answer to what the
		// client has yet to send.
		_ = o.control.Flush() // the next write fails as well
	}
	o.pause()
	o.bytes(a, off, n)
	o.hurry() // for what is left in net/http
}

// bytes writes n bytes of the body from off, and says whether it could.
func (o *writer) bytes(a *cache.Answer, off, n int64) bool {
	written, err := a.WriteRange(o.r.Context(), o, off, n)
	o.access.Bytes += written
	o.access.Err, o.broken = err, err != nil
	return err == nil
}

// text writes a part of the body that is this node's own.
func (o *writer) text(p []byte) bool {
	n, err := o.Write(p)
	o.access.Bytes += int64(n)
	o.access.Err, o.broken = err, err != nil
	return err == nil
}

// pass relays upstream's own response, body and trailers.
func (o *writer) pass(a *cache.Answer) {
	if a.Response.StatusCode < http.StatusOK {
		o.tiers(a)
		o.malformed(a, rfc9111.ProxyHTTPProtocolError, "its status is no final one")
		return
	}
	header := o.relayed(a)
	for _, name := range trailerNames(a.Response.Trailer) {
		header.Add("Trailer", name)
	}
	o.body(a, a.Response.StatusCode, 0, -1, a.Response.ContentLength)
	if o.broken {
		return
	}
	for name, values := range a.Response.Trailer {
		if inTrailers(name) && len(values) > 0 {
			header[http.TrailerPrefix+name] = values
		}
	}
}

// relayed sets the header to that of upstream's own response.
func (o *writer) relayed(a *cache.Answer) http.Header {
	header := o.w.Header()
	for name, values := range a.Response.Header {
		header[name] = values
	}
	rfc9111.EndToEnd(header)
	if o.h.Face == FaceClients {
		dropInternal(header)
	}
	o.tiers(a)
	return header
}

// tiers sets the fields that say which way the response came: Via (RFC 9110
// section 7.6.3) and Cache-Status (RFC 9211), this node last. Surrogate keys
// are for the tiers, not for clients.
func (o *writer) tiers(a *cache.Answer) {
	header := o.w.Header()
	appendList(header, "Via", "1.1 "+o.h.Node)
	header.Del("Cache-Status")
	if a.UpstreamCacheStatus != "" && a.Outcome != cache.OutcomeHit && a.Outcome != cache.OutcomeStale {
		header.Set("Cache-Status", a.UpstreamCacheStatus) // other tiers handled this request too
		o.access.Upstream = nearest(a.UpstreamCacheStatus)
	}
	appendList(header, "Cache-Status", string(a.CacheStatus(o.h.Node).Append(nil)))
	if o.h.Face == FaceClients {
		header.Del("Surrogate-Key")
		header.Del("Cache-Tag")
		header.Del("Surrogate-Control")
	}
}

// nearest names the last cache of a Cache-Status, the one that this node asked
// (RFC 9211 section 2). The field has been read as a list before.
func nearest(status string) string {
	list, err := httpsfv.UnmarshalList([]string{status})
	if err != nil || len(list) == 0 {
		return ""
	}
	item, _ := list[len(list)-1].(httpsfv.Item)
	switch name := item.Value.(type) {
	case httpsfv.Token:
		return string(name)
	case string:
		return name
	}
	return ""
}

func appendList(h http.Header, name, member string) {
	if before := h.Values(name); len(before) > 0 {
		member = strings.Join(before, ", ") + ", " + member
	}
	h.Set(name, member)
}

func (o *writer) begin(status int) {
	o.access.Status = status
	o.access.FirstByte = time.Since(o.access.Start)
	// Also without a body: the deadline of the answer before this one on the
	// same connection may have passed while it was idle.
	o.hurry()
	header := o.w.Header()
	if header.Get("Date") == "" { // RFC 9110 section 6.6.1
		header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if _, typed := header["Content-Type"]; !typed {
		header["Content-Type"] = nil // keeps net/http from guessing one
	}
	if o.r.ProtoMajor == 1 && len(o.r.TransferEncoding) > 0 && o.h.Face == FaceClients {
		// net/http does not tell whether there was a Content-Length besides,
		// after which a connection must not go on (RFC 9112 section 6.1).
		header.Set("Connection", "close")
	}
	o.request.answering(header)
	o.w.WriteHeader(status)
}

// hurry gives the client WriteTimeout to take what is written next.
func (o *writer) hurry() { _ = o.control.SetWriteDeadline(time.Now().Add(o.h.WriteTimeout)) }

// pause takes the deadline back while there may be nothing to write: on HTTP/2
// one that passes ends the stream, whether something is being written or not.
func (o *writer) pause() {
	if o.flush {
		_ = o.control.SetWriteDeadline(time.Time{})
	}
}

// Write passes body bytes on. The client has WriteTimeout for each call.
func (o *writer) Write(p []byte) (int, error) {
	o.hurry()
	n, err := o.w.Write(p)
	if err == nil && o.flush {
		err = o.control.Flush()
		o.pause()
	}
	return n, err
}

// hasBody says whether a response of this status has one (RFC 9110 section 6.4.1).
func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
