package geo

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func labPoPs() []PoP {
	return []PoP{
		{Name: "ams", Location: amsterdam, HTTP: "http://127.0.0.1:8001", HTTPS: "https://127.0.0.1:8441"},
		{Name: "iad", Location: ashburn, HTTP: "http://127.0.0.1:8002/", HTTPS: "https://127.0.0.1:8442"},
		{Name: "sin", Location: singapore, HTTP: "http://127.0.0.1:8003"},
	}
}

func newRouter(t *testing.T, opts RouterOptions) *Router {
	t.Helper()
	rt, err := NewRouter(opts)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// ask sends one request from a client address.
func ask(rt *Router, method, target, from string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = from
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, r)
	return w.Result()
}

func TestRedirect(t *testing.T) {
	db := openLab(t)
	plain := newRouter(t, RouterOptions{PoPs: labPoPs(), DB: db})
	secure := newRouter(t, RouterOptions{PoPs: labPoPs(), DB: db, PreferHTTPS: true})
	unknowing := newRouter(t, RouterOptions{PoPs: labPoPs()})
	for _, tt := range []struct {
		name           string
		rt             *Router
		method, target string
		from           string
		want           string
	}{
		{"nearest", plain, "GET", "/a/b.css", "127.102.0.1:1", "http://127.0.0.1:8002/a/b.css"},
		{"HEAD", plain, "HEAD", "/", "127.112.0.1:1", "http://127.0.0.1:8003/"},
		{"query", plain, "GET", "/a?b=c&d=%20e", "127.106.0.1:1", "http://127.0.0.1:8001/a?b=c&d=%20e"},
		{"empty query", plain, "GET", "/a?", "127.106.0.1:1", "http://127.0.0.1:8001/a?"},
		{"escapes stay", plain, "GET", "/a%2Fb%20c%0d%0aX", "127.106.0.1:1", "http://127.0.0.1:8001/a%2Fb%20c%0d%0aX"},
		{"dots stay", plain, "GET", "/a/../b", "127.106.0.1:1", "http://127.0.0.1:8001/a/../b"},
		{"absolute form", plain, "GET", "http://evil.example/x", "127.106.0.1:1", "http://127.0.0.1:8001/x"},
		{"absolute form without path", plain, "GET", "http://evil.example", "127.106.0.1:1", "http://127.0.0.1:8001/"},
		{"two slashes", plain, "GET", "//evil.example/x", "127.106.0.1:1", "http://127.0.0.1:8001//evil.example/x"},
		{"mapped IPv4", plain, "GET", "/", "[::ffff:127.102.0.1]:1", "http://127.0.0.1:8002/"},
		{"IPv6", plain, "GET", "/", "[2001:db8:111::1]:1", "http://127.0.0.1:8003/"},
		{"unknown location: as configured", plain, "GET", "/", "127.0.0.1:1", "http://127.0.0.1:8001/"},
		{"no database: as configured", unknowing, "GET", "/", "127.102.0.1:1", "http://127.0.0.1:8001/"},
		{"no address: as configured", plain, "GET", "/", "@", "http://127.0.0.1:8001/"},
		{"HTTPS preferred", secure, "GET", "/", "127.102.0.1:1", "https://127.0.0.1:8442/"},
		{"HTTPS preferred, none there", secure, "GET", "/", "127.103.0.1:1", "http://127.0.0.1:8003/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(tt.rt, tt.method, tt.target, tt.from)
			if got.StatusCode != http.StatusTemporaryRedirect || got.Header.Get("Location") != tt.want {
				t.Errorf("%d to %q, want 307 to %q", got.StatusCode, got.Header.Get("Location"), tt.want)
			}
			if got.Header.Get("Cache-Control") != "no-store" {
				t.Error("the redirect may be stored")
			}
		})
	}
}

