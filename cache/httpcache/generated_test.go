package httpcache_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
)

// RFC 9110 section 15.4.5: a 304 has what the 200 would have told a cache, and
// nothing that describes a body. 412 and 416 have neither.
func TestConditionalAnswers(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Cache-Control": "max-age=60", "CDN-Cache-Control": "max-age=60", "Expires": "Thu, 31 Dec 2099 00:00:00 GMT",
			"ETag": `"1"`, "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT", "Vary": "Accept", "Content-Location": "/b",
			"Content-Type": "text/html", "Content-Language": "en", "Content-Disposition": "inline",
			"Access-Control-Allow-Origin": "*", "Content-Security-Policy": "default-src 'none'",
		} {
			w.Header().Set(name, value)
		}
		_, _ = io.WriteString(w, alphabet)
	}), settings{})
	c.each(func(t *testing.T, via client) {
		response, body := via.get(t, "/", "If-None-Match", `"1"`)
		if response.StatusCode != 304 || body != "" {
			t.Errorf("%s, %q", response.Status, body)
		}
		wants(t, "304", response.Header, map[string]string{
			"Cache-Control": "max-age=60", "Expires": "Thu, 31 Dec 2099 00:00:00 GMT", "ETag": `"1"`, "Vary": "Accept",
			"Content-Location": "/b", "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT", "Access-Control-Allow-Origin": "*",
			"Content-Type": "", "Content-Length": "", "Content-Language": "", "Content-Disposition": "",
		})
		if response.Header.Get("Date") == "" || response.Header.Get("Age") == "" {
			t.Error("304: no Date or no Age")
		}
		for status, condition := range map[int][2]string{412: {"If-Match", `"2"`}, 416: {"Range", "bytes=99-"}} {
			response, body := via.get(t, "/", condition[0], condition[1])
			if response.StatusCode != status || body != "" {
				t.Errorf("%s, %q; want %d", response.Status, body, status)
			}
			wants(t, response.Status, response.Header, map[string]string{
				"Cache-Control": "no-store", "CDN-Cache-Control": "", "Expires": "", "ETag": "", "Last-Modified": "",
				"Content-Location": "", "Content-Type": "", "Content-Language": "", "Content-Disposition": "",
				"Content-Length": "0", "Access-Control-Allow-Origin": "*", "Content-Security-Policy": "default-src 'none'",
			})
			if response.Header.Get("Date") == "" {
				t.Errorf("%d: no Date", status)
			}
		}
	})
}

// RFC 9111 section 4.3.2: without Last-Modified, Date is what
// If-Modified-Since is held against; If-Unmodified-Since is not.
func TestIfModifiedSinceWithoutLastModified(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Date", time.Now().Add(-10*time.Second).UTC().Format(http.TimeFormat))
	}), settings{})
	via := c.clients()[0]
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, row := range []struct {
		name, value string
		status      int
	}{
		{"If-Modified-Since", at(-5 * time.Second), 304},
		{"If-Modified-Since", at(-time.Minute), 200},
		{"If-Modified-Since", "soon", 200},
		{"If-Unmodified-Since", at(-time.Minute), 200},
	} {
		if response, _ := via.get(t, "/", row.name, row.value); response.StatusCode != row.status {
			t.Errorf("%s: %s: %s", row.name, row.value, response.Status)
		}
	}
}

// RFC 9209: an answer that a tier made up says why, who it was, and that nobody
// may keep it.
func TestGeneratedAnswers(t *testing.T) {
	for _, row := range []struct {
		name   string
		err    error
		status int
		proxy  string
	}{
		{"refused", syscall.ECONNREFUSED, 502, "shield;error=connection_refused"},
		{"ended", io.ErrUnexpectedEOF, 502, "shield;error=connection_terminated"},
		{"other", errors.New("x"), 502, "shield;error=http_protocol_error"},
	} {
		c := chainTo(t, settings{origin: roundTripper(func(*http.Request) (*http.Response, error) { return nil, row.err })})
		via := c.clients()[0]
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
			response, body := via.do(t, via.request(t, method, "/", nil))
			if response.StatusCode != row.status || (body == "") != (method == http.MethodHead) {
				t.Errorf("%s, %s: %s, %q", row.name, method, response.Status, body)
			}
			wants(t, row.name, response.Header, map[string]string{
				"Proxy-Status": row.proxy, "Cache-Control": "no-store", "Content-Type": "text/plain; charset=utf-8", "Via": "1.1 shield, 1.1 edge",
			})
			if response.Header.Get("Date") == "" {
				t.Errorf("%s: no Date", row.name)
			}
		}
	}
}

