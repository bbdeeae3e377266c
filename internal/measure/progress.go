package measure

import "sync"

// progress counts the samples of all jobs.
type progress struct {
	tell  func(done, total int) // or nil
	total int

	mu   sync.Mutex // guards done, and keeps calls of tell apart
	done int
}

func newProgress(total int, tell func(done, total int)) *progress {
	return &progress{tell: tell, total: total}
}

func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.tell != nil {
		p.tell(p.done, p.total)
	}
}
