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
//	Weir-Behind      shield → edge   what the shield has applied, likewise, where that is not
//	                                 what the edge has: the answer is from past its store
package shield

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache"
	"weir/internal/planted"
)

const (
	tokenField   = "Weir-Tier-Token"
	appliedField = "Weir-Applied"
	behindField  = "Weir-Behind"
)

// peersMax bounds the shields that one edge knows.
const peersMax = 64

// ClientOptions configures a Client. Shields, Token and Position are required.
type ClientOptions struct {
	// Shields are those that share the keys: 1 to 64, with names that differ.
	Shields []Peer
	// Token is the tiers' shared secret.
	Token string
	// Position gives the purge log that this node follows and the version that
	// it has applied.
	Position func() (epoch string, applied uint64)
	// WaitPosition returns nil once the node follows the log that epoch names and
	// has applied a version. Default: no answer waits for that (see keepStep).
	WaitPosition func(ctx context.Context, epoch string, version uint64) error
	// Dial opens connections; default a net.Dialer with ConnectTimeout.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ConnectTimeout bounds the opening of a connection; default 3 s.
	ConnectTimeout time.Duration
	// HeaderTimeout bounds the wait for a response's header; default 30 s.
	HeaderTimeout time.Duration
	// ConnectionsMax bounds the connections to each shield; default 256. Those
	// that switch to another protocol are not among them: who asks for them
	// bounds them.
	ConnectionsMax int
	// ContinueTimeout bounds the wait for the shield's 100 before the body of a
	// request that expects one is sent all the same. It should be longer than
	// the shield's own for its origin. Default 2 s.
	ContinueTimeout time.Duration
	// Log is told which shield is down or behind, and which is back. Default: discard.
	Log *slog.Logger
}

// Client asks the shield that owns a key, or the next one in the key's order
// where the owner is behind or down. It is the http.RoundTripper of an edge's sites.
type Client struct {
	o         ClientOptions
	peers     []*peer
	transport *http.Transport
	switching *http.Transport // for requests that ask to leave HTTP, and probes
	restUntil atomic.Int64    // when answers wait for purges again, in ns since 1970

	// ctx ends with Close, which waits for probing. mu guards the passage of
	// peers from up to down and back.
	ctx     context.Context
	close   context.CancelFunc
	probing sync.WaitGroup
	mu      sync.Mutex
}

// NewClient checks o and makes a client.
func NewClient(o ClientOptions) (*Client, error) {
	peers, err := peersOf(o.Shields)
	if err != nil {
		return nil, err
	}
	if o.Token == "" || o.Position == nil {
		return nil, errors.New("shield: ClientOptions.Token and ClientOptions.Position are required")
	}
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 3*time.Second)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 30*time.Second)
	o.ConnectionsMax = cmp.Or(o.ConnectionsMax, 256)
	o.ContinueTimeout = cmp.Or(o.ContinueTimeout, 2*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: o.ConnectTimeout}).DialContext
	}
	c := &Client{o: o, peers: peers, transport: &http.Transport{
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
	c.ctx, c.close = context.WithCancel(context.Background())
	return c, nil
}

func peersOf(shields []Peer) ([]*peer, error) {
	if len(shields) == 0 || len(shields) > peersMax {
		return nil, fmt.Errorf("shield: %d shields: want 1 to %d", len(shields), peersMax)
	}
	var peers []*peer
	for _, s := range shields {
		base, err := url.Parse(s.URL)
		if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
			return nil, fmt.Errorf("shield: URL %q: want http://host:port or https://host:port", s.URL)
		}
		if slices.ContainsFunc(peers, func(p *peer) bool { return p.Name == s.Name }) {
			return nil, fmt.Errorf("shield: two are named %q", s.Name)
		}
		peers = append(peers, &peer{Peer: s, base: base, hash: hashOf(s.Name), asking: make(chan struct{}, 1)})
	}
	return peers, nil
}

