// Package shield is the tier between edges and origins: the client that edges
// use as their upstream, and the server on the shield's side, which is the
// same engine with an origin as its upstream.
//
// What the tiers say to each other, besides HTTP:
//
//	Weir-Tier-Token  edge → shield   the shared secret that tells an edge from a stranger
//	Weir-Applied     edge → shield   the purge log that the edge follows and the version that it
//	                                 has applied (promise P2), as cache.Version writes them
//	Weir-Stamp       shield → edge   the stamp of the object in the answer, likewise
package shield

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"weir/cache"
)

const (
	tokenField   = "Weir-Tier-Token"
	appliedField = "Weir-Applied"
)

// ClientOptions configures a Client. URL, Token and Position are required.
type ClientOptions struct {
	// URL is the shield's, "http://host:port" or "https://host:port".
	URL string
	// Token is the tiers' shared secret.
	Token string
	// Position gives the purge log that this node follows and the version that
	// it has applied.
	Position func() (epoch string, applied uint64)
	// Dial opens connections; default a net.Dialer with ConnectTimeout.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ConnectTimeout bounds the opening of a connection; default 3 s.
	ConnectTimeout time.Duration
	// HeaderTimeout bounds the wait for a response's header; default 30 s.
	HeaderTimeout time.Duration
	// ConnectionsMax bounds the connections to the shield; default 256. Those
	// that switch to another protocol are not among them: who asks for them
	// bounds them.
	ConnectionsMax int
	// ContinueTimeout bounds the wait for the shield's 100 before the body of a
	// request that expects one is sent all the same. It should be longer than
	// the shield's own for its origin. Default 2 s.
	ContinueTimeout time.Duration
}

// Client asks a shield. It is the http.RoundTripper of an edge's sites.
type Client struct {
	o         ClientOptions
	base      *url.URL
	transport *http.Transport
	switching *http.Transport // for requests that ask to leave HTTP
}

// NewClient checks o and makes a client.
func NewClient(o ClientOptions) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("shield: URL %q: want http://host:port or https://host:port", o.URL)
	}
	if o.Token == "" || o.Position == nil {
		return nil, errors.New("shield: ClientOptions.Token and ClientOptions.Position are required")
	}
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 3*time.Second)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 30*time.Second)
	o.ConnectionsMax = cmp.Or(o.ConnectionsMax, 256)
	o.ContinueTimeout = cmp.Or(o.ContinueTimeout, 2*time.Second)
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: o.ConnectTimeout}).DialContext
	}
	c := &Client{o: o, base: base, transport: &http.Transport{
		DialContext:            o.Dial,
		ResponseHeaderTimeout:  o.HeaderTimeout,
		MaxConnsPerHost:        o.ConnectionsMax,
		MaxIdleConnsPerHost:    o.ConnectionsMax,
		IdleConnTimeout:        45 * time.Second,
		ExpectContinueTimeout:  o.ContinueTimeout,
		MaxResponseHeaderBytes: 128 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      false,
	}}
	c.switching = c.transport.Clone()
	c.switching.MaxConnsPerHost, c.switching.DisableKeepAlives = 0, true
	return c, nil
}

// RoundTrip sends the request to the shield, under the host that the client
// asked for: the shield finds the site by it, as the edge did.
//
// The copy that is sent shares the request's trailers, which are filled in
// while the body is read.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.WithContext(r.Context())
	out.Host = cmp.Or(r.Host, r.URL.Host)
	target := *r.URL
	target.Scheme, target.Host = c.base.Scheme, c.base.Host
	out.URL, out.Header = &target, r.Header.Clone()
	if _, named := out.Header["User-Agent"]; !named {
		out.Header["User-Agent"] = []string{""} // keeps net/http from naming itself
	}
	out.Header.Set(tokenField, c.o.Token)
	out.Header.Set(appliedField, cache.Version(c.o.Position()))
	transport := c.transport
	if len(r.Header["Upgrade"]) > 0 {
		transport = c.switching
	}
	response, err := transport.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("shield: %s %s: %w", r.Method, r.URL.Path, err)
	}
	if media := response.Header.Get(cache.TypeField); media != "" && response.StatusCode == http.StatusNotModified {
		response.Header.Set("Content-Type", media)
	}
	return response, nil
}

// Close closes the connections that are idle.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	c.switching.CloseIdleConnections()
}
