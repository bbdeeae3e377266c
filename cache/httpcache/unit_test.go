package httpcache_test

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
)

func TestSites(t *testing.T) {
	sites := httpcache.NewSites()
	add := func(name string, hosts ...string) error { return sites.Add(&cache.Site{Name: name}, hosts...) }
	for _, row := range []struct {
		name  string
		hosts []string
		good  bool
	}{
		{"exact", []string{"www.example.com", "Example.COM"}, true},
		{"wild", []string{"*.example.com"}, true},
		{"deeper", []string{"*.a.example.com"}, true},
		{"v6", []string{"[2001:db8::1]"}, true},
		{"taken", []string{"example.com"}, false},
		{"taken wildcard", []string{"*.EXAMPLE.com"}, false},
		{"no host", []string{"a b"}, false},
		{"no wildcard", []string{"*.a b"}, false},
	} {
		if err := add(row.name, row.hosts...); (err == nil) != row.good {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if site := sites.Find("other.test"); site != nil {
		t.Errorf("other.test before there is a site for every host: %s", site.Name)
	}
	if add("every", "*") != nil || add("every too", "*") == nil {
		t.Error("every host can be had once")
	}
	for host, want := range map[string]string{
		"www.example.com": "exact", "example.com": "exact", "x.example.com": "wild", "x.y.example.com": "wild",
		"a.example.com": "wild", "x.a.example.com": "deeper", "notexample.com": "every", "com": "every", "2001:db8::1": "v6",
		"": "every",
	} {
		if site := sites.Find(host); site == nil || site.Name != want {
			t.Errorf("%s: %v, want %s", host, site, want)
		}
	}
}

// What of a client's request goes upstream: with a fill nothing that chooses
// what a shared response says, with a pass all that is end to end; RFC 9110
// section 7.6.1.
func TestForwardedFields(t *testing.T) {
	asked := http.Header{}
	for name, value := range map[string]string{
		"Accept": "text/html", "Accept-Encoding": "gzip", "Cookie": "a=b", "User-Agent": "test", "X-Mine": "1",
		"Connection": "X-Hop, Te", "X-Hop": "1", "Keep-Alive": "x", "Proxy-Authorization": "x", "Te": "trailers",
		"If-Match": `"1"`, "If-None-Match": `"2"`, "If-Modified-Since": "x", "If-Unmodified-Since": "x", "If-Range": `"1"`,
		"Range": "bytes=0-1", "Request-Range": "bytes=0-1", "Cache-Control": "no-cache", "Pragma": "no-cache",
		"X_Forwarded_For": "192.0.2.9", "X-Forwarded_Host": "evil.test", "X-Forwarded": "for=x", "X_real_ip": "x",
		"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Host": "evil.test", "X-Forwarded-Port": "1", "Forwarded": "for=x",
		"X-Real-Ip": "x", "Weir-Tier-Token": "guess", "Weir-Applied": "e:9",
	} {
		asked.Set(name, value)
	}
	always := []string{"Accept", "Accept-Encoding", "Cdn-Loop", "Cookie", "Surrogate-Capability", "User-Agent", "Via", "X-Mine"}
	conditions := []string{"Cache-Control", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Pragma", "Range", "Request-Range"}
	block := slices.Concat(always, []string{"Range"}) // the engine's own
	hop := []string{"Connection", "Te"}
	for _, row := range []struct {
		name, method string
		face         httpcache.Face
		want         []string
	}{
		{"fill from an edge", "GET", httpcache.FaceClients, block},
		{"fill for a HEAD", "HEAD", httpcache.FaceClients, always},
		{"pass from an edge", "POST", httpcache.FaceClients, slices.Concat(always, conditions, hop, []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"})},
		{"fill from a shield", "GET", httpcache.FaceEdges, block},
		{"pass from a shield", "POST", httpcache.FaceEdges, slices.Concat(always, conditions, hop, []string{"X-Forwarded-For", "X-Forwarded-Host"})},
	} {
		var sent *http.Request
		h := handler(t, httpcache.Options{Node: "edge", Face: row.face}, rfc9111.Policy{}, roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = r
			return reply(200, "body", "Cache-Control", "max-age=60"), nil
		}))
		r := httptest.NewRequest(row.method, "http://A.test:80/a%2fb/%7e?q=%7e", nil)
		r.Header = asked.Clone()
		if row.face == httpcache.FaceEdges {
			for _, name := range []string{"X-Forwarded-Port", "Forwarded", "X-Real-Ip", "X_forwarded_for", "X-Forwarded_host", "X-Forwarded", "X_real_ip"} {
				r.Header.Del(name) // an edge sends none
			}
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		got := slices.Sorted(maps.Keys(sent.Header))
		slices.Sort(row.want)
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: sent\n%v, want\n%v", row.name, got, row.want)
		}
		if fills := row.method != "POST"; fills && strings.Contains(sent.Header.Get("Range"), "0-1") && sent.Header.Get("Range") != "bytes=0-1048575" {
			t.Errorf("%s: sent Range: %s; want that of a block", row.name, sent.Header.Get("Range"))
		}
		method := row.method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if sent.Method != method || sent.Host != "a.test" || sent.URL.RequestURI() != "/a%2Fb/~?q=%7e" {
			t.Errorf("%s: sent %s %s %s", row.name, sent.Method, sent.Host, sent.URL.RequestURI())
		}
		if row.face == httpcache.FaceClients && method == "POST" {
			wants(t, row.name, sent.Header, map[string]string{
				"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "A.test:80", "Connection": "Te",
			})
		}
	}
}

// RFC 9110 section 9.3.2: HEAD of what a GET has stored, and the other way
// round.
func TestHead(t *testing.T) {
	var asked atomic.Int64
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		stored(w, r)
	}), settings{})
	c.each(func(t *testing.T, via client) {
		path := "/" + strings.ReplaceAll(via.name, " ", "")
		before := asked.Load()
		for range 2 {
			head, body := via.do(t, via.request(t, http.MethodHead, path, nil))
			if head.StatusCode != 200 || head.ContentLength != 26 || body != "" {
				t.Errorf("%s, length %d, %q", head.Status, head.ContentLength, body)
			}
			wants(t, "HEAD", head.Header, map[string]string{"ETag": `"1"`, "Accept-Ranges": "bytes", "Content-Type": "text/plain"})
		}
		if _, body := via.get(t, path); body != alphabet || asked.Load() != before+1 {
			t.Errorf("%q; asked %d times", body, asked.Load()-before)
		}
	})
}

