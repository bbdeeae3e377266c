package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"weir/storage/evict"
	"weir/storage/evict/evicttest"
)

var rewrite = flag.Bool("rewrite", false, "make the sample trace anew")

const samplePath = "../../testdata/traces/sample.log.zst"

// sampleLog is an access log of a site whose favourites change, with some
// requests that are not for a cache.
func sampleLog() []byte {
	r := rand.New(rand.NewPCG(11, 12))
	at := time.Date(2026, time.March, 1, 10, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	for _, q := range evicttest.Shift(12_000).Requests {
		at = at.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		method, status, size := "GET", 200, fmt.Sprint(q.Bytes)
		switch r.IntN(40) {
		case 0:
			status, size = 304, "-"
		case 1:
			method, size = "POST", "17"
		case 2:
			status, size = 503, "0"
		}
		fmt.Fprintf(&b, "192.0.2.%d - - [%s] \"%s /%04x HTTP/1.1\" %d %s\n",
			r.IntN(8), at.Format("02/Jan/2006:15:04:05 -0700"), method, q.Object, status, size)
	}
	return b.Bytes()
}

// The sample trace that the documents use is the one made here. (Elsewhere than
// on amd64 math.Exp may differ in its last bit, and with it a size.)
func TestSample(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("made on amd64")
	}
	if *rewrite {
		if err := os.WriteFile(samplePath, zstdOf(string(sampleLog())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := d.DecodeAll(packed, nil)
	if err != nil || !bytes.Equal(got, sampleLog()) {
		t.Errorf("%d bytes, %v: not what the generator makes; run with -rewrite", len(got), err)
	}
}

// traceOf makes a Trace of made requests.
func traceOf(t *testing.T, made evicttest.Trace) *Trace {
	t.Helper()
	var b bytes.Buffer
	for i, q := range made.Requests {
		fmt.Fprintf(&b, "%d %d %d\n", i, q.Object, q.Bytes)
	}
	trace, err := Read(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	if trace.FootprintBytes != made.FootprintBytes() {
		t.Fatalf("%s: footprint %d, want %d", made.Name, trace.FootprintBytes, made.FootprintBytes())
	}
	return trace
}

// The default beats LRU and S3-FIFO here as it does in package evict, and all
// that was asked for is answered from somewhere.
func TestReplay(t *testing.T) {
	for _, made := range []evicttest.Trace{evicttest.Mixed(20_000), evicttest.Unit(20_000), evicttest.Shift(20_000), evicttest.Scan(20_000)} {
		trace := traceOf(t, made)
		memory := trace.FootprintBytes / 20
		hits := make(map[evict.Kind]float64)
		for _, k := range evict.Kinds() {
			c, err := Replay(t.Context(), trace, Tiers{Policy: k, MemoryBytes: memory})
			if err != nil {
				t.Fatal(err)
			}
			hits[k] = c.ObjectHitRatio()
			if c.Requests != 20_000 || c.DiskHits != 0 || c.WrittenBytes != 0 {
				t.Errorf("%s, %s: %+v", made.Name, k, c)
			}
		}
		if d := hits[evict.KindObjects]; d <= hits[evict.KindLRU] || d <= hits[evict.KindS3FIFO] {
			t.Errorf("%s: %v", made.Name, hits)
		}
		both, err := Replay(t.Context(), trace, Tiers{MemoryBytes: memory, DiskBytes: 4 * memory})
		if err != nil {
			t.Fatal(err)
		}
		if both.ObjectHitRatio() < hits[evict.KindObjects] || both.DiskHits == 0 || both.DiskWriteRatio() > 1.5 || both.WrittenBytes == 0 {
			t.Errorf("%s: %+v; memory alone %v", made.Name, both, hits[evict.KindObjects])
		}
	}
}

// With room for all, each object is missed once.
func TestReplayWithRoomForAll(t *testing.T) {
	trace := traceOf(t, evicttest.Mixed(5000))
	for _, tiers := range []Tiers{{MemoryBytes: trace.FootprintBytes}, {DiskBytes: trace.FootprintBytes}} {
		c, err := Replay(t.Context(), trace, tiers)
		if err != nil {
			t.Fatal(err)
		}
		if misses := c.Requests - c.MemoryHits - c.DiskHits; misses != int64(trace.Objects) {
			t.Errorf("%+v: %d misses of %d objects", tiers, misses, trace.Objects)
		}
	}
}

func TestRun(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "t.log")
	if err := os.WriteFile(path, []byte("0 a 10\n0 b <90\n0 a 10\n0 b 90\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	share := func(text string) (s Size) {
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	svg := filepath.Join(folder, "c.svg")
	for _, row := range []struct {
		name    string
		options Options
		want    []string
	}{
		{"tables", Options{TracePath: path, Memory: share("100%"), Disk: share("1KiB")},
			[]string{"t.log: 3 requests for 2 objects, footprint 100B", "memory    100B        100.0%  objects        33.3%       9.1%", "disk writes: 0.909"}},
		{"standard input", Options{TracePath: "-", Stdin: strings.NewReader("0 a 1\n"), Memory: share("1B")}, []string{"1 requests for 1 objects"}},
		{"JSON", Options{TracePath: path, Memory: share("100%"), Policy: evict.KindLRU, JSON: true},
			[]string{`"policy": "lru"`, `"object_hit_ratio": 0.33`, `"byte_hit_ratio": 0.09`, `"disk_write_ratio": 0`, `"skipped_lines": 1`}},
		{"a curve", Options{TracePath: path, Curve: true, CurvePath: svg}, []string{"hits by size", "100.0%           33.3%", "drawn in " + svg}},
	} {
		var out, problems bytes.Buffer
		if err := Run(t.Context(), row.options, &out, &problems); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		for _, want := range row.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", row.name, want, out.String())
			}
		}
		if row.options.JSON && !json.Valid(out.Bytes()) {
			t.Errorf("%s: not JSON", row.name)
		}
		if row.options.TracePath == path && problems.String() != "weir: "+path+": line 2: size \"<90\" is not a number of bytes up to 1125899906842624\n" {
			t.Errorf("%s: told of %q", row.name, problems.String())
		}
	}
	picture, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(picture)); err == nil; {
		_, err = d.Token()
	}
	if err != io.EOF || bytes.Count(picture, []byte("<polyline")) != 4 || bytes.Contains(picture, []byte("NaN")) {
		t.Errorf("the picture: %v\n%s", err, picture)
	}
}

func TestRunErrors(t *testing.T) {
	memory := Size{bytes: 1}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name    string
		ctx     context.Context
		options Options
		want    string
	}{
		{"no tier", t.Context(), Options{TracePath: "x"}, "--memory, --disk or --curve"},
		{"no trace", t.Context(), Options{Memory: memory}, "TracePath"},
		{"no file", t.Context(), Options{TracePath: "/nowhere/t", Memory: memory}, "/nowhere/t"},
		{"not a trace", t.Context(), Options{TracePath: "-", Stdin: strings.NewReader("hello\n"), Memory: memory}, "read -: 1 of 1 lines"},
		{"nowhere to draw", t.Context(), Options{TracePath: "-", Stdin: strings.NewReader("0 1 1\n"), Curve: true, CurvePath: "/nowhere/c.svg"}, "draw the curve"},
		{"cancelled", cancelled, Options{TracePath: "-", Stdin: strings.NewReader("0 1 1\n"), Curve: true}, context.Canceled.Error()},
		{"cancelled early", cancelled, Options{TracePath: "-", Stdin: strings.NewReader("0 1 1\n"), Memory: memory}, context.Canceled.Error()},
	} {
		err := Run(row.ctx, row.options, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	if err := (report{}).printTables(brokenPipe{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a closed pipe: %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
