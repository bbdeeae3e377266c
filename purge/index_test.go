package purge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/cache/rfc9111"
	"weir/purge"
)

// rec makes a record of site docs unless it says another.
func rec(version uint64, scope purge.Scope, mode purge.Mode, targets ...string) purge.Record {
	return purge.Record{Version: version, Site: "docs", Scope: scope, Mode: mode, Targets: targets, At: moment}
}

func TestIndexScopes(t *testing.T) {
	const hard, soft = purge.ModeHard, purge.ModeSoft
	x := purge.NewIndex(purge.IndexOptions{})
	other := rec(9, purge.ScopeSite, hard)
	other.Site = "blog"
	x.Apply([]purge.Record{
		rec(1, purge.ScopeURL, hard, "/u?q"),
		rec(2, purge.ScopeURL, soft, "//a.example/u?q"),
		rec(3, purge.ScopePrefix, hard, "/p/", "//a.example/pa"),
		rec(4, purge.ScopeHost, soft, "b.example"),
		rec(5, purge.ScopeTag, hard, "red", "green"),
		rec(6, purge.ScopeTag, soft, "red"),
		rec(7, purge.ScopePrefix, soft, "/q?"),
		other,
	})
	for _, row := range []struct {
		site, host, target string
		tags               []string
		hard, soft         uint64
	}{
		{"docs", "a.example", "/u?q", nil, 1, 2},
		{"docs", "c.example", "/u?q", nil, 1, 0},
		{"docs", "a.example", "/u", nil, 0, 0},
		{"docs", "a.example", "/u?q2", nil, 0, 0},
		{"docs", "a.example", "/p/", nil, 3, 0},
		{"docs", "c.example", "/p/x?y", nil, 3, 0},
		{"docs", "c.example", "/p", nil, 0, 0},
		{"docs", "a.example", "/pax", nil, 3, 0},
		{"docs", "c.example", "/pax", nil, 0, 0},
		{"docs", "b.example", "/", nil, 0, 4},
		{"docs", "b.example", "/p/", nil, 3, 4},
		{"docs", "a.example", "/", []string{"red"}, 5, 6},
		{"docs", "a.example", "/", []string{"blue", "green"}, 5, 0},
		{"docs", "a.example", "/q?x", nil, 0, 7},
		{"docs", "a.example", "/q", nil, 0, 0},
		{"blog", "a.example", "/", nil, 9, 0},
		{"none", "a.example", "/", nil, 0, 0},
	} {
		if h, s := x.Covering(row.site, row.host, row.target, row.tags); h != row.hard || s != row.soft {
			t.Errorf("%s %s%s %v: %d %d, want %d %d", row.site, row.host, row.target, row.tags, h, s, row.hard, row.soft)
		}
	}
	if x.Applied() != 9 || x.NewestTag("docs") != 6 || x.NewestTag("blog") != 0 {
		t.Errorf("applied %d, newest tag %d", x.Applied(), x.NewestTag("docs"))
	}
	x.Distrust(12)
	if h, s := x.Covering("none", "h", "/", nil); h != 12 || s != 0 || x.Applied() != 12 {
		t.Errorf("after Distrust: %d %d, applied %d", h, s, x.Applied())
	}
	x.Reset("e")
	if h, s := x.Covering("docs", "a.example", "/u?q", nil); h != 0 || s != 0 || x.Applied() != 0 {
		t.Errorf("after Reset: %d %d, applied %d", h, s, x.Applied())
	}
}

