package rfc9111

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTags(t *testing.T) {
	long := strings.Repeat("x", tagBytesMax)
	tests := []struct {
		name string
		resp []string
		want []string
	}{
		{"none", nil, nil},
		{"Surrogate-Key", []string{"Surrogate-Key", " a  b\tc "}, []string{"a", "b", "c"}},
		{"Surrogate-Key, comma is part of it", []string{"Surrogate-Key", "a,b"}, []string{"a,b"}},
		{"Cache-Tag", []string{"Cache-Tag", "a, b c ,,d"}, []string{"a", "b c", "d"}},
		{"both, several lines, once each", []string{"Cache-Tag", "b,c", "Surrogate-Key", "a b", "Surrogate-Key", "a"}, []string{"a", "b", "c"}},
		{"case matters", []string{"Cache-Tag", "a,A"}, []string{"a", "A"}},
		{"longest", []string{"Cache-Tag", long}, []string{long}},
		{"too long", []string{"Cache-Tag", long + "x, a"}, []string{"a", OtherTags}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Tags(header(tt.resp...)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTagsAreBounded(t *testing.T) {
	var many strings.Builder
	for i := range tagsMax + 1 {
		fmt.Fprintf(&many, "%d ", i)
	}
	if got := Tags(header("Surrogate-Key", many.String())); len(got) != tagsMax+1 || got[tagsMax] != OtherTags {
		t.Errorf("got %d tags, want %d and OtherTags", len(got), tagsMax)
	}
	most, _, _ := strings.Cut(many.String(), fmt.Sprint(" ", tagsMax))
	if got := Tags(header("Surrogate-Key", most+" 7")); len(got) != tagsMax || got[tagsMax-1] == OtherTags {
		t.Errorf("got %d tags, want %d without OtherTags", len(got), tagsMax)
	}
	var large strings.Builder
	for i := range 100 {
		fmt.Fprintf(&large, "%04d%s,", i, strings.Repeat("x", 1020))
	}
	if got := Tags(header("Cache-Tag", large.String())); len(got) != 17 || got[16] != OtherTags {
		t.Errorf("got %d tags of 1 KiB, want 16 and OtherTags", len(got))
	}
}

func FuzzTags(f *testing.F) {
	f.Add("a b c", "d, e")
	f.Fuzz(func(t *testing.T, keys, tags string) {
		got := Tags(header("Surrogate-Key", keys, "Cache-Tag", tags))
		total := 0
		for i, tag := range got {
			if tag == "" || len(tag) > tagBytesMax || slices.Contains(got[:i], tag) {
				t.Fatalf("tag %q of %q", tag, got)
			}
			total += len(tag)
		}
		if len(got) > tagsMax+1 || total > tagsBytesMax+len(OtherTags) {
			t.Fatalf("%d tags, %d bytes", len(got), total)
		}
	})
}
