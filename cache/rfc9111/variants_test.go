package rfc9111

import (
	"net/http"
	"slices"
	"testing"
)

func TestParseCoding(t *testing.T) {
	tests := []struct {
		name, text string
		want       Coding
		ok         bool
	}{
		{"RFC 9110 8.4.1 any case", "GZip", CodingGzip, true},
		{"RFC 9110 8.4.1.3 x-gzip", "X-Gzip", CodingGzip, true},
		{"RFC 9110 12.5.3 identity", "identity", CodingIdentity, true},
		{"RFC 9110 8.4.1 another", "deflate", 0, false},
		{"RFC 9110 8.4.1 none", "", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := ParseCoding(tt.text); ok != tt.ok || ok && got != tt.want {
				t.Errorf("got %v, %v, want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	for _, c := range Codings {
		if got, ok := ParseCoding(c.String()); got != c || !ok {
			t.Errorf("%v reads back as %v, %v", c, got, ok)
		}
	}
}

func TestVaryByCoding(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"RFC 9110 12.5.5 none", nil, []string{"Accept-Encoding"}},
		{"RFC 9110 12.5.5 others", []string{"Cookie", "Accept"}, []string{"Cookie, Accept, Accept-Encoding"}},
		{"RFC 9110 12.5.5 there already", []string{"Cookie, accept-encoding"}, []string{"Cookie, accept-encoding"}},
		{"RFC 9110 12.5.5 everything", []string{"*"}, []string{"*"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.lines != nil {
				h["Vary"] = tt.lines
			}
			if VaryByCoding(h); !slices.Equal(h["Vary"], tt.want) {
				t.Errorf("got %q, want %q", h["Vary"], tt.want)
			}
		})
	}
}

func TestStrong(t *testing.T) {
	for _, row := range []struct {
		name, etag string
		want       bool
	}{
		{"RFC 9110 8.8.1 strong", `"a"`, true},
		{"RFC 9110 8.8.1 weak", `W/"a"`, false},
		{"RFC 9110 8.8.1 none", "", false},
	} {
		if got := Strong(row.etag); got != row.want {
			t.Errorf("%s: got %v", row.name, got)
		}
	}
}