// A purge covers what is served for the URL that it names, whatever the site's
// key leaves of the query, and also what was stored before the site had one.
func TestIndexKey(t *testing.T) {
	keys := map[string]*rfc9111.KeyPolicy{
		"docs": {Query: rfc9111.QueryExcept, Params: []string{"utm_*"}, SortQuery: true},
		"blog": {Query: rfc9111.QueryNone},
	}
	x := purge.NewIndex(purge.IndexOptions{Key: func(site string) *rfc9111.KeyPolicy { return keys[site] }})
	records := []purge.Record{
		rec(1, purge.ScopeURL, purge.ModeHard, "/u?utm_source=x&b=1&a=2", "//a.example/h?utm_x"),
		rec(2, purge.ScopePrefix, purge.ModeHard, "/search?q=", "//a.example/p%2Cq?x"),
		rec(3, purge.ScopeURL, purge.ModeSoft, "/a?x=1"),
		rec(4, purge.ScopePrefix, purge.ModeSoft, "/b?"),
		rec(5, purge.ScopeURL, purge.ModeHard, "/a?x=1"),
	}
	records[2].Site, records[3].Site, records[4].Site = "blog", "blog", "other"
	x.Apply(records)
	for _, row := range []struct {
		site, host, target string
		hard, soft         uint64
	}{
		{"docs", "b.example", "/u?a=2&b=1", 1, 0},
		{"docs", "b.example", "/u?utm_source=x&b=1&a=2", 1, 0},
		{"docs", "b.example", "/u?b=1&a=2", 0, 0},
		{"docs", "b.example", "/u", 0, 0},
		{"docs", "a.example", "/h", 1, 0},
		{"docs", "b.example", "/h", 0, 0},
		{"docs", "b.example", "/search?a=1&q=2", 2, 0},
		{"docs", "b.example", "/search", 2, 0},
		{"docs", "b.example", "/search/help", 0, 0},
		{"docs", "a.example", "/p,q", 2, 0},
		{"docs", "a.example", "/p%2Cq?y", 2, 0},
		{"docs", "b.example", "/p,q", 0, 0},
		{"blog", "b.example", "/a", 0, 3},
		{"blog", "b.example", "/a?x=1", 0, 3},
		{"blog", "b.example", "/b", 0, 4},
		{"blog", "b.example", "/bc", 0, 0},
		{"other", "b.example", "/a?x=1", 5, 0},
		{"other", "b.example", "/a", 0, 0},
	} {
		if h, s := x.Covering(row.site, row.host, row.target, nil); h != row.hard || s != row.soft {
			t.Errorf("%s %s%s: %d %d, want %d %d", row.site, row.host, row.target, h, s, row.hard, row.soft)
		}
	}
}

func TestApplyingTwiceChangesNothing(t *testing.T) {
	x := purge.NewIndex(purge.IndexOptions{})
	first := []purge.Record{rec(1, purge.ScopeURL, purge.ModeHard, "/a"), rec(2, purge.ScopeURL, purge.ModeHard, "/b")}
	x.Apply(first)
	before := x.Stats()
	x.Apply(first)
	x.Apply(first[:1])
	x.Apply(nil)
	if after := x.Stats(); after != before {
		t.Errorf("stats %+v, before %+v", after, before)
	}
	if h, _ := x.Covering("docs", "h", "/a", nil); h != 1 {
		t.Errorf("hard = %d, want 1", h)
	}
}

func TestIndexFoldsTheLargestSite(t *testing.T) {
	x := purge.NewIndex(purge.IndexOptions{TargetsMax: 10})
	small := rec(1, purge.ScopeURL, purge.ModeSoft, "/a", "/b", "/c")
	small.Site = "blog"
	x.Apply([]purge.Record{small})
	for v := uint64(2); v <= 9; v++ {
		x.Apply([]purge.Record{rec(v, purge.ScopeURL, purge.ModeSoft, fmt.Sprintf("/%d", v))})
	}
	if s := x.Stats(); s.Targets != 3 || s.Folds != 1 {
		t.Errorf("stats %+v, want 3 targets left after 1 fold", s)
	}
	if h, _ := x.Covering("docs", "h", "/anything", nil); h != 9 {
		t.Errorf("folded site: hard = %d, want 9", h)
	}
	if h, s := x.Covering("blog", "h", "/a", nil); h != 0 || s != 1 {
		t.Errorf("the other site: %d %d, want 0 1", h, s)
	}
	many := rec(10, purge.ScopeTag, purge.ModeHard)
	for i := range 50 {
		many.Targets = append(many.Targets, fmt.Sprint(i))
	}
	x.Apply([]purge.Record{many})
	if s := x.Stats(); s.Targets > 10 {
		t.Errorf("%d targets, limit 10", s.Targets)
	}
	if h, _ := x.Covering("docs", "h", "/", []string{"7"}); h != 10 {
		t.Errorf("hard = %d, want 10", h)
	}
}

func TestPrefixesOfManyLengths(t *testing.T) {
	x := purge.NewIndex(purge.IndexOptions{PrefixLengthsMax: 3})
	long := strings.Repeat("x", 40)
	for v := uint64(1); v <= 3; v++ {
		x.Apply([]purge.Record{rec(v, purge.ScopePrefix, purge.ModeHard, "/"+long[:v*10])})
	}
	x.Apply([]purge.Record{rec(4, purge.ScopePrefix, purge.ModeHard, "/yyyyyyyyyyyyyyy")})
	for target, want := range map[string]uint64{
		"/yyyyyyyyyyyyyyyz": 4, // as asked
		"/yyyyyyyyyyz":      4, // cut to 11 bytes: covers more
		"/yyyyyyyyy":        0,
		"/" + long[:10]:     1,
		"/" + long[:35]:     3,
	} {
		if h, _ := x.Covering("docs", "h", target, nil); h != want {
			t.Errorf("%s: hard = %d, want %d", target, h, want)
		}
	}
	x.Apply([]purge.Record{rec(5, purge.ScopePrefix, purge.ModeSoft, "/z")})
	if _, s := x.Covering("docs", "h", "/anything", nil); s != 5 {
		t.Errorf("no shorter length to cut to: soft = %d, want 5 everywhere", s)
	}
}

