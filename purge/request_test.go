package purge_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"weir/purge"
)

func defaultAssets() *purge.Assets {
	a := purge.DefaultAssets()
	return &a
}

// Without a site, scope all is every site.
func TestParseRequestOfEverySite(t *testing.T) {
	r, err := purge.ParseRequest([]byte(`{"scope":"all"}`), known)
	if err != nil || r.Scope != purge.ScopeAll || r.Site != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func known(site string) bool { return site == "docs" }

func TestParseRequest(t *testing.T) {
	for _, row := range []struct {
		rule, body string
		want       purge.Record
	}{
		{"mode is hard by default", `{"site":"docs","scope":"url","targets":["/a"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"/a"}}},
		{"soft", `{"mode":"soft","site":"docs","scope":"all"}`,
			purge.Record{Scope: purge.ScopeSite, Mode: purge.ModeSoft}},
		{"all with an empty list", `{"site":"docs","scope":"all","targets":[]}`,
			purge.Record{Scope: purge.ScopeSite}},
		{"the whole of a site", `{"site":"docs","scope":"site"}`,
			purge.Record{Scope: purge.ScopeSite}},
		{"idempotency key", `{"site":"docs","scope":"site","idempotency_key":"release 17"}`,
			purge.Record{Scope: purge.ScopeSite, Key: "release 17"}},
		{"assets are named like URLs", `{"site":"docs","scope":"asset","targets":["https://A.example/app.3f9a.js","/b.js?v=2"]}`,
			purge.Record{Scope: purge.ScopeAsset, Targets: []string{"//a.example/app.3f9a.js", "/b.js?v=2"}, Assets: defaultAssets()}},
		{"RFC 3986 6.2.2.2 unreserved is decoded", `{"site":"docs","scope":"url","targets":["/%7Euser/%c3%a9?q=%7e"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"/~user/%C3%A9?q=%7e"}}},
		{"raw letters are encoded as clients do", `{"site":"docs","scope":"url","targets":["/é/a b"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"/%C3%A9/a%20b"}}},
		{"RFC 9110 4.2.3 whole URL", `{"site":"docs","scope":"url","targets":["HTTPS://WWW.Example.com:8443/A?B"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"//www.example.com/A?B"}}},
		{"RFC 9110 4.2.3 empty path", `{"site":"docs","scope":"prefix","targets":["http://h.example","http://h.example?q"]}`,
			purge.Record{Scope: purge.ScopePrefix, Targets: []string{"//h.example/", "//h.example/?q"}}},
		{"address literals", `{"site":"docs","scope":"url","targets":["http://[::1]:80/a","http://127.0.0.1:8080/a"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"//::1/a", "//127.0.0.1/a"}}},
		{"empty query is none", `{"site":"docs","scope":"url","targets":["/a?"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"/a"}}},
		{"but a prefix keeps its ?", `{"site":"docs","scope":"prefix","targets":["/a?","/"]}`,
			purge.Record{Scope: purge.ScopePrefix, Targets: []string{"/a?", "/"}}},
		{"two slashes in a whole URL", `{"site":"docs","scope":"url","targets":["http://h.example//a//b"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"//h.example//a//b"}}},
		{"a URL in a query", `{"site":"docs","scope":"url","targets":["/a?u=http://x/"]}`,
			purge.Record{Scope: purge.ScopeURL, Targets: []string{"/a?u=http://x/"}}},
		{"hosts", `{"site":"docs","scope":"host","targets":["WWW.Example.COM:443","a.example."]}`,
			purge.Record{Scope: purge.ScopeHost, Targets: []string{"www.example.com", "a.example"}}},
		{"tags", `{"site":"docs","scope":"tag","targets":["Product:42","*","é"]}`,
			purge.Record{Scope: purge.ScopeTag, Targets: []string{"Product:42", "*", "é"}}},
	} {
		row.want.Site = "docs"
		got, err := purge.ParseRequest([]byte(row.body), known)
		if len(got.Targets) == 0 {
			got.Targets = nil
		}
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %+v, %v, want %+v", row.rule, got, err, row.want)
		}
	}
}

// twoTargets is a body whose second target is the one to be looked at.
func twoTargets(scope, first, second string) string {
	quoted, _ := json.Marshal([]string{first, second})
	return `{"site":"docs","scope":"` + scope + `","targets":` + string(quoted) + `}`
}

func TestParseRequestNamesTheField(t *testing.T) {
	target := func(scope, target string) string { return twoTargets(scope, "/fine", target) }
	host := func(target string) string { return twoTargets("host", "a.example", target) }
	for _, row := range []struct{ body, field, says string }{
		{`{"scope":"site"}`, "site", "missing"},
		{`{"scope":"url","targets":["/a"]}`, "site", "missing"},
		{`{"site":"blog","scope":"all"}`, "site", "blog"},
		{`{"site":"docs"}`, "scope", "missing"},
		{`{"site":"docs","scope":"everything"}`, "scope", "unknown scope"},
		{`{"site":"docs","scope":["url","tag"]}`, "scope", "a purge has one scope, so send a call for each"},
		{`{"site":"docs","scope":"site","targets":["/a"]}`, "targets", "none"},
		{`{"scope":"all","targets":["/a"]}`, "targets", "none"},
		{`{"site":"docs","scope":"asset"}`, "targets", "missing"},
		{target("asset", "app.js"), "targets[1]", "start"},
		{target("asset", "/app.*.js"), "targets[1]", "wildcards"},
		{`{"scope":"all","idempotency_key":"a\nb"}`, "idempotency_key", "printable"},
		{`{"scope":"all","idempotency_key":"` + strings.Repeat("k", purge.IdempotencyKeyBytesMax+1) + `"}`, "idempotency_key", "longer"},
		{`{"scope":"all","assets":{}}`, "assets", "unknown field"},
		{`{"site":"docs","scope":"all","mode":"firm"}`, "mode", "hard or soft"},
		{`{"site":"docs","scope":"all","targets":["/a"]}`, "targets", "none"},
		{`{"site":"docs","scope":"tag"}`, "targets", "missing"},
		{`{"site":"docs","scope":"tag","targets":[]}`, "targets", "missing"},
		{`{"site":"docs","scope":"tag","target":["a"]}`, "target", "unknown field"},
		{`{"site":"docs","scope":"all","who":"root"}`, "who", "unknown field"},
		{`{"site":"docs","scope":"url","targets":["/a",3]}`, "targets[1]", "string"},
		{`{"site":"docs","scope":"url","targets":[["/a"]]}`, "targets[0]", "string"},
		{target("url", ""), "targets[1]", "empty"},
		{target("url", "a"), "targets[1]", "start"},
		{target("url", "ftp://h/a"), "targets[1]", "http"},
		{target("url", "//h/a"), "targets[1]", "whole URL"},
		{target("url", "http:///a"), "targets[1]", "host"},
		{target("url", "http://me:pw@h/a"), "targets[1]", "user"},
		{target("url", "/a#b"), "targets[1]", "fragment"},
		{target("url", "/a?b c"), "targets[1]", "percent-encode"},
		{target("url", "/a?é"), "targets[1]", "percent-encode"},
		{target("url", "/a/../b"), "targets[1]", "dot segment"},
		{target("url", "/a/%2e%2E/b"), "targets[1]", "dot segment"},
		{target("url", "/a%"), "targets[1]", "escape"},
		{target("url", "/a%00"), "targets[1]", "control"},
		{target("url", "/a%ff"), "targets[1]", "UTF-8"},
		{target("url", "/a/*.css"), "targets[1]", `use scope "prefix"`},
		{target("prefix", "/a/*"), "targets[1]", `use scope "prefix"`},
		{target("prefix", "http://*.example/"), "targets[1]", `use scope "prefix"`},
		{target("url", "/"+strings.Repeat("a", purge.TargetBytesMax)), "targets[1]", "longer"},
		{target("url", "/"+strings.Repeat("é", purge.TargetBytesMax/2-10)), "targets[1]", "longer"},
		{host("*.example"), "targets[1]", `use scope "prefix"`},
		{host("http://a.example/"), "targets[1]", "host name alone"},
		{host("a b"), "targets[1]", "not a host"},
		{target("tag", "a b"), "targets[1]", "without spaces"},
		{target("tag", "a,b"), "targets[1]", "without spaces and commas"},
		{target("tag", "a\u200b"), "targets[1]", "visible"},
		{target("tag", strings.Repeat("a", purge.TagBytesMax+1)), "targets[1]", "longer"},
		{`{"site":"docs","scope":"tag","targets":[` + strings.Repeat(`"a",`, purge.TargetsMax) + `"a"]}`, "targets", "10000"},
		{`nonsense`, "body", "JSON"},
	} {
		_, err := purge.ParseRequest([]byte(row.body), known)
		var refused *purge.FieldError
		if !errors.As(err, &refused) || refused.Field != row.field || !strings.Contains(refused.Problem, row.says) {
			t.Errorf("%.90s: error %v, want one about %s that says %q", row.body, err, row.field, row.says)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%.90s: the error repeats %d bytes", row.body, len(err.Error()))
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"site":"docs","scope":"url","targets":["/a?b","https://H.example:1/%7e//x"],"mode":"soft"}`))
	f.Add([]byte(`{"site":"docs","scope":"prefix","targets":["/a?","http://[::1]/"]}`))
	f.Add([]byte(`{"site":"docs","scope":"host","targets":["A.example:80"]}`))
	f.Add([]byte(`{"site":"docs","scope":"tag","targets":["a:b"]}`))
	f.Add([]byte(`{"site":"docs","scope":"asset","targets":["/app.3f9a.js?v=1"],"idempotency_key":"k"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := purge.ParseRequest(body, known)
		if err != nil {
			var refused *purge.FieldError
			if !errors.As(err, &refused) {
				t.Fatalf("error names no field: %v", err)
			}
			return
		}
		if _, err := purge.EncodeRecord(r); err != nil && !errors.Is(err, purge.ErrTooLarge) {
			t.Fatalf("%+v was accepted and does not encode: %v", r, err)
		}
		for _, target := range r.Targets {
			checkCanonical(t, r.Scope, target)
		}
	})
}

// checkCanonical sends a canonical target through once more: as it is written
// for one that covers every host, as a whole URL for one that names its host.
func checkCanonical(t *testing.T, scope purge.Scope, target string) {
	t.Helper()
	text := target
	if scope == purge.ScopeURL || scope == purge.ScopePrefix || scope == purge.ScopeAsset {
		if host, whole := strings.CutPrefix(target, "//"); whole {
			if name, _, _ := strings.Cut(host, "/"); strings.Contains(name, ":") {
				host = "[" + name + "]" + host[len(name):]
			}
			text = "http://" + host
		}
	}
	if len(text) > purge.TargetBytesMax {
		return
	}
	body, err := json.Marshal(purge.Request{Site: "docs", Scope: scope, Targets: []string{text}})
	if err != nil {
		t.Fatal(err)
	}
	again, err := purge.ParseRequest(body, known)
	if err != nil || again.Targets[0] != target {
		t.Fatalf("%q of scope %s is not canonical: %+v, %v", target, scope, again.Targets, err)
	}
}
