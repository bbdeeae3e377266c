package rfc9110

import (
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
