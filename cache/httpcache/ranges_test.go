package httpcache_test

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const alphabet = "abcdefghijklmnopqrstuvwxyz"

// part is one of a multipart/byteranges body.
type part struct{ contentRange, contentType, body string }

// parts reads a multipart answer with the standard library's reader.
func parts(t *testing.T, response *http.Response, body string) []part {
	t.Helper()
	kind, params, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		t.Fatalf("%s, Content-Type %q: %v", response.Status, response.Header.Get("Content-Type"), err)
	}
	var all []part
	reader := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for {
		p, err := reader.NextPart()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part{p.Header.Get("Content-Range"), p.Header.Get("Content-Type"), string(text)})
	}
}

// stored answers with the alphabet, which may be stored.
func stored(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("ETag", `"1"`)
	_, _ = io.WriteString(w, alphabet)
}

// RFC 9110 sections 14.2 and 15.3.7: one range, several, and what is no range.
func TestRanges(t *testing.T) {
	c := startChain(t, http.HandlerFunc(stored), settings{})
	c.each(func(t *testing.T, via client) {
		for _, row := range []struct {
			name, field string
			status      int
			want        string // "range=body" of each part
		}{
			{"one", "bytes=2-4", 206, "bytes 2-4/26=cde"},
			{"the last", "bytes=-2", 206, "bytes 24-25/26=yz"},
			{"beyond the end", "bytes=20-99", 206, "bytes 20-25/26=uvwxyz"},
			{"two", "bytes=0-1,4-5", 206, "bytes 0-1/26=ab bytes 4-5/26=ef"},
			{"in the order asked for", "bytes=-1, 3-3 ,0-0", 206, "bytes 25-25/26=z bytes 3-3/26=d bytes 0-0/26=a"},
			{"overlapping", "bytes=0-4,3-6,20-", 206, "bytes 0-6/26=abcdefg bytes 20-25/26=uvwxyz"},
			{"touching", "bytes=0-1,2-3", 206, "bytes 0-3/26=abcd"},
			{"one of two satisfiable", "bytes=0-1,30-40", 206, "bytes 0-1/26=ab"},
			{"none satisfiable", "bytes=26-,30-40", 416, ""},
			{"flood", "bytes=0-,0-,0-,0-", 200, alphabet},
			{"too many", "bytes=" + strings.TrimSuffix(strings.Repeat("0-0,", 17), ","), 200, alphabet},
			{"unit", "lines=1-2", 200, alphabet},
			{"malformed", "bytes=4-2", 200, alphabet},
		} {
			response, body := via.get(t, "/", "Range", row.field)
			got := body
			switch {
			case response.StatusCode == 206 && response.Header.Get("Content-Range") != "":
				got = response.Header.Get("Content-Range") + "=" + body
			case response.StatusCode == 206:
				var list []string
				for _, p := range parts(t, response, body) {
					list = append(list, p.contentRange+"="+p.body)
					if p.contentType != "text/plain" {
						t.Errorf("%s: a part of type %q", row.name, p.contentType)
					}
				}
				got = strings.Join(list, " ")
			case response.StatusCode == 416:
				wants(t, row.name, response.Header, map[string]string{
					"Content-Range": "bytes */26", "Content-Length": "0", "Cache-Control": "no-store", "Etag": "", "Content-Type": "",
				})
			}
			if response.StatusCode != row.status || got != row.want {
				t.Errorf("%s: %s, %q; want %d, %q", row.name, response.Status, got, row.status, row.want)
			}
			if length := response.Header.Get("Content-Length"); length != fmt.Sprint(len(body)) {
				t.Errorf("%s: Content-Length %s of %d bytes", row.name, length, len(body))
			}
		}
	})
}

// RFC 9110 section 14.2: Range has a meaning with GET only.
func TestRangeWithHead(t *testing.T) {
	c := startChain(t, http.HandlerFunc(stored), settings{})
	c.each(func(t *testing.T, via client) {
		for _, field := range []string{"bytes=0-1", "bytes=0-1,4-5", "bytes=99-"} {
			response, _ := via.do(t, via.request(t, http.MethodHead, "/", nil, "Range", field))
			if response.StatusCode != 200 || response.ContentLength != 26 {
				t.Errorf("%s: %s, length %d", field, response.Status, response.ContentLength)
			}
		}
	})
}

// RFC 9110 section 13.1.5: a range under a condition that fails, or that is
// weak, is the whole.
func TestIfRange(t *testing.T) {
	modified := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", r.URL.Query().Get("etag"))
		w.Header().Set("Last-Modified", modified)
		_, _ = io.WriteString(w, alphabet)
	}), settings{})
	via := c.clients()[0]
	for _, row := range []struct {
		etag, condition string
		status          int
	}{
		{`"1"`, `"1"`, 206}, {`"1"`, `"2"`, 200}, {`"1"`, `W/"1"`, 200}, {`W/"1"`, `W/"1"`, 200}, {`W/"1"`, `"1"`, 200},
		{`"1"`, modified, 206}, {`"1"`, "Sat, 01 Jan 2000 00:00:00 GMT", 200}, {`"1"`, "yesterday", 200},
	} {
		for _, field := range []string{"bytes=0-1", "bytes=0-1,4-5"} {
			target := "/?etag=" + strings.ReplaceAll(row.etag, `"`, "%22")
			response, _ := via.get(t, target, "Range", field, "If-Range", row.condition)
			if response.StatusCode != row.status {
				t.Errorf("ETag %s, If-Range %s: %s", row.etag, row.condition, response.Status)
			}
		}
	}
}

