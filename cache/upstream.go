package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/dunglas/httpsfv"

	"weir/cache/rfc9111"
)

var (
	errOnlyIfCached   = errors.New("nothing usable is stored and the client asked for stored responses only")
	errUntrusted      = errors.New("the node may have missed purges, and is told to refuse rather than to ask upstream")
	errHeadersLate    = errors.New("upstream sent nothing within the time allowed")
	errStalled        = errors.New("upstream sent no more of the body within the time allowed")
	errFillAge        = errors.New("the fill reached its age limit")
	errUpstreamStatus = errors.New("upstream answered with a server error")
	errUnasked304     = errors.New("upstream answered 304 to a request without a condition")
	errNobody         = errors.New("nobody reads the rest, and the store has no room for it")
	errReaderSlow     = errors.New("the client read too slowly for a body that is not stored")
)

// UpstreamError says why there is no answer. Only edge and the shield's server
// turn it into a response.
type UpstreamError struct {
	// Status is the status code that fits: 502, 503 or 504, or the one that
	// upstream itself gave.
	Status int
	// Type is the error type for Proxy-Status (RFC 9209 section 2.3), or "".
	Type string
	// Relayed says that Status is upstream's own.
	Relayed bool
	Err     error
}

// Error gives the status and the cause.
func (e *UpstreamError) Error() string { return fmt.Sprintf("%d: %v", e.Status, e.Err) }

// Unwrap gives the cause.
func (e *UpstreamError) Unwrap() error { return e.Err }

// classify names what went wrong on the way to upstream. A wait that ran out
// is 504, everything else 502 (RFC 9110 sections 15.6.3 and 15.6.5).
func classify(err error) *UpstreamError {
	var (
		dns    *net.DNSError
		op     *net.OpError
		cert   *tls.CertificateVerificationError
		coming net.Error
	)
	late := errors.As(err, &coming) && coming.Timeout() || errors.Is(err, context.DeadlineExceeded)
	dialing := errors.As(err, &op) && op.Op == "dial"
	bad := func(kind string) *UpstreamError {
		return &UpstreamError{Status: http.StatusBadGateway, Type: kind, Err: err}
	}
	gone := func(kind string) *UpstreamError {
		return &UpstreamError{Status: http.StatusGatewayTimeout, Type: kind, Err: err}
	}
	switch {
	case errors.As(err, &dns) && dns.IsTimeout:
		return gone(rfc9111.ProxyDNSTimeout)
	case errors.As(err, &dns):
		return bad(rfc9111.ProxyDNSError)
	case dialing && late:
		return gone(rfc9111.ProxyConnectionTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return bad(rfc9111.ProxyConnectionRefused)
	case dialing:
		return bad(rfc9111.ProxyDestinationUnavailable)
	case errors.As(err, &cert):
		return bad(rfc9111.ProxyTLSCertificateError)
	case errors.Is(err, errHeadersLate), errors.Is(err, errFillAge), late:
		return gone(rfc9111.ProxyHTTPResponseTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return bad(rfc9111.ProxyConnectionTerminated)
	default:
		return bad(rfc9111.ProxyHTTPProtocolError)
	}
}

// cacheStatus gives what the caches behind this one say of a response, "" if it
// is no list of structured items (RFC 9211 section 2): this node's own entry
// behind it could not be read either.
func cacheStatus(h http.Header) string {
	lines := h.Values("Cache-Status")
	if len(lines) == 0 {
		return ""
	}
	if _, err := httpsfv.UnmarshalList(lines); err != nil {
		return ""
	}
	return strings.Join(lines, ", ")
}
