package rfc9111

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestInvalidates(t *testing.T) {
	tests := []struct {
		name   string
		method string
		status int
		want   bool
	}{
		{"4.4 POST", "POST", 200, true},
		{"4.4 PUT, created", "PUT", 201, true},
		{"4.4 DELETE, no content", "DELETE", 204, true},
		{"4.4 POST, redirection", "POST", 303, true},
		{"4.4 unknown safety", "M-SEARCH", 200, true},
		{"4.4 method names have a case", "get", 200, true},
		{"4.4 client error", "POST", 404, false},
		{"4.4 server error", "POST", 500, false},
		{"4.4 interim", "POST", 103, false},
		{"4.4 unknown class", "POST", 999, false},
		{"RFC 9110 9.2.1 GET", "GET", 200, false},
		{"RFC 9110 9.2.1 HEAD", "HEAD", 200, false},
		{"RFC 9110 9.2.1 OPTIONS", "OPTIONS", 200, false},
		{"RFC 9110 9.2.1 TRACE", "TRACE", 200, false},
		{"RFC 4918 9.1 PROPFIND", "PROPFIND", 207, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Invalidates(tt.method, tt.status); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// plainly is what cache keys do, as far as these tests need it.
func plainly(authority, target string) (host, key string, ok bool) {
	host, _, _ = strings.Cut(strings.ToLower(authority), ":")
	return host, strings.ReplaceAll(target, "%7E", "~"), !strings.Contains(target, "\x00") && host != "bad"
}

func TestInvalidationTargets(t *testing.T) {
	const target = "/a/b?q=1"
	tests := []struct {
		name string
		resp http.Header
		want []string
	}{
		{"4.4 none", header(), nil},
		{"4.4 Location", header("Location", "/x"), []string{"/x"}},
		{"4.4 Content-Location", header("Content-Location", "/x?y=1"), []string{"/x?y=1"}},
		{"4.4 both", header("Location", "/x", "Content-Location", "/y"), []string{"/x", "/y"}},
		{"4.4 both the same", header("Location", "/x", "Content-Location", "/x"), []string{"/x"}},
		{"4.4 the target itself", header("Location", "?q=1"), nil},
		{"RFC 3986 5.2 relative", header("Location", "c"), []string{"/a/c"}},
		{"RFC 3986 5.2 dot segments", header("Location", "../../../c"), []string{"/c"}},
		{"RFC 3986 5.2 fragment", header("Location", "/x#y"), []string{"/x"}},
		{"RFC 3986 5.2 empty", header("Content-Location", ""), nil},
		{"4.4 same origin", header("Location", "https://WWW.example.com:443/x"), []string{"/x"}},
		{"4.4 same origin, no path", header("Location", "http://www.example.com"), []string{"/"}},
		{"4.4 same origin, no scheme", header("Location", "//www.example.com/x"), []string{"/x"}},
		{"4.4 another origin", header("Location", "https://example.com/x"), nil},
		{"4.4 another origin, longer", header("Location", "https://www.example.com.net/x"), nil},
		{"4.4 another origin, disguised", header("Location", "https://www.example.com@example.net/x"), nil},
		{"4.4 user", header("Location", "https://u@www.example.com/x"), nil},
		{"4.4 another scheme", header("Location", "ftp://www.example.com/x"), nil},
		{"4.4 no path at all", header("Location", "mailto:a@example.com"), nil},
		{"keys: normalised", header("Location", "/%7Ex"), []string{"/~x"}},
		{"keys: none", header("Location", "https://bad/x"), nil},
		{"malformed", header("Location", "http://[::1/%zz"), nil},
		{"repeated", header("Location", "/x", "Location", "/y"), nil},
		{"too long", header("Location", "/"+strings.Repeat("x", locationBytesMax)), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := InvalidationTargets("www.example.com", target, tt.resp, plainly)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLocated(t *testing.T) {
	tests := []struct {
		name string
		resp http.Header
		want bool
	}{
		{"RFC 9110 6.4.2 absent", header(), false},
		{"RFC 9110 6.4.2 the target", header("Content-Location", "/a"), true},
		{"RFC 9110 6.4.2 the target's URI", header("Content-Location", "https://www.example.com/a"), true},
		{"RFC 9110 6.4.2 empty", header("Content-Location", ""), true},
		{"RFC 9110 6.4.2 another", header("Content-Location", "/b"), false},
		{"RFC 9110 6.4.2 another host", header("Content-Location", "//example.net/a"), false},
		{"RFC 9110 6.4.2 Location is not it", header("Location", "/a"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Located("www.example.com", "/a", tt.resp, plainly); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	ip := func(authority, target string) (host, key string, ok bool) { return authority, target, true }
	if !Located("::1", "/a", header("Content-Location", "http://[::1]/a"), ip) {
		t.Error("an IPv6 address is not found")
	}
}

func FuzzInvalidationTargets(f *testing.F) {
	f.Add("/x?y", "https://www.example.com:80/../x")
	f.Add("//u@h", "%2f")
	f.Fuzz(func(t *testing.T, location, contentLocation string) {
		resp := http.Header{"Location": {location}, "Content-Location": {contentLocation}}
		targets := InvalidationTargets("www.example.com", "/a", resp, plainly)
		if len(targets) > 2 {
			t.Fatalf("%q", targets)
		}
		for _, target := range targets {
			if !strings.HasPrefix(target, "/") || target == "/a" {
				t.Fatalf("%q and %q give %q", location, contentLocation, target)
			}
		}
	})
}
