package purge

import (
	"net/url"
	"strings"
	"testing"

	"weir/cache/rfc9110"
)

func TestMatched(t *testing.T) {
	for target, want := range map[string]string{
		"/a":                 "/a",
		"/a%26b%3Bc%2Ad":     "/a&b;c*d",
		"/a&b;c*d":           "/a&b;c*d",
		"/a%2Fb%25c%3Fd%20e": "/a%2Fb%25c%3Fd%20e",
		"/a%2A?b=%2A":        "/a*?b=%2A",
		"/%C3%BC":            "/%C3%BC",
		"/a%40":              "/a@",
	} {
		if got := matched(target); got != want {
			t.Errorf("%s is compared as %s; want %s", target, got, want)
		}
	}
}

// Two spellings that decode to the same path are compared as one, unless what
// differs is a slash or a percent sign.
func FuzzMatched(f *testing.F) {
	f.Add("/a%26b%2A", "/a&b*")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, errA := rfc9110.NormalisePath(a)
		b, errB := rfc9110.NormalisePath(b)
		if errA != nil || errB != nil || strings.Contains(a+b, "%2F") || strings.Contains(a+b, "%25") {
			return
		}
		rawA, _ := url.PathUnescape(a)
		rawB, _ := url.PathUnescape(b)
		if same := matched(a) == matched(b); same != (rawA == rawB) {
			t.Errorf("%q and %q: compared as the same: %v; decoded the same: %v", a, b, same, rawA == rawB)
		}
	})
}

// A purge of one spelling covers the other, in both directions.
func TestPurgeCoversEverySpelling(t *testing.T) {
	known := func(string) bool { return true }
	for _, test := range []struct{ purged, stored string }{
		{"/a%26b", "/a&b"}, {"/a&b", "/a%26b"}, {"/s%2Ax", "/s*x"},
	} {
		r, err := ParseRequest([]byte(`{"site":"s","scope":"url","targets":["`+test.purged+`"]}`), known)
		if err != nil {
			t.Fatal(err)
		}
		r.Version = 1
		x := NewIndex(IndexOptions{})
		x.Apply([]Record{r})
		if hard, _ := x.Covering("s", "h", test.stored, nil); hard != 1 {
			t.Errorf("a purge of %s does not cover %s", test.purged, test.stored)
		}
	}
}
