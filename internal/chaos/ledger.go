package chaos

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// ledger knows which faults are in force, and which were of late.
type ledger struct {
	// mu guards what follows.
	mu      sync.Mutex
	entries []*entry // oldest first
	counts  map[string]int
}

// entry is a fault and when it really was.
type entry struct {
	fault
	began, ended time.Time // ended is zero while it is in force
}

const (
	// settleTime is how long after a fault what it has broken may come to light:
	// a client's connection to a process that is gone, a fill that others wait
	// for.
	settleTime = 2 * time.Second
	// catchUpTime is how long after its way to the log is back a node may not know
	// that it has all of it: a question that was lost is given up after 3 s, the next
	// session comes up to 2 s later, and asks anew.
	catchUpTime = 6 * time.Second
	// rememberTime is longer than any read takes.
	rememberTime = readTimeout + time.Minute
)

func newLedger() *ledger { return &ledger{counts: make(map[string]int)} }

func (l *ledger) begin(f fault) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.entries = slices.DeleteFunc(l.entries, func(e *entry) bool { return !e.ended.IsZero() && now.Sub(e.ended) > rememberTime })
	e := &entry{fault: f, began: now}
	l.entries = append(l.entries, e)
	l.counts[string(f.kind)]++
	return e
}

func (l *ledger) end(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.ended = time.Now()
}

// during are the faults that may have had a hand in what was from one moment to
// another, if they do so for a while after they have ended.
func (l *ledger) during(from, to time.Time, settle time.Duration) (some []fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if !e.began.After(to) && (e.ended.IsZero() || !e.ended.Add(settle).Before(from)) {
			some = append(some, e.fault)
		}
	}
	return some
}

// now names the faults that are in force.
func (l *ledger) now() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, e := range l.entries {
		if e.ended.IsZero() {
			names = append(names, e.String())
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}
