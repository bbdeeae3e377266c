package lab

import (
	"context"
	"errors"
	"sync"
)

// rank orders the stop: what clients see goes first, what others need last.
type rank int

const (
	rankClients rank = iota // router and edges
	rankShield
	rankControl
	ranks
)

// parts owns the goroutines of the running nodes.
type parts struct {
	failed chan error // receives the first error of a part that ended by itself
	ranks  [ranks]struct {
		cancel []context.CancelFunc
		wait   sync.WaitGroup
	}
	// mu guards errs.
	mu   sync.Mutex
	errs []error
}

func newParts() *parts { return &parts{failed: make(chan error, 1)} }

// add runs a part until it is stopped.
func (p *parts) add(r rank, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	of := &p.ranks[r]
	of.cancel = append(of.cancel, cancel)
	of.wait.Go(func() {
		err := run(ctx)
		p.mu.Lock()
		p.errs = append(p.errs, err)
		p.mu.Unlock()
		if ctx.Err() == nil {
			select {
			case p.failed <- errors.Join(errors.New("lab: a node ended by itself"), err):
			default:
			}
		}
	})
}

// stop ends the parts rank by rank and returns what they had to say.
func (p *parts) stop() error {
	for r := range p.ranks {
		for _, cancel := range p.ranks[r].cancel {
			cancel()
		}
		p.ranks[r].wait.Wait()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.errs...)
}
