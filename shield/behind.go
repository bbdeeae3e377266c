package shield

import (
	"context"
	"net/http"
	"sync"
	"time"

	"weir/cache"
)

// A shield is behind where it has not applied what the edge that asks has. Nothing
// that it stores may be used for that edge then (promise P2), and both see to it
// that requests do not wait for it again and again:
//
//	shield  waits until it has caught up, for CatchUp since an edge first asked for
//	        what it lacks; from then on it goes past its store at once
//	edge    hears of that (behindField), and asks the next shields first; after
//	        behindRest one request is sent to it again, and shows whether it is level
const behindRest = 5 * time.Second

// lateness is what a shield lacks, as far as edges have asked for it.
type lateness struct {
	mu sync.Mutex // guards the rest
	// version is the lowest one, of the log that epoch names, that has been asked
	// for since the moment and was not in force here.
	epoch   string
	version uint64
	since   time.Time
}

// begun gives when this node, which is at own and applied, began to lack what an edge
// asks for at now. That it got there in between is noticed by the next who asks.
func (l *lateness) begun(now time.Time, epoch string, version uint64, own string, applied uint64) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch != l.epoch || own == epoch && applied >= l.version {
		l.epoch, l.version, l.since = epoch, version, now
	}
	l.version = min(l.version, version)
	return l.since
}

// behind says whether this node has not applied what the edge has, and could
// not catch up in time: then nothing stored here may be used (promise P2). An
// edge that follows another log cannot be compared with; which of the two is
// ahead, nobody knows. One that follows none yet has nothing to be behind of.
func (s *Server) behind(r *http.Request) bool {
	epoch, applied, ok := cache.ParseVersion(r.Header.Get(appliedField))
	if !ok {
		return true
	}
	own, has := s.o.Purges.Position()
	if epoch == "" || epoch == own && applied <= has {
		return false
	}
	begun := s.late.begun(time.Now(), epoch, applied, own, has)
	ctx, cancel := context.WithDeadline(r.Context(), begun.Add(s.o.CatchUp))
	defer cancel()
	return s.o.Purges.WaitPosition(ctx, epoch, applied) != nil
}

// isBehind says whether the shield is asked after those that are level.
func (p *peer) isBehind() bool { return time.Now().UnixNano() < p.behindUntil.Load() }

// retry says, by a mark that is not 0, that this request is the one which finds out
// whether the shield is level again; all others ask elsewhere meanwhile.
func (p *peer) retry() (mark int64) {
	now := time.Now()
	until, next := p.behindUntil.Load(), now.Add(behindRest).UnixNano()
	if until == 0 || now.UnixNano() < until || !p.behindUntil.CompareAndSwap(until, next) {
		return 0
	}
	return next
}

// compare takes from an answer whether the shield is level. Only a request that was
// sent to find that out says that it is again: others may have been sent before the
// edge was ahead of it.
func (c *Client) compare(p *peer, mark int64, h http.Header) {
	if at := h.Get(behindField); at != "" {
		if p.behindUntil.Swap(time.Now().Add(behindRest).UnixNano()) == 0 {
			c.o.Log.Warn("shield is behind the purges applied here: its keys are asked of the next ones", "shield", p.Name, "applied", at)
		}
		return
	}
	if mark != 0 && p.behindUntil.CompareAndSwap(mark, 0) {
		c.o.Log.Info("shield is level again", "shield", p.Name)
	}
}