// attemptsMax bounds the shields that one request is sent to.
const attemptsMax = 3

// RoundTrip sends the request to the shield that owns its key. If that one is
// gone, the next ones are asked, attemptsMax in all: with any request that has not
// reached it, and with a safe one without a body that may have. A shield that is
// there and takes long, or answers with an error, has given the answer, save one that
// refuses since it has lost the purge log: its answer is given if no other has one.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.exchange(r)
	if err == nil {
		c.keepStep(r.Context(), response.Header)
	}
	return response, err
}

func (c *Client) exchange(r *http.Request) (*http.Response, error) {
	if len(c.peers) == 1 {
		return c.send(c.peers[0], r)
	}
	var errs []error
	var refused *http.Response
	taken := false // the body is the transport's, which closes it
	order := c.order(keyOf(r))
	for _, p := range order[:min(len(order), attemptsMax)] {
		a := &attempt{client: c, peer: p, request: r}
		response, err := a.run()
		if err == nil && refuses(response) && a.repeatable() {
			c.fail(p)
			refused, response = response, refused
			if response != nil {
				_ = response.Body.Close()
			}
			continue
		}
		if err == nil {
			if refused != nil {
				_ = refused.Body.Close()
			}
			return response, nil
		}
		taken = a.reached.Load()
		if errs = append(errs, err); !a.elsewhere(err) {
			break
		}
	}
	if r.Body != nil && !taken && refused == nil {
		_ = r.Body.Close()
	}
	if refused != nil {
		return refused, nil
	}
	return nil, errors.Join(errs...)
}

// send sends the request to a shield, under the host that the client asked for:
// the shield finds the site by it, as the edge did.
//
// The copy that is sent shares the request's trailers, which are filled in
// while the body is read.
func (c *Client) send(p *peer, r *http.Request) (*http.Response, error) {
	out := r.WithContext(r.Context())
	out.Host = cmp.Or(r.Host, r.URL.Host)
	target := *r.URL
	target.Scheme, target.Host = p.base.Scheme, p.base.Host
	out.URL, out.Header = &target, r.Header.Clone()
	if _, named := out.Header["User-Agent"]; !named {
		out.Header["User-Agent"] = []string{""} // keeps net/http from naming itself
	}
	out.Header.Set(tokenField, c.o.Token)
	epoch, applied := c.o.Position()
	if planted.In(planted.StandInUntold) && p != rank(c.peers, keyOf(r))[0] {
		applied = 0
	}
	out.Header.Set(appliedField, cache.Version(epoch, applied))
	transport := c.transport
	if len(r.Header["Upgrade"]) > 0 {
		transport = c.switching
	}
	response, err := transport.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("shield: %s %s from %s: %w", r.Method, r.URL.Path, p.Name, err)
	}
	p.answered()
	if media := response.Header.Get(cache.TypeField); media != "" && response.StatusCode == http.StatusNotModified {
		response.Header.Set("Content-Type", media)
	}
	return response, nil
}

// Health is what an edge knows of one shield.
type Health struct {
	Name string
	// Down says that it is asked after the others, and Behind that it is asked after
	// those that have applied what this edge has.
	Down, Behind bool
	// Answers counts its answers to requests, Failures how often it went down.
	Answers, Failures uint64
}

// Health gives that of each shield, in the order of ClientOptions.Shields.
func (c *Client) Health() []Health {
	var all []Health
	for _, p := range c.peers {
		all = append(all, Health{p.Name, p.down.Load(), p.isBehind(), p.requests.Load(), p.failures.Load()})
	}
	return all
}

// Close ends the probes and closes the connections that are idle.
func (c *Client) Close() {
	c.mu.Lock() // from now on fail starts none
	c.close()
	c.mu.Unlock()
	c.probing.Wait()
	c.transport.CloseIdleConnections()
	c.switching.CloseIdleConnections()
}
