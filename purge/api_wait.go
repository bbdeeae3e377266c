package purge

import (
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

// wait is what a POST asked to wait for.
type wait struct {
	all     bool
	timeout time.Duration
	lines   bool // answer line by line
}

func parseWait(r *http.Request) (wait, error) {
	w := wait{timeout: waitDefault, lines: strings.Contains(r.Header.Get("Accept"), ndjson)}
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return w, fieldError("query", "%v", err)
	}
	for name, values := range parameters {
		if len(values) != 1 {
			return w, fieldError(clip(name), "given %d times", len(values))
		}
		var err error
		switch value := values[0]; name {
		case "wait":
			if w.all = value == "all"; !w.all {
				err = fieldError("wait", `must be "all"`)
			}
		case "timeout":
			if w.timeout, err = time.ParseDuration(value); err != nil || w.timeout <= 0 || w.timeout > waitMax {
				err = fieldError("timeout", "must be a duration such as 2s, above 0 and at most %s", waitMax)
			}
		default:
			err = fieldError(clip(name), "unknown parameter: there are wait and timeout")
		}
		if err != nil {
			return w, err
		}
	}
	return w, nil
}

// await answers once every node has applied the purge, or time is up.
func (a *API) await(c *call) {
	ctx, cancel := context.WithTimeout(c.request.Context(), c.wait.timeout)
	defer cancel()
	// A server's write timeout is meant for answers that do not wait. Not
	// every ResponseWriter can move it; then the server's stays in force.
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(c.wait.timeout + waitDefault))
	if c.wait.lines {
		a.awaitLines(ctx, c)
		return
	}
	result := a.result(ctx, c, func(Receipt) {})
	if result.Error != "" {
		c.reply(http.StatusGatewayTimeout, result)
		return
	}
	c.reply(http.StatusOK, result)
}

// awaitLines is await for clients that want to see each node as it confirms.
func (a *API) awaitLines(ctx context.Context, c *call) {
	flush := http.NewResponseController(c.ResponseWriter).Flush
	c.Header().Set("Content-Type", ndjson)
	c.WriteHeader(http.StatusOK)
	say := func(line any) {
		c.line(line)
		_ = flush()
	}
	say(answer{Version: c.record.Version})
	say(a.result(ctx, c, func(r Receipt) { say(r) }))
}

func (a *API) result(ctx context.Context, c *call, each func(Receipt)) answer {
	confirmed, missing := a.Nodes.Watch(ctx, c.record.Version, nil, each)
	result := answer{Version: c.record.Version, Nodes: confirmed, Missing: missing}
	if len(missing) > 0 {
		a.counts.incomplete.Add(1)
		slices.Sort(missing)
		result.Error = fmt.Sprintf("the purge is accepted, and not confirmed within %s by %s: "+
			"a node that is away applies it when it is back, before it serves", c.wait.timeout, strings.Join(missing, ", "))
	}
	return result
}
