package rfc9110

import (
	"math"
	"net/http"
	"slices"
	"testing"
)

func TestParseContentRange(t *testing.T) {
	tests := []struct {
		name, field string
		want        Range
		size        int64
		ok          bool
	}{
		{"14.4 complete", "bytes 0-4/10", Range{0, 5}, 10, true},
		{"14.4 the end", "bytes 9-9/10", Range{9, 1}, 10, true},
		{"14.4 size unknown", "bytes 5-9/*", Range{5, 5}, -1, true},
		{"14.4 unit in any case", "Bytes 0-4/10", Range{0, 5}, 10, true},
		{"14.4 unsatisfied", "bytes */10", Range{}, 0, false},
		{"14.4 last before first", "bytes 4-3/10", Range{}, 0, false},
		{"14.4 size is last", "bytes 0-10/10", Range{}, 0, false},
		{"14.4 size below last", "bytes 0-10/5", Range{}, 0, false},
		{"14.4 another unit", "lines 0-4/10", Range{}, 0, false},
		{"14.4 no unit", "0-4/10", Range{}, 0, false},
		{"14.4 no size", "bytes 0-4", Range{}, 0, false},
		{"14.4 empty size", "bytes 0-4/", Range{}, 0, false},
		{"14.4 no last", "bytes 0-/10", Range{}, 0, false},
		{"14.4 signs", "bytes +0-4/10", Range{}, 0, false},
		{"14.4 spaces", "bytes 0 - 4/10", Range{}, 0, false},
		{"14.4 equals sign", "bytes=0-4/10", Range{}, 0, false},
		{"14.4 huge last", "bytes 0-99999999999999999999/*", Range{}, 0, false},
		{"14.4 huge size", "bytes 0-4/99999999999999999999", Range{}, 0, false},
		{"14.4 two", "bytes 0-4/10, bytes 5-9/10", Range{}, 0, false},
		{"14.4 empty", "", Range{}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, size, ok := ParseContentRange(tt.field)
			if got != tt.want || size != tt.size || ok != tt.ok {
				t.Errorf("got %v of %d, %v", got, size, ok)
			}
		})
	}
}

func TestParseUnsatisfied(t *testing.T) {
	tests := []struct {
		name, field string
		size        int64
		ok          bool
	}{
		{"14.4 unsatisfied", "bytes */10", 10, true},
		{"14.4 of nothing", "bytes */0", 0, true},
		{"14.4 satisfied", "bytes 0-4/10", 0, false},
		{"14.4 no size", "bytes */*", 0, false},
		{"14.4 another unit", "lines */10", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if size, ok := ParseUnsatisfied(tt.field); ok != tt.ok || ok && size != tt.size {
				t.Errorf("got %d, %v", size, ok)
			}
		})
	}
}

func TestPartOf(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		body  int64
		want  Part
		ok    bool
	}{
		{"15.3.7.1 agrees", []string{"bytes 4-8/10"}, 5, Part{Range{4, 5}, 10, true}, true},
		{"15.3.7.1 size unknown", []string{"bytes 4-8/*"}, 5, Part{Range{4, 5}, -1, true}, true},
		{"15.3.7.1 body's length unknown", []string{"bytes 4-8/10"}, -1, Part{Range{4, 5}, 10, true}, true},
		{"15.3.7.1 body shorter, in the middle", []string{"bytes 4-9/20"}, 5, Part{Range{4, 5}, 20, false}, true},
		{"15.3.7.1 body shorter, at the end", []string{"bytes 4-9/10"}, 5, Part{Range{4, 5}, 9, false}, true},
		{"15.3.7.1 body shorter, size unknown", []string{"bytes 4-9/*"}, 5, Part{Range{4, 5}, -1, false}, true},
		{"15.3.7.1 body longer", []string{"bytes 4-8/10"}, 6, Part{}, false},
		{"15.3.7.1 no body", []string{"bytes 4-8/10"}, 0, Part{}, false},
		{"15.3.7.1 unsatisfied", []string{"bytes */10"}, 5, Part{}, false},
		{"15.3.7.2 several parts", nil, 5, Part{}, false},
		{"14.4 repeated", []string{"bytes 4-8/10", "bytes 4-8/10"}, 5, Part{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := PartOf(tt.lines, tt.body); got != tt.want || ok != tt.ok {
				t.Errorf("got %+v, %v", got, ok)
			}
		})
	}
}

