package origin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// HTTPOptions says which HTTP server an origin is, and how to reach it.
type HTTPOptions struct {
	// URL is "http://host:port" or "https://host:port", with a path that goes
	// in front of every request's path if there is one. With such a path,
	// requests that have dot segments are refused: they could lead out of it.
	URL string
	// Host is sent as the Host field. Default: the client's.
	Host string
	// CAFile is a PEM file of the authorities to trust for https. Default:
	// the system's.
	CAFile string
	// Dial opens connections. Default net.Dialer.
	Dial DialFunc
	// ConnectTimeout bounds connecting, TLS included. Default 5 s.
	ConnectTimeout time.Duration
	// HeaderTimeout bounds the wait for a response's header once the request
	// has been written. Default 30 s.
	HeaderTimeout time.Duration
	// ConnsMax is the number of connections to the origin, busy and idle.
	// Requests beyond it wait for one to be free. Default 64.
	ConnsMax int
}

// HTTP is an origin that speaks HTTP/1.1. It is asked for the client's target
// byte for byte, under the client's Host, and whatever it answers is passed on:
// no redirect is followed and no coding is undone. Fields of one connection
// (RFC 9110 section 7.6.1) and weir's own are dropped both ways; bodies stream
// and trailers are kept.
//
// A request that has Upgrade and names it in Connection may leave HTTP (RFC
// 9110 section 7.8): the body of a response with status 101 is the connection,
// an io.ReadWriteCloser. Such connections do not count among ConnsMax, or a few
// that stay open would keep everybody else waiting: who asks for them bounds
// them.
type HTTP struct {
	base      *url.URL
	host      string
	transport *http.Transport
	switching *http.Transport // for requests that may leave HTTP
}

// NewHTTP checks the options and makes the origin. It connects to nothing yet.
func NewHTTP(opts HTTPOptions) (*HTTP, error) {
	base, err := parseBase(opts.URL)
	if err != nil {
		return nil, fmt.Errorf("origin http: %w", err)
	}
	p := pool{dial: opts.Dial, connectTimeout: opts.ConnectTimeout, headerTimeout: opts.HeaderTimeout, connsMax: opts.ConnsMax}
	if p, err = p.withDefaults(); err != nil {
		return nil, fmt.Errorf("origin http: %w", err)
	}
	if base.Scheme == "https" {
		if p.tls, err = tlsConfig(opts.CAFile); err != nil {
			return nil, fmt.Errorf("origin http: %w", err)
		}
	}
	h := &HTTP{base: base, host: opts.Host, transport: p.transport(), switching: p.transport()}
	h.switching.MaxConnsPerHost, h.switching.DisableKeepAlives = 0, true
	return h, nil
}

func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the URL cannot be parsed: want http://host:port or https://host:port")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q: want http or https", u.Scheme)
	case u.User != nil:
		return nil, errors.New("the URL has a user or password, which an HTTP origin does not take")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the URL has a query or fragment: only a host and a path can be put in front of a request")
	}
	return u, nil
}

func tlsConfig(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %q: no certificate in it", caFile)
	}
	return config, nil
}

// Close gives back the idle connections. Requests under way go on: they belong
// to those who sent them.
func (h *HTTP) Close() error {
	h.transport.CloseIdleConnections()
	h.switching.CloseIdleConnections()
	return nil
}

// RoundTrip sends the request to the origin. The error, if any, is classified
// as the package comment says.
func (h *HTTP) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodConnect {
		closeBody(req)
		return localResponse(req, http.StatusMethodNotAllowed, noStore, "this origin makes no tunnels"), nil
	}
	if reason := h.refuses(req.URL); reason != "" {
		closeBody(req)
		return localResponse(req, http.StatusBadRequest, noStore, reason), nil
	}
	out, transport := h.outgoing(req), h.transport
	asked := out.Header.Get("Upgrade")
	if asked != "" {
		transport = h.switching
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("origin http: %s %q: %w", req.Method, out.URL.RequestURI(), err)
	}
	if wrong := badStatus(resp, asked); wrong != "" {
		_ = resp.Body.Close() // Whatever follows cannot be told from anything else.
		return nil, fmt.Errorf("origin http: %s %q: %s", req.Method, out.URL.RequestURI(), wrong)
	}
	resp.Request = req
	received(resp)
	return resp, nil
}

// badStatus says why a response's status is none that can end a request, or "".
func badStatus(resp *http.Response, asked string) string {
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols && asked == "":
		return "the origin switched protocols without being asked"
	case resp.StatusCode < http.StatusOK && resp.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Sprintf("the origin answered with status %03d", resp.StatusCode) // RFC 9110 section 15
	}
	return ""
}

