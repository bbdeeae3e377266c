package httpcache_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"weir/cache"
	"weir/cache/rfc9111"
)

// page is text that compresses well.
var page = strings.Repeat("<p>one and two and three</p>\n", 1000)

// files is a bucket: a page, a picture, and files that were compressed before
// they were put there.
func files(asked *atomic.Int64) http.Handler {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, page)
	_ = w.Close()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h := w.Header()
		h.Set("Cache-Control", "max-age=60")
		h.Set("ETag", `"v1"`)
		h.Set("Last-Modified", "Mon, 01 Nov 1999 00:00:00 GMT")
		h.Set("Content-Type", "text/html")
		body := page
		switch {
		case strings.HasPrefix(r.URL.Path, "/packed"):
			h.Set("Content-Encoding", "gzip")
			body = packed.String()
		case strings.HasPrefix(r.URL.Path, "/broken"):
			h.Set("Content-Encoding", "gzip")
			body = packed.String()[:packed.Len()/2]
		case strings.HasPrefix(r.URL.Path, "/picture"):
			h.Set("Content-Type", "image/png")
		}
		_, _ = io.WriteString(w, body)
	})
}

// startCoding is a chain whose edge compresses, and its origin's counter.
func startCoding(t *testing.T) (*chain, *atomic.Int64) {
	asked := new(atomic.Int64)
	c := startChain(t, files(asked), settings{})
	c.edge.Sites.Find("any").Encodings = &cache.Encodings{
		Compress: []rfc9111.Coding{rfc9111.CodingZstd, rfc9111.CodingBrotli, rfc9111.CodingGzip},
	}
	return c, asked
}

// until asks until the answer has the content coding.
func (via client) until(t *testing.T, target, coding string) (*http.Response, string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		response, body := via.get(t, target, "Accept-Encoding", coding)
		if response.Header.Get("Content-Encoding") == coding {
			return response, body
		}
		if time.Now().After(end) {
			t.Fatalf("%s is never answered in %s", target, coding)
		}
	}
}

func unpack(t *testing.T, coding, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	var err error
	switch coding {
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r); err == nil {
			defer d.Close()
			r = d
		}
	case "br":
		r = brotli.NewReader(r)
	case "gzip":
		r, err = gzip.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	return string(text)
}

// Through edge and shield, on each version of HTTP: a page in each coding, with
// its own tag, for GET, HEAD, conditions and ranges; the shield keeps what the
// origin sent.
func TestCodings(t *testing.T) {
	c, asked := startCoding(t)
	c.each(func(t *testing.T, via client) {
		target := "/page/" + strings.ReplaceAll(via.name, " ", "-")
		before := asked.Load()
		first, body := via.get(t, target, "Accept-Encoding", "gzip")
		if body != page {
			t.Errorf("first answer: %d bytes", len(body))
		}
		wants(t, "first", first.Header, map[string]string{"Content-Encoding": "", "Etag": `"v1"`, "Vary": "Accept-Encoding"})
		for _, coding := range []string{"zstd", "br", "gzip"} {
			tag := fmt.Sprintf(`"v1-%s1"`, coding)
			response, body := via.until(t, target, coding)
			length := fmt.Sprint(len(body))
			if unpack(t, coding, body) != page || len(body) > len(page)/10 {
				t.Errorf("%s: %d bytes are another body", coding, len(body))
			}
			wants(t, coding, response.Header, map[string]string{
				"Etag": tag, "Vary": "Accept-Encoding", "Content-Length": length, "Content-Type": "text/html", "Accept-Ranges": "bytes",
			})
			if status := response.Header.Get("Cache-Status"); !strings.HasPrefix(status, "edge;hit;ttl=") || !strings.HasSuffix(status, "detail=memory") {
				t.Errorf("%s: Cache-Status %s", coding, status)
			}
			head, _ := via.do(t, via.request(t, http.MethodHead, target, nil, "Accept-Encoding", coding))
			wants(t, "HEAD "+coding, head.Header, map[string]string{"Content-Encoding": coding, "Etag": tag, "Content-Length": length})
			conditions(t, via, target, coding, tag, body)
		}
		plain, text := via.get(t, target)
		wants(t, "without Accept-Encoding", plain.Header, map[string]string{"Content-Encoding": "", "Etag": `"v1"`, "Vary": "Accept-Encoding"})
		if text != page || asked.Load() != before+1 {
			t.Errorf("without Accept-Encoding: %d bytes; the origin was asked %d times", len(text), asked.Load()-before)
		}
	})
	if n := c.shield.Engine.Derivations(rfc9111.CodingGzip); n != (cache.DerivationCounts{}) {
		t.Errorf("the shield has derived: %+v", n)
	}
}

