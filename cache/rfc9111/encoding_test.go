package rfc9111

import (
	"net/http"
	"testing"
)

// TestAcceptEncoding has every row under RFC 9110 section 12.5.3.
func TestAcceptEncoding(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"absent", nil, "identity"},
		{"empty", []string{""}, "identity"},
		{"identity", []string{"identity"}, "identity"},
		{"one", []string{"gzip"}, "gzip"},
		{"a browser's", []string{"gzip, deflate, br, zstd"}, "zstd, br, gzip"},
		{"order means nothing", []string{"br, gzip"}, "br, gzip"},
		{"any case", []string{"GZip, BR"}, "br, gzip"},
		{"x-gzip is gzip", []string{"x-gzip"}, "gzip"},
		{"several lines", []string{"gzip", "br"}, "br, gzip"},
		{"white space", []string{" gzip ;q=1 ,\tbr; q=0.5"}, "br, gzip"},
		{"weights", []string{"gzip;q=1.0, br;q=0.001"}, "br, gzip"},
		{"weight in upper case", []string{"gzip;Q=0"}, "identity"},
		{"refused", []string{"gzip;q=0, br"}, "br"},
		{"refused, spelt long", []string{"gzip;q=0.000, br"}, "br"},
		{"others", []string{"compress, deflate, sdch"}, "identity"},
		{"any", []string{"*"}, "zstd, br, gzip"},
		{"any but", []string{"*, gzip;q=0"}, "zstd, br"},
		{"any refused", []string{"gzip, *;q=0"}, "gzip, identity;q=0"},
		{"all refused", []string{"*;q=0"}, "identity;q=0"},
		{"identity refused", []string{"gzip, identity;q=0"}, "gzip, identity;q=0"},
		{"identity refused, any", []string{"*, identity;q=0"}, "zstd, br, gzip, identity;q=0"},
		{"identity allowed, any refused", []string{"identity, *;q=0"}, "identity"},
		{"identity preferred", []string{"gzip;q=0.5, identity"}, "identity"},
		{"identity as good", []string{"gzip, identity"}, "gzip"},
		{"identity worse", []string{"gzip, identity;q=0.5"}, "gzip"},
		{"given twice", []string{"gzip;q=0, gzip"}, "gzip"},
		{"malformed weight", []string{"gzip;q=1.5, br"}, "br"},
		{"malformed weight, letters", []string{"gzip;q=x, br;q="}, "identity"},
		{"malformed parameter", []string{"gzip;level=9, br"}, "br"},
		{"malformed coding", []string{"g zip, br"}, "br"},
		{"malformed: only commas", []string{",, ,"}, "identity"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := AcceptEncoding(http.Header{"Accept-Encoding": tt.lines}); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	h := http.Header{"Accept-Encoding": {"gzip, deflate, br, zstd"}}
	if n := testing.AllocsPerRun(100, func() { AcceptEncoding(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncodingTextsStandForThemselves(t *testing.T) {
	for set, text := range encodingTexts {
		if got := encodingSet([]string{text}); got != set {
			t.Errorf("%q is set %d, want %d", text, got, set)
		}
	}
}

func TestParseWeight(t *testing.T) {
	tests := []struct {
		text string
		want int
		ok   bool
	}{
		{"1", 1000, true}, {"1.", 1000, true}, {"1.000", 1000, true}, {"0", 0, true}, {"0.", 0, true},
		{"0.5", 500, true}, {"0.05", 50, true}, {"0.123", 123, true},
		{"", 0, false}, {"1.001", 0, false}, {"0.1234", 0, false}, {"2", 0, false}, {".5", 0, false}, {"0,5", 0, false}, {"0.a", 0, false}, {"-0", 0, false},
	}
	for _, tt := range tests {
		if got, ok := parseWeight(tt.text); ok != tt.ok || ok && got != tt.want {
			t.Errorf("RFC 9110 12.4.2 %q: got %d, %v", tt.text, got, ok)
		}
	}
}

func FuzzAcceptEncoding(f *testing.F) {
	f.Add("gzip;q=0.5, *;q=0", "identity")
	f.Add("br,,", ";q=1")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := AcceptEncoding(http.Header{"Accept-Encoding": {a, b}})
		if got == "" {
			t.Fatal("no text")
		}
		if joined := AcceptEncoding(http.Header{"Accept-Encoding": {a + "," + b}}); joined != got {
			t.Fatalf("on two lines %q, on one %q", got, joined)
		}
		if again := AcceptEncoding(http.Header{"Accept-Encoding": {got}}); again != got {
			t.Fatalf("%q becomes %q", got, again)
		}
	})
}
