package origin

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// The paths a client may send and what becomes of each: a key, or a refusal.
var keyRows = []struct {
	name   string
	target string
	key    string // with status 0
	status int
}{
	{"plain", "/a.txt", "a.txt", 0},
	{"RFC 3986 2.1: decoded once", "/a%20b/%C3%BC.txt", "a b/ü.txt", 0},
	{"RFC 3986 2.2: sub-delims", "/a+b=c&d;e,f!$'()*@:.txt", "a+b=c&d;e,f!$'()*@:.txt", 0},
	{"an encoded question mark is part of the key", "/what%3F.txt", "what?.txt", 0},
	{"an encoded hash is part of the key", "/c%23.txt", "c#.txt", 0},
	{"a percent sign on its own", "/100%25.txt", "100%.txt", 0},
	{"trailing slash", "/docs/", "docs/", 0},
	{"dots in names", "/...a/b../..c/.well-known/x", "...a/b../..c/.well-known/x", 0},
	{"four-byte runes", "/%F0%9F%98%80", "😀", 0},
	{"the query is no part of it", "/a.txt?versionId=1&acl", "a.txt", 0},
	{"longest", "/" + strings.Repeat("a", 1024), strings.Repeat("a", 1024), 0},

	{"root", "/", "", 404},
	{"empty segment", "/a//b", "", 404},
	{"leading empty segment", "//a", "", 404},
	{"another host's form", "//other/bucket/a", "", 404},
	{"trailing empty segment", "/a//", "", 404},
	{"too long", "/" + strings.Repeat("a", 1025), "", 404},

	{"RFC 3986 3.3: dot segment", "/../a", "", 400},
	{"dot segment inside", "/a/../../b", "", 400},
	{"dot segment at the end", "/a/..", "", 400},
	{"dot segment before a slash", "/a/../", "", 400},
	{"single dot", "/./a", "", 400},
	{"single dot at the end", "/a/.", "", 400},
	{"only dots", "/..", "", 400},
	{"encoded dots", "/%2e%2e/a", "", 400},
	{"encoded dots, upper case", "/%2E%2E/a", "", 400},
	{"half encoded dots", "/.%2e/a", "", 400},
	{"other half", "/%2e./a", "", 400},
	{"encoded single dot", "/%2e/a", "", 400},
	{"encoded slash", "/a%2fb", "", 400},
	{"encoded slash, upper case", "/a%2Fb", "", 400},
	{"encoded traversal", "/..%2f..%2fetc%2fpasswd", "", 400},
	{"all of it encoded", "/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "", 400},
	{"twice encoded traversal", "/%252e%252e%252fetc%252fpasswd", "", 400},
	{"twice encoded dots", "/%252e%252e/a", "", 400},
	{"twice encoded slash", "/a%252fb", "", 400},
	{"thrice encoded", "/%25252e%25252e/a", "", 400},
	{"twice encoded backslash", "/a%255cb", "", 400},
	{"twice encoded NUL", "/a%2500", "", 400},
	{"NUL", "/a%00", "", 400},
	{"NUL before an ending", "/secret%00.html", "", 400},
	{"line feed", "/a%0ab", "", 400},
	{"carriage return and line feed", "/a%0d%0aHost:%20evil", "", 400},
	{"tab", "/a%09b", "", 400},
	{"escape", "/a%1b", "", 400},
	{"delete", "/a%7f", "", 400},
	{"C1 control", "/a%c2%85", "", 400},
	{"backslash", `/a\b`, "", 400},
	{"encoded backslash", "/a%5cb", "", 400},
	{"backslash traversal", `/..\..\windows`, "", 400},
	{"encoded backslash traversal", "/..%5c..%5cwindows", "", 400},
	{"RFC 3629: lone continuation", "/%80", "", 400},
	{"RFC 3629: overlong slash", "/..%c0%af..%c0%afetc", "", 400},
	{"RFC 3629: overlong dot", "/%c0%ae%c0%ae/a", "", 400},
	{"RFC 3629: overlong in three bytes", "/%e0%80%af", "", 400},
	{"RFC 3629: surrogate", "/%ed%a0%80", "", 400},
	{"RFC 3629: cut short", "/%e2%82", "", 400},
	{"RFC 3629: beyond Unicode", "/%f5%80%80%80", "", 400},
	{"Latin-1", "/caf%e9", "", 400},
	{"RFC 9112 3.2.4: asterisk form", "*", "", 400},
}

func TestObjectKey(t *testing.T) {
	for _, row := range keyRows {
		t.Run(row.name, func(t *testing.T) {
			u, err := url.ParseRequestURI(row.target)
			if err != nil {
				t.Fatal(err)
			}
			key, refused := objectKey(u, "")
			switch {
			case refused == nil && (row.status != 0 || key != row.key):
				t.Errorf("%q is key %q, want %q, status %d", row.target, key, row.key, row.status)
			case refused != nil && refused.status != row.status:
				t.Errorf("%q is refused with %d (%v), want %d", row.target, refused.status, refused, row.status)
			}
		})
	}
}

func TestObjectKeyHandMadeURLs(t *testing.T) {
	for _, u := range []*url.URL{
		{Opaque: "bucket/key"},
		{},
		{Path: "a"},
		{Path: "../a"},
		{Path: "/a/../b", RawPath: "/a/x/b"},
		{Path: "/\x00", RawPath: "/a"},
	} {
		if key, refused := objectKey(u, ""); refused == nil || refused.status != 400 {
			t.Errorf("%#v gave key %q, refusal %v", u, key, refused)
		}
	}
}

func TestPrefix(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "site": "site/", "site/": "site/", "a/b c": "a/b c/"} {
		if got, err := cleanPrefix(prefix); err != nil || got != want {
			t.Errorf("prefix %q is %q, %v; want %q", prefix, got, err, want)
		}
	}
	for _, prefix := range []string{"/", "/a", "..", "a/../b", "a//b", "a\x00", "\xff", `a\b`} {
		if got, err := cleanPrefix(prefix); err == nil {
			t.Errorf("prefix %q is taken, as %q", prefix, got)
		}
	}
	u := &url.URL{Path: "/" + strings.Repeat("a", 1020)}
	if _, refused := objectKey(u, "site/"); refused == nil || refused.status != 404 {
		t.Errorf("prefix and path of 1025 bytes: %v, want 404", refused)
	}
	if key, refused := objectKey(&url.URL{Path: "/"}, "site/"); refused == nil || refused.status != 404 {
		t.Errorf("the prefix itself is key %q", key)
	}
}

// FuzzObjectKey looks for a target whose key is anything but the prefix and
// plain segments, by any of the readings that a store might have.
func FuzzObjectKey(f *testing.F) {
	for _, row := range keyRows {
		f.Add(row.target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip()
		}
		const prefix = "site/"
		key, refused := objectKey(u, prefix)
		if refused != nil {
			if refused.status != 400 && refused.status != 404 || refused.reason == "" {
				t.Fatalf("%q: refusal %+v", target, refused)
			}
			return
		}
		checkSafe(t, target, prefix, key)
		if !utf8.ValidString(key) {
			t.Fatalf("%q: key %q is not UTF-8", target, key)
		}
		if twice, err := url.PathUnescape(key); err == nil {
			checkSafe(t, target, prefix, twice)
		}
	})
}

func checkSafe(t *testing.T, target, prefix, key string) {
	t.Helper()
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok || rest == "" || len(key) > keyBytesMax || strings.ContainsAny(key, "\x00\r\n\\") {
		t.Fatalf("%q: key %q", target, key)
	}
	if clean := path.Clean("/" + rest); strings.TrimSuffix("/"+rest, "/") != clean && clean != "/" {
		t.Fatalf("%q: key %q means %q", target, key, clean)
	}
}
