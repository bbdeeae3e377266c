package rfc9111

import (
	"net/http"
	"testing"
)

func TestLooped(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		want   int
	}{
		{"RFC 8586 2 absent", nil, 0},
		{"RFC 8586 2 once", []string{"weir"}, 1},
		{"RFC 8586 2 others", []string{"foo123.foocdn.example, barcdn.example; trace=\"abcdef\"", "AnotherCDN; abc=123"}, 0},
		{"RFC 8586 2 among others", []string{`a, weir;x=1 , b`}, 1},
		{"RFC 8586 2 several lines", []string{"weir", "a, Weir"}, 2},
		{"RFC 8586 2 part of a name", []string{"weir2, aweir, we ir"}, 0},
		{"RFC 8586 2 in a parameter", []string{`a; x=", weir, ", b;weir`}, 0},
		{"RFC 8586 2 quote without end hides nothing", []string{`a; x=", weir`}, 1},
		{"RFC 8586 2 empty members", []string{",,weir,,"}, 1},
		{"RFC 8586 2 port", []string{"weir:443"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Looped(tt.values, "weir"); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	if got := Looped([]string{",;"}, ""); got != 0 {
		t.Errorf("no id: got %d", got)
	}
	if http.CanonicalHeaderKey("CDN-Loop") != LoopField {
		t.Error("LoopField is not canonical")
	}
}

func TestAppendLoop(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		want   string
	}{
		{"RFC 8586 2 absent", nil, "weir"},
		{"RFC 8586 2 behind the others", []string{"a; x=1", "b"}, "a; x=1, b, weir"},
		{"RFC 8586 2 again", []string{"weir"}, "weir, weir"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := AppendLoop(tt.values, "weir"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzLooped(f *testing.F) {
	f.Add(`a; x=", weir`, "b")
	f.Add(`"\`, ",")
	f.Fuzz(func(t *testing.T, a, b string) {
		times := Looped([]string{a, b}, "weir")
		if more := Looped([]string{a, b, "weir"}, "weir"); more != times+1 {
			t.Fatalf("%d, and with one more %d", times, more)
		}
	})
}