func TestForwardedFor(t *testing.T) {
	rt := newRouter(t, RouterOptions{
		PoPs: labPoPs(), DB: openLab(t),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::ffff:172.16.0.0/108")},
	})
	const ams, iad, sin = "http://127.0.0.1:8001/", "http://127.0.0.1:8002/", "http://127.0.0.1:8003/"
	for _, tt := range []struct {
		name, from string
		headers    []string
		want       string
	}{
		{"peer is not trusted", "127.102.0.1:1", []string{"127.103.0.1"}, iad},
		{"peer is trusted", "10.0.0.1:1", []string{"127.103.0.1"}, sin},
		{"mapped peer is trusted", "[::ffff:10.0.0.1]:1", []string{"127.103.0.1"}, sin},
		{"mapped prefix", "172.16.0.1:1", []string{"127.103.0.1"}, sin},
		{"the rightmost counts", "10.0.0.1:1", []string{"127.102.0.1, 127.103.0.1"}, sin},
		{"trusted hops are skipped", "10.0.0.1:1", []string{"127.102.0.1, 127.103.0.1, 10.1.1.1,10.2.2.2"}, sin},
		{"the last line counts", "10.0.0.1:1", []string{"127.102.0.1", "127.103.0.1"}, sin},
		{"lines are one list", "10.0.0.1:1", []string{"127.102.0.1, 127.103.0.1", "10.1.1.1"}, sin},
		{"with port", "10.0.0.1:1", []string{"127.103.0.1:4711"}, sin},
		{"IPv6 in brackets", "10.0.0.1:1", []string{"[2001:db8:103::1]"}, sin},
		{"IPv6 with port", "10.0.0.1:1", []string{"[2001:db8:103::1]:443"}, sin},
		{"garbage", "10.0.0.1:1", []string{"127.103.0.1, unknown"}, ams},
		{"empty", "10.0.0.1:1", []string{""}, ams},
		{"too many hops", "10.0.0.1:1", []string{"127.103.0.1" + strings.Repeat(", 10.0.0.1", forwardedHopsMax)}, ams},
		{"none", "10.0.0.1:1", nil, ams},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			for _, h := range tt.headers {
				headers = append(headers, "X-Forwarded-For: "+h)
			}
			if got := ask(rt, "GET", "/", tt.from, headers...).Header.Get("Location"); got != tt.want {
				t.Errorf("to %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOtherMethods(t *testing.T) {
	rt := newRouter(t, RouterOptions{PoPs: labPoPs()})
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PURGE"} {
		for _, path := range []string{"/", routePath} {
			got := ask(rt, method, path, "127.0.0.1:1")
			if got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET, HEAD" || got.Header.Get("Location") != "" {
				t.Errorf("%s %s: %d %v", method, path, got.StatusCode, got.Header)
			}
		}
	}
}

func TestNoPoPs(t *testing.T) {
	rt := newRouter(t, RouterOptions{DB: openLab(t)})
	for _, path := range []string{"/", routePath + "?addr=127.101.0.1"} {
		got := ask(rt, "GET", path, "127.0.0.1:1")
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != "5" {
			t.Errorf("%s: %d %v", path, got.StatusCode, got.Header)
		}
	}
}

func TestUnhealthy(t *testing.T) {
	pops := labPoPs()
	for i := range pops {
		pops[i].HealthURL = strings.TrimSuffix(pops[i].HTTP, "/") + "/healthz"
	}
	health, err := NewHealth(pops, HealthOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rt := newRouter(t, RouterOptions{PoPs: pops, DB: openLab(t), Health: health})
	for _, step := range []struct{ down, from, want string }{
		{"", "127.104.0.1:1", "http://127.0.0.1:8002/"},
		{"iad", "127.104.0.1:1", "http://127.0.0.1:8001/"}, // next nearest to San Francisco
		{"ams", "127.0.0.1:1", "http://127.0.0.1:8003/"},   // unknown: first healthy one
		{"sin", "127.104.0.1:1", "http://127.0.0.1:8002/"}, // none left: the nearest all the same
	} {
		if step.down != "" {
			health.pops[step.down].down.Store(true)
		}
		if got := ask(rt, "GET", "/", step.from).Header.Get("Location"); got != step.want {
			t.Errorf("with %s down too: to %q, want %q", step.down, got, step.want)
		}
	}
}

func TestExplain(t *testing.T) {
	rt := newRouter(t, RouterOptions{PoPs: labPoPs(), DB: openLab(t)})
	for _, tt := range []struct{ target, from, want string }{
		{
			"?addr=192.0.2.1", "127.0.0.1:1",
			`{"addr":"192.0.2.1","location":{"lat":52.37,"lon":4.9,"country":"NL","city":"Amsterdam"},"pop":"ams","url":"http://127.0.0.1:8001",` +
				`"candidates":[{"name":"ams","km":0,"healthy":true},{"name":"iad","km":6208,"healthy":true},{"name":"sin","km":10500,"healthy":true}]}`,
		},
		{
			"?addr=%3A%3Affff%3A8.8.8.8", "127.0.0.1:1",
			`{"addr":"8.8.8.8","location":null,"pop":"ams","url":"http://127.0.0.1:8001",` +
				`"candidates":[{"name":"ams","km":null,"healthy":true},{"name":"iad","km":null,"healthy":true},{"name":"sin","km":null,"healthy":true}]}`,
		},
	} {
		got := ask(rt, "GET", routePath+tt.target, tt.from)
		body, _ := io.ReadAll(got.Body)
		if got.StatusCode != http.StatusOK || roundKm(t, string(body)) != tt.want {
			t.Errorf("%s: %d\n got %s\nwant %s", tt.target, got.StatusCode, body, tt.want)
		}
	}
	mine := ask(rt, "GET", routePath, "127.103.0.1:1")
	body, _ := io.ReadAll(mine.Body)
	if !strings.Contains(string(body), `"addr":"127.103.0.1"`) || !strings.Contains(string(body), `"pop":"sin"`) {
		t.Errorf("about whoever asks: %s", body)
	}
	for _, bad := range []string{"?addr=", "?addr=elsewhere", "?addr=1.2.3.4:80", "?addr=1.2.3"} {
		got := ask(rt, "GET", routePath+bad, "127.0.0.1:1")
		body, _ := io.ReadAll(got.Body)
		if got.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "addr: ") {
			t.Errorf("%s: %d %s", bad, got.StatusCode, body)
		}
	}
}

// roundKm rounds distances to 1 km and gives the JSON in its compact form.
func roundKm(t *testing.T, body string) string {
	t.Helper()
	var c choice
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		t.Fatal(err)
	}
	for _, candidate := range c.Candidates {
		if candidate.Km != nil {
			*candidate.Km = float64(int(*candidate.Km + 0.5))
		}
	}
	text, _ := json.Marshal(c)
	return string(text)
}

