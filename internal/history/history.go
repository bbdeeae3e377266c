// Package history holds what readers saw against what was purged before they
// began (promises P1 to P5), as a checker of linearizability does. The
// simulation and `weir lab --chaos` feed it, the one in simulated time, the other
// with what is seen over real sockets.
//
// The content is a counter for each path: whoever writes raises it at the origin
// and then purges. What is asked of each read:
//
//   - Once a node has acknowledged a purge, by a receipt or by saying that it has
//     applied this version or a later one, a read that starts there afterwards
//     sees nothing older. Of a soft purge: nothing older as fresh.
//   - A node that has not acknowledged a purge may answer from before it, but no
//     longer than it may go without news of the log: from Options.LagMax after
//     the purge was accepted, it holds everywhere.
//   - An answer is of one version, and of one that the origin has had.
//   - What a node gives as fresh out of its store has not outlived its lifetime,
//     purged or not, however wrong the node's clock is.
//
// Nothing more is asked: where a node may not know better, it may be wrong.
package history

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options configures a History. Nodes is required.
type Options struct {
	// Nodes are those that are read.
	Nodes []string
	// LagMax is how long after its acceptance a purge holds on every node,
	// whether or not it has been heard of there: the nodes' max_lag. 0 for nodes
	// that go on by the purges that they know (when_lagging: serve).
	LagMax time.Duration
	// Newest gives the highest value that the origin has had of a path.
	Newest func(path string) int
}

// Purge is one that control has accepted.
type Purge struct {
	Version uint64
	What    string // for who reads a report: "url /a, hard"
	Soft    bool
	// Values are, by path that it covers, what the origin said before the purge
	// was asked for: from then on the least that may be read.
	Values map[string]int
}

// History is what is known. Its methods may be called concurrently, and take the
// time of the call as the moment at which what they say was so.
type History struct {
	o Options

	// mu guards what follows.
	mu    sync.Mutex
	nodes map[string]*node
	open  []*accepted // purges that some node has yet to acknowledge, oldest version first
	// outlived are, by path, the values below which nothing is fresh any more, and
	// aging those below which it will be so, soonest first.
	outlived map[string]floor
	aging    map[string][]floor
}

// node is what one node has to answer by.
type node struct {
	applied    uint64
	hard, soft map[string]floor
}

// floor is the least value that a read may see, and why.
type floor struct {
	value int
	by    *accepted
	how   string    // "said that it has version 7"
	since time.Time // or from when on
}

// accepted is a purge and when its acceptance was known.
type accepted struct {
	Purge
	at    time.Time
	known map[string]bool // nodes on which it holds
}

// New makes an empty history.
func New(o Options) *History {
	h := &History{o: o, nodes: make(map[string]*node), outlived: make(map[string]floor), aging: make(map[string][]floor)}
	for _, name := range o.Nodes {
		h.nodes[name] = &node{hard: make(map[string]floor), soft: make(map[string]floor)}
	}
	return h
}

// Accepted takes in a purge whose acceptance control has just told. It is an
// error if its version was another's.
func (h *History) Accepted(p Purge, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, taken := slices.BinarySearchFunc(h.open, p.Version, func(a *accepted, v uint64) int {
		switch {
		case a.Version < v:
			return -1
		case a.Version > v:
			return 1
		}
		return 0
	})
	if taken {
		return &Violation{Lines: []string{fmt.Sprintf("version %d was given to two purges: %s, and %s", p.Version, h.open[i].What, p.What)}}
	}
	a := &accepted{Purge: p, at: now, known: make(map[string]bool)}
	h.open = slices.Insert(h.open, i, a)
	for name, n := range h.nodes {
		if n.applied >= p.Version {
			h.holds(name, a, "had applied this version or a later one", now)
		}
	}
	h.forget()
	return nil
}

// Applied takes in that a node has said it has this version and all before it.
// Other nodes than those that are read may be named, and mean nothing.
func (h *History) Applied(name string, version uint64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.nodes[name]
	if n == nil || version <= n.applied {
		return
	}
	n.applied = version
	for _, a := range h.open {
		if a.Version <= version {
			h.holds(name, a, fmt.Sprintf("said that it has version %d", version), now)
		}
	}
	h.forget()
}

// holds puts a purge in force for reads of a node. mu is held.
func (h *History) holds(name string, a *accepted, how string, now time.Time) {
	if a.known[name] {
		return
	}
	a.known[name] = true
	floors := h.nodes[name].hard
	if a.Soft {
		floors = h.nodes[name].soft
	}
	for path, value := range a.Values {
		if value > floors[path].value {
			floors[path] = floor{value, a, how, now}
		}
	}
}

// roundingMax is what is lost of a response's age on its way: an Age in whole
// seconds, of each of two tiers.
const roundingMax = 2 * time.Second