// conditions asks for what the client has in part or whole.
func conditions(t *testing.T, via client, target, coding, tag, body string) {
	t.Helper()
	for _, tt := range []struct {
		name, etag string
		fields     []string
		status     int
		body       string
	}{
		{"If-None-Match, derived", tag, []string{"If-None-Match", tag}, 304, ""},
		{"If-None-Match, base", `"v1"`, []string{"If-None-Match", `"v1"`}, 304, ""},
		{"If-None-Match, other", tag, []string{"If-None-Match", `"v0"`}, 200, body},
		{"If-Modified-Since", tag, []string{"If-Modified-Since", "Mon, 01 Nov 1999 00:00:00 GMT"}, 304, ""},
		{"If-Match, old", "", []string{"If-Match", `"v0"`}, 412, ""},
		{"Range", `"v1"`, []string{"Range", "bytes=10-19"}, 206, page[10:20]},
		{"Range, several", `"v1"`, []string{"Range", "bytes=0-9,100-109"}, 206, "*"},
		{"If-Range, derived", tag, []string{"Range", "bytes=10-19", "If-Range", tag}, 206, body[10:20]},
		{"If-Range, base", `"v1"`, []string{"Range", "bytes=10-19", "If-Range", `"v1"`}, 206, page[10:20]},
		{"If-Range, old", tag, []string{"Range", "bytes=10-19", "If-Range", `"v0"`}, 200, body},
		{"If-Range, a date", tag, []string{"Range", "bytes=10-19", "If-Range", "Mon, 01 Nov 1999 00:00:00 GMT"}, 200, body},
		{"Range beyond the end", "", []string{"Range", "bytes=99999999-"}, 416, ""},
	} {
		response, got := via.get(t, target, append(tt.fields, "Accept-Encoding", coding)...)
		if response.StatusCode != tt.status || tt.body != "*" && got != tt.body || response.Header.Get("ETag") != tt.etag {
			t.Errorf("%s, %s: %d with %d bytes, tag %s; want %d with %d, %s", coding, tt.name,
				response.StatusCode, len(got), response.Header.Get("ETag"), tt.status, len(tt.body), tt.etag)
		}
		wants(t, coding+", "+tt.name, response.Header, map[string]string{"Vary": "Accept-Encoding"})
	}
}

// A client that takes no coding gets a page from a file that lies compressed in
// the bucket, on the miss and after it; what is damaged comes as it is.
func TestCompressedFiles(t *testing.T) {
	c, _ := startCoding(t)
	c.each(func(t *testing.T, via client) {
		name := strings.ReplaceAll(via.name, " ", "-")
		for i := range 2 {
			response, body := via.get(t, "/packed/"+name)
			wants(t, fmt.Sprint("packed ", i), response.Header, map[string]string{
				"Content-Encoding": "", "Etag": `"v1-identity1"`, "Vary": "Accept-Encoding", "Content-Length": fmt.Sprint(len(page)),
			})
			if body != page {
				t.Errorf("packed %d: %d bytes", i, len(body))
			}
			response, body = via.get(t, "/packed/"+name, "Range", "bytes=5-9")
			if response.StatusCode != http.StatusPartialContent || body != page[5:10] {
				t.Errorf("packed %d: a range: %d %q", i, response.StatusCode, body)
			}
			response, body = via.get(t, "/packed/"+name, "Accept-Encoding", "br, gzip")
			wants(t, "packed, for who takes it", response.Header, map[string]string{"Content-Encoding": "gzip", "Etag": `"v1"`, "Vary": "Accept-Encoding"})
			if unpack(t, "gzip", body) != page {
				t.Errorf("packed %d, for who takes it: %d bytes", i, len(body))
			}
			response, body = via.get(t, "/broken/"+name)
			wants(t, "broken", response.Header, map[string]string{"Content-Encoding": "gzip", "Etag": `"v1"`})
			if len(body) == 0 || len(body) > len(page)/10 {
				t.Errorf("broken: %d bytes", len(body))
			}
			response, body = via.get(t, "/picture/"+name, "Accept-Encoding", "br")
			wants(t, "picture", response.Header, map[string]string{"Content-Encoding": "", "Etag": `"v1"`, "Vary": ""})
			if body != page {
				t.Errorf("picture: %d bytes", len(body))
			}
		}
	})
}

// RFC 9110 section 13.1.1: who has read a page in a coding, with the tag that the
// PoP made for it, may change it where its origin wants If-Match.
func TestIfMatchInACoding(t *testing.T) {
	var told atomic.Value
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			told.Store(strings.Join(r.Header.Values("If-Match"), ", "))
			return
		}
		files(new(atomic.Int64)).ServeHTTP(w, r)
	}), settings{})
	c.edge.Sites.Find("any").Encodings = &cache.Encodings{Compress: []rfc9111.Coding{rfc9111.CodingBrotli}}
	via := c.clients()[0]
	response, _ := via.until(t, "/page", "br")
	for tag, want := range map[string]string{
		response.Header.Get("ETag"): `"v1-br1", "v1"`,
		`"a", "b-gzip1"`:            `"a", "b-gzip1", "a", "b"`,
		`"v1"`:                      `"v1"`,
		"*":                         "*",
	} {
		via.do(t, via.request(t, http.MethodPut, "/page", strings.NewReader("x"), "If-Match", tag))
		if got := told.Load(); got != want {
			t.Errorf("If-Match: %s came as %s, want %s", tag, got, want)
		}
	}
}