// RFC 9209 section 2.1.4: a 5xx of the origin that waiting requests share is
// told as what was received, and is no error of this node's.
func TestReceivedStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(t, httpcache.Options{Node: "edge"}, rfc9111.Policy{}, roundTripper(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(503, "down"), nil
		}))
		answers := make(chan *httptest.ResponseRecorder, 2)
		for range cap(answers) {
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://a.test/", nil))
				answers <- w
			}()
			synctest.Wait()
		}
		relayed, shared := <-answers, <-answers
		if shared.Header().Get("Proxy-Status") == "" {
			relayed, shared = shared, relayed
		}
		if relayed.Code != 503 || relayed.Body.String() != "down" {
			t.Errorf("relayed: %d, %q", relayed.Code, relayed.Body)
		}
		if shared.Code != 503 || shared.Header().Get("Proxy-Status") != "edge;received-status=503" {
			t.Errorf("shared: %d, %q", shared.Code, shared.Header())
		}
	})
}

// What a node does not do, and whom it does not serve.
func TestRefusals(t *testing.T) {
	h := handler(t, httpcache.Options{Node: "edge"}, rfc9111.Policy{}, roundTripper(func(*http.Request) (*http.Response, error) {
		return reply(200, "body"), nil
	}))
	named := httpcache.NewSites()
	if err := named.Add(&cache.Site{Name: "s"}, "a.test"); err != nil {
		t.Fatal(err)
	}
	narrow, err := httpcache.New(httpcache.Options{Node: "edge", Engine: h.Engine, Sites: named})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, method, host, target string
		change                     func(*http.Request)
		status                     int
	}{
		{"as usual", "GET", "a.test", "/", nil, 200},
		{"RFC 9110 section 7.4", "GET", "b.test", "/", nil, 421},
		{"RFC 9110 section 7.2", "GET", "a b", "/", nil, 400},
		{"no host", "GET", "", "/", nil, 400},
		{"RFC 9110 section 9.3.8", "TRACE", "a.test", "/", nil, 405},
		{"RFC 9110 section 9.3.6", "CONNECT", "a.test", "/", nil, 405},
		{"RFC 8441", "CONNECT", "a.test", "/", func(r *http.Request) { r.ProtoMajor, r.Proto = 2, "websocket" }, 501},
		{"RFC 9113 section 8.2.2", "GET", "a.test", "/", func(r *http.Request) { r.ProtoMajor = 2; r.Header.Set("Upgrade", "x") }, 400},
		{"dot segments", "GET", "a.test", "/a/../b", nil, 400},
		{"not UTF-8", "GET", "a.test", "/%ff", nil, 400},
		{"query", "GET", "a.test", "/?a", func(r *http.Request) { r.URL.RawQuery = "a\x01" }, 400},
		{"RFC 9110 section 10.1.1", "PUT", "a.test", "/", func(r *http.Request) { r.Header.Set("Expect", "tea") }, 417},
	} {
		r := httptest.NewRequest(row.method, "http://a.test/", nil)
		r.Host = row.host
		path, query, _ := strings.Cut(row.target, "?")
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = strings.ReplaceAll(path, "%ff", "\xff"), path, query
		if row.change != nil {
			row.change(r)
		}
		w := httptest.NewRecorder()
		serve := h
		if row.host == "b.test" {
			serve = narrow
		}
		serve.ServeHTTP(w, r)
		if w.Code != row.status {
			t.Errorf("%s: %d, want %d", row.name, w.Code, row.status)
		}
		if row.status != 200 {
			wants(t, row.name, w.Header(), map[string]string{
				"Cache-Control": "no-store", "Cache-Status": "edge;detail=refused", "Via": "1.1 edge",
			})
		}
		if row.status == 400 && r.ProtoMajor == 1 && w.Header().Get("Connection") != "close" {
			t.Errorf("%s: the connection stays open", row.name)
		}
		if row.status == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s: no Allow", row.name)
		}
	}
}
