package httpcache_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/cache/httpcache"
	"weir/cache/rfc9111"
)

// poisonous are fields by which caches have been poisoned.
var poisonous = http.Header{
	"X-Host": {"evil.test"}, "X-Original-Url": {"/evil"}, "X_rewrite_url": {"/evil"}, "X-Forwarded-Scheme": {"nothttps"},
	"X.forwarded.host": {"evil.test"}, "X-Middleware-Subrequest": {"x"}, "X-Device-Class": {"mobile"}, "X_device_class": {"mobile"},
	"X-Http-Method-Override": {"DELETE"}, "X_method_override": {"DELETE"}, "Proxy": {"evil.test"}, "Cf-Connecting-Ip": {"x"},
}

// What an origin sees of fields that are not in the key, of those that are, and
// of what tells of another request than was made; with a fill and with a pass.
func TestForwardedByKey(t *testing.T) {
	key := rfc9111.KeyPolicy{
		Query: rfc9111.QueryOnly, Params: []string{"id"}, Headers: []string{"X-Plan", "X-Host"},
		Cookies: []string{"lang"}, Devices: []rfc9111.Device{rfc9111.DeviceMobile},
	}
	asked := http.Header{
		"Cookie": {"session=1; lang=de"}, "X-Plan": {" gold "}, "X_plan": {"free"}, "X-Mine": {"1"}, "User-Agent": {"iPhone Mobile"},
	}
	maps.Copy(asked, poisonous)
	own := http.Header{"X-Mine": {"1"}, "User-Agent": {"iPhone Mobile"}}
	with := func(fields http.Header, more ...string) http.Header {
		all := fields.Clone()
		for i := 0; i+1 < len(more); i += 2 {
			all.Set(more[i], more[i+1])
		}
		return all
	}
	overrides := http.Header{"X-Http-Method-Override": {"DELETE"}, "X_method_override": {"DELETE"}}
	for _, row := range []struct {
		name, method string
		face         httpcache.Face
		key          rfc9111.KeyPolicy
		want         http.Header
		target       string
	}{
		{"fill, nothing in the key", "GET", httpcache.FaceClients, rfc9111.KeyPolicy{},
			with(own, "Cookie", "session=1; lang=de", "X-Plan", " gold ", "X_plan", "free"), "/a?x=1&id=2"},
		{"pass, nothing in the key", "POST", httpcache.FaceClients, rfc9111.KeyPolicy{},
			with(overrides, "X-Mine", "1", "User-Agent", "iPhone Mobile", "Cookie", "session=1; lang=de", "X-Plan", " gold ", "X_plan", "free"), "/a?x=1&id=2"},
		{"fill", "GET", httpcache.FaceClients, key,
			with(own, "Cookie", "lang=de", "X-Plan", "gold", "X-Host", "evil.test", "X-Device-Class", "mobile"), "/a?id=2"},
		{"pass", "POST", httpcache.FaceClients, key,
			with(overrides, "X-Mine", "1", "User-Agent", "iPhone Mobile", "Cookie", "session=1; lang=de", "X-Plan", " gold ", "X_plan", "free",
				"X-Host", "evil.test", "X-Device-Class", "mobile"), "/a?id=2"},
		{"fill from a shield", "GET", httpcache.FaceEdges, key,
			with(own, "Cookie", "lang=de", "X-Plan", "gold", "X-Host", "evil.test", "X-Device-Class", "other"), "/a?id=2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var sent *http.Request
			h := handler(t, httpcache.Options{Node: "n", Face: row.face}, rfc9111.Policy{}, roundTripper(func(r *http.Request) (*http.Response, error) {
				sent = r
				return reply(200, "body", "Cache-Control", "max-age=60"), nil
			}))
			h.Sites.Find("a.test").Key = row.key
			r := httptest.NewRequest(row.method, "http://a.test/a?x=1&id=2", nil)
			r.Header = asked.Clone()
			if row.face == httpcache.FaceEdges {
				r.Header.Set("X-Device-Class", "other") // what an edge says counts, whatever the client's fields
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			for _, name := range []string{"Cdn-Loop", "Surrogate-Capability", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "Accept-Encoding"} {
				sent.Header.Del(name)
			}
			if row.method == "POST" {
				wants(t, row.name, sent.Header, map[string]string{"X-Forwarded-Host": "a.test"})
				sent.Header.Del("X-Forwarded-Host")
			}
			if !maps.EqualFunc(sent.Header, row.want, slices.Equal) {
				t.Errorf("sent\n%v, want\n%v", sent.Header, row.want)
			}
			if sent.URL.RequestURI() != row.target {
				t.Errorf("asked for %s, want %s", sent.URL.RequestURI(), row.target)
			}
		})
	}
}

// RFC 9110 section 7.6.1: a field that Connection names ends here, and so it
// chooses no variant: the origin's answer would not be for those who send it.
func TestConnectionTakesNothingFromTheKey(t *testing.T) {
	h := handler(t, httpcache.Options{Node: "n"}, rfc9111.Policy{}, roundTripper(func(r *http.Request) (*http.Response, error) {
		return reply(200, "in "+r.Header.Get("X-Tongue"), "Cache-Control", "max-age=60", "Vary", "X-Tongue"), nil
	}))
	get := func(fields ...string) string {
		r := httptest.NewRequest("GET", "http://a.test/", nil)
		for i := 0; i+1 < len(fields); i += 2 {
			r.Header.Add(fields[i], fields[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Body.String()
	}
	if got := get("X-Tongue", "de", "Connection", "close, x-tongue"); got != "in " {
		t.Errorf("got %q", got)
	}
	if got := get("X-Tongue", "de"); got != "in de" {
		t.Errorf("got %q", got)
	}
}

// An event stream lasts as long as the origin sends now and then, and ends as
// broken once it has been silent for StallTimeout.
func TestSilentStream(t *testing.T) {
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		for range 4 {
			_, _ = io.WriteString(w, ":\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(100 * time.Millisecond)
		}
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(server.Close)
	h := handler(t, httpcache.Options{Node: "n"}, rfc9111.Policy{}, originAt(t, server.URL))
	h.Engine.StallTimeout = 1500 * time.Millisecond // a busy machine sleeps longer than it is told
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	response, err := http.Get(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if string(body) != strings.Repeat(":\n", 4) || err == nil {
		t.Errorf("%q, %v; want all four and a broken end", body, err)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the origin was not told")
	}
	http.DefaultClient.CloseIdleConnections()
}

// The answer to a POST may be stored under a key that has no port (RFC 9110
// section 9.3.3), so that the origin hears of no port that a client makes up.
func TestForwardedPort(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Location", r.URL.Path)
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Host"))
	}), settings{})
	c.each(func(t *testing.T, via client) {
		path := "/" + strings.ReplaceAll(via.name, " ", "")
		for _, host := range []string{"a.test:1337", "[::1]:1337"} {
			want := strings.TrimSuffix(host, ":1337")
			post := via.request(t, http.MethodPost, path, strings.NewReader("x"))
			post.Host = host
			if _, body := via.do(t, post); body != want {
				t.Errorf("POST to %s: the origin was told of %q", host, body)
			}
			get := via.request(t, http.MethodGet, path, nil)
			get.Host = want
			if _, body := via.do(t, get); body != want {
				t.Errorf("GET from %s: %q", want, body)
			}
		}
		if _, body := via.do(t, via.request(t, http.MethodPost, path, strings.NewReader("x"))); body != strings.SplitAfter(via.base, "//")[1] {
			t.Errorf("POST to %s: the origin was told of %q", via.base, body)
		}
	})
}
