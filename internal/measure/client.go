package measure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Protocol is a version of HTTP, always under TLS here.
type Protocol uint8

// The protocols. The zero value is none of them.
const (
	HTTP1 Protocol = iota + 1 // HTTP/1.1
	HTTP2                     // HTTP/2
	HTTP3                     // HTTP/3, over QUIC
)

// protocolNames is in the order of the constants: the one name, and the short
// form that may stand for it.
var protocolNames = [...]struct{ long, short string }{{"", ""}, {"HTTP/1.1", "h1"}, {"HTTP/2", "h2"}, {"HTTP/3", "h3"}}

// String gives the protocol's one name, like "HTTP/1.1".
func (p Protocol) String() string {
	if int(p) < len(protocolNames) {
		return protocolNames[p].long
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// MarshalText gives the name.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes a name, or h1, h2 or h3.
func (p *Protocol) UnmarshalText(text []byte) error {
	for i, name := range protocolNames {
		if i > 0 && (name.long == string(text) || name.short == string(text)) {
			*p = Protocol(i)
			return nil
		}
	}
	return fmt.Errorf("unknown protocol %.32q: want h1, h2 or h3", text)
}

// client makes requests with one protocol from one address. It keeps no
// connection and no TLS session: each request pays for its handshakes.
type client struct {
	protocol Protocol
	// source is the address that sockets are bound to; the zero Addr leaves it
	// to the system.
	source  netip.Addr
	tls     *tls.Config
	timeout time.Duration
}

// sample is one request that was answered. Both times run from before the
// connection was dialled.
type sample struct {
	first   time.Duration // until the response's header was there
	total   time.Duration // until the body's last byte was
	outcome outcome
}

// get requests u once. An answer in another protocol, or of a status of 500 and
// above, is an error: its times say nothing about the path.
func (c *client) get(ctx context.Context, u *url.URL) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return sample{}, err
	}
	request.Header.Set("User-Agent", "weir-measure")
	if c.protocol == HTTP3 {
		return c.overQUIC(request)
	}
	return c.overTCP(request)
}

// overTCP is get with HTTP/1.1 or HTTP/2.
func (c *client) overTCP(request *http.Request) (sample, error) {
	began := time.Now()
	var dialer net.Dialer
	if c.source.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: c.source.AsSlice()}
	}
	transport := &http.Transport{
		DialContext:        dialer.DialContext,
		TLSClientConfig:    c.tls.Clone(),
		Protocols:          new(http.Protocols),
		DisableCompression: true,
	}
	transport.Protocols.SetHTTP1(c.protocol == HTTP1)
	transport.Protocols.SetHTTP2(c.protocol == HTTP2)
	conn, err := transport.NewClientConn(request.Context(), "https", hostPort(request.URL))
	if err != nil {
		return sample{}, err
	}
	defer conn.Close()
	return c.exchange(conn, request, began)
}

// quicSocket hides from quic-go that the socket is the system's: for one of
// those it prints a line about buffer sizes, which do not matter to a client
// that makes one request, beside the table.
type quicSocket struct {
	net.PacketConn
	inner *net.UDPConn
}

// SetReadBuffer asks for a size, in bytes.
func (s quicSocket) SetReadBuffer(size int) error { return s.inner.SetReadBuffer(size) }

// SetWriteBuffer asks for a size, in bytes.
func (s quicSocket) SetWriteBuffer(size int) error { return s.inner.SetWriteBuffer(size) }

// overQUIC is get with HTTP/3.
func (c *client) overQUIC(request *http.Request) (sample, error) {
	began := time.Now()
	network, local := "udp", (*net.UDPAddr)(nil)
	if c.source.IsValid() {
		network, local = "udp4", &net.UDPAddr{IP: c.source.AsSlice()}
	}
	remote, err := net.ResolveUDPAddr(network, hostPort(request.URL))
	if err != nil {
		return sample{}, err
	}
	socket, err := net.ListenUDP(network, local)
	if err != nil {
		return sample{}, err
	}
	defer socket.Close()
	transport := &quic.Transport{Conn: quicSocket{socket, socket}}
	defer transport.Close() // waits for its goroutines
	config := c.tls.Clone()
	config.NextProtos, config.ServerName = []string{http3.NextProtoH3}, request.URL.Hostname()
	limits := &quic.Config{
		HandshakeIdleTimeout: c.timeout, MaxIdleTimeout: c.timeout,
		MaxIncomingStreams: -1, // a server opens none of these (RFC 9114 section 6.1)
	}
	conn, err := transport.Dial(request.Context(), remote, config, limits)
	if err != nil {
		return sample{}, err
	}
	over := (&http3.Transport{DisableCompression: true}).NewClientConn(conn)
	defer func() { _ = over.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }()
	return c.exchange(over, request, began)
}

// hostPort gives the authority with its port.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// exchange makes the request on a connection and reads the answer to its end.
// The body is dropped as it comes; the request's deadline bounds it.
func (c *client) exchange(conn http.RoundTripper, request *http.Request, began time.Time) (sample, error) {
	response, err := conn.RoundTrip(request)
	if err != nil {
		return sample{}, err
	}
	defer response.Body.Close()
	s := sample{first: time.Since(began)}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return sample{}, fmt.Errorf("read the body: %w", err)
	}
	s.total = time.Since(began)
	switch {
	case response.ProtoMajor != int(c.protocol):
		return sample{}, fmt.Errorf("asked for %s, answered in %s", c.protocol, response.Proto)
	case response.TLS == nil:
		return sample{}, errors.New("answered in clear")
	case response.StatusCode >= http.StatusInternalServerError:
		return sample{}, fmt.Errorf("status %d", response.StatusCode)
	}
	s.outcome = outcomeOf(response.Header.Values("Cache-Status"))
	s.outcome.status = response.StatusCode
	return s, nil
}
