package rfc9111

import (
	"net/http"
	"testing"
	"time"
)

// header builds a header from name, value, name, value ….
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func seconds(n int) Delta { return Delta{Value: time.Duration(n) * time.Second, Given: true} }

func TestParseCacheControl(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  Directives
	}{
		{"5.2 no field", nil, Directives{}},
		{"5.2 empty", []string{""}, Directives{}},
		{"5.2 flags", []string{"no-store, no-cache, private, must-revalidate, proxy-revalidate, no-transform, only-if-cached"},
			Directives{NoStore: true, NoCache: true, Private: true, MustRevalidate: true, ProxyRevalidate: true, NoTransform: true, OnlyIfCached: true}},
		{"5.2 permissions", []string{"public, must-understand, immutable"}, Directives{Public: true, MustUnderstand: true, Immutable: true}},
		{"5.2 deltas", []string{"max-age=1,s-maxage=2,stale-while-revalidate=3,stale-if-error=4,max-stale=5,min-fresh=6"},
			Directives{MaxAge: seconds(1), SMaxAge: seconds(2), StaleWhileRevalidate: seconds(3), StaleIfError: seconds(4), MaxStale: seconds(5), MinFresh: seconds(6)}},
		{"5.2 any case", []string{"No-StOrE, MaX-aGe=3"}, Directives{NoStore: true, MaxAge: seconds(3)}},
		{"5.2 several lines", []string{"max-age=3", "public"}, Directives{MaxAge: seconds(3), Public: true}},
		{"5.2 quoted argument", []string{`max-age="3600"`}, Directives{MaxAge: seconds(3600)}},
		{"5.2.3 unknown extensions", []string{`foobar, x=y, z="a, no-store, max-age=9", max-age=3`}, Directives{MaxAge: seconds(3)}},
		{"5.2.3 quoted, escaped quote", []string{`x="a\", no-store", public`}, Directives{Public: true}},
		{"5.2.3 quoted, after", []string{`max-age=1, extension="max-age=3600"`}, Directives{MaxAge: seconds(1)}},
		{"5.2.2.4 qualified no-cache", []string{`no-cache="a, b", max-age=3`}, Directives{NoCache: true, MaxAge: seconds(3)}},
		{"5.2.2.7 qualified private", []string{`private="set-cookie"`}, Directives{Private: true}},
		{"5.2.1.2 max-stale alone", []string{"max-stale"}, Directives{MaxStale: Delta{deltaMax, true}}},

		{"1.2.2 2^31 - 1", []string{"max-age=2147483647"}, Directives{MaxAge: seconds(1<<31 - 1)}},
		{"1.2.2 2^31", []string{"max-age=2147483648"}, Directives{MaxAge: Delta{deltaMax, true}}},
		{"1.2.2 above 2^31", []string{"max-age=2147483649"}, Directives{MaxAge: Delta{deltaMax, true}}},
		{"1.2.2 above 2^64", []string{"max-age=99999999999999999999999999"}, Directives{MaxAge: Delta{deltaMax, true}}},
		{"1.2.2 ten digits", []string{"max-age=9999999999"}, Directives{MaxAge: Delta{deltaMax, true}}},
		{"1.2.2 leading zeros", []string{"max-age=003600"}, Directives{MaxAge: seconds(3600)}},

		{"4.2.1 not a number", []string{"max-age=a3600"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 letters after", []string{"max-age=3600a"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 decimal", []string{"max-age=3600.0"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 negative", []string{"max-age=-3600"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 single quotes", []string{"max-age='3600'"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 no argument", []string{"max-age"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 empty argument", []string{"max-age="}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 space before =", []string{"max-age =3600"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 space after =", []string{"max-age= 3600"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 colon", []string{"max-age:3600"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 semicolon", []string{"max-age=3600; public"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 duplicates on one line", []string{"max-age=1800, max-age=1"}, Directives{MaxAge: seconds(1)}},
		{"4.2.1 duplicates on two lines", []string{"max-age=1", "max-age=1800"}, Directives{MaxAge: seconds(1)}},
		{"4.2.1 duplicates, one malformed", []string{"max-age=x, max-age=1800"}, Directives{MaxAge: seconds(0)}},
		{"4.2.1 largest min-fresh", []string{"min-fresh=3, min-fresh=9"}, Directives{MinFresh: seconds(9)}},

		{"malformed: restricts all the same", []string{"no-store foo, no-cache=, private x=y"}, Directives{NoStore: true, NoCache: true, Private: true}},
		{"malformed: does not permit", []string{`public foo, immutable="x", must-understand=1`}, Directives{}},
		{"malformed: only commas and space", []string{" , ,\t,"}, Directives{}},
		{"malformed: no name", []string{`="no-store", @max-age=3, "public", max-age=5`}, Directives{MaxAge: seconds(5)}},
		{"malformed: quote without end", []string{`public, x="a, max-age=60, immutable, no-cache`},
			Directives{Public: true, MaxAge: seconds(0), NoCache: true}},
		{"malformed: quote without end spares other lines", []string{`x="`, "max-age=60"}, Directives{MaxAge: seconds(60)}},
		{"malformed: escape at the end", []string{`x="\`}, Directives{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseCacheControl(tt.lines); got != tt.want {
				t.Errorf("%q:\n got %+v\nwant %+v", tt.lines, got, tt.want)
			}
		})
	}
}

func TestParseCacheControlAllocatesNothing(t *testing.T) {
	lines := []string{`Max-Age=3600, public, x="y\"z", stale-while-revalidate=60`}
	if n := testing.AllocsPerRun(100, func() { ParseCacheControl(lines) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseCacheControl(b *testing.B) {
	lines := []string{"public, max-age=3600, stale-while-revalidate=60"}
	b.ReportAllocs()
	for b.Loop() {
		ParseCacheControl(lines)
	}
}

// A second line can restrict further but never take a restriction back.
func FuzzParseCacheControl(f *testing.F) {
	f.Add("no-store, max-age=3", `public, x="a, b\"`)
	f.Add(`private="x", s-maxage="60"`, "max-age=1,,max-stale, min-fresh=9")
	f.Fuzz(func(t *testing.T, a, b string) {
		one, both := ParseCacheControl([]string{a}), ParseCacheControl([]string{a, b})
		if both != ParseCacheControl([]string{b, a}) {
			t.Fatalf("%q and %q: their order matters", a, b)
		}
		lost := one.NoStore && !both.NoStore || one.NoCache && !both.NoCache ||
			one.Private && !both.Private || one.MustRevalidate && !both.MustRevalidate
		if lost {
			t.Fatalf("%q took back what %q says", b, a)
		}
		for _, d := range []struct{ one, both Delta }{
			{one.MaxAge, both.MaxAge}, {one.SMaxAge, both.SMaxAge}, {one.MaxStale, both.MaxStale},
			{one.StaleIfError, both.StaleIfError}, {one.StaleWhileRevalidate, both.StaleWhileRevalidate},
		} {
			if d.one.Given && (!d.both.Given || d.both.Value > d.one.Value) || d.both.Value < 0 || d.both.Value > deltaMax {
				t.Fatalf("%q then %q: %+v", a, b, d)
			}
		}
	})
}
