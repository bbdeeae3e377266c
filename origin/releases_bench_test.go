package origin_test

import (
	"io"
	"net/http"
	"testing"
)

// What a release costs a miss, beside the same object under its own name: the
// store is in this process.
func BenchmarkRelease(b *testing.B) {
	s, l, r, raw := bucketOf(b, 0)
	s.put("raw.txt", "0123456789")
	s.release(b, 1, map[string]string{"a.txt": "0123456789"})
	ask := func(b *testing.B, via http.RoundTripper, method, target string) {
		req, err := http.NewRequestWithContext(b.Context(), method, "http://www.example.com"+target, nil)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := via.RoundTrip(req)
		if err != nil || resp.StatusCode != 200 {
			b.Fatal(resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	b.Run("under its own name", func(b *testing.B) {
		for b.Loop() {
			ask(b, raw, "GET", "/raw.txt")
		}
	})
	b.Run("in a release", func(b *testing.B) {
		for b.Loop() {
			ask(b, r, "GET", "/a.txt")
		}
	})
	b.Run("in a release, with a purge each time", func(b *testing.B) {
		for b.Loop() {
			l.applied.Add(1)
			ask(b, r, "GET", "/a.txt")
		}
	})
	b.Run("HEAD in a release", func(b *testing.B) {
		for b.Loop() {
			ask(b, r, "HEAD", "/a.txt")
		}
	})
}
