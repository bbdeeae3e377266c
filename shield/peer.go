package shield

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Peer is one shield, as an edge's configuration names it.
type Peer struct {
	// Name is the node's: with the key's, it decides what the shield owns.
	Name string
	// URL is "http://host:port" or "https://host:port".
	URL string
}

// How an edge finds out that a shield is gone, and that it is back.
const (
	// silenceMax is how long a shield may say nothing at all to anybody before
	// it is asked whether it is there, and probeTimeout how long that may take:
	// origins are slow as well, and nobody else need be asked for that.
	silenceMax   = time.Second
	probeTimeout = 2 * time.Second
	// probeInterval is between the probes of a shield that is down; it is used
	// again after probesMin good ones in a row.
	probeInterval = time.Second
	probesMin     = 2
	// A shield that goes down within steadyAfter of coming back is probed only
	// after a while that doubles each time, up to holdMax.
	steadyAfter = time.Minute
	holdMax     = 32 * time.Second
)

// peer is a shield and what this edge knows of its health.
//
//	up    ──► down   no connection; or silent, and no answer to a probe either
//	down  ──► up     probesMin answers in a row that say it is well: it has caught
//	                 up with the purge log among other things
type peer struct {
	Peer
	base *url.URL
	hash uint64
	// down says that the shield is asked last; heard is when it last answered
	// anything, in nanoseconds since 1970.
	down  atomic.Bool
	heard atomic.Int64
	// behindUntil is until when the shield is asked after those that are level, in
	// nanoseconds since 1970; 0 while it is level itself.
	behindUntil atomic.Int64
	// asking has room for the one probe that runs.
	asking chan struct{}

	requests, failures atomic.Uint64

	// back is when it last came back, and hold how long the first probe waits
	// after it went down. Client.mu guards them.
	back time.Time
	hold time.Duration
}

func (p *peer) answered() {
	p.requests.Add(1)
	p.heard.Store(time.Now().UnixNano())
}

// fail takes the shield out of use, and has it probed until it is back.
func (c *Client) fail(p *peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || !p.down.CompareAndSwap(false, true) {
		return
	}
	p.failures.Add(1)
	if p.hold == 0 || time.Since(p.back) > steadyAfter {
		p.hold = probeInterval
	} else {
		p.hold = min(2*p.hold, holdMax)
	}
	c.o.Log.Warn("shield is down: its keys are asked of the next ones", "shield", p.Name, "probed_after", p.hold)
	wait := p.hold
	c.probing.Go(func() { c.revive(p, wait) })
}

// revive probes a shield that is down until it is well.
func (c *Client) revive(p *peer, wait time.Duration) {
	for good := 0; good < probesMin; wait = probeInterval {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(wait):
		}
		good++
		if c.probe(c.ctx, p) != http.StatusOK {
			good = 0
		}
	}
	c.o.Log.Info("shield is back", "shield", p.Name)
	c.mu.Lock()
	p.back = time.Now()
	p.down.Store(false)
	c.mu.Unlock()
}

// probe asks whether the shield can answer edges, and gives the status, 0 for no
// answer. A disk that is out of service is no reason not to ask it: it serves from
// memory and the origin.
func (c *Client) probe(ctx context.Context, p *peer) int {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base.JoinPath("readyz").String(), nil)
	if err != nil {
		return 0
	}
	response, err := c.switching.RoundTrip(r)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// there says whether a shield that owes somebody an answer is there: it has
// answered anybody of late, or answers now. However many wait for it, one asks.
func (c *Client) there(ctx context.Context, p *peer) bool {
	select {
	case p.asking <- struct{}{}:
	case <-ctx.Done():
		return true // nobody wants to know any more
	}
	defer func() { <-p.asking }()
	if p.down.Load() {
		return false
	}
	if time.Since(time.Unix(0, p.heard.Load())) < silenceMax {
		return true
	}
	if c.probe(ctx, p) == 0 {
		return ctx.Err() != nil
	}
	p.heard.Store(time.Now().UnixNano())
	return true
}
