package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"weir/cache"
)

// ErrMissing says that nodes named with it have not answered.
var ErrMissing = errors.New("not every node has answered")

// controlGrace is how much longer than the nodes control itself may take.
const controlGrace = 10 * time.Second

// Options say what `weir explain` is to ask and how to print it.
type Options struct {
	Client Client
	Query  Query
	// JSON prints the API's answer in place of the table.
	JSON bool
}

// Run asks and prints to w a block for each node, edges before shields, the last
// line of each in plain words. The error is ErrMissing with the names of nodes
// that are away, and a *purge.RefusedError if control has refused.
func Run(ctx context.Context, o Options, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutMax+controlGrace)
	defer cancel()
	result, err := o.Client.Explain(ctx, o.Query)
	if err != nil {
		return fmt.Errorf("explain %.128q: %w", o.Query.URL, err)
	}
	if o.JSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(result)
	} else {
		_, err = io.WriteString(w, result.table())
	}
	if err != nil {
		return err
	}
	if len(result.Missing) > 0 {
		return fmt.Errorf("%w: nothing from %s", ErrMissing, strings.Join(result.Missing, ", "))
	}
	return nil
}

// table is the answer for people.
func (r *Result) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, site %s\n", r.URL, r.Site)
	for _, n := range r.Nodes {
		fmt.Fprintf(&b, "\n%s, %s\n", n.Node, n.Role)
		if n.Explanation != nil {
			block{&b}.explanation(n.Explanation)
		}
		fmt.Fprintf(&b, "  %s\n", n.Sentence())
	}
	return b.String()
}

// block writes the lines about one node.
type block struct{ b *strings.Builder }

func (k block) line(name, format string, values ...any) {
	fmt.Fprintf(k.b, "  %-10s %s\n", name, fmt.Sprintf(format, values...))
}

func (k block) explanation(x *cache.Explanation) {
	k.line("key", "%s", x.Key)
	k.line("key text", "%s", printable(x.KeyText))
	if len(x.Vary) > 0 {
		k.line("variant", "%s (Vary: %s)", printable(x.Variant), strings.Join(x.Vary, ", "))
	}
	if x.Stored == nil {
		k.line("stored in", "none")
	} else {
		k.object(x, x.Stored)
	}
	if f := x.Fill; f != nil {
		doing := "waits for the header"
		if f.Arriving {
			doing = "the body arrives"
		}
		joins := "a request would join it"
		if !f.Joins {
			joins = "a request would not join it"
		}
		k.line("fill", "runs for %s, stamp %s, %s; %s", span(f.AgeSeconds), number(f.Stamp, x.Applied), doing, joins)
	}
	if len(x.Asks) > 1 {
		k.line("asks", "%s, which owns the key or stands in for its owner; then %s", x.Asks[0], strings.Join(x.Asks[1:], ", "))
	}
	k.line("answer", "%s, %s", x.Outcome, x.Reason)
	trust := "trusted"
	if !x.Trusted {
		trust = "not trusted: caught up too long ago, or not yet"
	}
	k.line("applied", "purge %s, log %s", number(x.Applied, x.Applied), trust)
}

func (k block) object(x *cache.Explanation, o *cache.ExplainedObject) {
	k.line("stored in", "%s", strings.Join(o.Tiers, ", "))
	for _, c := range o.Codings {
		k.line("coded", "%s, %d bytes, in %s", c.Coding, c.BodyBytes, strings.Join(c.Tiers, ", "))
	}
	validators := ""
	if o.ETag != "" {
		validators += ", ETag " + printable(o.ETag)
	}
	if o.LastModified != "" {
		validators += ", modified " + printable(o.LastModified)
	}
	k.line("response", "%d, %d bytes%s", o.Status, max(o.BodyBytes, o.WholeBytes), validators)
	if o.MissingFrom != nil {
		k.line("missing", "from byte %d on", *o.MissingFrom)
	}
	state := "fresh for " + span(o.FreshSeconds)
	switch {
	case o.FreshSeconds == 0 && o.SoftPurge > 0:
		state = "stale by the purge"
	case o.FreshSeconds <= 0:
		state = "stale since " + span(-o.FreshSeconds)
	}
	for _, rule := range []struct {
		holds bool
		text  string
	}{{o.NoCache, "no-cache"}, {o.MustRevalidate, "must-revalidate"}, {o.StaleIfError, "usable if upstream fails"}} {
		if rule.holds {
			state += ", " + rule.text
		}
	}
	k.line("freshness", "age %s, lifetime %s, %s", span(o.AgeSeconds), span(o.LifetimeSeconds), state)
	k.line("stamp", "%s", number(o.Stamp, x.Applied))
	if o.HardPurge > 0 {
		k.line("covered by", "hard purge %d", o.HardPurge)
	}
	if o.SoftPurge > 0 {
		k.line("covered by", "soft purge %d", o.SoftPurge)
	}
	if len(o.Groups) > 0 {
		k.line("groups", "%s", printable(strings.Join(o.Groups, ", ")))
	}
	if len(o.Tags) > 0 {
		k.line("tags", "%s", printable(strings.Join(o.Tags, ", ")))
	}
}

// number is a version without the identity of its log, if that is the log which
// the node follows.
func number(version, applied string) string {
	epoch, n, ok := cache.ParseVersion(version)
	if own, _, _ := cache.ParseVersion(applied); !ok || epoch != own {
		return version
	}
	return strconv.FormatUint(n, 10)
}

// printable is text that an origin or a client chose, fit for a terminal.
func printable(text string) string {
	quoted := strconv.Quote(text)
	if plain := strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`); !strings.Contains(plain, `\`) {
		return plain
	}
	return quoted
}
