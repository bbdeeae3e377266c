package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/internal/history"
	"weir/internal/measure"
	"weir/purge"
)

// report is what has come of a run so far.
type report struct {
	w *world

	// mu guards what follows.
	mu         sync.Mutex
	start      time.Time
	reads      int
	outcomes   map[string]int
	failures   map[string]int // by cause; "" for none
	unclear    []string       // of the reads that no fault explains
	purges     int
	everywhere int // of those that waited, in force on every node in time
	inTime     int // those that waited
	retries    int
	receipts   []float64         // milliseconds
	log        map[uint64]string // the idempotency keys of the purges that the log has to have at the end, by version
	newest     uint64
	violations int
	shown      []string
	same       map[string]bool // what of those that are like another is shown
}

// Limits of what is kept.
const (
	receiptsMax = 200_000
	loggedMax   = 100_000
	unclearMax  = 20
)

func newReport(w *world) *report {
	return &report{w: w, start: time.Now(), outcomes: make(map[string]int), failures: make(map[string]int), log: make(map[uint64]string), same: make(map[string]bool)}
}

func (r *report) began() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start = time.Now()
}

// read counts one with content.
func (r *report) read(outcome string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	r.outcomes[outcome]++
}

// failed counts a read without, and what explains it.
func (r *report) failed(f failed, cause string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	r.failures[cause]++
	if cause == "" && len(r.unclear) < unclearMax {
		var names []string
		for _, x := range r.w.ledger.during(f.from, f.to, catchUpTime) {
			names = append(names, x.String())
		}
		r.unclear = append(r.unclear, f.String()+"; faults: "+strings.Join(names, ", "))
	}
}

// purged counts an accepted purge and its receipts.
func (r *report) purged(p history.Purge, request purge.Request, result purge.Result, waited bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purges++
	r.newest = max(r.newest, p.Version)
	if len(r.log) < loggedMax {
		r.log[p.Version] = request.Key
	}
	for _, receipt := range result.Nodes {
		if receipt.MS != nil && len(r.receipts) < receiptsMax {
			r.receipts = append(r.receipts, *receipt.MS)
		}
	}
	if waited {
		r.inTime++
		if len(result.Nodes) == len(r.w.pops)+len(r.w.shields) {
			r.everywhere++
		}
	}
}

// unaccepted counts a call that has to be made again.
func (r *report) unaccepted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retries++
}

// broken takes in that a promise was broken.
func (r *report) broken(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations++
	var v *history.Violation
	if errors.As(err, &v) && v.Same != "" {
		if r.same[v.Same] {
			return
		}
		r.same[v.Same] = true
	}
	if len(r.shown) < violationsMax {
		r.shown = append(r.shown, err.Error()+"\nfaults  "+r.w.ledger.now())
	}
}

// crashed takes in that a node has ended by itself.
func (r *report) crashed(c *child, err error) {
	r.broken(fmt.Errorf("%s ended by itself: %v; its log ends:\n%s", c.name, err, c.lastLines()))
}

func (r *report) tooMany() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.shown) >= violationsMax
}

// live writes a line a second, and calls enough once there are violations
// enough.
func (r *report) live(ctx context.Context, out io.Writer, enough func()) {
	for sleep(ctx, time.Second) {
		r.mu.Lock()
		failed := 0
		for _, n := range r.failures {
			failed += n
		}
		text := fmt.Sprintf("%4.0f s  reads %d, failed %d (not explained %d)  purges %d  violations %d  faults: ",
			time.Since(r.start).Seconds(), r.reads, failed, r.failures[""], r.purges, r.violations)
		r.mu.Unlock()
		_, _ = fmt.Fprintln(out, text+r.w.ledger.now())
		if r.tooMany() {
			enough()
		}
	}
}