// growing is an origin whose body comes in two halves.
type growing struct {
	proceed chan struct{}
	known   bool // the length is announced
}

func (g *growing) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("ETag", `W/"1"`)
	if g.known {
		w.Header().Set("Content-Length", strconv.Itoa(len(alphabet)))
	}
	_, _ = io.WriteString(w, alphabet[:13])
	_ = http.NewResponseController(w).Flush()
	<-g.proceed
	_, _ = io.WriteString(w, alphabet[13:])
}

// Ranges, HEAD and conditions are answered from a fill that still runs, as far
// as it has come, if its length is known.
func TestRangesOfAGrowingFill(t *testing.T) {
	g := &growing{proceed: make(chan struct{}), known: true}
	c := startChain(t, g, settings{})
	for _, via := range c.clients() {
		path := "/" + strings.ReplaceAll(via.name, " ", "")
		started := make(chan string, 1)
		first, err := via.RoundTrip(via.request(t, http.MethodGet, path, nil))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			body, _ := io.ReadAll(first.Body)
			_ = first.Body.Close()
			started <- string(body)
		}()
		if response, body := via.get(t, path, "Range", "bytes=2-4"); response.StatusCode != 206 || body != "cde" {
			t.Errorf("%s: one range: %s, %q", via.name, response.Status, body)
		}
		response, body := via.get(t, path, "Range", "bytes=8-9,0-1,4-5")
		if got, want := parts(t, response, body), "[{bytes 0-1/26  ab} {bytes 4-5/26  ef} {bytes 8-9/26  ij}]"; strings.ReplaceAll(fmt.Sprint(got), "text/plain; charset=utf-8", "") != want {
			t.Errorf("%s: ranges %v, want %s", via.name, got, want)
		}
		if response, _ := via.do(t, via.request(t, http.MethodHead, path, nil)); response.ContentLength != 26 {
			t.Errorf("%s: HEAD: length %d", via.name, response.ContentLength)
		}
		for _, tag := range []string{`W/"1"`, `"1"`} {
			if response, _ := via.get(t, path, "If-None-Match", tag); response.StatusCode != 304 {
				t.Errorf("%s: If-None-Match %s: %s", via.name, tag, response.Status)
			}
		}
		if response, _ := via.get(t, path, "If-Match", `"1"`); response.StatusCode != 412 {
			t.Errorf("%s: If-Match never matches weakly: %s", via.name, response.Status)
		}
		across := make(chan string, 1)
		go func() {
			_, body := via.get(t, path, "Range", "bytes=10-15")
			across <- body
		}()
		g.proceed <- struct{}{}
		if body := <-across; body != "klmnop" {
			t.Errorf("%s: a range across the halves: %q", via.name, body)
		}
		if body := <-started; body != alphabet {
			t.Errorf("%s: the whole: %q", via.name, body)
		}
	}
}

// Without a known length there is no Content-Range: the whole is sent.
func TestRangeOfUnknownLength(t *testing.T) {
	g := &growing{proceed: make(chan struct{}, 1)}
	c := startChain(t, g, settings{})
	via := c.clients()[0]
	first, err := via.RoundTrip(via.request(t, http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	second, err := via.RoundTrip(via.request(t, http.MethodGet, "/", nil, "Range", "bytes=0-1,4-5"))
	if err != nil {
		t.Fatal(err)
	}
	g.proceed <- struct{}{}
	for _, response := range []*http.Response{first, second} {
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != 200 || string(body) != alphabet || err != nil {
			t.Errorf("%s, %q, %v", response.Status, body, err)
		}
	}
	if response, body := via.get(t, "/", "Range", "bytes=0-1"); response.StatusCode != 206 || body != "ab" {
		t.Errorf("once it is whole: %s, %q", response.Status, body)
	}
}

// The same ranges of one object give the same bytes.
func TestBoundaryIsStable(t *testing.T) {
	c := startChain(t, http.HandlerFunc(stored), settings{})
	via := c.clients()[0]
	_, first := via.get(t, "/", "Range", "bytes=0-1,4-5")
	_, again := via.get(t, "/", "Range", "bytes=0-1,4-5")
	_, other := via.get(t, "/", "Range", "bytes=0-1,4-6")
	if first != again || first[:34] == other[:34] {
		t.Errorf("%q, %q, %q", first, again, other)
	}
}

// RFC 9110 section 14.2: Range means nothing with HEAD, whatever an origin makes of
// it, and whether the answer is stored or not.
func TestHeadOfARange(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader(alphabet))
	}), settings{})
	c.each(func(t *testing.T, via client) {
		for range 3 { // the second one is a pass
			head, _ := via.do(t, via.request(t, http.MethodHead, "/", nil, "Range", "bytes=2-4"))
			if head.StatusCode != 200 || head.ContentLength != 26 {
				t.Errorf("%s, length %d", head.Status, head.ContentLength)
			}
		}
	})
}
