package purgecli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"weir/purge"
)

// LogOptions say what of the log to print. Client is required.
type LogOptions struct {
	Client purge.Client
	// Limit is how many of the newest purges are printed: default 20, at most
	// 500.
	Limit int
	// Follow goes on with new ones until ctx ends.
	Follow bool
	// Interval is how often control is asked for new ones. Default 500 ms.
	Interval time.Duration
	// JSON prints one JSON object a line, as the API has it.
	JSON bool
}

// callTimeout bounds one question about the log.
const callTimeout = 15 * time.Second

// Log prints who purged what and when, the newest last. With Follow it goes on
// through failures of control, save that it refuses; it then returns ctx's error.
func Log(ctx context.Context, o LogOptions, w io.Writer) error {
	o.Limit, o.Interval = cmp.Or(o.Limit, 20), cmp.Or(o.Interval, 500*time.Millisecond)
	lines := &logLines{w: w, json: o.JSON}
	page, err := o.ask(ctx, func(ctx context.Context) (purge.Page, error) { return o.Client.Newest(ctx, 0, o.Limit) })
	if err != nil {
		return fmt.Errorf("purge log: %w", err)
	}
	slices.Reverse(page.Purges)
	if err := lines.print(page.Purges); err != nil || !o.Follow {
		return err
	}
	return o.follow(ctx, lines, page.Newest)
}

func (o *LogOptions) ask(ctx context.Context, ask func(context.Context) (purge.Page, error)) (purge.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return ask(ctx)
}

// follow prints what comes after a version.
func (o *LogOptions) follow(ctx context.Context, lines *logLines, last uint64) error {
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	for {
		page, err := o.ask(ctx, func(ctx context.Context) (purge.Page, error) { return o.Client.After(ctx, last, 0) })
		var refused *purge.RefusedError
		switch {
		case errors.As(err, &refused) && refused.Status < 500:
			return fmt.Errorf("purge log: %w", err)
		case err != nil: // away, and back some time
		case page.Newest < last:
			last = 0 // another log is in its place
		default:
			if err := lines.print(page.Purges); err != nil {
				return err
			}
			if last = page.Next; last < page.Newest {
				continue
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// logLines prints a table of purges as they come.
type logLines struct {
	w     io.Writer
	json  bool
	begun bool
}

const logFormat = "%8s  %-20s  %-28s  %-12s  %-6s  %-4s  %s\n"

func (l *logLines) print(purges []purge.Entry) error {
	if l.json {
		enc := json.NewEncoder(l.w)
		enc.SetEscapeHTML(false)
		for _, p := range purges {
			if err := enc.Encode(p); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	if !l.begun {
		l.begun = true
		fmt.Fprintf(&b, logFormat, "version", "at", "who", "site", "scope", "mode", "targets")
	}
	for _, p := range purges {
		fmt.Fprintf(&b, logFormat, fmt.Sprint(p.Version), p.At.UTC().Format(time.RFC3339), printable(p.Who), printable(cmp.Or(p.Site, "*")),
			p.Scope, p.Mode, targetsOf(&p))
	}
	_, err := io.WriteString(l.w, b.String())
	return err
}

// targetsOf names a few targets, and how many more there are.
func targetsOf(p *purge.Entry) string {
	const most = 3
	shown := p.Targets[:min(len(p.Targets), most)]
	text := printable(strings.Join(shown, " "))
	if more := p.TargetsCount - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
