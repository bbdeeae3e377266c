package geo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// answerBytesMax is how much of a health answer is read, so that its
// connection can be used again.
const answerBytesMax = 4 << 10

// HealthOptions says how PoPs are polled. The zero value works.
type HealthOptions struct {
	// Interval is the time from one poll of a PoP to the next; 2 s by default.
	Interval time.Duration
	// Timeout is how long a poll may take; 1 s by default.
	Timeout time.Duration
	// FailsMax is how many failures in a row take a PoP down; 2 by default.
	// One success brings it back.
	FailsMax int
	// Transport carries the polls; one of its own by default. Redirects are
	// not followed: they are failures.
	Transport http.RoundTripper
	// Logger gets one line for each change of a PoP's state; slog's default
	// one by default.
	Logger *slog.Logger
}

func (o HealthOptions) withDefaults() HealthOptions {
	if o.Interval <= 0 {
		o.Interval = 2 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.FailsMax <= 0 {
		o.FailsMax = 2
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Health polls PoPs and knows which of them answer. All count as healthy until
// polls have failed.
//
//	state     entered by                     left by
//	healthy   NewHealth; one poll with 200   FailsMax polls in a row that failed
//	down      (as above)                     one poll with 200
type Health struct {
	opts HealthOptions
	pops map[string]*polled
}

// polled is one PoP's state. Only its own goroutine of Run writes fails.
type polled struct {
	name, url string
	fails     int
	down      atomic.Bool
}

// NewHealth prepares polling of those PoPs that have a HealthURL. Nothing is
// polled before Run.
func NewHealth(pops []PoP, opts HealthOptions) (*Health, error) {
	h := &Health{opts: opts.withDefaults(), pops: make(map[string]*polled, len(pops))}
	for _, p := range pops {
		if p.HealthURL == "" {
			continue
		}
		u, err := url.Parse(p.HealthURL)
		if err != nil {
			return nil, fmt.Errorf("geo: health of pop %q: %w", p.Name, err)
		}
		if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, fmt.Errorf("geo: health of pop %q: %q is not an http or https URL", p.Name, p.HealthURL)
		}
		h.pops[p.Name] = &polled{name: p.Name, url: p.HealthURL}
	}
	return h, nil
}

// Healthy says whether the named PoP may be given clients. A PoP that is not
// polled may.
func (h *Health) Healthy(name string) bool {
	p, ok := h.pops[name]
	return !ok || !p.down.Load()
}

// Run polls until the context ends and returns when every poll has ended. It
// may be called once.
func (h *Health) Run(ctx context.Context) {
	transport := h.opts.Transport
	if transport == nil {
		own := &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}
		defer own.CloseIdleConnections()
		transport = own
	}
	var polls sync.WaitGroup
	for _, p := range h.pops {
		polls.Go(func() { h.follow(ctx, transport, p) })
	}
	polls.Wait()
}

// follow polls one PoP, at once and then at every tick.
func (h *Health) follow(ctx context.Context, transport http.RoundTripper, p *polled) {
	tick := time.NewTicker(h.opts.Interval)
	defer tick.Stop()
	for {
		err := h.poll(ctx, transport, p.url)
		if ctx.Err() != nil {
			return // the failure, if it was one, is ours
		}
		h.record(p, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// poll asks once. Any answer but 200 within the timeout is a failure.
func (h *Health) poll(ctx context.Context, transport http.RoundTripper, healthURL string) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, healthURL, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, answerBytesMax))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// record counts a poll's outcome and logs it if it changes the state.
func (h *Health) record(p *polled, err error) {
	if err == nil {
		p.fails = 0
		if p.down.Swap(false) {
			h.opts.Logger.Info("pop is healthy again", "pop", p.name)
		}
		return
	}
	p.fails = min(p.fails+1, h.opts.FailsMax)
	if p.fails >= h.opts.FailsMax && !p.down.Swap(true) {
		h.opts.Logger.Warn("pop is down", "pop", p.name, "url", p.url, "error", err)
	}
}
