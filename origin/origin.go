// Package origin has the upstreams at the end of the line: where the truth of
// a site is kept. Each one is an http.RoundTripper. The cache engine sends it
// a request whose URL holds the client's host, path and query, and gets back a
// response whose body streams; the request's context bounds all of it.
//
//	S3      an S3-compatible store: signed requests, and keys that cannot
//	        leave the bucket and prefix that were given
//	HTTP    a plain HTTP/1.1 server, asked for the target byte for byte
//	Static  static-site rules around either: index documents, the redirect
//	        to the slash form, and the not-found document
//
// An origin that cannot be reached gives an error, never a made-up response.
// Errors are wrapped with the operation and the key and keep their cause:
//
//	failure                    found with
//	no such host               errors.As *net.DNSError
//	connection refused         errors.Is syscall.ECONNREFUSED
//	connect timed out          errors.As *net.OpError, Op "dial", Timeout() true
//	response header timed out  errors.As net.Error, Timeout() true, and no *net.OpError "dial"
//	the context ended          errors.Is context.DeadlineExceeded or context.Canceled
//
// A request that is refused before it reaches an origin, and a store's own
// error document, become short plain-text responses made here.
package origin

import (
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// noStore marks local responses that say nothing lasting about the resource.
const noStore = "no-store"

// localResponse makes a plain-text response to req. A HEAD request gets the
// same fields and no body (RFC 9110 section 9.3.2). A cacheControl of "" sends
// no such field, so that the site's policy for the status applies.
func localResponse(req *http.Request, status int, cacheControl, text string) *http.Response {
	text += "\n"
	header := http.Header{
		"Content-Type":   {"text/plain; charset=utf-8"},
		"Content-Length": {strconv.Itoa(len(text))},
		"Date":           {time.Now().UTC().Format(http.TimeFormat)},
	}
	if cacheControl != "" {
		header.Set("Cache-Control", cacheControl)
	}
	resp := &http.Response{
		Status:     strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode: status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: int64(len(text)),
		Request:       req,
	}
	if req.Method != http.MethodHead {
		resp.Body = io.NopCloser(strings.NewReader(text))
	}
	return resp
}

// isOwnField says whether a field belongs to weir's own nodes. Such fields
// never come from an origin and never go to one.
func isOwnField(name string) bool {
	return len(name) >= 5 && strings.EqualFold(name[:5], "Weir-")
}

func deleteOwnFields(h http.Header) {
	for name := range h {
		if isOwnField(name) {
			delete(h, name)
		}
	}
}

// hopByHop are the fields that RFC 9110 section 7.6.1 keeps to one connection,
// with the ones that were once sent without being named in Connection.
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
	"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// deleteHopByHop removes what belongs to one connection only, including every
// field that Connection names (RFC 9110 section 7.6.1). net/http removes the
// Connection field of a response that says "close"; what else it named then
// cannot be known here, and passes.
func deleteHopByHop(h http.Header) {
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// closeBody closes a request's body when the request goes no further, as
// http.RoundTripper asks.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // It has not been read, so nothing can be lost.
	}
}
