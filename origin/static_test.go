package origin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir/origin"
)

// files is an upstream with a few documents that remembers what it was asked.
type files struct {
	docs  map[string]string
	fail  string // a path that fails
	down  string // a path that is answered 503
	large bool   // 404s have a long body
	asked []string
}

var errUpstream = errors.New("upstream failed")

func (f *files) RoundTrip(req *http.Request) (*http.Response, error) {
	conditions := ""
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range", "Content-Type"} {
		if req.Header.Get(name) != "" {
			conditions += " " + name
		}
	}
	f.asked = append(f.asked, req.Method+" "+req.URL.RequestURI()+conditions)
	path := req.URL.Path
	if path == f.fail {
		return nil, errUpstream
	}
	status, body := http.StatusOK, f.docs[path]
	switch _, ok := f.docs[path]; {
	case path == f.down:
		status, body = http.StatusServiceUnavailable, "down"
	case !ok && f.large:
		status, body = http.StatusNotFound, strings.Repeat("x", 100<<10)
	case !ok:
		status, body = http.StatusNotFound, "plain"
	case req.Header.Get("If-None-Match") != "":
		status, body = http.StatusNotModified, ""
	}
	resp := &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Body: http.NoBody, ContentLength: int64(len(body)), Request: req,
		Header: http.Header{"Content-Type": {"text/html"}, "Etag": {`"e"`}, "Last-Modified": {"x"}, "Cache-Control": {"max-age=3600"}, "Expires": {"x"}, "Content-Length": {fmt.Sprint(len(body))}},
	}
	if req.Method != http.MethodHead {
		resp.Body = io.NopCloser(strings.NewReader(body))
	}
	return resp, nil
}

func newFiles() *files {
	return &files{docs: map[string]string{
		"/index.html": "home", "/docs/index.html": "docs", "/a b/index.html": "space", "/page.html": "page", "/404.html": "gone",
	}}
}

func staticOn(f *files) origin.Static {
	return origin.Static{Next: f, Index: origin.DefaultIndex, NotFound: origin.DefaultNotFound, SlashRedirect: true}
}

func TestStatic(t *testing.T) {
	for _, row := range []struct {
		name, target string
		status       int
		body         string
		location     string
		asked        string
	}{
		{"a file", "/page.html?q=1", 200, "page", "", "GET /page.html?q=1"},
		{"the root's index", "/", 200, "home", "", "GET /index.html"},
		{"a directory's index", "/docs/?q=1", 200, "docs", "", "GET /docs/index.html?q=1"},
		{"an encoded directory", "/a%20b/", 200, "space", "", "GET /a%20b/index.html"},
		{"to the slash form", "/docs?q=1&r=%20", 301, "", "/docs/?q=1&r=%20", "GET /docs?q=1&r=%20, HEAD /docs/index.html"},
		{"to the slash form, encoded", "/a%20b", 301, "", "/a%20b/", "GET /a%20b, HEAD /a%20b/index.html"},
		{"an empty query is kept", "/docs?", 301, "", "/docs/?", "GET /docs?, HEAD /docs/index.html"},
		{"missing", "/no?q=1", 404, "gone", "", "GET /no?q=1, HEAD /no/index.html, GET /404.html"},
		{"a missing directory", "/no/", 404, "gone", "", "GET /no/index.html, GET /404.html"},
		{"RFC 3986 4.2: no reference to another host", "//evil.example", 404, "gone", "", "GET //evil.example, GET /404.html"},
		{"no reference to another host, encoded", "/%5Cevil.example", 404, "gone", "", "GET /%5Cevil.example, HEAD /%5Cevil.example/index.html, GET /404.html"},
		{"the not-found document itself", "/404.html", 200, "gone", "", "GET /404.html"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFiles()
			req := request(t, http.MethodGet, row.target, nil)
			resp, body := exchange(t, staticOn(f), req)
			if resp.StatusCode != row.status || row.body != "" && body != row.body || resp.Header.Get("Location") != row.location {
				t.Errorf("%s, %q, Location %q", resp.Status, body, resp.Header.Get("Location"))
			}
			if got := strings.Join(f.asked, ", "); got != row.asked {
				t.Errorf("asked %s, want %s", got, row.asked)
			}
			if resp.Request != req {
				t.Error("the response is to another request")
			}
		})
	}
}

// A Location of a directory whose name begins with slashes would be another
// host's, even if there is such a directory.
func TestStaticNeverRedirectsAway(t *testing.T) {
	f := newFiles()
	f.docs["//evil.example/index.html"] = "x"
	f.docs[`/\evil.example/index.html`] = "x"
	for target, want := range map[string]string{"//evil.example": "", "/%5Cevil.example": "/%5Cevil.example/"} {
		resp, _ := fetch(t, staticOn(f), target)
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("%s: Location %q, want %q", target, got, want)
		}
	}
}

