package explain

import (
	"strings"
	"testing"

	"weir/cache"
)

func TestSentence(t *testing.T) {
	object := func(change func(*cache.ExplainedObject)) *cache.ExplainedObject {
		o := &cache.ExplainedObject{Tiers: []string{"memory", "disk"}, FreshSeconds: 41.9}
		if change != nil {
			change(o)
		}
		return o
	}
	stale := object(func(o *cache.ExplainedObject) { o.FreshSeconds = -3.04 })
	soft := object(func(o *cache.ExplainedObject) { o.FreshSeconds, o.SoftPurge = 0, 4 })
	at := int64(4096)
	parts := object(func(o *cache.ExplainedObject) { o.Status, o.WholeBytes, o.MissingFrom = 206, 9000, &at })
	staleParts := object(func(o *cache.ExplainedObject) { o.FreshSeconds, o.MissingFrom = -3, &at })
	fill := &cache.ExplainedFill{AgeSeconds: 0.25, Joins: true}
	for _, row := range []struct {
		outcome, reason string
		x               cache.Explanation
		want            string
	}{
		{"hit", "fresh", cache.Explanation{Stored: object(nil)}, "hit from memory, fresh for 41 s"},
		{"stale", "stale-while-revalidate", cache.Explanation{Stored: stale}, "stale since 3 s, would be answered from memory and revalidated behind"},
		{"stale", "stale-while-revalidate", cache.Explanation{Stored: soft}, "stale by soft purge 4, would be answered from memory and revalidated behind"},
		{"revalidated", "expired", cache.Explanation{Stored: stale}, "stale since 3 s, would be revalidated"},
		{"miss", "expired", cache.Explanation{Stored: stale}, "stale since 3 s, would be fetched again, having no validator"},
		{"revalidated", "expired", cache.Explanation{Stored: stale, Fill: fill}, "stale since 3 s, would be revalidated, by the fill that has run for 0.2 s"},
		{"revalidated", "expired", cache.Explanation{Stored: soft}, "stale by soft purge 4, would be revalidated"},
		{"revalidated", "expired", cache.Explanation{Stored: object(nil)}, "fresh for 41 s, but the request wants validation, would be revalidated"},
		{"revalidated", "expired", cache.Explanation{Stored: object(func(o *cache.ExplainedObject) { o.NoCache = true })}, "stored with no-cache, would be revalidated"},
		{"revalidated", "expired", cache.Explanation{Stored: object(func(o *cache.ExplainedObject) { o.GroupsInvalid = true })},
			"stored, but one of its groups was made invalid, would be revalidated"},
		{"miss", "absent", cache.Explanation{}, "miss, nothing is stored: would be fetched"},
		{"miss", "absent", cache.Explanation{Fill: fill}, "miss, nothing is stored: would be fetched, by the fill that has run for 0.2 s"},
		{"miss", "absent", cache.Explanation{Fill: &cache.ExplainedFill{}}, "miss, nothing is stored: would be fetched"},
		{"miss", "variant", cache.Explanation{Vary: []string{"accept-language"}}, "miss, other variants are stored (Vary: accept-language): would be fetched"},
		{"miss", "purged", cache.Explanation{Stored: object(func(o *cache.ExplainedObject) { o.HardPurge = 7 })}, "miss, hard purge 7 covers what is stored: would be fetched"},
		{"pass", "uncacheable", cache.Explanation{Verdict: "private", UnsharedSeconds: 100}, "pass, the last response could not be shared (private), which is remembered for 100 s"},
		{"pass", "hit-for-miss", cache.Explanation{UnsharedSeconds: 100}, "pass, the last response could not be shared, which is remembered for 100 s"},
		{"miss", "partial", cache.Explanation{Stored: parts}, "miss, stored in part and not from byte 4096 on: would be fetched"},
		{"pass", "partial", cache.Explanation{Stored: parts}, "pass, stored in part and not from byte 4096 on: would be fetched"},
		{"miss", "expired", cache.Explanation{Stored: staleParts}, "stale since 3 s, and not stored from byte 4096 on: would be fetched"},
		{"pass", "too-large", cache.Explanation{UnsharedSeconds: 700}, "pass, the store did not take the last body, which is remembered for 11 min"},
		{"pass", "fills-max", cache.Explanation{}, "pass, as many fills run as may"},
		{"error", "only-if-cached", cache.Explanation{}, "error 504, nothing usable is stored and the request wants nothing else"},
		{"pass", "method", cache.Explanation{}, "pass (method)"},
		{"hit", "fresh", cache.Explanation{}, "hit (fresh)"}, // of a node that says too little
	} {
		row.x.Outcome, row.x.Reason, row.x.Trusted = row.outcome, row.reason, true
		if got := (NodeResult{Node: "fra", Explanation: &row.x}).Sentence(); got != "fra: "+row.want {
			t.Errorf("%s/%s: %q; want %q", row.outcome, row.reason, got, row.want)
		}
	}
	lost := cache.Explanation{Outcome: "revalidated", Reason: "expired", Stored: object(nil)}
	if got := (NodeResult{Node: "fra", Explanation: &lost}).Sentence(); got != "fra: stored, but the node has lost the purge log, would be revalidated" {
		t.Error(got)
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0 s", 0.04: "0 s", 0.25: "0.2 s", 9.99: "9.9 s", 10.9: "10 s", 599: "599 s", 600: "10 min", 7199: "119 min", 7200: "2 h", 200_000: "2 d", -3: "3 s",
	} {
		if got := span(seconds); got != want {
			t.Errorf("%v: %s, want %s", seconds, got, want)
		}
	}
}

// An origin's bytes do not reach the terminal as they are.
func TestTableIsPrintable(t *testing.T) {
	r := Result{URL: "http://h/", Nodes: []NodeResult{{Node: "ams", Role: RoleEdge, Explanation: &cache.Explanation{
		KeyText: "s h/", Vary: []string{"x"}, Variant: "x=3:\x1b[2;", Outcome: "hit", Reason: "fresh", Applied: "e:9", Trusted: false,
		Fill: &cache.ExplainedFill{Stamp: "other:3", Arriving: true},
		Stored: &cache.ExplainedObject{
			Tiers: []string{"disk"}, ETag: "\"a\x1b]0;\"", Tags: []string{"t\n1"}, Stamp: "e:4", HardPurge: 5, SoftPurge: 6, MustRevalidate: true,
		},
	}}}}
	table := r.table()
	if strings.Contains(table, "\x1b") || strings.Contains(table, "t\n1") {
		t.Errorf("%q", table)
	}
	for _, want := range []string{
		"stamp      4\n", "hard purge 5\n", "soft purge 6\n", "stamp other:3, the body arrives; a request would not join it\n", "log not trusted", "must-revalidate",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}
