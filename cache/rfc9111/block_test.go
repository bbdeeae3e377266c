package rfc9111

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestAppendFields(t *testing.T) {
	tests := []struct {
		name string
		h    http.Header
		want string
	}{
		{"none", nil, ""},
		{"RFC 9112 5 sorted", header("B", "2", "A", "1"), "A: 1\r\nB: 2\r\n"},
		{"RFC 9110 5.3 lines keep their order", header("A", "2", "A", "1"), "A: 2\r\nA: 1\r\n"},
		{"RFC 9110 5.1 canonical", http.Header{"x-a": {"1"}, "X-A": {"2"}}, "X-A: 2\r\nX-A: 1\r\n"},
		{"RFC 9110 5.5 white space around", header("A", " \t1 2\t"), "A: 1 2\r\n"},
		{"RFC 9110 5.5 empty", header("A", ""), "A: \r\n"},
		{"RFC 9110 5.5 CR, LF and NUL", header("A", "1\r\nB: 2", "C", "1", "C", "\x00", "D", "\n", "E", "ok"), "E: ok\r\n"},
		{"RFC 9110 5.1 no field name", http.Header{"A B": {"1"}, "": {"1"}, "A:": {"1"}, "É": {"1"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendFields([]byte("x"), tt.h)); got != "x"+tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseFields(t *testing.T) {
	tests := []struct {
		name, block string
		want        http.Header
	}{
		{"empty", "", header()},
		{"lines", "A: 1\r\nB: 2\r\nA: 3\r\n", header("A", "1", "A", "3", "B", "2")},
		{"no end of line at the end", "A: 1\r\nB: 2", header("A", "1", "B", "2")},
		{"no colon", "A\r\nB: 2\r\n", header("B", "2")},
		{"space before the colon", "A : 1\r\nB: 2\r\n", header("B", "2")},
		{"folded", "A: 1\r\n b: 2\r\n", header("A", "1")},
		{"lone line feed", "A: 1\nB: 2\r\nC: 3\r\n", header("C", "3")},
		{"NUL", "A: \x00\r\n", header()},
		{"colon in the value", "A: b:c\r\n", header("A", "b:c")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseFields([]byte(tt.block)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEachField(t *testing.T) {
	block := []byte("A: 1\r\nB: 2\r\nC: 3\r\n")
	var names strings.Builder
	EachField(block, func(name, _ []byte) bool {
		names.Write(name)
		return string(name) != "B"
	})
	if got := names.String(); got != "AB" {
		t.Errorf("got %q, want to stop after B", got)
	}
	count := 0
	allocs := testing.AllocsPerRun(100, func() {
		EachField(block, func(_, value []byte) bool { count += len(value); return true })
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte("A: 1\r\nb:2\r\n\r\nC : 3\nD"), "x-a", " v\t")
	f.Add([]byte("A: \x00\r\n"), "A b", "1\r\nB: 2")
	f.Fuzz(func(t *testing.T, block []byte, name, value string) {
		// What was read from anything is written and read back the same.
		h := ParseFields(block)
		written := AppendFields(nil, h)
		if again := ParseFields(written); !reflect.DeepEqual(again, h) {
			t.Fatalf("%q: %v became %v", block, h, again)
		}
		if twice := AppendFields(nil, ParseFields(written)); !bytes.Equal(twice, written) {
			t.Fatalf("%q and then %q", written, twice)
		}
		// Any one field is written as exactly one line, or not at all.
		one := AppendFields(nil, http.Header{name: {value}})
		want := http.Header{}
		if isToken(name) && !breaksLine(value) {
			want.Set(name, strings.Trim(value, " \t"))
		}
		if got := ParseFields(one); !reflect.DeepEqual(got, want) || bytes.Count(one, crlf) != len(want) {
			t.Fatalf("%q: %q is %q", name, value, one)
		}
	})
}
