// Package purgecli is what `weir purge` and `weir token` do and print: it asks
// control for a purge and shows each node as it confirms, asks the nodes for what
// is to be gone (verify.go), shows the log (log.go) and makes tokens (token.go).
package purgecli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"weir/purge"
)

// controlGrace is how much longer than the nodes control itself may take.
const controlGrace = 10 * time.Second

// Options say what to purge. Client and Scope are required, and Site for every
// scope but all.
type Options struct {
	Client purge.Client
	// Site is the site's name.
	Site  string
	Scope purge.Scope
	// Targets are as in purge.Request: none with scopes site and all.
	Targets []string
	// Soft makes what is covered stale, instead of forgotten.
	Soft bool
	// Key is an idempotency key; "" for none.
	Key string
	// Wait waits for nodes and shows them; without, only until the purge is
	// durable.
	Wait bool
	// For says for which: "all", "quorum", or names with commas between. Default
	// all.
	For string
	// Verify asks every node for the URLs, before and after, and proves that none
	// answers from what was purged. Base is put in front of targets that are
	// paths.
	Verify bool
	Base   string
	// Timeout bounds the wait for the nodes: default 5 s, at most 60 s.
	Timeout time.Duration
	// JSON prints one JSON object, like the API's answer, instead of lines.
	JSON bool
}

func (o Options) withDefaults() (Options, error) {
	if o.Client.URL == "" || o.Scope == 0 || o.Site == "" && o.Scope != purge.ScopeAll {
		return o, errors.New("purgecli: Options.Client, Site and Scope are required")
	}
	o.For = cmp.Or(o.For, "all")
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	return o, nil
}

// Run asks for the purge and prints to w what becomes of it. Nothing printed
// depends on a terminal. Where nodes have not confirmed in time, the error
// names them and is purge.ErrMissing: the purge stays accepted. Where control
// has refused, it is a *purge.RefusedError; where Verify has found what should
// be gone, ErrUnproven.
func Run(ctx context.Context, o Options, w io.Writer) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	proof, err := o.verify()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout+controlGrace)
	defer cancel()
	request := purge.Request{Site: o.Site, Scope: o.Scope, Targets: o.Targets, Key: o.Key}
	if o.Soft {
		request.Mode = purge.ModeSoft
	}
	if !o.Wait {
		return o.submit(ctx, request, w)
	}
	if proof != nil {
		if proof.before, err = proof.look(ctx); err != nil {
			return err
		}
	}
	version, err := o.watch(ctx, request, w)
	if err != nil || proof == nil {
		return err
	}
	return proof.prove(ctx, version, w)
}

// submit returns once the purge is durable.
func (o *Options) submit(ctx context.Context, request purge.Request, w io.Writer) error {
	result, err := o.Client.Purge(ctx, request)
	if err != nil {
		return o.explain(err)
	}
	if o.JSON {
		return printJSON(w, result)
	}
	_, err = fmt.Fprintf(w, "purge %d is accepted (%s); nodes apply it as it reaches them\n", result.Version, o.describe(result))
	return err
}

// watch shows each node as it confirms, and last what it came to.
func (o *Options) watch(ctx context.Context, request purge.Request, w io.Writer) (version uint64, err error) {
	lines := &receiptLines{w: w}
	each := lines.print
	if o.JSON {
		each = func(purge.Receipt) {}
	}
	result, err := o.Client.WatchFor(ctx, request, o.For, o.Timeout, each)
	if err != nil && !errors.Is(err, purge.ErrMissing) {
		return 0, o.explain(err)
	}
	if o.JSON {
		return result.Version, errors.Join(printJSON(w, result), o.missing(result))
	}
	if _, err := fmt.Fprintln(w, o.summary(result)); err != nil {
		return 0, err
	}
	return result.Version, o.missing(result)
}

// nameColumn is the least width of the nodes' names. Who confirms is not known
// before, so a longer name widens the lines from its own on.
const nameColumn = 16

// receiptLines prints a table of receipts as they come.
type receiptLines struct {
	w     io.Writer
	width int
}