func TestNewRouterRefuses(t *testing.T) {
	ok := PoP{Name: "a", HTTP: "http://127.0.0.1:1"}
	for name, opts := range map[string]RouterOptions{
		"no name":        {PoPs: []PoP{{HTTP: ok.HTTP}}},
		"same name":      {PoPs: []PoP{ok, ok}},
		"no URL":         {PoPs: []PoP{{Name: "a"}}},
		"wrong scheme":   {PoPs: []PoP{{Name: "a", HTTP: "https://h"}}},
		"no host":        {PoPs: []PoP{{Name: "a", HTTP: "http://:80"}}},
		"path":           {PoPs: []PoP{{Name: "a", HTTP: "http://h/p"}}},
		"user":           {PoPs: []PoP{{Name: "a", HTTP: "http://u@h"}}},
		"query":          {PoPs: []PoP{{Name: "a", HTTPS: "https://h?q"}}},
		"fragment":       {PoPs: []PoP{{Name: "a", HTTPS: "https://h#f"}}},
		"control":        {PoPs: []PoP{{Name: "a", HTTP: "http://h\r\n"}}},
		"not on Earth":   {PoPs: []PoP{{Name: "a", HTTP: ok.HTTP, Location: Location{Lat: 91}}}},
		"zero prefix":    {TrustedProxies: []netip.Prefix{{}}},
		"not even a URL": {PoPs: []PoP{{Name: "a", HTTP: "::"}}},
	} {
		if _, err := NewRouter(opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOverSocket sends what clients cannot send through http.Client.
func TestOverSocket(t *testing.T) {
	server := httptest.NewServer(newRouter(t, RouterOptions{PoPs: labPoPs()}))
	defer server.Close()
	for _, tt := range []struct{ target, want string }{
		{`/\evil.example`, "/%5Cevil.example"},
		{"/a#b", "/a%23b"},
		{"/a?b#c", "/a?b%23c"},
		{"/é?ü", "/%C3%A9?%C3%BC"},
		{"http:evil", ""},
		{"@evil.example", ""},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", tt.target)
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		conn.Close()
		switch {
		case err != nil:
			t.Errorf("%s: %v", tt.target, err)
		case tt.want == "" && got.StatusCode != http.StatusBadRequest:
			t.Errorf("%s: %d to %q, want 400", tt.target, got.StatusCode, got.Header.Get("Location"))
		case tt.want != "" && got.Header.Get("Location") != "http://127.0.0.1:8001"+tt.want:
			t.Errorf("%s: %d to %q", tt.target, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

// FuzzLocation checks that whatever the target, the redirect stays at the PoP.
func FuzzLocation(f *testing.F) {
	f.Add("/a", "", "b=c")
	f.Add("//evil.example", "", "")
	f.Add("/a\r\nSet-Cookie: x", "/%0d%0a", "\r\nX: y#z")
	f.Add("@evil.example", "", "")
	f.Add(`/\evil`, `/\evil`, `\`)
	f.Fuzz(func(t *testing.T, path, rawPath, query string) {
		target, ok := requestTarget(&url.URL{Path: path, RawPath: rawPath, RawQuery: query})
		if !ok {
			return
		}
		for _, c := range []byte(target) {
			if c <= ' ' || c >= 0x7f || c == '#' || c == '\\' {
				t.Fatalf("%q contains %q", target, c)
			}
		}
		u, err := url.Parse("http://pop.example:80" + target)
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		if u.Host != "pop.example:80" || u.User != nil || u.Path != path && path != "" {
			t.Fatalf("%q goes to %v", target, u)
		}
	})
}

func FuzzParseHop(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1%x]:80", "unknown", "_hidden", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if addr := parseHop(text); addr.Is4In6() || addr.Zone() != "" {
			t.Errorf("%q gives %v", text, addr)
		}
	})
}