// Superseded takes in that a path has got a value in place of another whose
// lifetime was so long. Both are those of the origin.
func (h *History) Superseded(path string, value int, lifetime time.Duration, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := floor{value: value, how: fmt.Sprintf("older content has a lifetime of %v", lifetime), since: now.Add(lifetime + roundingMax)}
	list := h.aging[path]
	if n := len(list); n > 0 && list[n-1].since.After(f.since) {
		f.since = list[n-1].since // what is still older lives longer
	}
	h.aging[path] = append(list, f)
}

// age gives the value below which nothing of a path is fresh. mu is held.
func (h *History) age(path string, now time.Time) floor {
	list := h.aging[path]
	for len(list) > 0 && list[0].since.Before(now) {
		if list[0].value > h.outlived[path].value { // two writers may tell of theirs in either order
			h.outlived[path] = list[0]
		}
		list = list[1:]
	}
	h.aging[path] = list
	return h.outlived[path]
}

// due puts in force everywhere what is older than a node may go without news.
// mu is held.
func (h *History) due(now time.Time) {
	if h.o.LagMax == 0 {
		return
	}
	for _, a := range h.open {
		if now.Sub(a.at) <= h.o.LagMax {
			continue
		}
		for name := range h.nodes {
			h.holds(name, a, fmt.Sprintf("may go without news for %v only", h.o.LagMax), now)
		}
	}
	h.forget()
}

// forget lets go of the purges that hold everywhere: the floors have them. mu is
// held.
func (h *History) forget() {
	h.open = slices.DeleteFunc(h.open, func(a *accepted) bool { return len(a.known) == len(h.nodes) })
}

// Read is one that is on its way, and the least that it may see.
type Read struct {
	h          *History
	node, path string
	what       string
	began      time.Time
	hard, soft floor
	old        floor
}

// Begin takes in that a read of a path starts at a node. It is called before
// anything is sent; what describes the read, for a report.
func (h *History) Begin(name, path, what string, now time.Time) *Read {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due(now)
	n := h.nodes[name]
	return &Read{h: h, node: name, path: path, what: what, began: now, hard: n.hard[path], soft: n.soft[path], old: h.age(path, now)}
}

// Answer is what a read has got.
type Answer struct {
	// Values are those of its body's lines.
	Values []int
	// Hit says that the node had it, Stale that it was given as stale, by whichever
	// tier.
	Hit, Stale bool
	// Note is what the answer says of itself, for a report: its Cache-Status.
	Note string
}

// End checks an answer, and gives a *Violation or nil.
func (r *Read) End(a Answer, now time.Time) error {
	if len(a.Values) == 0 {
		return nil
	}
	seen := a.Values[0]
	for _, other := range a.Values {
		if other != seen {
			return r.violation(a, now, fmt.Sprintf("values %d and %d in one answer", seen, other), floor{})
		}
	}
	switch {
	case seen < r.hard.value:
		return r.violation(a, now, fmt.Sprintf("%d after a purge of what is below %d", seen, r.hard.value), r.hard)
	case seen < r.soft.value && !a.Stale:
		return r.violation(a, now, fmt.Sprintf("%d as fresh after a soft purge of what is below %d", seen, r.soft.value), r.soft)
	case seen < r.old.value && a.Hit && !a.Stale:
		return r.violation(a, now, fmt.Sprintf("%d as fresh after its lifetime, when there was %d or more", seen, r.old.value), r.old)
	case r.h.o.Newest != nil && seen > r.h.o.Newest(r.path):
		return r.violation(a, now, fmt.Sprintf("%d, which the origin has never said", seen), floor{})
	}
	return nil
}

// FromCacheStatus gives what a Cache-Status says of an answer: the last member is
// that of the node that was read.
func FromCacheStatus(lines []string) Answer {
	note := strings.Join(lines, ", ")
	own := note[strings.LastIndex(note, ", ")+1:]
	return Answer{Note: note, Hit: strings.Contains(own, ";hit"), Stale: strings.Contains(note, "detail=stale-")}
}

// Violation is a promise that was broken, with what shows it.
type Violation struct {
	Lines []string
	// Same is equal in violations that come of one mistake, as far as can be told.
	Same string
}

// Error gives the lines, one below the other.
func (v *Violation) Error() string { return strings.Join(v.Lines, "\n") }

const clock = "15:04:05.000"

func (r *Read) violation(a Answer, now time.Time, what string, f floor) error {
	v := &Violation{Same: fmt.Sprint(r.node, " ", r.path, " ", a.Values[0], " ", f.value), Lines: []string{
		fmt.Sprintf("%s: %s got %s", r.node, r.path, what),
		fmt.Sprintf("read    %s, from %s to %s: %s", r.what, r.began.Format(clock), now.Format(clock), a.Note),
	}}
	if f.by != nil {
		v.Lines = append(v.Lines,
			fmt.Sprintf("purge   version %d, %s, known as accepted at %s", f.by.Version, f.by.What, f.by.at.Format(clock)),
			fmt.Sprintf("%-7s %s, known at %s", r.node, f.how, f.since.Format(clock)))
	} else if f.value > 0 {
		v.Lines = append(v.Lines, fmt.Sprintf("origin  %s, over for all of it at %s", f.how, f.since.Format(clock)))
	}
	return v
}