func (l *receiptLines) print(r purge.Receipt) {
	if l.width == 0 {
		l.width = nameColumn
		fmt.Fprintf(l.w, "%-*s  %8s  %9s\n", l.width, "node", "version", "ms")
	}
	l.width = max(l.width, len(r.Node))
	fmt.Fprintf(l.w, "%-*s  %8d  %9s\n", l.width, r.Node, r.Version, millis(r.MS))
}

// millis gives milliseconds with one decimal, and "-" where they are not known.
func millis(ms *float64) string {
	if ms == nil {
		return "-"
	}
	return strconv.FormatFloat(*ms, 'f', 1, 64)
}

// Counted is a number of things: "1 target", "2 targets".
func Counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// describe says what was asked for: "docs: url, hard, 2 targets".
func (o *Options) describe(result purge.Result) string {
	mode := purge.ModeHard
	if o.Soft {
		mode = purge.ModeSoft
	}
	text := fmt.Sprintf("%s: %s, %s", o.name(), o.Scope, mode)
	if n := len(o.Targets); n > 0 {
		text += ", " + Counted(n, "target")
	}
	if result.Repeated {
		text += "; accepted before, under its key"
	}
	return text
}

// name is the site's, for people.
func (o *Options) name() string { return cmp.Or(o.Site, "every site") }

func (o *Options) summary(result purge.Result) string {
	nodes := len(result.Nodes) + len(result.Missing) + len(result.Pending)
	text := fmt.Sprintf("purge %d (%s)", result.Version, o.describe(result))
	if len(result.Pending) > 0 {
		return fmt.Sprintf("%s is in force on %d of %d nodes, and not yet on %s", text, len(result.Nodes), nodes, strings.Join(result.Pending, ", "))
	}
	if o.For != "all" && o.For != "quorum" && len(result.Missing) == 0 {
		return fmt.Sprintf("%s is in force on %s", text, o.For)
	}
	if len(result.Missing) > 0 {
		return fmt.Sprintf("%s is accepted, and confirmed by %d of %d nodes within %s", text, len(result.Nodes), nodes, o.Timeout)
	}
	text = fmt.Sprintf("%s is in force on all %d nodes", text, nodes)
	if last := slowest(result.Nodes); last != nil {
		text += fmt.Sprintf(", on the last after %s ms", millis(last))
	}
	return text
}

// slowest gives the most milliseconds of all, nil where none are known.
func slowest(receipts []purge.Receipt) *float64 {
	var most *float64
	for _, r := range receipts {
		if r.MS != nil && (most == nil || *r.MS > *most) {
			most = r.MS
		}
	}
	return most
}

// missing is the error that names who has not confirmed, if anybody.
func (o *Options) missing(result purge.Result) error {
	if len(result.Missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: no answer within %s from %s (a node that is away applies it when it is back, before it serves)",
		purge.ErrMissing, o.Timeout, strings.Join(result.Missing, ", "))
}

// explain adds to a refusal which field it is about, and what was written
// there, where control's message does not say so.
func (o *Options) explain(err error) error {
	refused := new(purge.RefusedError)
	if !errors.As(err, &refused) || refused.Field == "" {
		return fmt.Errorf("purge %s: %w", o.name(), err)
	}
	var index int
	if n, _ := fmt.Sscanf(refused.Field, "targets[%d]", &index); n == 1 && index >= 0 && index < len(o.Targets) {
		return fmt.Errorf("purge %s: %w (%s is %.128q)", o.name(), err, refused.Field, o.Targets[index])
	}
	if strings.HasPrefix(refused.Message, refused.Field) {
		return fmt.Errorf("purge %s: %w", o.name(), err)
	}
	return fmt.Errorf("purge %s: %w (field %s)", o.name(), err, refused.Field)
}

// resultJSON is a purge.Result in the words of the API.
type resultJSON struct {
	Version  uint64          `json:"version"`
	Repeated bool            `json:"repeated,omitempty"`
	Nodes    []purge.Receipt `json:"nodes,omitempty"`
	Pending  []string        `json:"pending,omitempty"`
	Missing  []string        `json:"missing,omitempty"`
}

func printJSON(w io.Writer, result purge.Result) error {
	return json.NewEncoder(w).Encode(resultJSON(result))
}
