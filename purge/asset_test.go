package purge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/cache/rfc9111"
	"weir/purge"
)

func TestAssets(t *testing.T) {
	a := purge.DefaultAssets()
	a.Segments = append(a.Segments, "release-*")
	for _, row := range []struct{ rule, target, asset string }{
		{"fingerprint behind a dot", "/js/app.3f9a.js", "/js/app.js"},
		{"behind a dash", "/js/app-3f9a12bc.js", "/js/app.js"},
		{"behind an underscore", "/js/app_3F9A.css", "/js/app.css"},
		{"before a second extension", "/js/app.3f9a.js.map", "/js/app.js.map"},
		{"before min", "/js/app.3f9a12.min.js", "/js/app.min.js"},
		{"a name that is a number", "/js/123.3f9a.js", "/js/123.js"},
		{"hexadecimal without a digit", "/js/app.beef.js", "/js/app.js"},
		{"base 62", "/assets/index.DkR3sXwq.js", "/assets/index.js"},
		{"base 62 without a digit", "/assets/index-DkRasXwq.js", "/assets/index.js"},
		{"base 64 with a dash", "/assets/index-B7-YkQ2x.js", "/assets/index.js"},
		{"base 64 with an underscore", "/assets/my-page-_Q7YkQ2x.css", "/assets/my-page.css"},
		{"the last of two", "/js/app.3f9a.bc12.js", "/js/app.3f9a.js"},
		{"SHA-256", "/a." + strings.Repeat("0f", 32) + ".js", "/a.js"},
		{"no extension, no fingerprint", "/js/app-3f9a", "/js/app-3f9a"},
		{"the name itself is none", "/3f9a12.js", "/3f9a12.js"},
		{"nor is what begins with a dot", "/.3f9a.js", "/.3f9a.js"},
		{"three digits are too few", "/js/app.3f9.js", "/js/app.3f9.js"},
		{"words", "/js/jquery-3.7.1.slim.min.js", "/js/jquery-3.7.1.slim.min.js"},
		{"long words", "/js/user-settings.js", "/js/user-settings.js"},
		{"capitalised words", "/js/user-Settings.js", "/js/user-Settings.js"},
		{"words with dashes", "/js/my-ab-page.js", "/js/my-ab-page.js"},
		{"segment", "/v42/app.js", "/app.js"},
		{"segment below another", "/static/v1.2.3/js/app.js", "/static/js/app.js"},
		{"two segments", "/v1/x/v2/app.js", "/x/app.js"},
		{"segment with any text", "/release-june/app.js", "/app.js"},
		{"segment without its number", "/v/app.js", "/v/app.js"},
		{"segment that begins with a dot", "/v.1/app.js", "/v.1/app.js"},
		{"segment with more behind its number", "/v2x/app.js", "/v2x/app.js"},
		{"the last segment is a name", "/get/v42", "/get/v42"},
		{"a folder", "/v42/", "/"},
		{"parameter", "/app.js?v=42", "/app.js"},
		{"parameter without a value", "/app.js?v", "/app.js"},
		{"parameter among others", "/app.js?a=1&v=42&b=2", "/app.js?a=1&b=2"},
		{"another parameter", "/app.js?a=1", "/app.js?a=1"},
		{"a longer name", "/app.js?vx=1", "/app.js?vx=1"},
		{"names have one case", "/app.js?V=1", "/app.js?V=1"},
		{"all three", "/v42/app.3f9a.js?ver=1&a", "/app.js?a"},
		{"escapes that mean nothing", "/a%2Cb.3f9a.js", "/a,b.js"},
		{"nothing at all", "/", "/"},
	} {
		asset, versioned := a.Of(row.target)
		if asset != row.asset || versioned != (row.asset != row.target) {
			t.Errorf("%s: %s is a version of %s (%t), want %s", row.rule, row.target, asset, versioned, row.asset)
		}
	}
	none := purge.Assets{}
	for _, target := range []string{"/v42/app.3f9a.js?v=1", "/app.js?v"} {
		if asset, versioned := none.Of(target); asset != target || versioned {
			t.Errorf("without patterns %s is a version of %s", target, asset)
		}
	}
}

