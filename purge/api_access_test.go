package purge_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
	"weir/purge/memlog"
)

func TestTokenHash(t *testing.T) {
	secret := purge.NewToken()
	if !strings.HasPrefix(secret, "weir_") || len(secret) != 31 || secret == purge.NewToken() {
		t.Errorf("drew %q", secret)
	}
	h := purge.HashToken(secret)
	if again, err := purge.ParseTokenHash(h.String()); err != nil || again != h {
		t.Errorf("%s came back as %s, %v", h, again, err)
	}
	for _, text := range []string{"", "sha256:", h.String()[7:], h.String() + "00", h.String()[:70], "sha512" + h.String()[6:], "sha256:" + strings.Repeat("x", 64)} {
		if _, err := purge.ParseTokenHash(text); err == nil {
			t.Errorf("%q was taken for a hash", text)
		}
	}
}

func FuzzParseTokenHash(f *testing.F) {
	f.Add(purge.HashToken("a").String())
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := purge.ParseTokenHash(text); err == nil && h.String() != strings.ToLower(text) {
			t.Fatalf("%q was read as %s", text, h)
		}
	})
}

// holders makes a control with tokens that may less than all.
func holders(t *testing.T, rates purge.RateOptions, names ...string) *control {
	t.Helper()
	c := &control{log: memlog.New("e")}
	c.nodes = purge.NewNodes(purge.NodesOptions{Names: names, Epoch: "e"})
	token := func(name string, sites []string, scopes ...purge.Scope) purge.Token {
		return purge.Token{Name: name, Hash: purge.HashToken(name + "-secret"), Sites: sites, Scopes: scopes}
	}
	ended := token("ended", nil)
	ended.Expires = time.Now()
	later := token("later", nil)
	later.Expires = time.Now().Add(time.Hour)
	var err error
	c.API, err = purge.NewAPI(purge.APIOptions{
		Sites: []string{"docs", "blog"}, Token: secret, Append: c.log.Append, Nodes: c.nodes, History: c.log, Rates: rates,
		Tokens: []purge.Token{
			token("docs", []string{"docs"}), token("urls", []string{"docs"}, purge.ScopeURL, purge.ScopeTag), ended, later,
			token("wide", nil, purge.ScopeSite),
		},
		Log: slog.New(slog.NewTextHandler(&c.audit, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAPIAccess(t *testing.T) {
	c := holders(t, purge.RateOptions{})
	for _, row := range []struct {
		rule, token, body string
		status            int
		says              string
	}{
		{"the first token may everything", secret, `{"scope":"all"}`, 202, `"version":1`},
		{"of two sites one has to be named", secret, `{"scope":"url","targets":["/a"]}`, 400, `"site: missing`},
		{"its own site", "docs-secret", `{"site":"docs","scope":"site"}`, 202, `"version":2`},
		{"RFC 6750 3.1 another site", "docs-secret", `{"site":"blog","scope":"site"}`, 403, "blog"},
		{"whether a site is there is not told", "docs-secret", `{"site":"none","scope":"site"}`, 403, "none"},
		{"every site", "docs-secret", `{"scope":"all"}`, 403, "every site"},
		{"its own scopes", "urls-secret", `{"site":"docs","scope":"tag","targets":["a"]}`, 202, `"version":3`},
		{"another scope", "urls-secret", `{"site":"docs","scope":"prefix","targets":["/"]}`, 403, "scope prefix"},
		{"scope all is a scope", "wide-secret", `{"scope":"all"}`, 403, "scope all"},
		{"all sites", "wide-secret", `{"site":"blog","scope":"site"}`, 202, `"version":4`},
		{"what is wrong is told to who may", "docs-secret", `{"site":"docs","scope":"url"}`, 400, "targets"},
		{"RFC 6750 3.1 expired", "ended-secret", `{"site":"docs","scope":"site"}`, 401, "expired"},
		{"not yet", "later-secret", `{"site":"docs","scope":"site"}`, 202, `"version":5`},
		{"unknown", "guess", `{"site":"docs","scope":"site"}`, 401, "not known here"},
		{"a hash is no token", purge.HashToken(secret).String(), `{"site":"docs","scope":"site"}`, 401, "not known here"},
	} {
		w := c.call("POST", "/v1/purges", row.body, "Authorization: Bearer "+row.token)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s: %d %s, want %d with %s", row.rule, w.Code, w.Body, row.status, row.says)
		}
		challenge := map[int]string{401: `error="invalid_token"`, 403: `error="insufficient_scope"`}[row.status]
		if !strings.Contains(w.Header().Get("WWW-Authenticate"), challenge) {
			t.Errorf("%s: WWW-Authenticate %q", row.rule, w.Header().Get("WWW-Authenticate"))
		}
	}
	if s := c.Stats(); s != (purge.APIStats{Accepted: 5, Refused: 2, Unauthorised: 3, Forbidden: 5}) {
		t.Errorf("stats %+v", s)
	}
	if audit := c.audit.String(); strings.Contains(audit, "-secret") || !strings.Contains(audit, `who="docs 192.0.2.1" site=blog`) {
		t.Errorf("audit log:\n%s", audit)
	}
}

// Reading is bounded by the token's sites as well.
func TestAPIReadingWithATokenOfOneSite(t *testing.T) {
	c := holders(t, purge.RateOptions{})
	var permitted []bool
	c.API.Explain = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		permitted = append(permitted, purge.PermitsSite(r.Context(), "docs"), purge.PermitsSite(r.Context(), "blog"))
	})
	for _, body := range []string{`{"site":"blog","scope":"site"}`, `{"site":"docs","scope":"site"}`, `{"scope":"all"}`} {
		c.call("POST", "/v1/purges", body)
	}
	const own = "Authorization: Bearer docs-secret"
	w := c.call("GET", "/v1/purges", "", own)
	if body := w.Body.String(); w.Code != 200 || strings.Contains(body, "blog") || !strings.Contains(body, `{"purges":[{"version":2,`) || !strings.Contains(body, `"newest":3`) {
		t.Errorf("list: %d %s", w.Code, body)
	}
	for path, status := range map[string]int{"/v1/purges/1": 403, "/v1/purges/2": 200, "/v1/purges/3": 403, "/v1/purges/4": 404, "/v1/nodes": 200} {
		if w := c.call("GET", path, "", own); w.Code != status {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, status)
		}
	}
	c.call("GET", "/v1/explain", "", own)
	c.call("GET", "/v1/explain", "")
	if got := fmt.Sprint(permitted); got != "[true false true true]" {
		t.Errorf("permitted %s", got)
	}
}

func TestAPIRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := holders(t, purge.RateOptions{NarrowPerSecond: 2, BroadPerSecond: 0.1})
		purgeAs := func(token, body string) (int, string) {
			w := c.call("POST", "/v1/purges", body, "Authorization: Bearer "+token)
			return w.Code, w.Header().Get("Retry-After")
		}
		const narrow, broad = `{"site":"docs","scope":"url","targets":["/a"]}`, `{"site":"docs","scope":"site"}`
		expect := func(when, token, body string, status int, retry string) {
			t.Helper()
			if got, after := purgeAs(token, body); got != status || after != retry {
				t.Errorf("%s: %d, Retry-After %q, want %d and %q", when, got, after, status, retry)
			}
		}
		expect("first", "docs-secret", narrow, 202, "")
		expect("second at once", "docs-secret", narrow, 202, "")
		expect("RFC 6585 4 third at once", "docs-secret", narrow, 429, "1")
		expect("another token", "urls-secret", narrow, 202, "")
		expect("another class", "docs-secret", broad, 202, "")
		expect("too broad", "docs-secret", broad, 429, "10")
		expect("what is refused does not count", "docs-secret", `{"site":"docs","scope":"url"}`, 400, "")
		time.Sleep(time.Second)
		expect("a second later", "docs-secret", narrow, 202, "")
		expect("and again", "docs-secret", narrow, 202, "")
		expect("a second is not enough", "docs-secret", broad, 429, "9")
		time.Sleep(9 * time.Second)
		expect("ten are", "docs-secret", broad, 202, "")
		if s := c.Stats(); s.Limited != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestTokensThatCannotBe(t *testing.T) {
	nodes := purge.NewNodes(purge.NodesOptions{})
	for _, tokens := range [][]purge.Token{
		{{Name: ""}}, {{Name: "a b"}}, {{Name: "a/b"}}, {{Name: "api"}},
		{{Name: "a"}, {Name: "a", Hash: purge.HashToken("b")}},
		{{Name: "a"}, {Name: "b"}},
		{{Name: "a", Hash: purge.HashToken(secret)}},
	} {
		if _, err := purge.NewAPI(purge.APIOptions{Token: secret, Append: memlog.New("e").Append, Nodes: nodes, Tokens: tokens}); err == nil {
			t.Errorf("%+v were taken", tokens)
		}
	}
}
