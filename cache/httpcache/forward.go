package httpcache

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"weir/cache"
	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
)

// forwarder makes upstream requests of a client's.
type forwarder struct {
	h       *Handler
	r       *http.Request
	request *cache.Request
	body    *requestBody // nil if the request has none
	interim *interim
	upgrade string // the protocols to switch to (RFC 9110 section 7.8), or ""
}

// notForFills are fields of one client's request that must not choose what a
// shared response says: conditions and ranges belong to the client's own copy.
// Those in which there is too little trust (rfc9111.TrustOf) come to that.
var notForFills = []string{
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
	"Cache-Control", "Pragma", "Expect",
	"Request-Range", // Range to some servers still, httpd among them
}

// Fill gives the request for a fill.
func (f *forwarder) Fill(ctx context.Context) *http.Request {
	out := f.outgoing(ctx, http.MethodGet)
	for _, name := range notForFills {
		out.Header.Del(name)
	}
	for name := range out.Header {
		if rfc9111.TrustOf(name) != rfc9111.TrustFills {
			delete(out.Header, name)
		}
	}
	key := &f.request.Site.Key
	key.Forward(out.Header, f.request.Fields, f.h.class(f.request.Site, f.request.Fields))
	return out
}

// Pass gives the request as the client sent it, with its body, which is read as
// upstream takes it.
func (f *forwarder) Pass(ctx context.Context) *http.Request {
	out := f.outgoing(ctx, f.r.Method)
	out.Header.Del("Expect")
	if f.r.Method == http.MethodHead {
		// It means nothing with HEAD (RFC 9110 section 14.2), but origins, S3
		// among them, answer 206, and clients 200 from what is stored.
		out.Header.Del("Range")
		out.Header.Del("If-Range")
	}
	reads := f.r.Method == http.MethodGet || f.r.Method == http.MethodHead
	if encodings := f.request.Site.Encodings; encodings != nil && !reads {
		encodings.AdmitStored(out.Header)
	}
	f.attachBody(out)
	if listed(f.r.Header["Te"], "trailers") {
		forThisHop(out.Header, "Te", "trailers")
	}
	if f.upgrade != "" {
		forThisHop(out.Header, "Upgrade", f.upgrade)
	}
	if class := f.h.class(f.request.Site, f.request.Fields); class != "" {
		out.Header.Set(rfc9111.DeviceField, class)
	}
	if f.h.Face == FaceClients {
		if address, _, err := net.SplitHostPort(f.r.RemoteAddr); err == nil {
			out.Header.Set("X-Forwarded-For", address)
		}
		out.Header.Set("X-Forwarded-Proto", scheme(f.r))
		out.Header.Set("X-Forwarded-Host", forwardedHost(f.r))
	}
	return out
}

// forwardedHost is what the origin is told of the host that the client named. The
// answer to a POST may be stored for others (RFC 9110 section 9.3.3), under a key
// without a port: then it is told of no port but the one that clients come to.
func forwardedHost(r *http.Request) string {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || r.Method != http.MethodPost || port == defaultPort(r) {
		return r.Host
	}
	if local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr); local != nil {
		if _, own, err := net.SplitHostPort(local.String()); err == nil && own == port {
			return r.Host
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host
}

// attachBody gives the upstream request the client's body and its trailers.
// Trailers need a body of unknown length (RFC 9112 section 7.1.2).
func (f *forwarder) attachBody(out *http.Request) {
	b := f.body
	if b == nil || f.r.ProtoMajor == 3 && f.r.ContentLength < 0 && seldomHasBody(f.r.Method) && b.empty() {
		return
	}
	b.pass()
	out.Body, out.ContentLength = b, f.r.ContentLength
	if names := trailerNames(f.r.Trailer); len(names) > 0 || f.r.ContentLength < 0 {
		out.ContentLength = -1
		out.Trailer = make(http.Header, len(names))
		for _, name := range names {
			out.Trailer[name] = nil // its value comes with the body's end
		}
		b.trailers = out.Trailer
	}
	if expectsContinue(f.r) {
		out.Header.Set("Expect", "100-continue")
		// On a connection that is to be kept, net/http sends the body even
		// after a final answer that came in place of the 100. Here that would
		// ask the client for a body that nobody wants.
		out.Close = true
	}
}

// seldomHasBody lists methods for which it is worth to find out whether there
// is a body, since net/http sends a request again only if there is none.
func seldomHasBody(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return false
	}
	return true
}

// outgoing has the end-to-end fields only. What a client says of X-Forwarded-*
// and its like (rfc9111.TrustNever) and weir's own fields is dropped: the origin
// would see what no key holds.
func (f *forwarder) outgoing(ctx context.Context, method string) *http.Request {
	path, query := rfc9110.SplitTarget(f.request.Target)
	decoded, err := url.PathUnescape(path)
	if err != nil {
		decoded = path
	}
	header := f.r.Header.Clone()
	rfc9111.EndToEnd(header)
	dropInternal(header)
	if f.h.Face == FaceClients {
		f.dropUntrusted(header)
	}
	header.Set("Surrogate-Capability", rfc9111.SurrogateCapability)
	appendList(header, "Via", receivedProtocol(f.r)+" "+f.h.Node)
	f.h.loops.add(header, f.request.Site.Name)
	host := f.request.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	out := &http.Request{
		Method: method, Header: header, Host: host,
		URL:   &url.URL{Scheme: "http", Host: host, Path: decoded, RawPath: path, RawQuery: query},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return out.WithContext(f.interim.traced(ctx))
}

// receivedProtocol is the version of the client's request for Via (RFC 9110
// section 7.6.3).
func receivedProtocol(r *http.Request) string {
	if r.ProtoMajor == 1 {
		return "1." + strconv.Itoa(r.ProtoMinor)
	}
	return strconv.Itoa(r.ProtoMajor)
}

// expectsContinue says whether the client waits for a 100 before it sends its
// body (RFC 9110 section 10.1.1). It does not on HTTP/1.0. On HTTP/2 net/http
// keeps the field to itself, and sends the 100 when the body is first read.
func expectsContinue(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && listed(r.Header["Expect"], "100-continue")
}

// listed says whether a list field has the token, in any case.
func listed(lines []string, token string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(member, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// forThisHop sets a field of the next connection only (RFC 9110 section 7.6.1).
func forThisHop(h http.Header, name, value string) {
	h.Set(name, value)
	appendList(h, "Connection", name)
}

// dropUntrusted removes what clients are not believed in, unless the site has it
// in its key and so vouches for it.
func (f *forwarder) dropUntrusted(header http.Header) {
	for name := range header {
		trust := rfc9111.TrustOf(name)
		if trust == rfc9111.TrustFills || f.request.Site.Key.Names(name) {
			continue
		}
		if trust == rfc9111.TrustNever || f.r.Method == http.MethodGet || f.r.Method == http.MethodHead {
			delete(header, name)
		}
	}
}

// dropInternal removes the fields that only weir's tiers say to each other.
func dropInternal(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Weir-") {
			delete(h, name)
		}
	}
}

func defaultPort(r *http.Request) string {
	if r.TLS != nil {
		return "443"
	}
	return "80"
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
