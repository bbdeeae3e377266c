package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// history checks what readers saw against what was purged before they began
// (promises P1 to P5): no read that starts after a node has acknowledged a purge
// may get from that node what is older than the purge. A read of a node that has
// not acknowledged it may, until the node has been cut off from the log for
// longer than it may trust what it knew; see purge.FollowerOptions.LagMax.
type history struct {
	hard, soft map[string]map[string]int // by node, path: the least value that may be read
	accepted   []accepted                // purges that some node has yet to acknowledge
	reads      map[string]reading
	serves     bool // nodes that are cut off never stop trusting what they know
}

// accepted is a purge that control has accepted.
type accepted struct {
	purgeStep
	due time.Time // from then on it holds on every node
}

// reading is a read on its way, and the least that it may see.
type reading struct {
	readStep
	hard, soft int
}

func newHistory(serves bool) *history {
	h := &history{serves: serves, hard: make(map[string]map[string]int), soft: make(map[string]map[string]int), reads: make(map[string]reading)}
	for _, pop := range simulatedPoPs {
		h.hard[pop], h.soft[pop] = make(map[string]int), make(map[string]int)
	}
	return h
}

// purged takes in what control answered: "200 version 7", and a line for each
// node, "ams has 7 after 2 ms".
func (h *history) purged(p *purgeStep, answer string, now time.Time) {
	first, receipts, _ := strings.Cut(answer, "\n")
	if !strings.Contains(first, " version ") {
		return // not accepted: nothing is promised
	}
	h.accepted = append(h.accepted, accepted{*p, now.Add(simulatedMaxLag + simulatedLateness + simulatedSlack)})
	for line := range strings.Lines(receipts) {
		if node, what, _ := strings.Cut(line, " has "); what != "" && !strings.HasPrefix(what, "not") {
			h.holds(node, p)
		}
	}
}

func (h *history) holds(pop string, p *purgeStep) {
	least := h.hard[pop]
	if p.soft {
		least = h.soft[pop]
	}
	if least == nil {
		return // the shield, which nobody reads
	}
	for path, value := range p.values {
		least[path] = max(least[path], value)
	}
}

// begins notes what a read that starts now may see.
func (h *history) begins(r *readStep, now time.Time) {
	for _, a := range h.accepted {
		if now.After(a.due) && !h.serves {
			for _, pop := range simulatedPoPs {
				h.holds(pop, &a.purgeStep)
			}
		}
	}
	h.reads[r.name] = reading{*r, h.hard[r.pop][r.path], h.soft[r.pop][r.path]}
}

// ends checks what a read got: every line of it.
func (h *history) ends(name string, x *exchange) error {
	r := h.reads[name]
	delete(h.reads, name)
	if x.status != 200 && x.status != 206 {
		return nil
	}
	seen := -1
	for line := range strings.Lines(string(x.head)) {
		value, err := strconv.Atoi(strings.TrimRight(line, "\n"))
		if err != nil || len(line) < 15 {
			break // the connection broke within it
		}
		if seen >= 0 && value != seen {
			return fmt.Errorf("%s: %s at %s got values %d and %d in one answer", name, r.path, r.pop, seen, value)
		}
		seen = value
	}
	status := x.header.Get("Cache-Status")
	switch {
	case seen < 0:
		return nil
	case seen < r.hard:
		return fmt.Errorf("%s: %s at %s got %d after a purge of what is below %d; %s", name, r.path, r.pop, seen, r.hard, status)
	case seen < r.soft && !strings.Contains(status, "detail=stale-"):
		return fmt.Errorf("%s: %s at %s got %d as fresh after a soft purge of what is below %d; %s", name, r.path, r.pop, seen, r.soft, status)
	}
	return nil
}
