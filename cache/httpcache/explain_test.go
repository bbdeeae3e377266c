package httpcache_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"weir/cache/httpcache"
	"weir/cache/rfc9111"
)

// What a client has just asked for is, for both tiers, what the same request
// would find: the shield is explained as the edge asks it.
func TestExplain(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Vary", "Accept-Encoding, Accept-Language")
		_, _ = w.Write([]byte("body"))
	})
	c := startChain(t, origin, settings{policy: rfc9111.Policy{Languages: []string{"en", "de"}}})
	target, err := url.ParseRequestURI("/%61/b%2fc?x=%20")
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Accept-Encoding": {"gzip;q=0.5, br"}, "Accept-Language": {"fr, de-AT;q=0.8"}}
	ask := &http.Request{Method: http.MethodGet, Host: c.clear, URL: target, Header: header}
	want := func(when, outcome string) {
		t.Helper()
		for name, h := range map[string]*httpcache.Handler{"edge": c.edge, "shield": c.shield} {
			x, err := h.Explain(ask)
			if err != nil || x.Outcome+"/"+x.Reason != outcome || x.KeyText != "s 127.0.0.1/a/b%2Fc?x=%20" {
				t.Errorf("%s, %s: %+v, %v; want %s", when, name, x, err, outcome)
			}
		}
	}
	want("before", "miss/absent")
	via := c.clients()[0]
	via.get(t, "/%61/b%2fc?x=%20", "Accept-Encoding", header.Get("Accept-Encoding"), "Accept-Language", header.Get("Accept-Language"))
	c.shield.Engine.Drain(t.Context()) // the commit is behind the last byte
	c.edge.Engine.Drain(t.Context())
	want("after", "hit/fresh")
	if len(header) != 2 || header.Get("Accept-Language") != "fr, de-AT;q=0.8" {
		t.Errorf("the question was changed: %v", header)
	}
	header.Set("Accept-Language", "en")
	want("another language", "miss/variant")
}

func TestExplainRefuses(t *testing.T) {
	c := startChain(t, http.NotFoundHandler(), settings{})
	for _, row := range []struct {
		host, path string
		status     int
	}{
		{"a b", "/", http.StatusBadRequest},
		{"www.test", "/a/../b", http.StatusBadRequest},
	} {
		r := &http.Request{Method: http.MethodGet, Host: row.host, URL: &url.URL{Path: row.path}, Header: http.Header{}}
		var refusal *httpcache.Refusal
		if _, err := c.edge.Explain(r); !errors.As(err, &refusal) || refusal.Status != row.status {
			t.Errorf("%s%s: %v; want %d", row.host, row.path, err, row.status)
		}
	}
}
