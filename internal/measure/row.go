package measure

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// row is a line of the table: the samples of one client in one state. One
// goroutine fills it.
type row struct {
	Region   string
	PoP      string
	Protocol Protocol
	State    string // "cold" or "warm"

	first, total []time.Duration
	outcomes     map[string]int
	failed       int
	failure      error // the first
}

func (r *row) add(s sample) {
	r.first = append(r.first, s.first)
	r.total = append(r.total, s.total)
	if r.outcomes == nil {
		r.outcomes = make(map[string]int)
	}
	r.outcomes[s.outcome.String()]++
}

func (r *row) fail(err error) {
	r.failed++
	if r.failure == nil {
		r.failure = err
	}
}

func (r *row) empty() bool { return len(r.total) == 0 && r.failed == 0 }

// outcome lists how many samples ended how, the most frequent first; one that
// all samples share stands without its count.
func (r *row) outcome() string {
	if len(r.outcomes) == 1 && r.failed == 0 {
		return slices.Collect(maps.Keys(r.outcomes))[0]
	}
	names := slices.SortedFunc(maps.Keys(r.outcomes), func(a, b string) int {
		if r.outcomes[a] != r.outcomes[b] {
			return r.outcomes[b] - r.outcomes[a]
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, 0, len(names)+1)
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%d %s", r.outcomes[name], name))
	}
	if r.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", r.failed))
	}
	return strings.Join(parts, ", ")
}

// cause gives the first failure in one line.
func (r *row) cause() string {
	var timeout net.Error
	if errors.As(r.failure, &timeout) && timeout.Timeout() {
		return "timed out: " + r.failure.Error()
	}
	return r.failure.Error()
}

// percentiles are of one row's times, in milliseconds.
type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// percentilesOf gives nil where there are no times.
func percentilesOf(times []time.Duration) *percentiles {
	if len(times) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(times))
	ms := func(percent int) float64 {
		return float64(nearestRank(sorted, percent).Microseconds()) / 1000
	}
	return &percentiles{P50: ms(50), P90: ms(90), P99: ms(99)}
}

// nearestRank gives the percentile by the nearest-rank method: the smallest
// value of which at least percent (1 to 100) of all values are no greater. It
// is always a value that was measured. sorted must not be empty.
func nearestRank(sorted []time.Duration, percent int) time.Duration {
	rank := (percent*len(sorted) + 99) / 100 // rounded up, from 1
	return sorted[max(rank, 1)-1]
}