func TestAssetsCheck(t *testing.T) {
	many := strings.Split(strings.Repeat("v#,", 17), ",")
	for _, row := range []struct {
		a     purge.Assets
		field string
	}{
		{purge.DefaultAssets(), ""},
		{purge.Assets{}, ""},
		{purge.Assets{FingerprintMin: 64, Segments: []string{"#", "@#", "r-*"}, Params: []string{"utm-v"}}, ""},
		{purge.Assets{FingerprintMin: 3}, "fingerprint_min"},
		{purge.Assets{FingerprintMin: 65}, "fingerprint_min"},
		{purge.Assets{FingerprintMin: -1}, "fingerprint_min"},
		{purge.Assets{Segments: many}, "segments"},
		{purge.Assets{Params: many}, "params"},
		{purge.Assets{Segments: []string{"v#", ""}}, "segments[1]"},
		{purge.Assets{Segments: []string{"v1"}}, "segments[0]"},
		{purge.Assets{Segments: []string{"*"}}, "segments[0]"},
		{purge.Assets{Segments: []string{"a/v#"}}, "segments[0]"},
		{purge.Assets{Segments: []string{"#v#"}}, "segments[0]"},
		{purge.Assets{Segments: []string{"é#"}}, "segments[0]"},
		{purge.Assets{Segments: []string{strings.Repeat("v", 64) + "#"}}, "segments[0]"},
		{purge.Assets{Params: []string{""}}, "params[0]"},
		{purge.Assets{Params: []string{"a&b"}}, "params[0]"},
		{purge.Assets{Params: []string{strings.Repeat("v", 65)}}, "params[0]"},
	} {
		err := row.a.Check()
		var refused *purge.FieldError
		if (err != nil) != (row.field != "") || errors.As(err, &refused) && refused.Field != row.field {
			t.Errorf("%+v: %v, want an error about %q", row.a, err, row.field)
		}
	}
}

// What is left of a target without its versions is no longer than it was, keeps
// its slash, and is the same each time.
func FuzzAssetsOf(f *testing.F) {
	for _, target := range []string{"/js/app.3f9a.js", "/v42/app.js", "/app.js?a&v=42&v", "/index-B7-YkQ2x.js", "/?", "/a%2Cb"} {
		f.Add(target, 4, "v#", "v")
	}
	f.Fuzz(func(t *testing.T, target string, least int, segment, param string) {
		a := purge.Assets{FingerprintMin: least, Segments: []string{segment}, Params: []string{param}}
		if a.Check() != nil || !strings.HasPrefix(target, "/") {
			return
		}
		asset, versioned := a.Of(target)
		if !strings.HasPrefix(asset, "/") || len(asset) > len(target) {
			t.Fatalf("%q has become %q", target, asset)
		}
		if again, also := a.Of(target); again != asset || also != versioned {
			t.Fatalf("%q is %q, then %q", target, asset, again)
		}
	})
}

// asset makes a record of scope asset of site docs.
func asset(version uint64, mode purge.Mode, targets ...string) purge.Record {
	r := rec(version, purge.ScopeAsset, mode, targets...)
	r.Assets = defaultAssets()
	return r
}

// TestIndexAssets names, for each object, the purges that cover it.
func TestIndexAssets(t *testing.T) {
	const hard, soft = purge.ModeHard, purge.ModeSoft
	x := purge.NewIndex(purge.IndexOptions{})
	covers := func(when, host, target string, hard, soft uint64) {
		t.Helper()
		if h, s := x.Covering("docs", host, target, nil); h != hard || s != soft {
			t.Errorf("%s: %s%s is covered by %d and %d, want %d and %d", when, host, target, h, s, hard, soft)
		}
	}
	x.Apply([]purge.Record{asset(1, hard, "/app.aaaa.js")})
	covers("the current version stays", "h", "/app.aaaa.js", 0, 0)
	covers("another goes", "h", "/app.bbbb.js", 1, 0)
	covers("a version of another kind goes", "h", "/v42/app.js", 1, 0)
	covers("so does one in the query", "h", "/app.js?v=42", 1, 0)
	covers("and what has no version", "h", "/app.js", 1, 0)
	covers("the same fingerprint in another version", "h", "/v2/app.aaaa.js", 1, 0)
	covers("another asset", "h", "/main.bbbb.js", 0, 0)
	covers("other parameters are another asset", "h", "/app.js?lang=de&v=42", 0, 0)

	x.Apply([]purge.Record{asset(2, hard, "/app.bbbb.js"), asset(3, soft, "/app.aaaa.js", "/app.bbbb.js", "/app.bbbb.js")})
	covers("no longer current", "h", "/app.aaaa.js", 2, 0)
	covers("current now, and purged before", "h", "/app.bbbb.js", 1, 0)
	covers("never current", "h", "/app.cccc.js", 2, 3)

	x.Apply([]purge.Record{asset(4, hard, "/app.aaaa.js")})
	covers("current again keeps what was purged between", "h", "/app.aaaa.js", 2, 0)
	covers("gone again", "h", "/app.bbbb.js", 4, 0)

	x.Apply([]purge.Record{asset(5, hard, "/app.js")})
	covers("without a version none is current", "h", "/app.aaaa.js", 5, 0)
	covers("without a version none is current", "h", "/app.js", 5, 3)

	x.Apply([]purge.Record{asset(6, hard, "//a.example/one.aaaa.js")})
	covers("one host", "a.example", "/one.bbbb.js", 6, 0)
	covers("one host's current", "a.example", "/one.aaaa.js", 0, 0)
	covers("another host", "b.example", "/one.bbbb.js", 0, 0)

	before := x.Stats().Targets
	for v := uint64(7); v < 100; v++ {
		x.Apply([]purge.Record{asset(v, hard, "/app.aaaa.js")})
	}
	if after := x.Stats().Targets; after != before {
		t.Errorf("purging one asset again and again has brought %d targets", after-before)
	}
}

