package simulate

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const logLines = `203.0.113.7 - - [01/Mar/2026:10:00:00 +0000] "GET /a?x=1 HTTP/1.1" 200 100 "-" "Mozilla/5.0 (\"x\")"
203.0.113.7 - frank [01/Mar/2026:10:00:01 +0000] "GET /b HTTP/2.0" 200 2000
203.0.113.7 - - [01/Mar/2026:10:00:02 +0000] "GET /a?x=1 HTTP/1.1" 304 -
203.0.113.7 - - [01/Mar/2026:10:00:02 +0000] "GET /b HTTP/1.1" 206 500
203.0.113.7 - - [01/Mar/2026:10:00:03 +0000] "HEAD /b HTTP/1.1" 200 0
203.0.113.7 - - [01/Mar/2026:10:00:03 +0000] "POST /b HTTP/1.1" 200 10
203.0.113.7 - - [01/Mar/2026:10:00:03 +0000] "GET /c HTTP/1.1" 503 10
203.0.113.7 - - [01/Mar/2026:10:00:03 +0000] "GET /d HTTP/1.1" 304 0
`

func TestRead(t *testing.T) {
	for _, row := range []struct {
		name, text     string
		requests       int
		objects        int
		footprintBytes int64
		passed, bad    int
	}{
		{"plain", "0 1 10\n1 2 20\n1.5 1 10\n", 3, 2, 30, 0, 0},
		{"plain, tabs, names, CRLF, a comment, no last newline", "# t\r\n0\ta\t10\r\n\r\n-1e3 b 20", 2, 2, 30, 0, 0},
		{"a size that changes counts once", "0 1 10\n0 1 30\n", 2, 1, 10, 0, 0},
		{"an empty object takes a byte", "0 1 0\n", 1, 1, 1, 0, 0},
		{"bad lines are counted", "0 1 10\nx 1 1\n0 2\n0 2 -1\n0 2 5 9\n0 3 1\n0 4 1\n0 5 1\n0 6 1\n", 5, 5, 14, 0, 4},
		{"an access log", logLines, 5, 2, 2100, 3, 0},
		{"a log of what scanners send", `1.2.3.4 - - [01/Mar/2026:10:00:03 +0000] "-" 408 - "-" "-"
::1 - - [01/Mar/2026:10:00:03 +0000] "" 400 0 "-" "-"
2001:db8::7 - - [01/Mar/2026:10:00:03 +0000] "\x16\x03\x01" 400 226 "-" "-"
1.2.3.4 - - [01/Mar/2026:10:00:03 +0000] "GET" 200 226 "-" "-"
1.2.3.4 - john doe [01/Mar/2026:10:00:03 +0000] "GET /a?q=\"x\" HTTP/2.0" 200 10 "-" "a \"b\""
`, 1, 1, 10, 4, 0},
		{"targets with blanks", `- - - [] "GET /a b HTTP/1.1" 200 10
- - - [] "GET /a c HTTP/1.1" 200 10
- - - [] "GET /a b HTTP/1.1" 200 10
- - - [] "GET /a d" 200 10
`, 4, 3, 30, 0, 0},
		{"a first line that is no request", "hello\n0 1 10\n0 1 10\n", 2, 1, 10, 0, 1},
		{"a line that is too long", "0 1 10\n0 " + strings.Repeat("x", 2*lineBytesMax) + " 1\n0 2 10\n", 2, 2, 20, 0, 1},
	} {
		for _, packed := range []struct {
			name string
			pack func(string) []byte
		}{{"plain", func(s string) []byte { return []byte(s) }}, {"zstd", zstdOf}, {"gzip", gzipOf}} {
			trace, err := Read(t.Context(), bytes.NewReader(packed.pack(row.text)))
			if err != nil {
				t.Errorf("%s, %s: %v", row.name, packed.name, err)
				continue
			}
			if trace.Requests() != row.requests || trace.Objects != row.objects || trace.FootprintBytes != row.footprintBytes ||
				trace.Passed != row.passed || trace.Bad != row.bad {
				t.Errorf("%s, %s: %d requests, %d objects, %d bytes, %d passed, %d bad: %v", row.name, packed.name,
					trace.Requests(), trace.Objects, trace.FootprintBytes, trace.Passed, trace.Bad, trace.Problems)
			}
		}
	}
}

