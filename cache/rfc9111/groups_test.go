package rfc9111

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestCacheGroups(t *testing.T) {
	var many []string
	for i := range groupsMax + 5 {
		many = append(many, fmt.Sprintf("g%d", i))
	}
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"RFC 9875 2 absent", nil, nil},
		{"RFC 9875 2 strings", []string{`"scripts", "a b"`}, []string{"scripts", "a b"}},
		{"RFC 9875 2 several lines", []string{`"a"`, `"b"`}, []string{"a", "b"}},
		{"RFC 9875 2 parameters are ignored", []string{`"a";revalidate, "b";x=1`}, []string{"a", "b"}},
		{"RFC 9875 2 case matters", []string{`"a", "A"`}, []string{"a", "A"}},
		{"RFC 9875 2 each once", []string{`"a", "b", "a"`}, []string{"a", "b"}},
		{"RFC 9875 2 escapes", []string{`"a\"b\\"`}, []string{`a"b\`}},
		{"RFC 9875 2 no list", []string{`"a" "b"`}, nil},
		{"RFC 9875 2 a token is no string", []string{`"a", b`}, nil},
		{"RFC 9875 2 an inner list", []string{`("a" "b")`}, nil},
		{"RFC 9875 2 empty", []string{""}, nil},
		{"limits: long", []string{`"a", "` + strings.Repeat("x", groupBytesMax+1) + `", "b"`}, []string{"a", "b"}},
		{"limits: many", []string{`"` + strings.Join(many, `", "`) + `"`}, many[:groupsMax]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := CacheGroups(http.Header{"Cache-Groups": tt.lines}); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGroupInvalidation(t *testing.T) {
	resp := header("Cache-Group-Invalidation", `"a", "b"`, "Cache-Groups", `"c"`)
	tests := []struct {
		name   string
		method string
		status int
		want   []string
	}{
		{"RFC 9875 3 unsafe", "POST", 200, []string{"a", "b"}},
		{"RFC 9875 3 safe", "GET", 200, nil},
		{"RFC 9111 4.4 error", "POST", 500, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := GroupInvalidation(tt.method, tt.status, resp); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzCacheGroups(f *testing.F) {
	f.Add(`"a", "b";x`, `"c"`)
	f.Add(`("a")`, `\`)
	f.Fuzz(func(t *testing.T, a, b string) {
		groups := CacheGroups(http.Header{"Cache-Groups": {a, b}})
		if len(groups) > groupsMax {
			t.Fatalf("%d groups", len(groups))
		}
		var field []byte
		for i, g := range groups {
			if len(g) > groupBytesMax || slices.Contains(groups[:i], g) {
				t.Fatalf("%q", groups)
			}
			if i > 0 {
				field = append(field, ',')
			}
			field = appendSFString(field, g)
		}
		if again := CacheGroups(http.Header{"Cache-Groups": {string(field)}}); !slices.Equal(again, groups) {
			t.Fatalf("%q becomes %q", groups, again)
		}
	})
}
