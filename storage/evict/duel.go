package evict

import "math"

const (
	// rehearsalEntriesMax bounds what one rehearsal holds: 40 bytes each.
	rehearsalEntriesMax = 8 << 10
	// duelRequests is over how many sampled requests hits are compared: older
	// ones count half each time that as many have passed.
	duelRequests = 16 << 10
)

// rehearsal is a ring without regions, played through with a sample.
type rehearsal struct {
	ring ghosts // uses is 1 once it was hit
	hits float64
}

// asked says whether the ring has the hash.
func (r *rehearsal) asked(hash uint64) bool {
	g := r.ring.find(hash)
	if g == nil {
		return false
	}
	g.uses = 1
	r.hits++
	return true
}

// write appends an object, and gives up the oldest that were not hit.
func (r *rehearsal) write(hash uint64, bytes, budgetBytes int64) (full bool) {
	if bytes > budgetBytes {
		return false
	}
	r.ring.push(ghost{hash: hash, bytes: bytes})
	for r.ring.bytes > budgetBytes {
		full = true
		if g := r.ring.pop(); g.uses > 0 {
			g.uses, g.gone = 0, false
			r.ring.push(g)
		}
	}
	return full
}

// duel plays two ways to fill a ring against each other: to write every miss,
// and every second one.
type duel struct {
	budgetBytes int64 // of the whole ring
	shift       uint  // one hash in 2^shift is in the sample
	all, second rehearsal
	missed      ghosts // by second
	requests    int
	full        bool // all has come round
}

func newDuel(budgetBytes int64) duel {
	unbound := func() ghosts { return newGhosts(math.MaxInt64, math.MaxInt) }
	return duel{budgetBytes: budgetBytes, all: rehearsal{ring: unbound()}, second: rehearsal{ring: unbound()}, missed: unbound()}
}

// asked plays a request through.
func (d *duel) asked(hash uint64, bytes int64) {
	if !d.sampled(hash) {
		return
	}
	if d.requests++; d.requests == duelRequests {
		d.requests = 0
		d.all.hits /= 2
		d.second.hits /= 2
	}
	bytes = max(bytes, 1)
	budgetBytes := d.budgetBytes >> d.shift
	if !d.all.asked(hash) && d.all.write(hash, bytes, budgetBytes) {
		d.full = true
	}
	if !d.second.asked(hash) {
		if g := d.missed.find(hash); g != nil {
			d.missed.drop(g)
			d.second.write(hash, bytes, budgetBytes)
		} else {
			d.missed.put(ghost{hash: hash, bytes: bytes}, 0)
			for d.missed.bytes > budgetBytes {
				d.missed.pop()
			}
		}
	}
	if max(d.all.ring.live, d.second.ring.live, d.missed.live) > rehearsalEntriesMax {
		d.thin()
	}
}

// allWins says whether to write all. was is what it said before: a side that
// wins keeps winning until it is clearly behind.
func (d *duel) allWins(was bool) bool {
	margin := 2 * worthOfWriting
	if was {
		margin = worthOfWriting
	}
	return !d.full || d.all.hits > d.second.hits*(1+margin)
}

// sampled goes by bits of the hash that the tables of ghosts do not look at.
func (d *duel) sampled(hash uint64) bool { return mix(hash)>>(64-d.shift) == 0 }

// thin halves the sample and what is held of it.
func (d *duel) thin() {
	d.shift++
	for _, s := range []*ghosts{&d.all.ring, &d.second.ring, &d.missed} {
		for range s.live {
			if g := s.pop(); d.sampled(g.hash) {
				g.gone = false
				s.push(g)
			}
		}
	}
}
