package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is what a fault does.
type kind string

// The faults.
const (
	killed     kind = "killed"                               // SIGKILL, and started again on its files
	paused     kind = "paused"                               // SIGSTOP, then SIGCONT
	restarted  kind = "restarted"                            // SIGTERM, and started again
	ambushed   kind = "ambushed"                             // killed the moment after it has confirmed a purge, and back without its log
	cornered   kind = "killed, and its stand-in without log" // a shield, and then another one's way to the log is silent
	logCut     kind = "log cut"                              // its way to the purge log refuses
	logSilent  kind = "log silent"                           // the same says nothing more
	logSlow    kind = "log slow"                             // the same is late
	wayCut     kind = "way cut"                              // a PoP's way to a shield
	waySilent  kind = "way silent"                           //
	waySlow    kind = "way slow"                             //
	originSlow kind = "origin slow"                          // before its header, and in its bodies
	originBad  kind = "origin failing"                       // every second answer is 503
	originDrop kind = "origin breaks up"                     // every second body ends in the middle
)

// fault is one of them: at what, from when and for how long.
type fault struct {
	kind       kind
	node, peer string // the node; the shield of a way, or that stands in
	from       time.Duration
	lasts      time.Duration
	delay      time.Duration // of what is slow
}

// String is "ams killed", "ams way to shield-1 cut", "origin failing".
func (f fault) String() string {
	switch f.kind {
	case originSlow, originBad, originDrop:
		return string(f.kind)
	case wayCut, waySilent, waySlow:
		return fmt.Sprintf("%s way to %s%s", f.node, f.peer, f.kind[len("way"):])
	case cornered:
		return fmt.Sprintf("%s killed and %s without log", f.node, f.peer)
	}
	return f.node + " " + string(f.kind)
}

// takes are the things that a fault has for itself while it lasts.
func (f fault) takes() []string {
	switch f.kind {
	case killed, paused, restarted:
		return []string{"process " + f.node}
	case ambushed:
		return []string{"process " + f.node, "log " + f.node}
	case cornered:
		return []string{"process " + f.node, "log " + f.peer}
	case logCut, logSilent, logSlow:
		return []string{"log " + f.node}
	case wayCut, waySilent, waySlow:
		return []string{"way " + f.node + " " + f.peer}
	}
	return []string{"origin"}
}

// schedule draws faults, one after the other.
type schedule struct {
	random        *rand.Rand
	pops, shields []string
	now           time.Duration
	busy          map[string]time.Duration // until when a thing is taken
}

const (
	// faultsMax are in force at one time, by the schedule's reckoning.
	faultsMax = 5
	// standInTime is what a stand-in has to fill itself before it loses the log.
	standInTime = 1500 * time.Millisecond
	// mendTime is what is reckoned for a node to be up again.
	mendTime = time.Second
)

func newSchedule(random *rand.Rand, pops, shields []string) *schedule {
	return &schedule{random: random, pops: pops, shields: shields, busy: make(map[string]time.Duration)}
}

// next is the fault that comes next.
func (s *schedule) next() fault {
	for {
		s.now += s.between(200*time.Millisecond, 1200*time.Millisecond)
		f := s.draw()
		f.from = s.now
		running, taken := 0, false
		for thing, until := range s.busy {
			if until <= s.now {
				continue
			}
			running++
			taken = taken || slices.Contains(f.takes(), thing)
		}
		if taken || running >= faultsMax {
			continue
		}
		for _, thing := range f.takes() {
			s.busy[thing] = s.now + f.lasts + mendTime
		}
		return f
	}
}

func (s *schedule) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.random.Int64N(int64(most-least)))
}

func (s *schedule) one(of []string) string { return of[s.random.IntN(len(of))] }

func (s *schedule) draw() fault {
	node := s.one(s.shields)
	if s.random.IntN(2) == 0 {
		node = s.one(s.pops)
	}
	f := fault{node: node}
	switch n := s.random.IntN(100); {
	case n < 20:
		f.kind, f.lasts = killed, s.between(100*time.Millisecond, 3*time.Second)
	case n < 30:
		f.kind, f.lasts = paused, s.between(200*time.Millisecond, 6*time.Second)
	case n < 34:
		f.kind, f.lasts = restarted, s.between(100*time.Millisecond, time.Second)
	case n < 44:
		f.kind, f.node, f.lasts = ambushed, s.one(s.pops), s.between(time.Second, 5*time.Second)
	case n < 50:
		f = s.drawCornered()
	case n < 60:
		f.kind, f.lasts = s.kindOf(logCut, logSilent), s.between(500*time.Millisecond, 9*time.Second)
	case n < 65:
		f.kind, f.lasts, f.delay = logSlow, s.between(2*time.Second, 6*time.Second), s.between(50*time.Millisecond, 1500*time.Millisecond)
	case n < 72:
		f.kind, f.node, f.lasts = s.kindOf(wayCut, waySilent), s.one(s.pops), s.between(500*time.Millisecond, 7*time.Second)
		f.peer = s.one(s.shields)
	case n < 75:
		f.kind, f.node, f.lasts, f.delay = waySlow, s.one(s.pops), s.between(2*time.Second, 6*time.Second), s.between(5*time.Millisecond, 100*time.Millisecond)
		f.peer = s.one(s.shields)
	case n < 91:
		f = s.drawOrigin()
	default:
		f.kind, f.node, f.lasts = s.kindOf(killed, paused), controlName, s.between(200*time.Millisecond, 5*time.Second)
	}
	return f
}

// drawCornered takes two shields, if there are two.
func (s *schedule) drawCornered() fault {
	if len(s.shields) < 2 {
		return fault{kind: killed, node: s.shields[0], lasts: time.Second}
	}
	first := s.random.IntN(len(s.shields))
	second := (first + 1 + s.random.IntN(len(s.shields)-1)) % len(s.shields)
	return fault{kind: cornered, node: s.shields[first], peer: s.shields[second], lasts: standInTime + s.between(500*time.Millisecond, 3*time.Second)}
}

func (s *schedule) drawOrigin() fault {
	switch s.random.IntN(5) {
	case 0, 1:
		return fault{kind: originBad, lasts: s.between(500*time.Millisecond, 4*time.Second)}
	case 2:
		return fault{kind: originDrop, lasts: s.between(500*time.Millisecond, 4*time.Second)}
	}
	return fault{kind: originSlow, lasts: s.between(time.Second, 6*time.Second), delay: s.between(100*time.Millisecond, 3*time.Second)}
}

func (s *schedule) kindOf(a, b kind) kind { return []kind{a, b}[s.random.IntN(2)] }
