package measure

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"weir/cache"
	"weir/cache/rfc9111"
	"weir/storage"
)

func TestNearestRank(t *testing.T) {
	count := func(n int) []time.Duration {
		var list []time.Duration
		for i := range n {
			list = append(list, time.Duration(i+1))
		}
		return list
	}
	for _, test := range []struct {
		n, percent int
		want       time.Duration // the rank
	}{
		{1, 1, 1}, {1, 50, 1}, {1, 99, 1}, {1, 100, 1},
		{2, 50, 1}, {2, 51, 2}, {2, 99, 2},
		{3, 50, 2}, {3, 90, 3},
		{4, 50, 2}, {5, 50, 3},
		{10, 90, 9}, {10, 91, 10}, {20, 50, 10}, {20, 90, 18}, {20, 99, 20},
		{99, 99, 99}, {100, 99, 99}, {100, 1, 1}, {101, 99, 100}, {200, 99, 198},
	} {
		if got := nearestRank(count(test.n), test.percent); got != test.want {
			t.Errorf("p%d of %d values: rank %d, want %d", test.percent, test.n, got, test.want)
		}
	}
}

func TestPercentiles(t *testing.T) {
	if got := percentilesOf(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	times := []time.Duration{30 * time.Millisecond, 10 * time.Millisecond, 20*time.Millisecond + 499*time.Microsecond}
	got := percentilesOf(times)
	if *got != (percentiles{P50: 20.499, P90: 30, P99: 30}) || times[0] != 30*time.Millisecond {
		t.Errorf("%+v; times are now %v", got, times)
	}
}

func TestOutcomeColumn(t *testing.T) {
	hit, miss := outcome{name: "hit", tier: "disk", status: 200}, outcome{name: "miss", status: 200}
	for _, test := range []struct {
		outcomes []outcome
		failures int
		want     string
	}{
		{[]outcome{hit}, 0, "hit disk"},
		{[]outcome{hit, hit}, 0, "hit disk"},
		{[]outcome{miss, hit, hit}, 0, "2 hit disk, 1 miss"},
		{[]outcome{miss, hit}, 0, "1 hit disk, 1 miss"},
		{[]outcome{hit}, 2, "1 hit disk, 2 failed"},
		{nil, 1, "1 failed"},
		{[]outcome{{name: "hit", status: 404}, {name: "hit", status: 200}}, 0, "1 hit, 1 hit (status 404)"},
	} {
		var r row
		for _, o := range test.outcomes {
			r.add(sample{outcome: o})
		}
		for range test.failures {
			r.fail(errors.New("broken"))
		}
		if got := r.outcome(); got != test.want {
			t.Errorf("%v, %d failures: %q, want %q", test.outcomes, test.failures, got, test.want)
		}
	}
}

// TestOutcomeOf has a row for each form of Cache-Status (RFC 9211).
func TestOutcomeOf(t *testing.T) {
	for _, test := range []struct{ rule, field, want string }{
		{"2: the last member is the nearest cache", "shield;fwd=uri-miss;stored, ams;hit;detail=memory", "hit memory"},
		{"2: the last member is the nearest cache", "shield;hit;detail=disk, ams;fwd=uri-miss;stored", "miss"},
		{"2: a string may name a cache", `"ams, 1";hit;detail=disk`, "hit disk"},
		{"2.1: hit", "ams;hit;ttl=30", "hit"},
		{"2.1: hit is a boolean", "ams;hit=?0", "unknown"},
		{"2.1: hit is a boolean", "ams;hit=1", "unknown"},
		{"2.2: fwd", "ams;fwd=vary-miss;fwd-status=200;stored;collapsed", "miss"},
		{"2.2: fwd=method", "ams;fwd=method;detail=method", "pass"},
		{"2.2: fwd=bypass", "ams;fwd=bypass;detail=bypass", "pass"},
		{"2.2: fwd=stale and stored", "ams;fwd=stale;fwd-status=200;stored", "miss"},
		{"2.2: fwd=stale", "ams;fwd=stale;fwd-status=304", "revalidated"},
		{"2.2: fwd=stale in error", "ams;fwd=stale;fwd-status=503;detail=stale-if-error", "stale"},
		{"2.8: detail", "ams;hit;ttl=-3;detail=stale-while-revalidate", "stale"},
		{"2.8: detail", "ams;fwd=miss;detail=no-store", "pass"},
		{"2.8: detail", "ams;fwd=miss;detail=upstream", "error"},
		{"2.8: detail", "ams;fwd=miss;detail=only-if-cached", "error"},
		{"2.8: detail", "ams;detail=refused", "refused"},
		{"2.8: detail may be a string", `ams;hit;detail="memory"`, "hit memory"},
		{"2: neither hit nor fwd", "ams", "unknown"},
		{"absent", "", "unknown"},
		{"RFC 9651, 4.2: not a list", "ams;hit,", "unknown"},
		{"RFC 9651, 3.1.1: an inner list", "(ams);hit", "unknown"},
	} {
		if got := outcomeOf([]string{test.field}).String(); got != test.want {
			t.Errorf("%s: %s: %q, want %q", test.rule, test.field, got, test.want)
		}
	}
	if got := outcomeOf([]string{"shield;fwd=miss", "ams;hit"}).String(); got != "hit" {
		t.Errorf("two field lines: %q", got)
	}
}

// TestOutcomesOfTheEngine holds the parser to what the engine writes.
func TestOutcomesOfTheEngine(t *testing.T) {
	for _, a := range []cache.Answer{
		{Outcome: cache.OutcomeHit, Reason: cache.ReasonFresh, Tier: storage.TierMemory},
		{Outcome: cache.OutcomeHit, Reason: cache.ReasonFresh, Tier: storage.TierDisk},
		{Outcome: cache.OutcomeStale, Reason: cache.ReasonStaleWhileRevalidate, Tier: storage.TierMemory},
		{Outcome: cache.OutcomeStale, Reason: cache.ReasonStaleIfError, Tier: storage.TierDisk, FwdStatus: 503},
		{Outcome: cache.OutcomeRevalidated, Reason: cache.ReasonExpired, FwdStatus: 304},
		{Outcome: cache.OutcomeMiss, Reason: cache.ReasonAbsent, FwdStatus: 200},
		{Outcome: cache.OutcomeMiss, Reason: cache.ReasonVariant, FwdStatus: 200},
		{Outcome: cache.OutcomeMiss, Reason: cache.ReasonExpired, FwdStatus: 200, Collapsed: true},
		{Outcome: cache.OutcomeMiss, Reason: cache.ReasonPurged, FwdStatus: 200},
		{Outcome: cache.OutcomePass, Reason: cache.ReasonMethod},
		{Outcome: cache.OutcomePass, Reason: cache.ReasonBypass, FwdStatus: 200},
		{Outcome: cache.OutcomePass, Reason: cache.ReasonUncacheable, Verdict: rfc9111.StoreVerdict(1), FwdStatus: 200},
		{Outcome: cache.OutcomePass, Reason: cache.ReasonTooLarge, FwdStatus: 200},
		{Outcome: cache.OutcomePass, Reason: cache.ReasonWait, FwdStatus: 200},
		{Outcome: cache.OutcomePass, Reason: cache.ReasonFillsMax, FwdStatus: 200},
		{Outcome: cache.OutcomeError, Reason: cache.ReasonOnlyIfCached},
		{Outcome: cache.OutcomeError, Reason: cache.ReasonUpstream},
	} {
		field := string(a.CacheStatus("ams").Append([]byte("shield;fwd=uri-miss;stored, ")))
		want := a.Outcome.String()
		if a.Outcome == cache.OutcomeHit {
			want += " " + a.Tier.String()
		}
		if got := outcomeOf([]string{field}).String(); got != want {
			t.Errorf("%s (%s) writes %s, read as %q", a.Outcome, a.Reason, field, got)
		}
	}
}

func FuzzOutcomeOf(f *testing.F) {
	f.Add("shield;hit;detail=disk, ams;fwd=uri-miss;stored")
	f.Add("(a b);hit")
	f.Add(`ams;hit;detail="\"`)
	f.Fuzz(func(t *testing.T, field string) {
		o := outcomeOf([]string{field})
		if o.name == "" || strings.ContainsAny(o.String(), "\x00\n\x1b") {
			t.Errorf("%q gives %q", field, o)
		}
	})
}

func TestProtocolNames(t *testing.T) {
	for text, want := range map[string]Protocol{"h1": HTTP1, "h2": HTTP2, "h3": HTTP3, "HTTP/1.1": HTTP1, "HTTP/3": HTTP3} {
		var p Protocol
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "h4", "H1", "HTTP/1.0"} {
		var p Protocol
		if err := p.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("took %q as %v", text, p)
		}
	}
	if got := Protocol(9).String(); got != "protocol(9)" {
		t.Errorf("unknown protocol: %s", got)
	}
	if text, err := HTTP2.MarshalText(); err != nil || !bytes.Equal(text, []byte("HTTP/2")) {
		t.Errorf("%s, %v", text, err)
	}
}
