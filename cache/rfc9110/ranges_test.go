package rfc9110

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	one := func(start, length int64) []Range { return []Range{{start, length}} }
	tests := []struct {
		name, field string
		size        int64
		want        []Range
		verdict     RangeVerdict
	}{
		{"14.1.2 first-last", "bytes=0-4", 10, one(0, 5), Satisfiable},
		{"14.1.2 first-", "bytes=4-", 10, one(4, 6), Satisfiable},
		{"14.1.2 suffix", "bytes=-3", 10, one(7, 3), Satisfiable},
		{"14.1.2 last beyond the end", "bytes=8-99", 10, one(8, 2), Satisfiable},
		{"14.1.2 suffix longer than all", "bytes=-99", 10, one(0, 10), Satisfiable},
		{"14.1.2 one byte", "bytes=9-9", 10, one(9, 1), Satisfiable},
		{"14.1.2 first at the end", "bytes=10-", 10, nil, Unsatisfiable},
		{"14.1.2 suffix of nothing", "bytes=-0", 10, nil, Unsatisfiable},
		{"14.1.2 last before first", "bytes=4-3", 10, nil, None},
		{"14.1.2 last before first, beyond the end", "bytes=20-19", 10, nil, None},
		{"14.1.2 last before first, both huge", "bytes=99999999999999999999-99999999999999999998", 10, nil, None},
		{"14.1.2 huge last", "bytes=5-99999999999999999999", 10, one(5, 5), Satisfiable},
		{"14.1.2 huge first", "bytes=99999999999999999999-", 10, nil, Unsatisfiable},
		{"14.1.2 huge suffix", "bytes=-99999999999999999999", 10, one(0, 10), Satisfiable},
		{"14.1.2 leading zeros", "bytes=00-0004", 10, one(0, 5), Satisfiable},
		{"14.1.2 several", "bytes=0-1, 4-5 ,-1", 10, []Range{{0, 2}, {4, 2}, {9, 1}}, Satisfiable},
		{"14.1.2 one of several satisfiable", "bytes=20-,1-1", 10, one(1, 1), Satisfiable},
		{"14.1.2 none of several satisfiable", "bytes=20-,30-40", 10, nil, Unsatisfiable},
		{"14.1.1 unit in any case", "BYTES=0-4", 10, one(0, 5), Satisfiable},
		{"14.2 unknown unit", "lines=0-4", 10, nil, None},
		{"14.2 no unit", "0-4", 10, nil, None},
		{"14.2 empty", "", 10, nil, None},
		{"14.2 no ranges", "bytes=", 10, nil, None},
		{"14.2 only commas", "bytes=, ,", 10, nil, None},
		{"5.6.1.2 empty members", "bytes=,0-1,,4-5,", 10, []Range{{0, 2}, {4, 2}}, Satisfiable},
		{"14.2 lone dash", "bytes=-", 10, nil, None},
		{"14.2 no dash", "bytes=4", 10, nil, None},
		{"14.2 two dashes", "bytes=1-2-3", 10, nil, None},
		{"14.2 sign", "bytes=+1-2", 10, nil, None},
		{"14.2 negative", "bytes=--2", 10, nil, None},
		{"14.2 white space inside", "bytes=1 -2", 10, nil, None},
		{"14.2 white space around =", "bytes = 1-2", 10, nil, None},
		{"14.2 one of several malformed", "bytes=0-1,x", 10, nil, None},
		{"14.2 overlaps beyond the size", "bytes=0-9,0-", 10, nil, None},
		{"14.2 as many as allowed", "bytes=" + strings.Repeat("1-1,", 16), 100, slices.Repeat(one(1, 1), 16), Satisfiable},
		{"14.2 too many", "bytes=" + strings.Repeat("1-1,", 17), 100, nil, None},
		{"14.2 too many beyond the end", "bytes=" + strings.Repeat("200-,", 17), 100, nil, None},
		{"14.1.2 empty representation, first", "bytes=0-", 0, nil, Unsatisfiable},
		{"14.1.2 empty representation, suffix", "bytes=-1", 0, nil, None},
		{"14.2 size not known", "bytes=0-1", -1, nil, None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, verdict := ParseRange(tt.field, tt.size)
			if verdict != tt.verdict || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v, want %v, %v", got, verdict, tt.want, tt.verdict)
			}
		})
	}
}

func TestContentRange(t *testing.T) {
	if got, want := (Range{4, 6}).ContentRange(10), "bytes 4-9/10"; got != want {
		t.Errorf("14.4: got %q, want %q", got, want)
	}
	if got, want := UnsatisfiedRange(10), "bytes */10"; got != want {
		t.Errorf("14.4: got %q, want %q", got, want)
	}
}

