package purge

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Limits of the timeout parameter.
const (
	waitDefault = 5 * time.Second
	waitMax     = 60 * time.Second
)

// ndjson is the media type of one JSON object a line.
const ndjson = "application/x-ndjson"

// wait is what a call asked to wait for.
type wait struct {
	text    string   // as given: "all", "quorum" or names; "" for nothing
	names   []string // of the nodes; nil for all
	enough  int      // of them have to confirm
	timeout time.Duration
	lines   bool // answer line by line
}

func (w *wait) given() bool { return w.text != "" }

func (a *API) parseWait(r *http.Request) (wait, error) {
	w := wait{timeout: waitDefault, lines: strings.Contains(r.Header.Get("Accept"), ndjson)}
	err := eachParameter(r, func(name, value string) error {
		switch name {
		case "wait":
			return w.choose(value, a.Nodes.Names)
		case "timeout":
			var err error
			if w.timeout, err = time.ParseDuration(value); err != nil || w.timeout <= 0 || w.timeout > waitMax {
				return fieldError("timeout", "must be a duration such as 2s, above 0 and at most %s", waitMax)
			}
			return nil
		default:
			return fieldError(clip(name), "unknown parameter: there are wait and timeout")
		}
	})
	return w, err
}

// eachParameter gives the parameters of a query, each of which may be there once.
func eachParameter(r *http.Request, take func(name, value string) error) error {
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fieldError("query", "%v", err)
	}
	for name, values := range parameters {
		if len(values) != 1 {
			return fieldError(cmp.Or(clip(name), "query"), "given %d times", len(values))
		}
		if err := take(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

// choose reads what to wait for.
func (w *wait) choose(text string, known []string) error {
	w.text = text
	switch text {
	case "all":
		w.enough = len(known)
		return nil
	case "quorum":
		w.enough = min(len(known), len(known)/2+1)
		return nil
	}
	for name := range strings.SplitSeq(text, ",") {
		switch {
		case !slices.Contains(known, name):
			return fieldError("wait", `must be "all", "quorum" or names of nodes with commas between: %q is none of %s`,
				clip(name), strings.Join(known, ", "))
		case !slices.Contains(w.names, name):
			w.names = append(w.names, name)
		}
	}
	w.enough = len(w.names)
	return nil
}

// await answers once enough nodes have applied the purge, or time is up.
func (a *API) await(c *call) {
	if c.wait.lines {
		a.awaitLines(c)
		return
	}
	result := a.result(c, func(Receipt) {})
	c.reply(result.status(), result)
}

// status is that of an answer which was waited for.
func (w *answer) status() int {
	if w.Error != "" {
		return http.StatusGatewayTimeout
	}
	return http.StatusOK
}

// awaitLines is await for clients that want to see each node as it confirms.
func (a *API) awaitLines(c *call) {
	flush := http.NewResponseController(c.ResponseWriter).Flush
	c.Header().Set("Content-Type", ndjson)
	c.WriteHeader(http.StatusOK)
	say := func(line any) {
		c.line(line)
		_ = flush()
	}
	say(answer{Version: c.record.Version, Repeated: c.repeated})
	say(a.result(c, func(r Receipt) { say(r) }))
}

// result waits, and says what came of it.
func (a *API) result(c *call, each func(Receipt)) answer {
	ctx, cancel := context.WithTimeout(c.ctx, c.wait.timeout)
	defer cancel()
	// A server's write timeout is meant for answers that do not wait. Not
	// every ResponseWriter can move it; then the server's stays in force.
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(c.wait.timeout + waitDefault))
	confirmed, silent := a.Nodes.WatchEnough(ctx, c.record.Version, c.wait.names, c.wait.enough, each)
	result := answer{Version: c.record.Version, Repeated: c.repeated, Nodes: confirmed}
	slices.Sort(silent)
	if len(confirmed) >= c.wait.enough {
		result.Pending = silent
		return result
	}
	a.counts.incomplete.Add(1)
	result.Missing = silent
	result.Error = fmt.Sprintf("the purge is accepted, and not confirmed within %s by %s: "+
		"a node that is away applies it when it is back, before it serves", c.wait.timeout, strings.Join(silent, ", "))
	return result
}