// Versions that the site's key leaves out cannot be told apart in the store.
func TestIndexAssetsUnderAKeyPolicy(t *testing.T) {
	key := &rfc9111.KeyPolicy{Query: rfc9111.QueryNone}
	x := purge.NewIndex(purge.IndexOptions{Key: func(string) *rfc9111.KeyPolicy { return key }})
	x.Apply([]purge.Record{asset(1, purge.ModeHard, "/app.js?v=42", "/main.aaaa.js?utm=1")})
	for target, want := range map[string]uint64{
		"/app.js": 1, "/app.bbbb.js": 1, "/main.aaaa.js": 0, "/main.bbbb.js": 1, "/main.js": 1, "/other.js": 0,
	} {
		if h, _ := x.Covering("docs", "h", target, nil); h != want {
			t.Errorf("%s is covered by %d, want %d", target, h, want)
		}
	}
}

// A change of policy leaves in force what was purged under the one before, and
// too many of them cover the site.
func TestIndexAssetsOfManyPolicies(t *testing.T) {
	x := purge.NewIndex(purge.IndexOptions{})
	for v := uint64(1); v <= 6; v++ {
		r := rec(v, purge.ScopeAsset, purge.ModeHard, fmt.Sprintf("/r%d-2/app.js", v))
		r.Assets = &purge.Assets{Segments: []string{fmt.Sprintf("r%d-#", v)}}
		x.Apply([]purge.Record{r})
		if h, _ := x.Covering("docs", "h", "/r1-7/app.js", nil); v < 5 && h != 1 {
			t.Errorf("purge %d: a version of the first is covered by %d, want 1", v, h)
		}
		want := uint64(0)
		if v > 4 {
			want = v
		}
		if h, _ := x.Covering("docs", "h", "/elsewhere", nil); h != want {
			t.Errorf("purge %d: the rest of the site is covered by %d, want %d", v, h, want)
		}
	}
}

func BenchmarkCoveringAfterAssetPurges(b *testing.B) {
	x := purge.NewIndex(purge.IndexOptions{})
	for v := uint64(1); v <= 100_000; v++ {
		x.Apply([]purge.Record{asset(v, purge.ModeHard, fmt.Sprintf("/js/%d.%04x.js", v, v%65536))})
	}
	b.ReportAllocs()
	for b.Loop() {
		x.Covering("docs", "www.example.com", "/js/4711.beef.js", nil)
	}
}

// What browsers may keep for good: what bundlers write, and no word or date.
func TestFingerprinted(t *testing.T) {
	a := purge.DefaultAssets()
	for target, want := range map[string]bool{
		"/assets/index-DiwrgTda.js": true, "/app-5VQCE2XZ.js": true, "/index.3f9a21bc.js": true, "/main.min.0a1b2c3d4e5f.css": true,
		"/static/base.27e20196a850.js": true, "/_next/static/chunks/main-0f3b1f1c2d3e4f5a.js?x=1": true, "/a/logo_0123456789abcdef0123456789abcdef.png": true,
		"/chunk-B-z_Xk3p.js": true, "/start.BzZ1Xk3p.js": true, "/app.3F9A21BC.js": true, "/app.0a1b2c3d.chunk.css": true,

		"/js/app.3f9a.js": false, "/report-2024.pdf": false, "/report-20240131.pdf": false, "/photo.beef.jpg": false, "/app.facade.js": false,
		"/bootstrap5.min.css": false, "/my-component2.js": false, "/my-Component2.js": false, "/annual-REPORT2024.pdf": false, "/face-deadbeef.png": false,
		"/lib-someThingElse.js": false, "/lib-myModule.js": false, "/jquery-3.7.1.min.js": false, "/v0123abcd/app.js": false, "/app.js?v=0123abcd": false,
		"/0123abcd.js": false, "/app-0123abcd": false, "/": false, "": false, "/log-20240131T120000.txt": false, "/img-face2024.png": false,
	} {
		if got := a.Fingerprinted(target); got != want {
			t.Errorf("%s: %v", target, got)
		}
		if want && !a.PerhapsFingerprinted(target) {
			t.Errorf("%s: beyond doubt, and not perhaps", target)
		}
	}
	for target, want := range map[string]bool{
		"/app-a1171559.js": true, "/app-41171559.js": true, "/face-deadbeef.png": true, "/app.abc12345.min.css?x": true, "/my-component2.js": true,
		"/js/app.3f9a.js": false, "/report-20240131.pdf": false, "/photo-19991231235959.jpg": false, "/a-facade.js": false, "/0123abcd.js": false, "": false,
	} {
		if got := a.PerhapsFingerprinted(target); got != want {
			t.Errorf("perhaps %s: %v", target, got)
		}
	}
	none := purge.Assets{}
	if none.PerhapsFingerprinted("/index.3f9a21bc.js") || none.Fingerprinted("/index.3f9a21bc.js") {
		t.Error("a site without fingerprints has one")
	}
}