func TestSelect(t *testing.T) {
	tagged := header("Etag", `"a"`)
	dated := header("Last-Modified", early, "Date", late)
	tests := []struct {
		name, method string
		req, header  http.Header
		size         int64
		verdict      RangeVerdict
	}{
		{"14.2 a range", "GET", header("Range", "bytes=0-4"), tagged, 10, Satisfiable},
		{"14.2 no range", "GET", header(), tagged, 10, None},
		{"14.2 not of GET", "HEAD", header("Range", "bytes=0-4"), tagged, 10, None},
		{"14.2 size not known", "GET", header("Range", "bytes=0-4"), tagged, -1, None},
		{"14.2 beyond the end", "GET", header("Range", "bytes=10-"), tagged, 10, Unsatisfiable},
		{"14.2 the first line", "GET", header("Range", "bytes=0-4", "Range", "lines=1-2"), tagged, 10, Satisfiable},
		{"13.1.5 same tag", "GET", header("Range", "bytes=0-4", "If-Range", `"a"`), tagged, 10, Satisfiable},
		{"13.1.5 another tag", "GET", header("Range", "bytes=0-4", "If-Range", `"b"`), tagged, 10, None},
		{"13.1.5 another tag, beyond the end", "GET", header("Range", "bytes=10-", "If-Range", `"b"`), tagged, 10, None},
		{"13.1.5 same date", "GET", header("Range", "bytes=0-4", "If-Range", early), dated, 10, Satisfiable},
		{"13.1.5 same date, not strong", "GET", header("Range", "bytes=0-4", "If-Range", early),
			header("Last-Modified", early, "Date", early), 10, None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ranges, verdict := Select(tt.method, tt.req, tt.header, tt.size)
			if verdict != tt.verdict || (verdict == Satisfiable) != slices.Equal(ranges, []Range{{0, 5}}) {
				t.Errorf("got %v, %v, want %v", ranges, verdict, tt.verdict)
			}
		})
	}
}

func TestFirstRange(t *testing.T) {
	tests := []struct {
		name, field string
		want        Range
		suffix, ok  bool
	}{
		{"14.1.2 first-last", "bytes=3-7", Range{3, 5}, false, true},
		{"14.1.2 suffix", "bytes=-7", Range{0, 7}, true, true},
		{"14.1.2 several", "bytes=, 3-7, -1", Range{3, 5}, false, true},
		{"14.1.2 suffix of nothing", "bytes=-0", Range{}, true, false},
		{"14.2 unknown unit", "lines=3-7", Range{}, false, false},
		{"14.2 a later one malformed", "bytes=3-7,x", Range{}, false, false},
		{"14.2 no ranges", "bytes=,", Range{}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, suffix, ok := FirstRange(tt.field); got != tt.want || suffix != tt.suffix || ok != tt.ok {
				t.Errorf("got %v, %v, %v, want %v, %v, %v", got, suffix, ok, tt.want, tt.suffix, tt.ok)
			}
		})
	}
	if r, suffix, ok := FirstRange("bytes=3-"); r.Start != 3 || r.Length < 1<<61 || suffix || !ok {
		t.Errorf("14.1.2 first-: got %v, %v, %v", r, suffix, ok)
	}
}

// What FirstRange gives is what ParseRange gives first, of a representation
// that has it.
func FuzzFirstRange(f *testing.F) {
	f.Add("bytes=0-4,5-,-3")
	f.Add("bytes=-9223372036854775808")
	f.Fuzz(func(t *testing.T, field string) {
		const size = 1 << 50
		first, suffix, ok := FirstRange(field)
		ranges, verdict := ParseRange(field, size)
		switch {
		case !ok:
			if verdict != None && first.Length > 0 {
				t.Fatalf("%v is %v", first, verdict)
			}
		case first.Start < 0 || first.Length <= 0 || suffix && first.Start != 0:
			t.Fatalf("%v, suffix: %v", first, suffix)
		case verdict == Satisfiable && !suffix && first.Start < size:
			if ranges[0].Start != first.Start || ranges[0].Length != min(first.Length, size-first.Start) {
				t.Fatalf("%v, and of %d bytes %v", first, int64(size), ranges[0])
			}
		case verdict == Satisfiable && suffix:
			if ranges[0].Length != min(first.Length, size) {
				t.Fatalf("the last %d, and of %d bytes %v", first.Length, int64(size), ranges[0])
			}
		}
	})
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-4,5-,-3", int64(10))
	f.Add("bytes=9223372036854775807-9223372036854775808", int64(1<<62))
	f.Fuzz(func(t *testing.T, field string, size int64) {
		ranges, verdict := ParseRange(field, size)
		if (verdict == Satisfiable) != (len(ranges) > 0) || len(ranges) > rangesMax {
			t.Fatalf("%v with %d ranges", verdict, len(ranges))
		}
		total := int64(0)
		for _, r := range ranges {
			if r.Start < 0 || r.Length <= 0 || r.Start > size-r.Length {
				t.Fatalf("%v of %d", r, size)
			}
			total += r.Length
		}
		if total < 0 || total > max(size, 0) {
			t.Fatalf("%d bytes of %d", total, size)
		}
	})
}
