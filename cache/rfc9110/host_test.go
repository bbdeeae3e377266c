package rfc9110

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestCanonicalHost(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 63) // 255 bytes
	tests := []struct {
		name, hostport, want string
	}{
		{"7.2 name", "example.com", "example.com"},
		{"4.2.3 upper case", "Example.COM", "example.com"},
		{"7.2 port", "example.com:8080", "example.com"},
		{"RFC 3986 3.2.3 empty port", "example.com:", "example.com"},
		{"dot at the end", "example.com.", "example.com"},
		{"dot at the end and a port", "example.com.:80", "example.com"},
		{"underscore", "a_b.example", "a_b.example"},
		{"A-label", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"one label", "localhost:1", "localhost"},
		{"IPv4", "127.0.0.1:80", "127.0.0.1"},
		{"RFC 3986 3.2.2 IPv6", "[::1]", "::1"},
		{"RFC 3986 3.2.2 IPv6 and a port", "[2001:DB8::0:1]:443", "2001:db8::1"},
		{"IPv6 without brackets", "2001:db8::1", "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:1.2.3.4]", "::ffff:1.2.3.4"},
		{"RFC 1035 2.3.4 longest", long, long},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := CanonicalHost(tt.hostport); err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestCanonicalHostRefuses(t *testing.T) {
	tests := []struct{ name, hostport string }{
		{"7.2 empty", ""},
		{"only a port", ":80"},
		{"only a dot", "."},
		{"empty label", "a..b"},
		{"two dots at the end", "a.."},
		{"dot at the start", ".a"},
		{"port is no number", "a:b"},
		{"port too large", "a:65536"},
		{"port with a sign", "a:+80"},
		{"RFC 3986 3.2.1 user", "user@host"},
		{"path", "a/b"},
		{"backslash", `a\b`},
		{"escape", "a%2eb"},
		{"space", "a b"},
		{"NUL", "a\x00"},
		{"not ASCII", "bücher.example"},
		{"list", "a,b"},
		{"open bracket", "[::1"},
		{"after the bracket", "[::1]x"},
		{"name in brackets", "[a]"},
		{"IPv4 in brackets", "[1.2.3.4]"},
		{"RFC 6874 zone", "[fe80::1%25eth0]"},
		{"zone", "fe80::1%eth0"},
		{"not IPv6", "a:b:c"},
		{"RFC 1035 2.3.4 label too long", strings.Repeat("a", 64)},
		{"RFC 1035 2.3.4 too long", strings.Repeat("a.", 128) + "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := CanonicalHost(tt.hostport)
			var refused *HostError
			if !errors.As(err, &refused) || got != "" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	req := http.Header{"If-None-Match": {`"x", "abc"`}, "If-Modified-Since": {middle}}
	tests := map[string]func(){
		"CanonicalHost": func() { _, _ = CanonicalHost("example.com:8080") },
		"Evaluate":      func() { EvaluateStored("GET", req, `"abc"`, middle, "") },
		"IfRange":       func() { IfRange(req, `"abc"`, middle) },
	}
	for name, f := range tests {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, seed := range []string{"Example.COM.:80", "[2001:DB8::0:1]:443", "::1", "a_b", "[::ffff:1.2.3.4]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, hostport string) {
		host, err := CanonicalHost(hostport)
		if err != nil {
			return
		}
		if host == "" || len(host) > hostBytesMax || strings.ToLower(host) != host || strings.HasSuffix(host, ".") {
			t.Fatalf("%q became %q", hostport, host)
		}
		if again, err := CanonicalHost(host); err != nil || again != host {
			t.Fatalf("%q became %q, which became %q, %v", hostport, host, again, err)
		}
	})
}
