package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"weir/internal/history"
	"weir/purge"
)

const (
	writersCount = 3
	// writePause is between two purges of one writer, at most.
	writePause = 400 * time.Millisecond
	// retryPause is before a purge that may not have been accepted is asked for
	// again, under the same idempotency key.
	retryPause = 100 * time.Millisecond
	// pollPause is between two looks at what the nodes have applied.
	pollPause = 50 * time.Millisecond
)

// writer raises contents at the origin and purges.
type writer struct {
	w      *world
	name   string
	random *rand.Rand
	count  int
}

func newWriter(w *world, i int) *writer {
	return &writer{w: w, name: fmt.Sprint("writer-", i+1), random: w.random(writerStream + uint64(i))}
}

func (r *writer) run(ctx context.Context) {
	for sleep(ctx, time.Duration(r.random.Int64N(int64(writePause)))) {
		r.one(ctx)
	}
}

// one raises a content and purges it, until control has accepted that or ctx
// ends: what of it is not known promises nothing.
func (r *writer) one(ctx context.Context) {
	r.count++
	c := r.w.origin.all[r.random.IntN(len(r.w.origin.all))]
	values := r.w.origin.bump(c)
	r.w.history.Superseded(c.key(), values[c.key()], c.maxAge, time.Now())
	request, covered := r.draw(c)
	request.Key = fmt.Sprint(r.name, "-", r.count)
	p := history.Purge{What: what(request), Soft: request.Mode == purge.ModeSoft, Values: make(map[string]int)}
	for _, other := range r.w.origin.all {
		if covered(other) {
			p.Values[other.key()] = values[other.key()]
		}
	}
	waits, timeout := r.random.IntN(3) > 0, time.Duration(300+r.random.IntN(1500))*time.Millisecond
	for {
		result, err := r.ask(ctx, request, waits, timeout)
		if result.Version > 0 {
			p.Version = result.Version
			r.w.accepted(p, request, result, waits)
			return
		}
		if ctx.Err() != nil {
			return
		}
		var refused *purge.RefusedError
		if errors.As(err, &refused) && refused.Status != 503 {
			r.w.report.broken(fmt.Errorf("control refused a purge: %w", err))
			return
		}
		r.w.report.unaccepted()
		if !sleep(ctx, retryPause) {
			return
		}
	}
}

// askTimeout is longer than any wait for receipts.
const askTimeout = 5 * time.Second

func (r *writer) ask(ctx context.Context, request purge.Request, waits bool, timeout time.Duration) (purge.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if !waits {
		return r.w.client.Purge(ctx, request)
	}
	return r.w.client.Watch(ctx, request, timeout, r.w.receipt)
}

// receipt takes in that a node has confirmed.
func (w *world) receipt(receipt purge.Receipt) {
	w.history.Applied(receipt.Node, receipt.Version, time.Now())
	w.confirmed.tell(receipt.Node)
}

func (w *world) accepted(p history.Purge, request purge.Request, result purge.Result, waited bool) {
	if err := w.history.Accepted(p, time.Now()); err != nil {
		w.report.broken(err)
	}
	w.report.purged(p, request, result, waited)
}

// draw gives a purge of a content, in one of the ways that there are, and says
// what it covers.
func (r *writer) draw(c *content) (request purge.Request, covered func(*content) bool) {
	request = purge.Request{Site: siteName}
	if r.random.IntN(3) == 0 {
		request.Mode = purge.ModeSoft
	}
	switch r.random.IntN(12) {
	case 0:
		request.Scope, request.Targets = purge.ScopePrefix, []string{c.path[:3]}
		return request, func(o *content) bool { return strings.HasPrefix(o.path, c.path[:3]) }
	case 1, 2:
		request.Scope, request.Targets = purge.ScopeTag, []string{c.tag}
		return request, func(o *content) bool { return o.tag == c.tag }
	case 3:
		request.Scope, request.Targets = purge.ScopeHost, []string{c.host}
		return request, func(o *content) bool { return o.host == c.host }
	case 4:
		request.Scope = purge.ScopeSite
		return request, func(*content) bool { return true }
	case 5:
		request.Scope, request.Site = purge.ScopeAll, ""
		return request, func(*content) bool { return true }
	case 6, 7, 8:
		request.Scope, request.Targets = purge.ScopeURL, []string{"http://" + c.key()}
		return request, func(o *content) bool { return o == c }
	}
	request.Scope, request.Targets = purge.ScopeURL, []string{c.path}
	return request, func(o *content) bool { return o.path == c.path }
}

func what(r purge.Request) string {
	return strings.TrimSpace(fmt.Sprint(r.Scope, " ", strings.Join(r.Targets, " "))) + ", " + r.Mode.String()
}

// pollNodes asks control what the nodes have applied, for those that confirm
// later than anybody waits.
func (w *world) pollNodes(ctx context.Context) {
	for sleep(ctx, pollPause) {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		nodes, err := w.client.Nodes(asking)
		cancel()
		if err != nil {
			continue // control is away
		}
		now := time.Now()
		for _, n := range nodes {
			w.history.Applied(n.Node, n.Applied, now)
		}
	}
}

// bell tells those who wait for a node's next receipt.
type bell struct {
	mu    sync.Mutex // guards rings
	rings map[string]chan struct{}
}

func (b *bell) tell(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ring := b.rings[name]; ring != nil {
		close(ring)
		delete(b.rings, name)
	}
}

func (b *bell) next(name string) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rings == nil {
		b.rings = make(map[string]chan struct{})
	}
	if b.rings[name] == nil {
		b.rings[name] = make(chan struct{})
	}
	return b.rings[name]
}

// awaitReceipt waits until a node confirms a purge; false if ctx ends before.
func (w *world) awaitReceipt(ctx context.Context, name string) bool {
	select {
	case <-w.confirmed.next(name):
		return true
	case <-ctx.Done():
		return false
	}
}
