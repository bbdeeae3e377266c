package rfc9111

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestAcceptanceBest has every row under RFC 9110 section 12.5.3.
func TestAcceptanceBest(t *testing.T) {
	all := []Coding{CodingZstd, CodingBrotli, CodingGzip}
	tests := []struct {
		name   string
		lines  []string
		offers []Coding
		best   Coding
		admits []Coding
	}{
		{"absent", nil, all, CodingIdentity, []Coding{CodingIdentity}},
		{"empty", []string{""}, all, CodingIdentity, []Coding{CodingIdentity}},
		{"a browser's", []string{"gzip, deflate, br, zstd"}, all, CodingZstd, Codings[:]},
		{"an older browser's", []string{"gzip, deflate, br"}, all, CodingBrotli, []Coding{CodingIdentity, CodingBrotli, CodingGzip}},
		{"the site's order among equals", []string{"gzip, br, zstd"}, []Coding{CodingGzip, CodingZstd}, CodingGzip, Codings[:]},
		{"weights before the site's order", []string{"zstd;q=0.1, br;q=0.2, gzip;q=0.9"}, all, CodingGzip, Codings[:]},
		{"not offered", []string{"gzip"}, []Coding{CodingBrotli}, CodingIdentity, []Coding{CodingIdentity, CodingGzip}},
		{"any", []string{"*"}, all, CodingZstd, Codings[:]},
		{"any but", []string{"*, zstd;q=0"}, all, CodingBrotli, []Coding{CodingIdentity, CodingBrotli, CodingGzip}},
		{"any at less", []string{"*;q=0.5, gzip"}, all, CodingGzip, Codings[:]},
		{"any refused", []string{"gzip, *;q=0"}, all, CodingGzip, []Coding{CodingGzip}},
		{"all refused", []string{"*;q=0"}, all, CodingIdentity, nil},
		{"identity refused", []string{"br, identity;q=0"}, all, CodingBrotli, []Coding{CodingBrotli}},
		{"identity preferred", []string{"br;q=0.5, identity"}, all, CodingIdentity, []Coding{CodingIdentity, CodingBrotli}},
		{"identity as good", []string{"br, identity"}, all, CodingBrotli, []Coding{CodingIdentity, CodingBrotli}},
		{"identity only, a media element's", []string{"identity;q=1, *;q=0"}, all, CodingIdentity, []Coding{CodingIdentity}},
		{"x-gzip is gzip", []string{"X-GZip"}, all, CodingGzip, []Coding{CodingIdentity, CodingGzip}},
		{"given twice", []string{"gzip;q=0", "gzip;q=0.3"}, all, CodingGzip, []Coding{CodingIdentity, CodingGzip}},
		{"malformed weight", []string{"zstd;q=2, br;q=0.2"}, all, CodingBrotli, []Coding{CodingIdentity, CodingBrotli}},
		{"others", []string{"deflate, compress"}, all, CodingIdentity, []Coding{CodingIdentity}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := ParseAcceptance(http.Header{"Accept-Encoding": tt.lines})
			if got := a.Best(tt.offers); got != tt.best || a.Given != (tt.lines != nil) {
				t.Errorf("best %s, want %s; given %v", got, tt.best, a.Given)
			}
			for _, c := range Codings {
				if a.Admits(c) != slices.Contains(tt.admits, c) {
					t.Errorf("admits %s: %v", c, a.Admits(c))
				}
			}
		})
	}
	h := http.Header{"Accept-Encoding": {"gzip, deflate, br, zstd;q=0.5"}}
	if n := testing.AllocsPerRun(100, func() { a := ParseAcceptance(h); a.Best(all) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFormOf(t *testing.T) {
	page := Form{Text: true}
	fixed := Form{Fixed: true}
	tests := []struct {
		name   string
		status int
		vary   []string
		header http.Header
		want   Form
	}{
		{"text", 200, nil, header("Content-Type", "text/html"), page},
		{"text with parameters, any case", 200, nil, header("Content-Type", "Text/HTML ; charset=utf-8"), page},
		{"JSON", 200, nil, header("Content-Type", "application/problem+json"), page},
		{"SVG", 200, nil, header("Content-Type", "image/svg+xml"), page},
		{"WebAssembly", 200, nil, header("Content-Type", "application/wasm"), page},
		{"an image", 200, nil, header("Content-Type", "image/webp"), Form{}},
		{"WOFF", 200, nil, header("Content-Type", "font/woff2"), Form{}},
		{"events", 200, nil, header("Content-Type", "text/event-stream"), Form{}},
		{"no type", 200, nil, header(), Form{}},
		{"a long type", 200, nil, header("Content-Type", "text/"+strings.Repeat("x", 100)), Form{}},
		{"RFC 9110 8.4 gzip", 200, nil, header("Content-Type", "text/css", "Content-Encoding", "GZIP"), Form{Text: true, Coding: CodingGzip}},
		{"RFC 9110 8.4.1.3 x-gzip", 200, nil, header("Content-Encoding", "x-gzip"), Form{Coding: CodingGzip}},
		{"RFC 9110 8.4 br", 200, nil, header("Content-Encoding", "br"), Form{Coding: CodingBrotli}},
		{"RFC 8878 zstd", 200, nil, header("Content-Encoding", "zstd"), Form{Coding: CodingZstd}},
		{"an empty Content-Encoding", 200, nil, header("Content-Type", "text/css", "Content-Encoding", ""), page},
		{"identity, which is none", 200, nil, header("Content-Type", "text/css", "Content-Encoding", "identity"), page},
		{"RFC 9110 8.4 two codings", 200, nil, header("Content-Encoding", "gzip, br"), fixed},
		{"RFC 9110 8.4 an unknown coding", 200, nil, header("Content-Encoding", "dcb"), fixed},
		{"RFC 9111 5.2.2.6", 200, nil, header("Content-Type", "text/html", "Cache-Control", "public,NO-TRANSFORM"), fixed},
		{"RFC 9213 targeted", 200, nil, header("Cdn-Cache-Control", "no-transform"), fixed},
		{"another field that ends like one", 200, nil, header("Content-Type", "text/html", "Access-Control", "x"), page},
		{"RFC 9110 15.3.7 a part", 200, nil, header("Content-Range", "bytes 0-1/2"), fixed},
		{"another status", 404, nil, header("Content-Type", "text/html"), fixed},
		{"RFC 9110 12.5.5 the origin negotiates", 200, []string{"accept-encoding", "origin"}, header("Content-Type", "text/html", "Content-Encoding", "gzip"),
			Form{Coding: CodingGzip, Text: true, Fixed: true}},
		{"RFC 9110 12.5.5 the origin negotiates, and has left it as it is", 200, []string{"accept-encoding", "origin"}, header("Content-Type", "text/html"), page},
		{"it varies by something else", 200, []string{"origin"}, header("Content-Type", "text/html"), page},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := FormOf(tt.status, tt.vary, AppendFields(nil, tt.header))
			if got.Fixed != tt.want.Fixed || !got.Fixed && got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
	two := AppendFields(nil, http.Header{"Content-Encoding": {"gzip", "br"}})
	if !FormOf(200, nil, two).Fixed {
		t.Error("two lines of Content-Encoding are not fixed")
	}
	archive := AppendFields(nil, header("Content-Encoding", "gzip", "Content-Type", "application/x-gzip"))
	if !FormOf(200, nil, archive).Fixed {
		t.Error("an archive is not fixed")
	}
	block := AppendFields(nil, header("Content-Type", "text/html; charset=utf-8", "Cache-Control", "max-age=60", "Content-Encoding", "gzip", "X-A", "b"))
	if n := testing.AllocsPerRun(100, func() { FormOf(200, []string{"origin"}, block) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCodedFields(t *testing.T) {
	stored := header("Content-Type", "text/html", "Etag", `"a"`, "Vary", "Origin", "Repr-Digest", "x", "Content-Digest", "x",
		"Digest", "x", "Content-Md5", "x", "X-Amz-Checksum-Crc32", "x", "X-Goog-Hash", "x", "Last-Modified", "y")
	got := CodedFields(stored, CodingBrotli, `"a-br1"`)
	want := header("Content-Type", "text/html", "Etag", `"a-br1"`, "Vary", "Origin, Accept-Encoding", "Content-Encoding", "br", "Last-Modified", "y")
	if text, wanted := string(AppendFields(nil, got)), string(AppendFields(nil, want)); text != wanted {
		t.Errorf("got\n%swant\n%s", text, wanted)
	}
	got = CodedFields(want, CodingIdentity, "")
	if got.Get("Content-Encoding") != "" || got.Get("Etag") != "" || got.Get("Vary") != "Origin, Accept-Encoding" {
		t.Errorf("decoded: %v", got)
	}
	if stored.Get("Etag") != `"a"` || stored.Get("Vary") != "Origin" {
		t.Error("the stored fields have changed")
	}
}

// Whatever a client sends, acceptance and the variant text agree.
func FuzzAcceptance(f *testing.F) {
	for _, seed := range []string{"gzip, br;q=0.5", "*;q=0, identity", "x-gzip;q=1.001", ",;q=", "zstd;q=0.000\t,*"} {
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		h := http.Header{"Accept-Encoding": {one, two}}
		a, text := ParseAcceptance(h), AcceptEncoding(h)
		keyed := ParseAcceptance(http.Header{"Accept-Encoding": {text}})
		for _, c := range Codings[1:] {
			if keyed.Admits(c) && !a.Admits(c) {
				t.Errorf("%q: the key says %s, the request does not", text, c)
			}
		}
		best := a.Best(Codings[1:])
		if best != CodingIdentity && !a.Admits(best) {
			t.Errorf("%s is best and not admitted", best)
		}
		if a.Admits(CodingIdentity) == strings.Contains(text, "identity;q=0") {
			t.Errorf("identity: %v, and the key %q", a.Admits(CodingIdentity), text)
		}
	})
}

// Whatever is stored, a form can be read, and fields for another coding made,
// which are of that coding.
func FuzzFormOf(f *testing.F) {
	f.Add([]byte("Content-Type: text/html\r\nContent-Encoding: gzip\r\nVary: a\r\n"), `"x"`)
	f.Add([]byte("Cache-Control: no-transform\r\nContent-Encoding: a, b\r\n"), "")
	f.Fuzz(func(t *testing.T, block []byte, etag string) {
		form := FormOf(200, nil, block)
		if form.Fixed || form.Coding != CodingIdentity {
			return
		}
		h := CodedFields(ParseFields(block), CodingBrotli, CodedTag(etag, "br1"))
		again := FormOf(200, nil, AppendFields(nil, h))
		if !again.Fixed && again.Coding != CodingBrotli {
			t.Errorf("%+v after %+v: %v", again, form, h)
		}
	})
}