func zstdOf(s string) []byte {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return e.EncodeAll([]byte(s), nil)
}

func gzipOf(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestReadErrors(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "", "no requests"},
		{"comments alone", "# a\n\n", "no requests"},
		{"another kind of file", "#!/bin/sh\nset -e\necho hello world\n", "2 of 2 lines say no request, the first: line 2: "},
		{"more bytes than can be added up", strings.Repeat("0 1 1125899906842624\n", 3000), "line 2049: the requests before it ask for more than"},
		{"zstd that breaks off", string(zstdOf(strings.Repeat("0 1 10\n", 1000))[:20]), "unexpected EOF"},
		{"gzip that is none", "\x1f\x8b\x08\x00", "EOF"},
	} {
		if _, err := Read(t.Context(), strings.NewReader(row.text)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, strings.NewReader(strings.Repeat("0 1 10\n", 2*linesPerContext))); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestProblemsNameTheirLines(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "0 %d 10\n0 bad\n", i)
	}
	b.WriteString("0 1 10\n")
	trace, err := Read(t.Context(), strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if trace.Bad != 40 || len(trace.Problems) != problemsMax || trace.Problems[1].String() != "line 4: want `time id size`" {
		t.Errorf("%d bad, %v", trace.Bad, trace.Problems)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"4096": 4096, "4096B": 4096, "10GiB": 10 << 30, "512MB": 512e6, "1.5KiB": 1536, "2kB": 2000, "1TiB": 1 << 40,
		"1%": 10, "0.5%": 5, "100%": 1000, "0": 0, "0%": 0,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s.of(1000) != want {
			t.Errorf("%s: %d, %v; want %d", text, s.of(1000), err, want)
		}
	}
	for _, text := range []string{"", "-1", "lots", "101%", "-1%", "NaN", "NaN%", "1e40", "8000000TiB", "10 GiBs", "%"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for a size", text)
		}
	}
	for want, bytes := range map[string]int64{"999B": 999, "1.0KiB": 1024, "1.5GiB": 3 << 29, "2048.0TiB": 2 << 50} {
		if got := round(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("0 1 10"))
	f.Add([]byte("-1.5e3 /name 1125899906842624"))
	for line := range strings.Lines(logLines) {
		f.Add([]byte(strings.TrimSpace(line)))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, parse := range []func([]byte) (request, error){parsePlain, parseLog} {
			q, err := parse(line)
			if err == nil && (len(q.id) == 0 || q.bytes < -1 || q.bytes > objectBytesMax) {
				t.Errorf("%q: %+v", line, q)
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("0 1 10\n0 2\n0 1 10\n"))
	f.Add([]byte(logLines))
	f.Add(zstdOf("0 1 10\n"))
	f.Add(gzipOf(logLines))
	f.Fuzz(func(t *testing.T, text []byte) {
		trace, err := Read(t.Context(), bytes.NewReader(text))
		if err != nil {
			return
		}
		if len(trace.ids) == 0 || len(trace.sizes) != len(trace.ids) || trace.FootprintBytes < int64(trace.Objects) || len(trace.Problems) > problemsMax {
			t.Errorf("%q: %+v", text, trace)
		}
		for i, id := range trace.ids {
			if int(id) >= trace.Objects || trace.sizes[i] < 1 {
				t.Errorf("%q: request %d is for object %d of %d bytes", text, i, id, trace.sizes[i])
			}
		}
		if _, err := Replay(t.Context(), trace, Tiers{MemoryBytes: 1000, DiskBytes: 5000}); err != nil {
			t.Error(err)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, text := range []string{"10GiB", "0.5%", "1e3MB", "-1", "B"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Size
		if s.UnmarshalText(text) == nil && s.of(1000) < 0 {
			t.Errorf("%q: %d", text, s.of(1000))
		}
	})
}