// RFC 9110 section 8.6: a HEAD is told the length that a GET has, or none.
func TestHeadOfUnknownLength(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, alphabet[:13])
		_ = http.NewResponseController(w).Flush()
		time.Sleep(200 * time.Millisecond)
		_, _ = io.WriteString(w, alphabet[13:])
	}), settings{})
	c.each(func(t *testing.T, via client) {
		path := "/" + strings.ReplaceAll(via.name, " ", "")
		for _, want := range []string{"", "26"} {
			head, _ := via.do(t, via.request(t, http.MethodHead, path, nil))
			if got := head.Header.Get("Content-Length"); got != want {
				t.Errorf("Content-Length: %s, want %q", got, want)
			}
			via.get(t, path)
		}
	})
}

// A deadline for writing is for one answer: a connection that idles beyond it
// serves the next request, whatever that is.
func TestIdleConnectionOutlivesWriteTimeout(t *testing.T) {
	c := startChain(t, http.HandlerFunc(stored), settings{edge: httpcache.Options{WriteTimeout: 400 * time.Millisecond}})
	conn := raw(t, c.clear, "")
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.test\r\nIf-None-Match: \"1\"\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.test\r\nRange: bytes=99-\r\n\r\n",
		"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
	} {
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		head := readHead(conn)
		if head == "" {
			t.Fatalf("no answer to %q", request)
		}
		if strings.HasPrefix(head, "HTTP/1.1 200") && !strings.HasPrefix(request, "HEAD") || strings.HasPrefix(head, "HTTP/1.1 405") {
			length := map[string]int{"26": 26}[field(head, "Content-Length")]
			if length == 0 {
				length = len("405 Method Not Allowed\n\nmethod TRACE is not served\n")
			}
			expectAny(t, conn, length)
		}
		time.Sleep(600 * time.Millisecond)
	}
}

func expectAny(t *testing.T, r io.Reader, n int) {
	t.Helper()
	if _, err := io.ReadFull(r, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

// A client that reads nothing holds an answer no longer than WriteTimeout.
func TestWriteTimeout(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		part := make([]byte, 1<<20)
		for range 64 {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}), settings{edge: httpcache.Options{WriteTimeout: 100 * time.Millisecond}})
	raw(t, c.clear, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if access := c.accesses(1)[0]; access.Err == nil || access.Bytes >= 64<<20 {
		t.Errorf("observed %d bytes, %v", access.Bytes, access.Err)
	}
}

// What is observed of a request is what its client got.
func TestObserved(t *testing.T) {
	c := startChain(t, http.HandlerFunc(stored), settings{})
	via := c.clients()[0]
	via.get(t, "/")
	via.get(t, "/")
	via.get(t, "/", "Range", "bytes=0-1")
	_, multipart := via.get(t, "/", "Range", "bytes=0-1,4-5")
	via.get(t, "/", "If-None-Match", `"1"`)
	for i, want := range []struct {
		status  int
		bytes   int
		outcome cache.Outcome
	}{{200, 26, cache.OutcomeMiss}, {200, 26, cache.OutcomeHit}, {206, 2, cache.OutcomeHit}, {206, len(multipart), cache.OutcomeHit}, {304, 0, cache.OutcomeHit}} {
		a := c.accesses(i + 1)[i]
		if a.Status != want.status || a.Bytes != int64(want.bytes) || a.Outcome != want.outcome || a.Site != "s" || a.Err != nil {
			t.Errorf("request %d: %+v, want %+v", i, a, want)
		}
	}
}

// A body that breaks off is never made to look whole.
func TestBrokenBody(t *testing.T) {
	url := scripted(t, func(head string, conn net.Conn) {
		fields := "Cache-Control: max-age=60\r\n"
		if strings.HasPrefix(head, "POST") {
			fields = ""
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+fields+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	})
	c := chainTo(t, settings{origin: originAt(t, url)})
	c.each(func(t *testing.T, via client) {
		for _, method := range []string{"GET", "POST"} {
			response, err := via.RoundTrip(via.request(t, method, "/", nil))
			if err != nil {
				continue // the break was there before the header went out
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err == nil {
				t.Errorf("%s: %q looks whole", method, body)
			}
		}
	})
}
