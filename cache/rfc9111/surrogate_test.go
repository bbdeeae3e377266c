package rfc9111

import "testing"

func TestParseSurrogateControl(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  Directives
		ok    bool
	}{
		{"2.2 max-age", []string{"max-age=3600"}, Directives{MaxAge: seconds(3600)}, true},
		{"2.2 max-age, any case", []string{"MaX-aGe=3600"}, Directives{MaxAge: seconds(3600)}, true},
		{"2.2 max-age with extension", []string{"max-age=600+30"}, Directives{MaxAge: seconds(600), StaleWhileRevalidate: seconds(30), StaleIfError: seconds(30)}, true},
		{"2.2 max-age above 2^31", []string{"max-age=99999999999"}, Directives{MaxAge: Delta{deltaMax, true}}, true},
		{"2.2 malformed extension", []string{"max-age=600+x"}, Directives{MaxAge: seconds(600), StaleWhileRevalidate: seconds(0), StaleIfError: seconds(0)}, true},
		{"2.2 malformed max-age", []string{"max-age =100"}, Directives{MaxAge: seconds(0)}, true},
		{"2.2 no-store", []string{"no-store"}, Directives{NoStore: true}, true},
		{"2.2 no-store-remote", []string{"No-Store-Remote"}, Directives{NoStore: true}, true},
		{"2.2 content is not about caching", []string{`content="ESI/1.0 ESI-Inline/1.0"`}, Directives{}, false},
		{"2.2 content beside", []string{`content="ESI/1.0, no-store", max-age=5`}, Directives{MaxAge: seconds(5)}, true},
		{"2.2 unknown directives", []string{"foobar, max-age=5"}, Directives{MaxAge: seconds(5)}, true},
		{"2.2 Cache-Control's directives", []string{"max-age=5, stale-while-revalidate=6, private"}, Directives{MaxAge: seconds(5), StaleWhileRevalidate: seconds(6), Private: true}, true},
		{"2.2 several lines", []string{"max-age=5", "no-store"}, Directives{MaxAge: seconds(5), NoStore: true}, true},
		{"2.3 for weir", []string{"max-age=3600;weir"}, Directives{MaxAge: seconds(3600)}, true},
		{"2.3 for weir among others", []string{"max-age=3600 ; abc; Weir"}, Directives{MaxAge: seconds(3600)}, true},
		{"2.3 for somebody else", []string{"max-age=3600;abc"}, Directives{}, false},
		{"2.3 a longer name", []string{"no-store;weird"}, Directives{}, false},
		{"2.3 for weir goes first", []string{"max-age=5, max-age=3600;weir"}, Directives{MaxAge: seconds(3600)}, true},
		{"2.3 for weir goes first, the other way", []string{"max-age=5;weir", "max-age=3600"}, Directives{MaxAge: seconds(5)}, true},
		{"2.3 restrictions add up", []string{"no-store;weir, max-age=3600"}, Directives{NoStore: true, MaxAge: seconds(3600)}, true},
		{"2.3 no target after all", []string{"no-store;"}, Directives{NoStore: true}, true},
		{"empty", []string{""}, Directives{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParseSurrogateControl(tt.lines)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %+v, %v, want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	lines := []string{`content="ESI/1.0", max-age=600+30;weir, no-store;abc`}
	if n := testing.AllocsPerRun(100, func() { ParseSurrogateControl(lines) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSurrogateControl(f *testing.F) {
	f.Add(`content="ESI/1.0", max-age=600+30;weir`, "no-store;abc")
	f.Add(`max-age=1;"`, `;;"a`)
	f.Fuzz(func(t *testing.T, a, b string) {
		d, ok := ParseSurrogateControl([]string{a, b})
		if ok != (d != Directives{}) {
			t.Fatalf("%+v, %v", d, ok)
		}
		checkDeltas(t, d)
	})
}
