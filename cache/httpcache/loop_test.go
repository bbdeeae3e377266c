package httpcache_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
)

// RFC 8586: each node names itself, keeps what others have said, and a chain is
// no loop.
func TestLoopField(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, strings.Join(r.Header.Values("Cdn-Loop"), " | ")+" / "+strings.Join(r.Header.Values("Via"), " | "))
	}), settings{edge: httpcache.Options{Node: "edge 1"}})
	c.each(func(t *testing.T, via client) {
		_, body := via.get(t, "/", "CDN-Loop", "other; weir", "Via", "1.1 there")
		body = regexp.MustCompile("seen=[0-9a-f]{16}").ReplaceAllString(body, "seen=MARK")
		protocol := map[int]string{1: "1.1", 2: "2", 3: "3"}[via.major]
		want := `other; weir, weir;node="edge 1";seen=MARK, shield.weir;node=shield;seen=MARK / 1.1 there, ` + protocol + ` edge 1, 1.1 shield`
		if body != want {
			t.Errorf("got  %s\nwant %s", body, want)
		}
	})
}

// RFC 8586 section 2: what a field says, and what the answer to it is.
func TestLoopPasses(t *testing.T) {
	var asked atomic.Int64
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }), settings{})
	via := c.clients()[0]
	for _, row := range []struct {
		field  []string
		status int
	}{
		{[]string{"weir;node=ams"}, 200},
		{[]string{"weir;node=ams, shield.weir;node=s, other"}, 200},
		{[]string{"weir;node=ams, weir;node=iad"}, 508},
		{[]string{"weir", "", ", ,WEIR ; x=y"}, 508},
		{[]string{`weir;node="a,b;\"", weir`}, 508},
		{[]string{`other;x="weir, weir, weir"`}, 200},
		{[]string{"weir.example, weir2, notweir"}, 200},
	} {
		asked.Store(0)
		r := via.request(t, http.MethodPost, "/", nil)
		r.Header["Cdn-Loop"] = row.field
		response, _ := via.do(t, r)
		if response.StatusCode != row.status || (asked.Load() == 0) != (row.status == 508) {
			t.Errorf("%q: %s, asked %d times", row.field, response.Status, asked.Load())
		}
		if row.status == 508 {
			wants(t, "508", response.Header, map[string]string{
				"Proxy-Status": "edge;error=proxy_loop_detected", "Cache-Control": "no-store",
			})
			if response.Header.Get("Date") == "" {
				t.Error("no Date")
			}
		}
	}
}

// A client that says it has been here cannot get past what is stored.
func TestLoopFieldIsNoBypass(t *testing.T) {
	var asked atomic.Int64
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
	}), settings{})
	via := c.clients()[0]
	for range 3 {
		via.get(t, "/", "Cdn-Loop", "weir;node=edge;seen=0123456789abcdef")
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// lazy is an upstream that is known later than who asks it.
type lazy struct {
	atomic.Pointer[http.RoundTripper]
}

func (l *lazy) RoundTrip(r *http.Request) (*http.Response, error) { return (*l.Load()).RoundTrip(r) }

// A site whose origin is the CDN itself: the request comes round, does not wait
// for the fill that waits for it, and is refused.
func TestLoopEnds(t *testing.T) {
	var back lazy
	c := chainTo(t, settings{origin: &back})
	var self http.RoundTripper = originAt(t, "http://"+c.clear)
	back.Store(&self)
	via := c.clients()[0]
	began := time.Now()
	response, _ := via.get(t, "/")
	if response.StatusCode != http.StatusLoopDetected || time.Since(began) > 5*time.Second {
		t.Errorf("%s after %v", response.Status, time.Since(began))
	}
	if seen := c.accesses(3); len(seen) != 3 {
		t.Errorf("the edge was passed %d times", len(seen))
	}
}

// A site whose origin is another site of the same nodes is no loop.
func TestSiteInFrontOfASite(t *testing.T) {
	truth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, r.Host)
	}))
	defer truth.Close()
	inner := originAt(t, truth.URL)
	var outer lazy
	c := chainTo(t, settings{origin: route(func(r *http.Request) http.RoundTripper {
		if r.Host == "inner.test" {
			return inner
		}
		r.Host = "inner.test"
		return &outer
	})})
	var self http.RoundTripper = originAt(t, "http://"+c.clear)
	outer.Store(&self)
	r := c.clients()[0].request(t, http.MethodGet, "/", nil)
	r.Host = "outer.test"
	if response, body := c.clients()[0].do(t, r); response.StatusCode != 200 || body != "inner.test" {
		t.Errorf("%s, %q", response.Status, body)
	}
}

// route is an upstream that chooses one for each request.
type route func(*http.Request) http.RoundTripper

func (f route) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	return f(r).RoundTrip(r)
}

func TestLoopID(t *testing.T) {
	for id, good := range map[string]bool{"": true, "weir": true, "cdn.example": true, "cdn.example:80": true,
		"a b": false, "a,b": false, "a;b": false, "a\r\nb": false, `"a"`: false, ":": false} {
		_, err := httpcache.New(httpcache.Options{Engine: new(cache.Engine), Sites: httpcache.NewSites(), LoopID: id})
		if (err == nil) != good {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// Whatever a client says in CDN-Loop, it reaches the next tier with this node
// behind it, or is refused.
func FuzzLoopField(f *testing.F) {
	for _, seed := range []string{"", "weir", `a;b="c,d"`, `weir;node="\`, ",,;;==\"\"", "weir;tier=edge,weir;tier=edge"} {
		f.Add(seed)
	}
	var sent string
	h := handlerFor(f, func(r *http.Request) {
		sent = r.Header.Get("Cdn-Loop")
	})
	f.Fuzz(func(t *testing.T, field string) {
		r := httptest.NewRequest(http.MethodPost, "http://a.test/", nil)
		r.Header["Cdn-Loop"] = []string{field}
		w := httptest.NewRecorder()
		sent = ""
		h.ServeHTTP(w, r)
		if w.Code == http.StatusLoopDetected && sent == "" {
			return
		}
		own := strings.TrimPrefix(sent, field+", ")
		if w.Code != 200 || !regexp.MustCompile("^(, )?weir;node=edge;seen=[0-9a-f]{16}$").MatchString(own) {
			t.Errorf("%q: %d, sent %q", field, w.Code, sent)
		}
	})
}

// handlerFor makes a handler whose upstream answers 200 to everything.
func handlerFor(t testing.TB, see func(*http.Request)) *httpcache.Handler {
	t.Helper()
	return handler(t, httpcache.Options{Node: "edge"}, rfc9111.Policy{}, roundTripper(func(r *http.Request) (*http.Response, error) {
		see(r)
		return reply(200, "body"), nil
	}))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reply makes a response; fields alternate names and values.
func reply(status int, body string, fields ...string) *http.Response {
	h := http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}
	for i := 0; i+1 < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return &http.Response{
		Status: fmt.Sprint(status), StatusCode: status, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}
