package origin

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// However Connection and Content-Encoding are written, nothing of one
// connection and nothing of an upload's framing goes further.
func FuzzFields(f *testing.F) {
	f.Add("close, X-A", "X-A", "aws-chunked, gzip")
	f.Add(" ,te,", "Te", "gzip,aws-chunked")
	plain := regexp.MustCompile("^[0-9A-Za-z-]+$") // net/http lets few other names through
	f.Fuzz(func(t *testing.T, connection, name, coding string) {
		h := http.Header{"Connection": {connection}, "Te": {"trailers"}, "Content-Encoding": {coding}}
		h.Set(name, "x")
		named := false
		for part := range strings.SplitSeq(connection, ",") {
			named = named || plain.MatchString(name) && strings.EqualFold(strings.Trim(part, " \t"), name)
		}
		deleteHopByHop(h)
		for _, field := range hopByHop {
			if len(h[field]) > 0 {
				t.Fatalf("%s is left", field)
			}
		}
		if named && h.Get(name) != "" {
			t.Fatalf("%q is left, and %q names it", name, connection)
		}
		h = http.Header{"Content-Encoding": {coding}}
		dropChunkedCoding(h)
		before := h.Get("Content-Encoding")
		if dropChunkedCoding(h); h.Get("Content-Encoding") != before {
			t.Fatalf("%q becomes %q", before, h.Get("Content-Encoding"))
		}
	})
}