func TestStaticFields(t *testing.T) {
	resp, _ := fetch(t, staticOn(newFiles()), "/no")
	for _, name := range []string{"Etag", "Last-Modified", "Cache-Control", "Expires"} {
		if got := resp.Header.Get(name); got != "" {
			t.Errorf("404 with %s %q", name, got)
		}
	}
	if resp.Header.Get("Content-Type") != "text/html" || resp.ContentLength != 4 || resp.Header.Get("Date") == "" {
		t.Errorf("404 with %v", resp.Header)
	}
	resp, _ = fetch(t, staticOn(newFiles()), "/docs")
	if got := resp.Header.Get("Cache-Control"); got != "max-age=60" {
		t.Errorf("301 with Cache-Control %q", got)
	}
}

func TestStaticHead(t *testing.T) {
	for target, want := range map[string]int{"/": 200, "/docs": 301, "/no": 404} {
		f := newFiles()
		resp, body := exchange(t, staticOn(f), request(t, http.MethodHead, target, nil))
		if resp.StatusCode != want || body != "" {
			t.Errorf("HEAD %s: %s, %q", target, resp.Status, body)
		}
		for _, asked := range f.asked {
			if !strings.HasPrefix(asked, "HEAD ") {
				t.Errorf("HEAD %s: asked %s", target, asked)
			}
		}
	}
}

// RFC 9110 section 13: conditions belong to what the client asked for.
func TestStaticConditions(t *testing.T) {
	header := http.Header{"If-None-Match": {`"e"`}, "If-Modified-Since": {"x"}, "Range": {"bytes=0-1"}, "If-Range": {"x"}, "Content-Type": {"a/b"}}
	const all = " If-None-Match If-Modified-Since If-Range Range Content-Type"
	f := newFiles()
	if resp, _ := exchange(t, staticOn(f), request(t, http.MethodGet, "/docs/", header.Clone())); resp.StatusCode != http.StatusNotModified {
		t.Errorf("the index's 304 became %s", resp.Status)
	}
	if want := []string{"GET /docs/index.html" + all}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
	f = newFiles()
	if resp, body := exchange(t, staticOn(f), request(t, http.MethodGet, "/no", header.Clone())); resp.StatusCode != http.StatusNotFound || body != "gone" {
		t.Errorf("%s, %q", resp.Status, body)
	}
	if want := []string{"GET /no" + all, "HEAD /no/index.html", "GET /404.html"}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
}

func TestStaticRulesCanBeOff(t *testing.T) {
	for _, row := range []struct {
		static origin.Static
		target string
		status int
		body   string
	}{
		{origin.Static{}, "/", 404, "plain"},
		{origin.Static{}, "/docs", 404, "plain"},
		{origin.Static{Index: "index.html"}, "/docs", 404, "plain"},
		{origin.Static{SlashRedirect: true}, "/docs", 404, "plain"},
		{origin.Static{NotFound: "/no-such-document"}, "/docs", 404, "plain"},
		{origin.Static{NotFound: "/404.html"}, "/docs/", 404, "gone"},
	} {
		row.static.Next = newFiles()
		if resp, body := fetch(t, row.static, row.target); resp.StatusCode != row.status || body != row.body {
			t.Errorf("%+v %s: %s, %q", row.static, row.target, resp.Status, body)
		}
	}
}

func TestStaticLeavesOtherMethodsAlone(t *testing.T) {
	f := newFiles()
	exchange(t, staticOn(f), request(t, http.MethodPost, "/docs/", nil))
	if want := []string{"POST /docs/"}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %q", f.asked)
	}
}

// When a second request fails, what is not known is not said, and what is known
// is not remembered for longer than it should be.
func TestStaticUpstreamFails(t *testing.T) {
	for _, row := range []struct {
		name, fail, down string
		status           int // 0: an error
		cache            string
	}{
		{"the file", "/no", "", 0, ""},
		{"the directory's index cannot be asked for", "/no/index.html", "", 0, ""},
		{"the directory's index is not to be had", "", "/no/index.html", 503, "no-store"},
		{"the not-found document cannot be asked for", "/404.html", "", 404, "no-store"},
		{"the not-found document is not to be had", "", "/404.html", 404, "no-store"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFiles()
			f.fail, f.down = row.fail, row.down
			resp, err := staticOn(f).RoundTrip(request(t, http.MethodGet, "/no", nil))
			switch {
			case err != nil && (row.status != 0 || !errors.Is(err, errUpstream)):
				t.Error(err)
			case err == nil && (resp.StatusCode != row.status || resp.Header.Get("Cache-Control") != row.cache):
				t.Errorf("%s, %v", resp.Status, resp.Header)
			}
		})
	}
}

func TestStaticLongPlainBody(t *testing.T) {
	f := newFiles()
	f.large = true
	resp, body := fetch(t, origin.Static{Next: f}, "/no")
	if resp.StatusCode != http.StatusNotFound || len(body) > 100 || resp.ContentLength != int64(len(body)) {
		t.Errorf("%s with %d bytes", resp.Status, len(body))
	}
}
