package history_test

import (
	"strings"
	"testing"
	"time"

	"weir/internal/history"
)

// at is a moment so many seconds after the start.
func at(seconds float64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

const lagMax = 5 * time.Second

func newHistory(newest int) *history.History {
	return history.New(history.Options{
		Nodes: []string{"ams", "iad"}, LagMax: lagMax, Newest: func(string) int { return newest },
	})
}

func hard(version uint64, value int) history.Purge {
	return history.Purge{Version: version, What: "url /a, hard", Values: map[string]int{"/a": value}}
}

func soft(version uint64, value int) history.Purge {
	p := hard(version, value)
	p.Soft = true
	return p
}

// TestReads has one read of /a at ams that begins at 2 s, after what the row
// says has happened.
func TestReads(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(h *history.History)
		answer history.Answer
		want   string // "" for no violation
	}{
		{"nothing purged", func(*history.History) {}, history.Answer{Values: []int{1}}, ""},
		{"acknowledged", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(0)); h.Applied("ams", 1, at(1)) },
			history.Answer{Values: []int{2}}, "2 after a purge of what is below 3"},
		{"acknowledged, and new enough", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(0)); h.Applied("ams", 1, at(1)) },
			history.Answer{Values: []int{3, 3}}, ""},
		{"acknowledged elsewhere", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(0)); h.Applied("iad", 1, at(1)) },
			history.Answer{Values: []int{2}}, ""},
		{"a later one acknowledged", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(0)); h.Applied("ams", 2, at(1)) },
			history.Answer{Values: []int{2}}, "ams     said that it has version 2"},
		{"acknowledged before the acceptance was known", func(h *history.History) { h.Applied("ams", 2, at(1)); _ = h.Accepted(hard(1, 3), at(1)) },
			history.Answer{Values: []int{2}}, "2 after a purge of what is below 3"},
		{"an older one acknowledged", func(h *history.History) { _ = h.Accepted(hard(2, 3), at(0)); h.Applied("ams", 1, at(1)) },
			history.Answer{Values: []int{2}}, ""},
		{"accepted no longer ago than max_lag", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(-3)) },
			history.Answer{Values: []int{2}}, ""},
		{"accepted longer ago than max_lag", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(-3.01)) },
			history.Answer{Values: []int{2}}, "may go without news for 5s only"},
		{"soft, and given as fresh", func(h *history.History) { _ = h.Accepted(soft(1, 3), at(0)); h.Applied("ams", 1, at(1)) },
			history.Answer{Values: []int{2}}, "as fresh after a soft purge"},
		{"soft, and given as stale", func(h *history.History) { _ = h.Accepted(soft(1, 3), at(0)); h.Applied("ams", 1, at(1)) },
			history.Answer{Values: []int{2}, Stale: true}, ""},
		{"hard, and given as stale", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(0)); h.Applied("ams", 1, at(1)) },
			history.Answer{Values: []int{2}, Stale: true}, "2 after a purge"},
		{"a hit within its lifetime", func(h *history.History) { h.Superseded("/a", 3, 10*time.Second, at(-9)) },
			history.Answer{Values: []int{2}, Hit: true}, ""},
		{"a hit after its lifetime", func(h *history.History) { h.Superseded("/a", 3, 10*time.Second, at(-11)) },
			history.Answer{Values: []int{3}, Hit: true}, ""},
		{"an old hit after its lifetime", func(h *history.History) {
			h.Superseded("/a", 3, 10*time.Second, at(-9))
			h.Superseded("/a", 4, 0, at(-9))
		},
			history.Answer{Values: []int{2}, Hit: true}, ""},
		{"too old a hit", func(h *history.History) { h.Superseded("/a", 3, 10*time.Second, at(-10.5)) },
			history.Answer{Values: []int{2}, Hit: true}, "2 as fresh after its lifetime, when there was 3 or more"},
		{"too old, and given as stale", func(h *history.History) { h.Superseded("/a", 3, 0, at(-10.5)) },
			history.Answer{Values: []int{2}, Hit: true, Stale: true}, ""},
		{"too old, and fetched", func(h *history.History) { h.Superseded("/a", 3, 0, at(-10.5)) },
			history.Answer{Values: []int{2}}, ""},
		{"two versions", func(*history.History) {}, history.Answer{Values: []int{4, 4, 5}}, "values 4 and 5"},
		{"never said", func(*history.History) {}, history.Answer{Values: []int{10}}, "never said"},
		{"no body", func(h *history.History) { _ = h.Accepted(hard(1, 3), at(0)); h.Applied("ams", 1, at(1)) }, history.Answer{}, ""},
	} {
		h := newHistory(9)
		row.before(h)
		err := h.Begin("ams", "/a", "HTTP/2", at(2)).End(row.answer, at(3))
		switch {
		case row.want == "" && err != nil:
			t.Errorf("%s: %v", row.name, err)
		case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v; want %q", row.name, err, row.want)
		}
	}
}

// A read that was on its way when the receipt came may see what it may have been
// answered with before.
func TestReadOnItsWay(t *testing.T) {
	h := newHistory(9)
	r := h.Begin("ams", "/a", "HTTP/2", at(0))
	_ = h.Accepted(hard(1, 3), at(1))
	h.Applied("ams", 1, at(1))
	if err := r.End(history.Answer{Values: []int{2}}, at(2)); err != nil {
		t.Error(err)
	}
}

// A version is given once; a purge that holds everywhere is let go of, and holds.
func TestVersions(t *testing.T) {
	h := newHistory(9)
	if err := h.Accepted(hard(1, 3), at(0)); err != nil {
		t.Error(err)
	}
	if err := h.Accepted(hard(1, 4), at(0)); err == nil {
		t.Error("one version for two purges is no violation")
	}
	h.Applied("ams", 1, at(0))
	h.Applied("iad", 1, at(0))
	h.Applied("shield", 1, at(0))
	if h.Begin("iad", "/a", "", at(100)).End(history.Answer{Values: []int{2}}, at(100)) == nil {
		t.Error("a purge is forgotten once it holds everywhere")
	}
}

func TestFromCacheStatus(t *testing.T) {
	for _, row := range []struct {
		lines      []string
		hit, stale bool
	}{
		{nil, false, false},
		{[]string{"shield;hit;ttl=3;detail=memory, ams;fwd=uri-miss;stored"}, false, false},
		{[]string{"shield;fwd=uri-miss, ams;hit;ttl=3;detail=memory"}, true, false},
		{[]string{"ams;hit;ttl=-3;detail=stale-while-revalidate"}, true, true},
		{[]string{"shield;fwd=stale;detail=stale-if-error", "ams;fwd=uri-miss"}, false, true},
	} {
		if a := history.FromCacheStatus(row.lines); a.Hit != row.hit || a.Stale != row.stale {
			t.Errorf("%q: %+v", row.lines, a)
		}
	}
}