// TestShortPart asks one short part at the end for every kind of range.
func TestShortPart(t *testing.T) {
	part, _ := PartOf([]string{"bytes 4-9/10"}, 5)
	tests := []struct {
		name, field string
		want        Range
		holds       bool
	}{
		{"14.1.2 first-last", "bytes=6-8", Range{6, 3}, true},
		{"14.1.2 first-", "bytes=6-", Range{6, 3}, true},
		{"14.1.2 suffix", "bytes=-1", Range{8, 1}, true},
		{"14.1.2 suffix, the part itself", "bytes=-5", Range{4, 5}, true},
		{"14.1.2 before the part", "bytes=3-5", Range{3, 3}, false},
		{"14.1.2 all", "bytes=0-", Range{0, 9}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ranges, verdict := ParseRange(tt.field, part.Size)
			if verdict != Satisfiable || ranges[0] != tt.want || part.Holds(ranges[0]) != tt.holds {
				t.Errorf("got %v, %v, held: %v", ranges, verdict, part.Holds(ranges[0]))
			}
		})
	}
	if part.Holds(Range{5, 0}) {
		t.Error("a part holds no range that is empty")
	}
}

func TestCoalesce(t *testing.T) {
	tests := []struct {
		name     string
		in, want []Range
	}{
		{"15.3.7.2 none", nil, nil},
		{"15.3.7.2 one", []Range{{1, 2}}, []Range{{1, 2}}},
		{"15.3.7.2 apart, in order", []Range{{0, 2}, {4, 2}}, []Range{{0, 2}, {4, 2}}},
		{"15.3.7.2 apart, as asked", []Range{{4, 2}, {0, 2}}, []Range{{4, 2}, {0, 2}}},
		{"15.3.7.2 overlap", []Range{{0, 5}, {3, 5}}, []Range{{0, 8}}},
		{"15.3.7.2 touch", []Range{{0, 5}, {5, 5}}, []Range{{0, 10}}},
		{"15.3.7.2 one byte apart", []Range{{0, 5}, {6, 5}}, []Range{{0, 5}, {6, 5}}},
		{"15.3.7.2 within", []Range{{0, 10}, {3, 2}}, []Range{{0, 10}}},
		{"15.3.7.2 the same", []Range{{3, 2}, {3, 2}, {3, 2}}, []Range{{3, 2}}},
		{"15.3.7.2 one joins two", []Range{{0, 2}, {20, 1}, {4, 2}, {1, 4}}, []Range{{0, 6}, {20, 1}}},
		{"15.3.7.2 one joins two, from the back", []Range{{20, 1}, {4, 2}, {0, 2}, {2, 2}}, []Range{{20, 1}, {0, 6}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.in)
			if got := Coalesce(tt.in); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if !slices.Equal(tt.in, before) {
				t.Errorf("the argument became %v", tt.in)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	want := Range{10, 10}
	tests := []struct {
		name   string
		have   []Range
		expect []Range
	}{
		{"RFC 9111 3.3 nothing there", nil, []Range{want}},
		{"RFC 9111 3.3 all there", []Range{{0, 100}}, nil},
		{"RFC 9111 3.3 exactly there", []Range{want}, nil},
		{"RFC 9111 3.3 in two", []Range{{15, 5}, {10, 5}}, nil},
		{"RFC 9111 3.3 the beginning", []Range{{0, 15}}, []Range{{15, 5}}},
		{"RFC 9111 3.3 the end", []Range{{15, 50}}, []Range{{10, 5}}},
		{"RFC 9111 3.3 the middle", []Range{{12, 3}}, []Range{{10, 2}, {15, 5}}},
		{"RFC 9111 3.3 elsewhere", []Range{{0, 10}, {20, 10}}, []Range{want}},
		{"RFC 9111 3.3 overlapping", []Range{{10, 4}, {12, 4}, {11, 1}}, []Range{{16, 4}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Missing(tt.have, want); !slices.Equal(got, tt.expect) {
				t.Errorf("got %v, want %v", got, tt.expect)
			}
		})
	}
}

func TestAlign(t *testing.T) {
	tests := []struct {
		name string
		r    Range
		size int64
		want Range
	}{
		{"within one block", Range{5, 2}, 100, Range{0, 8}},
		{"across two", Range{7, 2}, 100, Range{0, 16}},
		{"aligned already", Range{8, 8}, 100, Range{8, 8}},
		{"at the end", Range{97, 2}, 100, Range{96, 4}},
		{"size unknown", Range{97, 2}, -1, Range{96, 8}},
		{"as far as positions go", Range{math.MaxInt64 - 3, 3}, -1, Range{math.MaxInt64 - 7, 7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Align(tt.r, 8, tt.size); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFillRange(t *testing.T) {
	tests := []struct {
		name string
		r    Range
		size int64
		want string
	}{
		{"14.1.2 first-last", Range{0, 5}, 10, "bytes=0-4"},
		{"14.1.2 first-", Range{5, 5}, 10, "bytes=5-"},
		{"14.1.2 size unknown", Range{5, 5}, -1, "bytes=5-9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := FillRange(tt.r, tt.size); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStrongValidator(t *testing.T) {
	tests := []struct {
		name string
		h    http.Header
		want string
	}{
		{"8.8.1 none", header(), ""},
		{"8.8.3 strong tag", header("Etag", `"a"`), `"a"`},
		{"8.8.3 strong tag goes first", header("Etag", `"a"`, "Last-Modified", early, "Date", late), `"a"`},
		{"8.8.3 weak tag", header("Etag", `W/"a"`), ""},
		{"8.8.3 weak tag, whatever the date", header("Etag", `W/"a"`, "Last-Modified", early, "Date", late), ""},
		{"8.8.3 malformed tag", header("Etag", `a`), ""},
		{"8.8.2.2 old enough", header("Last-Modified", early, "Date", middle), early},
		{"8.8.2.2 too new", header("Last-Modified", early, "Date", early), ""},
		{"8.8.2.2 no Date", header("Last-Modified", early), ""},
		{"8.8.2.2 malformed", header("Last-Modified", "yesterday", "Date", early), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := StrongValidator(tt.h); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCombines(t *testing.T) {
	tag := header("Etag", `"a"`)
	dated := header("Last-Modified", early, "Date", middle)
	tests := []struct {
		name string
		a, b http.Header
		want bool
	}{
		{"RFC 9111 3.4 same tag", tag, header("Etag", `"a"`, "Date", late), true},
		{"RFC 9111 3.4 another tag", tag, header("Etag", `"b"`), false},
		{"RFC 9111 3.4 no tag", tag, header(), false},
		{"RFC 9111 3.4 weak", header("Etag", `W/"a"`), header("Etag", `W/"a"`), false},
		{"RFC 9111 3.4 same date", dated, header("Last-Modified", early, "Date", late), true},
		{"RFC 9111 3.4 same date, not strong", dated, header("Last-Modified", early, "Date", early), false},
		{"RFC 9111 3.4 another date", dated, header("Last-Modified", middle, "Date", late), false},
		{"RFC 9111 3.4 tag and date", tag, dated, false},
		{"RFC 9111 3.4 nothing", header(), header(), false},
		{"RFC 9111 3.4 another coding", tag, header("Etag", `"a"`, "Content-Encoding", "gzip"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Combines(tt.a, tt.b); got != tt.want {
				t.Errorf("got %v", got)
			}
			if got := Combines(tt.b, tt.a); got != tt.want {
				t.Errorf("the other way round: got %v", got)
			}
		})
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 4-9/10", int64(5))
	f.Add("bytes */10", int64(-1))
	f.Fuzz(func(t *testing.T, field string, body int64) {
		p, ok := PartOf([]string{field}, body)
		if !ok {
			return
		}
		if p.Start < 0 || p.Length <= 0 || p.end() < 0 || p.Size >= 0 && p.Size < p.end() {
			t.Fatalf("%+v", p)
		}
		if body >= 0 && p.Length != body || body < 0 && !p.Exact || !p.Holds(p.Range) {
			t.Fatalf("%+v of a body of %d", p, body)
		}
		if p.Size < 0 {
			return
		}
		again, size, ok := ParseContentRange(p.ContentRange(p.Size))
		if !ok || again != p.Range || size != p.Size {
			t.Fatalf("%+v reads back as %v of %d", p, again, size)
		}
		asked, verdict := ParseRange(FillRange(p.Range, p.Size), p.Size)
		if verdict != Satisfiable || asked[0] != p.Range {
			t.Fatalf("%+v is asked for as %v", p, asked)
		}
	})
}

// What Coalesce gives covers the same bytes, without overlap, and what is
// Missing beside it makes the whole.
func FuzzCoalesce(f *testing.F) {
	f.Add("bytes=0-1,4-5,1-4,-1", uint8(10))
	f.Add("bytes=5-,0-0,2-2", uint8(64))
	f.Fuzz(func(t *testing.T, field string, size uint8) {
		ranges, verdict := ParseRange(field, int64(size))
		if verdict != Satisfiable {
			return
		}
		joined := Coalesce(ranges)
		for i := range int64(size) {
			at := Range{i, 1}
			count := 0
			for _, r := range joined {
				if (Part{Range: r}).Holds(at) {
					count++
				}
			}
			asked := slices.ContainsFunc(ranges, func(r Range) bool { return (Part{Range: r}).Holds(at) })
			if count > 1 || (count == 1) != asked {
				t.Fatalf("%v became %v: byte %d is there %d times", ranges, joined, i, count)
			}
		}
		whole := Range{0, int64(size)}
		if all := Coalesce(append(joined, Missing(joined, whole)...)); len(all) != 1 || all[0] != whole {
			t.Fatalf("%v and what is missing is %v", joined, all)
		}
	})
}