func TestWaitApplied(t *testing.T) {
	x := purge.NewIndex(purge.IndexOptions{})
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := x.WaitApplied(short, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	done := make(chan error)
	for v := uint64(1); v <= 3; v++ {
		go func() { done <- x.WaitApplied(t.Context(), v) }()
	}
	x.Apply([]purge.Record{rec(1, purge.ScopeSite, purge.ModeHard), rec(2, purge.ScopeSite, purge.ModeHard)})
	x.Apply([]purge.Record{rec(3, purge.ScopeSite, purge.ModeHard)})
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// P1 on the index: whoever sees Applied at v or above sees every effect of v.
func TestWhoSeesAppliedSeesItsEffects(t *testing.T) {
	x := purge.NewIndex(purge.IndexOptions{})
	const last = 3000
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for v := uint64(0); v < last; {
				v = x.Applied()
				for _, target := range []string{"/first", "/last"} {
					if h, _ := x.Covering("docs", "h", target, nil); h < v {
						t.Errorf("applied is %d, %s is covered up to %d", v, target, h)
						return
					}
				}
			}
		})
	}
	for v := uint64(1); v <= last; v++ {
		x.Apply([]purge.Record{rec(v, purge.ScopeURL, purge.ModeHard, "/first", "/x", "/y", "/last")})
	}
	wg.Wait()
}

// naive is the index that cannot be wrong: a list of all records.
type naive []purge.Record

func (n naive) covering(site, host, target string, tags []string) (hard, soft uint64) {
	for _, r := range n {
		switch {
		case r.Site == "":
		case r.Site != site:
			continue
		case r.Scope == purge.ScopeAsset:
			if !naiveAsset(&r, host, target) {
				continue
			}
		case r.Scope != purge.ScopeSite && !slices.ContainsFunc(r.Targets, func(t string) bool {
			return naiveMatch(r.Scope, t, host, target, tags)
		}):
			continue
		}
		if r.Mode == purge.ModeSoft {
			soft = r.Version
		} else {
			hard = r.Version
		}
	}
	return hard, soft
}

// naiveAsset says whether a purge of assets covers a target: its asset is named,
// and it is not itself named as current. Targets with a host and without are
// apart.
func naiveAsset(r *purge.Record, host, target string) bool {
	asset, versioned := r.Assets.Of(target)
	for _, before := range []string{"", "//" + host} {
		named, current := false, false
		for _, t := range r.Targets {
			text, matches := strings.CutPrefix(t, before)
			if !matches || strings.HasPrefix(text, "//") {
				continue
			}
			other, _ := r.Assets.Of(text)
			named = named || other == asset
			current = current || versioned && text == target
		}
		if named && !current {
			return true
		}
	}
	return false
}

func naiveMatch(scope purge.Scope, t, host, target string, tags []string) bool {
	full := "//" + host + target
	switch scope {
	case purge.ScopeURL:
		return t == target || t == full
	case purge.ScopePrefix:
		return !strings.HasPrefix(t, "//") && strings.HasPrefix(target, t) || strings.HasPrefix(full, t)
	case purge.ScopeHost:
		return t == host
	default:
		return slices.Contains(tags, t) || slices.Contains(tags, rfc9111.OtherTags)
	}
}

// draw makes random records and objects out of few names, so that they meet.
type draw struct{ *rand.Rand }

func (d draw) one(of ...string) string { return of[d.IntN(len(of))] }
func (d draw) site() string            { return d.one("docs", "blog") }
func (d draw) host() string            { return d.one("a.example", "b.example", "a.example.org") }

func (d draw) target() string {
	t := ""
	for range 1 + d.IntN(3) {
		t += "/" + d.one("a", "b", "ab", "")
	}
	// A path that starts with two slashes is written with its host only.
	t = "/" + strings.TrimLeft(t, "/") + d.one("", "", ".3f9a.js", ".beef.js", ".js")
	return d.one("", "", "", "/v1", "/v2") + t + d.one("", "", "?q", "?q=1", "?v=1", "?v=2&q")
}

func (d draw) tags() []string {
	all := []string{"red", "green", "blue", rfc9111.OtherTags}
	return all[d.IntN(4):][:d.IntN(2)]
}

