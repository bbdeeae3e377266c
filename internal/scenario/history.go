package scenario

import (
	"strconv"
	"strings"
	"time"

	"weir/internal/history"
)

// observed feeds a history with what a script's commands have printed.
type observed struct {
	*history.History
	reads     map[string]*history.Read
	lifetimes map[string]time.Duration // of what the origin has at a path
	jumps     bool                     // clocks do, and lifetimes promise nothing
}

func observe(g *generated) *observed {
	o := history.Options{Nodes: simulatedPoPs, Newest: func(path string) int { return g.value[path] }}
	if !g.serves {
		o.LagMax = simulatedMaxLag
	}
	return &observed{history.New(o), make(map[string]*history.Read), make(map[string]time.Duration), g.jumps}
}

// purged takes in what control answered: "200 version 7", and a line for each
// node, "ams has 7 after 2 ms".
func (o *observed) purged(p *purgeStep, answer string, now time.Time) error {
	first, receipts, _ := strings.Cut(answer, "\n")
	_, text, accepted := strings.Cut(first, " version ")
	if !accepted {
		return nil // nothing is promised
	}
	text, _, _ = strings.Cut(text, " ")
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return err
	}
	if err := o.Accepted(history.Purge{Version: version, What: p.what, Soft: p.soft, Values: p.values}, now); err != nil {
		return err
	}
	for line := range strings.Lines(receipts) {
		node, what, _ := strings.Cut(line, " has ")
		what, _, _ = strings.Cut(strings.TrimSuffix(what, "\n"), " ")
		if has, err := strconv.ParseUint(what, 10, 64); err == nil {
			o.Applied(node, has, now)
		}
	}
	return nil
}

// written takes in that the origin says something else at a path from now on.
func (o *observed) written(w *writeStep, now time.Time) {
	if w.value > 1 && !o.jumps {
		o.Superseded(w.path, w.value, o.lifetimes[w.path], now)
	}
	o.lifetimes[w.path] = w.lifetime
}

// begins notes a read that starts now.
func (o *observed) begins(r *readStep, now time.Time) {
	o.reads[r.name] = o.Begin(r.pop, r.path, r.name, now)
}

// ends checks what a read got: every line of it.
func (o *observed) ends(name string, x *exchange) error {
	r := o.reads[name]
	delete(o.reads, name)
	if x.status != 200 && x.status != 206 {
		return nil
	}
	answer := history.FromCacheStatus(x.header.Values("Cache-Status"))
	for line := range strings.Lines(string(x.head)) {
		value, err := strconv.Atoi(strings.TrimRight(line, "\n"))
		if err != nil || len(line) < 15 {
			break // the connection broke within it
		}
		answer.Values = append(answer.Values, value)
	}
	return r.End(answer, x.ended)
}