// received drops from a response what is not for whoever is behind this node.
// The body of one that leaves HTTP is the connection, and stays as it is.
func received(resp *http.Response) {
	protocol := resp.Header["Upgrade"]
	deleteHopByHop(resp.Header)
	deleteOwnFields(resp.Header)
	resp.Header.Del("Alt-Svc") // speaks of the origin's own host and ports (RFC 7838)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Header["Connection"], resp.Header["Upgrade"] = []string{"Upgrade"}, protocol
		return
	}
	deleteOwnFields(resp.Trailer)
	if resp.Body != http.NoBody {
		resp.Body = &atEnd{ReadCloser: resp.Body, do: func() { deleteOwnFields(resp.Trailer) }}
	}
}

// refuses says why a target cannot be asked for, or "".
func (h *HTTP) refuses(u *url.URL) string {
	switch {
	case u.Opaque != "", u.Path != "" && u.Path != "*" && !strings.HasPrefix(u.Path, "/"):
		return "the request target is not a path"
	case strings.Trim(h.base.Path, "/") != "" && hasDotSegment(u.Path):
		return "the path has a dot segment"
	}
	return ""
}

// outgoing makes the origin's request of the client's.
func (h *HTTP) outgoing(req *http.Request) *http.Request {
	out := (&http.Request{
		Method: req.Method,
		URL:    h.target(req.URL),
		Host:   h.hostFor(req),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        outgoingHeader(req.Header),
		Body:          req.Body,
		GetBody:       req.GetBody,
		ContentLength: req.ContentLength,
		Close:         req.Close,
	}).WithContext(req.Context())
	if req.Trailer != nil && req.Body != nil {
		passTrailers(req, out)
	}
	return out
}

func (h *HTTP) hostFor(req *http.Request) string {
	switch {
	case h.host != "":
		return h.host
	case req.Host != "":
		return req.Host
	}
	return req.URL.Host
}

// target puts the base in front of the client's path and keeps every byte of
// it, and of the query.
func (h *HTTP) target(from *url.URL) *url.URL {
	u := &url.URL{Scheme: h.base.Scheme, Host: h.base.Host, RawQuery: from.RawQuery, ForceQuery: from.ForceQuery}
	if from.Path == "*" { // OPTIONS * (RFC 9112 section 3.2.4)
		u.Path = "*"
		return u
	}
	basePath, baseRaw := strings.TrimSuffix(h.base.Path, "/"), strings.TrimSuffix(h.base.EscapedPath(), "/")
	u.Path, u.RawPath = basePath+from.Path, baseRaw+from.EscapedPath()
	// EscapedPath encodes what RFC 3986 does not allow in a path, such as "|".
	// A client that sent such a byte gets it sent. Opaque is the only way to
	// say so to net/http, which would take one that begins with "//" for a
	// host; there the encoded form has to do.
	raw := baseRaw + from.RawPath
	if from.RawPath != "" && raw != u.RawPath && isVisible(raw) && decodesTo(raw, u.Path) && !strings.HasPrefix(raw, "//") {
		u.Opaque = raw
	}
	return u
}

func decodesTo(raw, path string) bool {
	decoded, err := url.PathUnescape(raw)
	return err == nil && decoded == path
}

// isVisible says whether a raw path can stand in a request line as it is and
// does not end there.
func isVisible(raw string) bool {
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] == 0x7f || raw[i] == '?' || raw[i] == '#' {
			return false
		}
	}
	return strings.HasPrefix(raw, "/")
}

func outgoingHeader(from http.Header) http.Header {
	header := from.Clone()
	if header == nil {
		header = make(http.Header)
	}
	deleteHopByHop(header)
	deleteOwnFields(header)
	if lists(from["Te"], "trailers") { // Now a statement of this connection's (RFC 9110 section 10.1.4).
		header["Te"], header["Connection"] = []string{"trailers"}, []string{"TE"}
	}
	if asksUpgrade(from) {
		header["Upgrade"], header["Connection"] = from["Upgrade"], append(header["Connection"], "Upgrade")
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = []string{""} // Keeps net/http from naming itself.
	}
	return header
}

// lists says whether a list field has the token, in any case.
func lists(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// asksUpgrade says whether a request may leave HTTP (RFC 9110 section 7.8).
func asksUpgrade(h http.Header) bool {
	return len(h["Upgrade"]) > 0 && lists(h["Connection"], "upgrade")
}

// passTrailers announces the request's trailers and copies their values, and
// those of trailers that were not announced, once the body, which they follow,
// has been read.
func passTrailers(req, out *http.Request) {
	out.Trailer = make(http.Header, len(req.Trailer))
	for name := range req.Trailer {
		if !isOwnField(name) {
			out.Trailer[name] = nil
		}
	}
	out.GetBody = nil // A second body would not bring its trailers.
	out.Body = &atEnd{ReadCloser: req.Body, do: func() {
		for name, values := range req.Trailer {
			if !isOwnField(name) {
				out.Trailer[name] = values
			}
		}
	}}
}

// atEnd is a body that does something when it has been read to its end.
type atEnd struct {
	io.ReadCloser
	do func()
}

func (b *atEnd) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.do()
	}
	return n, err
}