func (d draw) record(version uint64) purge.Record {
	r := purge.Record{Version: version, Site: d.site(), Mode: purge.Mode(d.IntN(2)), At: moment}
	r.Scope = purge.Scope(1 + d.IntN(len(purge.Scopes)))
	switch whole := r.Scope == purge.ScopeSite || r.Scope == purge.ScopeAll; {
	case whole && d.IntN(8) > 0:
		r.Scope = purge.ScopeAsset
	case r.Scope == purge.ScopeAll:
		r.Site = ""
		return r
	case whole:
		return r
	}
	if r.Scope == purge.ScopeAsset {
		r.Assets = &purge.Assets{FingerprintMin: 4, Params: []string{"v"}}
		if d.IntN(3) == 0 { // after a change of policy
			r.Assets.Segments = []string{"v#"}
		}
	}
	for range 1 + d.IntN(3) {
		r.Targets = append(r.Targets, d.recordTarget(r.Scope))
	}
	return r
}

func (d draw) recordTarget(s purge.Scope) string {
	switch s {
	case purge.ScopeHost:
		return d.host()
	case purge.ScopeTag:
		return d.one("red", "green", "blue")
	}
	t := d.target()
	if s == purge.ScopePrefix {
		t = t[:1+d.IntN(len(t))]
	}
	if d.IntN(2) == 0 {
		return "//" + d.host() + t
	}
	return t
}

func TestIndexAgainstANaiveList(t *testing.T) {
	for seed := range uint64(20) {
		d := draw{rand.New(rand.NewPCG(seed, 1))}
		x := purge.NewIndex(purge.IndexOptions{})
		var list naive
		version := uint64(0)
		for range 60 {
			var batch []purge.Record
			for range d.IntN(3) {
				version += 1 + d.Uint64N(2)
				r := d.record(version)
				if d.IntN(50) == 0 {
					r = purge.Distrust(version, "")
				}
				batch = append(batch, r)
			}
			list = append(list, batch...)
			x.Apply(batch)
			for range 20 {
				site, host, target, tags := d.site(), d.host(), d.target(), d.tags()
				h, s := x.Covering(site, host, target, tags)
				if wh, ws := list.covering(site, host, target, tags); h != wh || s != ws {
					t.Fatalf("seed %d: %s %s%s %v: %d %d, want %d %d", seed, site, host, target, tags, h, s, wh, ws)
				}
			}
		}
	}
}

// With any limits, an index covers at least what the list does.
func TestSmallIndexNeverCoversLess(t *testing.T) {
	for seed := range uint64(20) {
		d := draw{rand.New(rand.NewPCG(seed, 2))}
		x := purge.NewIndex(purge.IndexOptions{TargetsMax: 1 + d.IntN(12), PrefixLengthsMax: 1 + d.IntN(4)})
		var list naive
		for v := uint64(1); v <= 80; v++ {
			list = append(list, d.record(v))
			x.Apply(list[v-1:])
			for range 20 {
				site, host, target, tags := d.site(), d.host(), d.target(), d.tags()
				h, s := x.Covering(site, host, target, tags)
				if wh, ws := list.covering(site, host, target, tags); h < wh || max(h, s) < ws {
					t.Fatalf("seed %d: %s %s%s %v: %d %d, must be at least %d %d", seed, site, host, target, tags, h, s, wh, ws)
				}
			}
		}
	}
}

func manyURLs(n int) *purge.Index {
	x := purge.NewIndex(purge.IndexOptions{TargetsMax: 2_000_000})
	batch := make([]purge.Record, n)
	for i := range batch {
		batch[i] = rec(uint64(i+1), purge.ScopeURL, purge.ModeHard, fmt.Sprintf("/images/%d.jpg?w=100", i))
	}
	x.Apply(batch)
	return x
}

func TestLookupDoesNotAllocate(t *testing.T) {
	x := manyURLs(1000)
	tags := []string{"red", "green"}
	if n := testing.AllocsPerRun(100, func() {
		x.Applied()
		x.Covering("docs", "www.example.com", "/images/5.jpg?w=100", tags)
	}); n != 0 {
		t.Errorf("%v allocations a look-up", n)
	}
}

func BenchmarkApplied(b *testing.B) {
	x := manyURLs(1)
	for b.Loop() {
		if x.Applied() == 0 {
			b.Fatal("nothing applied")
		}
	}
}

func BenchmarkCovering(b *testing.B) {
	for _, n := range []int{0, 1, 1_000_000} {
		b.Run(fmt.Sprintf("urls=%d", n), func(b *testing.B) {
			x := manyURLs(n)
			tags := []string{"red", "green"}
			b.ReportAllocs()
			i := 0
			targets := make([]string, 1024)
			for j := range targets {
				targets[j] = fmt.Sprintf("/images/%d.jpg?w=100", j*977)
			}
			for b.Loop() {
				x.Covering("docs", "www.example.com", targets[i&1023], tags)
				i++
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	x := purge.NewIndex(purge.IndexOptions{})
	batch := []purge.Record{rec(0, purge.ScopeURL, purge.ModeHard, "/images/1.jpg")}
	b.ReportAllocs()
	for b.Loop() {
		batch[0].Version++
		x.Apply(batch)
	}
}
