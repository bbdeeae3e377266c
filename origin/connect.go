package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Defaults and limits of a connection pool.
const (
	connectTimeoutDefault = 5 * time.Second
	headerTimeoutDefault  = 30 * time.Second
	idleTimeout           = 60 * time.Second
	connsMaxDefault       = 64
	headerBytesMax        = 64 << 10
	readBufferBytes       = 64 << 10
)

// DialFunc opens a connection to an origin, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// pool is what the S3 and HTTP origins have in common: how they connect.
type pool struct {
	dial           DialFunc
	connectTimeout time.Duration
	headerTimeout  time.Duration
	connsMax       int
	tls            *tls.Config // nil for origins in clear
}

func (p pool) withDefaults() (pool, error) {
	if p.connectTimeout < 0 || p.headerTimeout < 0 || p.connsMax < 0 {
		return p, fmt.Errorf("negative limit: connect timeout %v, header timeout %v, %d connections",
			p.connectTimeout, p.headerTimeout, p.connsMax)
	}
	if p.dial == nil {
		p.dial = new(net.Dialer).DialContext
	}
	if p.connectTimeout == 0 {
		p.connectTimeout = connectTimeoutDefault
	}
	if p.headerTimeout == 0 {
		p.headerTimeout = headerTimeoutDefault
	}
	if p.connsMax == 0 {
		p.connsMax = connsMaxDefault
	}
	return p, nil
}

// transport makes the HTTP/1.1 client. It uses no proxy from the environment,
// follows no redirect and never touches a content coding. Its one retry is
// net/http's: a request without a body whose idle connection was closed by the
// origin before a byte came back is sent once more on another.
func (p pool) transport() *http.Transport {
	t := &http.Transport{
		DialContext:            p.connect,
		DisableCompression:     true,
		MaxConnsPerHost:        p.connsMax,
		MaxIdleConns:           p.connsMax,
		MaxIdleConnsPerHost:    p.connsMax,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  p.headerTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: headerBytesMax,
		ReadBufferSize:         readBufferBytes,
	}
	if p.tls != nil {
		t.DialTLSContext = p.connectTLS
	}
	return t
}

// connect opens a connection within the connect timeout. Every failure is a
// *net.OpError with Op "dial", whatever the DialFunc returned, so that callers
// can tell it from a failure of the exchange that would have followed.
func (p pool) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.connectTimeout)
	defer cancel()
	conn, err := p.dial(ctx, network, addr)
	if err != nil {
		return nil, dialError(network, err)
	}
	return conn, nil
}

// connectTLS opens a connection and shakes hands, both within the one connect
// timeout. A failed handshake counts as a failed dial.
func (p pool) connectTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.connectTimeout)
	defer cancel()
	conn, err := p.dial(ctx, network, addr)
	if err != nil {
		return nil, dialError(network, err)
	}
	config := p.tls
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(dialError(network, err), conn.Close())
		}
		config = config.Clone()
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // The handshake's error says why; this one adds nothing.
		return nil, dialError(network, fmt.Errorf("TLS handshake: %w", err))
	}
	return secure, nil
}

func dialError(network string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err
	}
	// OpError.Timeout looks at its direct cause only.
	var cause net.Error
	if errors.As(err, &cause) && cause.Timeout() {
		err = cause
	}
	return &net.OpError{Op: "dial", Net: network, Err: err}
}
