package cache

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"weir/storage"
)

// groupsMax bounds the invalidated groups that are remembered one by one.
const groupsMax = 1 << 16

// groups remembers which groups of a host's responses an unsafe request has made
// invalid (RFC 9875 section 3). Like what Location names after such a request,
// that is this node's own knowledge: purges are for what every PoP must know.
//
// Stamps count invalidations, with a number drawn at the start in their upper
// half: of what was stored before that, nobody knows what has become, so that
// it is validated before its next use.
type groups struct {
	run  uint64 // the upper half of this run's stamps
	last atomic.Uint64
	// below is the stamp from which on newest is complete.
	below atomic.Uint64

	// mu guards newest. Nothing blocks under it.
	mu     sync.Mutex
	newest map[string]uint64 // by site, host and group: the stamp of its last invalidation
}

func newGroups() *groups {
	g := &groups{run: uint64(rand.Uint32()) << 32, newest: make(map[string]uint64)}
	g.last.Store(g.run)
	g.below.Store(g.run)
	return g
}

// stamp is what a fill that begins now is known to be as new as.
func (g *groups) stamp() uint64 { return g.last.Load() }

// invalidate makes the groups of a site's host invalid. When there is no room,
// every group is.
func (g *groups) invalidate(site, host string, names []string) {
	if len(names) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	next := g.last.Load() + 1
	if len(g.newest)+len(names) > groupsMax {
		clear(g.newest)
		g.below.Store(next)
	}
	for _, name := range names {
		g.newest[groupText(site, host, name)] = next
	}
	g.last.Store(next) // whoever sees it finds the names
}

// valid says whether no group of a response has been made invalid since its
// fill began. It costs nothing for a response without groups, and two atomic
// loads while nothing is new.
func (g *groups) valid(m *storage.Meta) bool {
	switch {
	case len(m.Groups) == 0:
		return true
	case m.GroupStamp>>32 != g.run>>32, m.GroupStamp < g.below.Load():
		return false
	case m.GroupStamp == g.last.Load():
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range m.Groups {
		if g.newest[groupText(m.Site, m.Host, name)] > m.GroupStamp {
			return false
		}
	}
	return true
}

func groupText(site, host, name string) string { return site + " " + host + " " + name }
