package rfc9110

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNormalisePath(t *testing.T) {
	tests := []struct {
		name, path, want string
	}{
		{"RFC 3986 3.3 root", "/", "/"},
		{"RFC 3986 3.3 plain", "/a/b-c_d~e.f;g=1,2:@!$&'()*+", "/a/b-c_d~e.f;g=1,2:@!$&'()*+"},
		{"RFC 3986 6.2.2.1 upper case", "/a%c3%a9", "/a%C3%A9"},
		{"RFC 3986 6.2.2.2 unreserved", "/%61%7E%2d%5f%31%2E%41", "/a~-_1.A"},
		{"RFC 3986 6.2.2.2 reserved stays", "/%21%3b%40", "/%21%3B%40"},
		{"RFC 3986 2.1 raw UTF-8", "/é", "/%C3%A9"},
		{"RFC 3986 2.1 half raw, half escaped", "/\xc3%a9", "/%C3%A9"},
		{"RFC 3986 2.1 space and friends", "/a b\"<>^`{|}[]", "/a%20b%22%3C%3E%5E%60%7B%7C%7D%5B%5D"},
		{"RFC 3986 2.1 escaped ? and #", "/a%3fb%23", "/a%3Fb%23"},
		{"RFC 3986 2.1 escaped percent", "/%25%2561", "/%25%2561"},
		{"encoded slash stays", "/a%2fb", "/a%2Fb"},
		{"backslash stays, escaped", `/a\b%5c`, "/a%5Cb%5C"},
		{"empty segments stay", "//a///b//", "//a///b//"},
		{"RFC 3986 6.2.2.3 dots within segments", "/.a/..b/c./d../...", "/.a/..b/c./d../..."},
		{"RFC 3986 6.2.2.3 escaped dot within", "/%2ewell-known/x", "/.well-known/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NormalisePath(tt.path)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestNormalisePathRefuses(t *testing.T) {
	tests := []struct {
		name, path string
		want       PathProblem
	}{
		{"empty", "", PathNotAbsolute},
		{"relative", "a/b", PathNotAbsolute},
		{"asterisk form", "*", PathNotAbsolute},
		{"whole URL", "http://a/b", PathNotAbsolute},
		{"too long", "/" + strings.Repeat("a", pathBytesMax), PathTooLong},
		{"too long once escaped", "/" + strings.Repeat("é", pathBytesMax/4), PathTooLong},
		{"RFC 3986 2.1 escape cut short", "/a%4", PathBadEscape},
		{"RFC 3986 2.1 escape at the end", "/a%", PathBadEscape},
		{"RFC 3986 2.1 not hexadecimal", "/%zz", PathBadEscape},
		{"NUL", "/a\x00", PathControlByte},
		{"escaped NUL", "/a%00", PathControlByte},
		{"escaped line feed", "/a%0a", PathControlByte},
		{"tab", "/a\tb", PathControlByte},
		{"DEL", "/%7f", PathControlByte},
		{"RFC 3986 3.3 dot", "/./a", PathDotSegment},
		{"RFC 3986 3.3 dot at the end", "/a/.", PathDotSegment},
		{"RFC 3986 3.3 dot dot", "/a/../b", PathDotSegment},
		{"RFC 3986 3.3 dot dot at the end", "/a/..", PathDotSegment},
		{"RFC 3986 3.3 alone", "/..", PathDotSegment},
		{"escaped dots", "/a/%2e%2E/b", PathDotSegment},
		{"half escaped", "/a/.%2e", PathDotSegment},
		{"between encoded slashes", "/a%2f..%2fb", PathDotSegment},
		{"after an encoded slash", "/a%2f..", PathDotSegment},
		{"after a backslash", `/a\..\b`, PathDotSegment},
		{"after an escaped backslash", "/a%5c..", PathDotSegment},
		{"not UTF-8", "/%ff", PathNotUTF8},
		{"overlong slash", "/%c0%af", PathNotUTF8},
		{"surrogate", "/%ed%a0%80", PathNotUTF8},
		{"cut short", "/%c3/", PathNotUTF8},
		{"raw, not UTF-8", "/\xff", PathNotUTF8},
		{"query", "/a?b", PathQueryOrFragment},
		{"fragment", "/a#b", PathQueryOrFragment},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NormalisePath(tt.path)
			var problem *PathError
			if !errors.As(err, &problem) || problem.Problem != tt.want || got != "" {
				t.Errorf("got %q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestNormalisePathAllocatesNothingWhenNormal(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = NormalisePath("/docs/a-page.html") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHasEncodedSlash(t *testing.T) {
	for path, want := range map[string]bool{"/a/b": false, "/a%2Fb": true, "/a%2fb": true, "/a%252Fb": false} {
		if got := HasEncodedSlash(path); got != want {
			t.Errorf("%q: got %v", path, got)
		}
	}
}

func TestSplitTarget(t *testing.T) {
	tests := []struct{ target, path, query string }{
		{"/a", "/a", ""},
		{"/a?", "/a", ""},
		{"/a?b=c", "/a", "b=c"},
		{"/a?b?c", "/a", "b?c"},
		{"?b", "", "b"},
		{"", "", ""},
	}
	for _, tt := range tests {
		if path, query := SplitTarget(tt.target); path != tt.path || query != tt.query {
			t.Errorf("%q: got %q, %q", tt.target, path, query)
		}
	}
}

func FuzzNormalisePath(f *testing.F) {
	for _, seed := range []string{"/a/%2e%2e/b", "/%C3%A9é", `/\..%5c%2F`, "/a b?c#d", "/%25%32%65"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := NormalisePath(path)
		if err != nil {
			var problem *PathError
			if !errors.As(err, &problem) || problem.Problem == 0 {
				t.Fatalf("%q: error %v", path, err)
			}
			return
		}
		if again, err := NormalisePath(got); err != nil || again != got {
			t.Fatalf("%q became %q, which became %q, %v", path, got, again, err)
		}
		before, err1 := url.PathUnescape(path)
		after, err2 := url.PathUnescape(got)
		if err1 != nil || err2 != nil || before != after || !utf8.ValidString(after) {
			t.Fatalf("%q means %q, %v; %q means %q, %v", path, before, err1, got, after, err2)
		}
		slashes := strings.NewReplacer(`\`, "/")
		for segment := range strings.SplitSeq(slashes.Replace(after), "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q has a dot segment", got)
			}
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f {
				t.Fatalf("%q has a bare byte %#x", got, got[i])
			}
		}
	})
}