// Summary is the end of a run, as JSON has it.
type Summary struct {
	Seed        uint64         `json:"seed"`
	Seconds     float64        `json:"seconds"`
	PoPs        int            `json:"pops"`
	Shields     int            `json:"shields"`
	WhenLagging string         `json:"when_lagging"`
	Reads       int            `json:"reads"`
	Outcomes    map[string]int `json:"outcomes"`    // of the reads with content
	Failed      map[string]int `json:"failed"`      // reads without, by the fault that explains it
	Unexplained int            `json:"unexplained"` // failed reads that no fault explains
	Unclear     []string       `json:"unclear"`     // the first of those
	Purges      int            `json:"purges"`      // accepted
	Waited      int            `json:"waited"`      // of those, which waited for every node
	Everywhere  int            `json:"everywhere"`  // of those, in force on every node in time
	Retries     int            `json:"retries"`     // calls that had to be made again
	ReceiptP50  float64        `json:"receipt_ms_p50"`
	ReceiptP99  float64        `json:"receipt_ms_p99"`
	Faults      map[string]int `json:"faults"`
	Violations  int            `json:"violations"`
	Shown       []string       `json:"shown"` // the first of those, one of each kind
	Replay      string         `json:"replay"`
}

func (r *report) summary(o Options) Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Summary{
		Seed: o.Seed, Seconds: time.Since(r.start).Seconds(), PoPs: o.PoPs, Shields: o.Shields, WhenLagging: r.w.lagging,
		Reads: r.reads, Outcomes: r.outcomes, Failed: make(map[string]int), Unexplained: r.failures[""], Unclear: r.unclear,
		Purges: r.purges, Waited: r.inTime, Everywhere: r.everywhere, Retries: r.retries,
		ReceiptP50: percentile(r.receipts, 0.5), ReceiptP99: percentile(r.receipts, 0.99),
		Faults: maps.Clone(r.w.ledger.counts), Violations: r.violations, Shown: r.shown,
		Replay: fmt.Sprintf("%s lab --chaos --seed %d --pops %d --shields %d --chaos-for %s", o.Command, o.Seed, o.PoPs, o.Shields, o.For),
	}
	for cause, n := range r.failures {
		if cause != "" {
			s.Failed[cause] += n
		}
	}
	return s
}

// percentile of values, which it sorts; 0 of none.
func percentile(values []float64, part float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[int(part*float64(len(values)-1))]
}

func outcomeOf(cacheStatus []string) string { return measure.Outcome(cacheStatus) }

// write writes the summary, and gives ErrBroken if there are violations.
func (r *report) write(o Options) error {
	s := r.summary(o)
	var err error
	if o.JSON {
		err = writeJSON(o.Out, s)
	} else {
		_, err = io.WriteString(o.Out, s.text())
	}
	if s.Violations > 0 {
		return ErrBroken
	}
	return err
}

func (s Summary) text() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s "+format+"\n", append([]any{name}, args...)...)
	}
	failed := s.Unexplained
	for _, n := range s.Failed {
		failed += n
	}
	fmt.Fprintln(&b)
	row("chaos", "%.0f s, seed %d, %d PoPs, %d shields, when_lagging %s", s.Seconds, s.Seed, s.PoPs, s.Shields, s.WhenLagging)
	row("reads", "%d: %s", s.Reads, counts(s.Outcomes))
	row("failed", "%d: %s", failed, counts(s.Failed))
	row("unexplained", "%d", s.Unexplained)
	for _, line := range s.Unclear {
		row("", "%s", line)
	}
	row("purges", "%d accepted, %d calls made again; %d of %d that waited were in force on every node in time", s.Purges, s.Retries, s.Everywhere, s.Waited)
	row("receipts", "p50 %.1f ms, p99 %.1f ms after acceptance", s.ReceiptP50, s.ReceiptP99)
	row("faults", "%s", counts(s.Faults))
	row("violations", "%d", s.Violations)
	for _, text := range s.Shown {
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	if s.Violations > 0 {
		row("\nreplay", "%s", s.Replay)
	}
	return b.String()
}

// counts is "hit memory 90, miss 5", the most first.
func counts(of map[string]int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) })
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
