package measure

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"weir/cache"
)

// newConnections is said wherever times are printed, for without it they
// cannot be understood.
const newConnections = "Every sample opens a new connection: the handshakes of TCP or QUIC and of TLS, " +
	"without resumption, are part of its times."

// print writes what was measured.
func (r *run) print(w io.Writer) error {
	if r.JSON {
		return r.printJSON(w)
	}
	var b strings.Builder
	rows := r.rows()
	fmt.Fprintf(&b, "GET %s: %d cold and %d warm samples a row, %d requests at a time.\n", r.Path, r.Cold, r.Warm, r.Parallel)
	for _, line := range r.before() {
		fmt.Fprintln(&b, line)
	}
	b.WriteString("\n")
	writeTable(&b, tableOf(rows))
	b.WriteString("\n")
	for _, line := range r.after(rows) {
		fmt.Fprintln(&b, line)
	}
	b.WriteString(legend)
	_, err := io.WriteString(w, b.String())
	return err
}

// before says what all numbers have to be read with.
func (r *run) before() []string {
	notes := []string{newConnections}
	if r.unbound != nil {
		notes = append(notes, fmt.Sprintf("This system does not give out the regions' addresses (%v): "+
			"every region is measured from the default address, without its distance.", r.unbound))
	}
	return notes
}

// after says what single rows have to be read with.
func (r *run) after(rows []*row) []string {
	notes := []string{}
	if r.ended {
		notes = append(notes, "Ended early: this is what there was by then.")
	}
	for _, row := range rows {
		if row.failed > 0 {
			notes = append(notes, fmt.Sprintf("%s, %s, %s: %d failed, the first: %s",
				row.Region, row.Protocol, row.State, row.failed, row.cause()))
		}
	}
	for _, j := range r.jobs {
		if left := j.coldLeft + j.warmLeft; left > 0 && !r.ended {
			notes = append(notes, fmt.Sprintf("%s, %s: given up after %d failures in a row, %d samples were not taken.",
				j.cold.Region, j.client.protocol, failuresMax, left))
		}
	}
	if coldHits(rows) {
		notes = append(notes, "Some cold samples are hits: the site leaves the query out of its keys, so that they were not cold.")
	}
	return notes
}

var headings = []string{
	"region", "pop", "protocol", "state", "n",
	"ttfb p50", "p90", "p99", "total p50", "p90", "p99", "outcome",
}

// Columns from numbersFrom up to outcomeColumn are numbers, aligned right.
const (
	numbersFrom   = 4
	outcomeColumn = 11
)

func tableOf(rows []*row) [][]string {
	table := [][]string{headings}
	for _, row := range rows {
		line := []string{row.Region, row.PoP, row.Protocol.String(), row.State, strconv.Itoa(len(row.total))}
		line = append(line, cells(percentilesOf(row.first))...)
		line = append(line, cells(percentilesOf(row.total))...)
		table = append(table, append(line, row.outcome()))
	}
	return table
}

func cells(p *percentiles) []string {
	if p == nil {
		return []string{"-", "-", "-"}
	}
	return []string{tenths(p.P50), tenths(p.P90), tenths(p.P99)}
}

func tenths(ms float64) string { return strconv.FormatFloat(ms, 'f', 1, 64) }

// writeTable aligns the columns, two spaces apart.
func writeTable(b *strings.Builder, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range table {
		var text strings.Builder
		for i, cell := range line {
			width := widths[i]
			if i < numbersFrom || i >= outcomeColumn {
				width = -width // to the left
			}
			fmt.Fprintf(&text, "%*s  ", width, cell)
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
}

// legend explains the columns.
const legend = "All times in milliseconds; percentiles by nearest rank.\n" +
	"ttfb  from dialling to the response's header       total    from dialling to the body's last byte\n" +
	"cold  a query that nobody has asked for before     warm     the path itself, requested once before\n" +
	"n     samples that were answered                   outcome  the PoP's own word (Cache-Status)\n"

// coldHits says whether cold samples were answered from a store.
func coldHits(rows []*row) bool {
	return slices.ContainsFunc(rows, func(r *row) bool {
		for name := range r.outcomes {
			if r.State == "cold" && strings.HasPrefix(name, cache.OutcomeHit.String()) {
				return true
			}
		}
		return false
	})
}

// resultJSON is what JSON output is.
type resultJSON struct {
	Path string    `json:"path"`
	Rows []rowJSON `json:"rows"`
	// Notes are for people.
	Notes []string `json:"notes"`
	// EndedEarly says that samples are missing because the run was cut short.
	EndedEarly bool `json:"ended_early"`
}

// rowJSON is a row; times are in milliseconds.
type rowJSON struct {
	Region   string         `json:"region"`
	PoP      string         `json:"pop"`
	Protocol Protocol       `json:"protocol"`
	State    string         `json:"state"`
	N        int            `json:"n"`
	TTFB     *percentiles   `json:"ttfb_ms"`
	Total    *percentiles   `json:"total_ms"`
	Outcomes map[string]int `json:"outcomes"`
	Failed   int            `json:"failed"`
	Failure  string         `json:"failure,omitempty"`
}

func (r *run) printJSON(w io.Writer) error {
	rows := r.rows()
	result := resultJSON{Path: r.Path, Rows: []rowJSON{}, Notes: append(r.before(), r.after(rows)...), EndedEarly: r.ended}
	for _, row := range rows {
		line := rowJSON{
			Region: row.Region, PoP: row.PoP, Protocol: row.Protocol, State: row.State, N: len(row.total),
			TTFB: percentilesOf(row.first), Total: percentilesOf(row.total), Outcomes: row.outcomes, Failed: row.failed,
		}
		if line.Outcomes == nil {
			line.Outcomes = map[string]int{}
		}
		if row.failed > 0 {
			line.Failure = row.cause()
		}
		result.Rows = append(result.Rows, line)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(result)
}
