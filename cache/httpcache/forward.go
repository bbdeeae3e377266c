package httpcache

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
)

// forwarder makes upstream requests of a client's.
type forwarder struct {
	r            *http.Request
	host, target string
	face         Face
}

// notForFills are fields of one client's request that must not choose what a
// shared response says: conditions and ranges belong to the client's own copy,
// and where the client is belongs to nobody's key.
var notForFills = []string{
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
	"Cache-Control", "Pragma", "Expect",
	"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
}

// Fill gives the request for a fill.
func (f forwarder) Fill(ctx context.Context) *http.Request {
	out := f.outgoing(ctx, http.MethodGet)
	for _, name := range notForFills {
		out.Header.Del(name)
	}
	return out
}

// Pass gives the request as the client sent it, with its body.
func (f forwarder) Pass(ctx context.Context) *http.Request {
	out := f.outgoing(ctx, f.r.Method)
	out.Header.Del("Expect") // the server in front has answered it
	if f.r.ContentLength != 0 {
		out.Body, out.ContentLength = f.r.Body, f.r.ContentLength
	}
	if f.face == FaceClients {
		if address, _, err := net.SplitHostPort(f.r.RemoteAddr); err == nil {
			out.Header.Set("X-Forwarded-For", address)
		}
		out.Header.Set("X-Forwarded-Proto", scheme(f.r))
		out.Header.Set("X-Forwarded-Host", f.host)
	}
	return out
}

// outgoing has the end-to-end fields only. What a client says of X-Forwarded-*
// and weir's own fields is dropped: the origin would see what no key holds.
func (f forwarder) outgoing(ctx context.Context, method string) *http.Request {
	path, query := rfc9110.SplitTarget(f.target)
	decoded, err := url.PathUnescape(path)
	if err != nil {
		decoded = path
	}
	header := f.r.Header.Clone()
	rfc9111.EndToEnd(header)
	dropInternal(header)
	if f.face == FaceClients {
		for name := range header {
			if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip" {
				delete(header, name)
			}
		}
	}
	host := f.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	out := &http.Request{
		Method: method, Header: header, Host: host,
		URL:   &url.URL{Scheme: "http", Host: host, Path: decoded, RawPath: path, RawQuery: query},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return out.WithContext(ctx)
}

// dropInternal removes the fields that only weir's tiers say to each other.
func dropInternal(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Weir-") {
			delete(h, name)
		}
	}
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
