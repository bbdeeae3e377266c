package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"weir/cache/rfc9111"
	"weir/storage"
)

// stored is an object in memory whose body is at hand.
type stored struct {
	*bytes.Reader
	meta *storage.Meta
}

func storedBody(body []byte) stored {
	return stored{bytes.NewReader(body), &storage.Meta{BodyBytes: int64(len(body))}}
}

func (s stored) Meta() *storage.Meta     { return s.meta }
func (s stored) Tier() storage.Tier      { return storage.TierMemory }
func (s stored) Checked() *atomic.Uint64 { return new(atomic.Uint64) }
func (s stored) Close() error            { return nil }

// numberedLines is a text of about n bytes.
func numberedLines(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%x line %d of %d: the quick brown fox\n", i*i*2654435761, i, i%7)
	}
	return b.Bytes()
}

// A strong entity tag with a coding's label names bytes. If this test fails, an
// encoder's output has changed: raise the revision in labelOf, and record the
// new sums.
func TestLabelsNameBytes(t *testing.T) {
	text := numberedLines(600 << 10)
	for c, want := range map[rfc9111.Coding]string{
		rfc9111.CodingZstd:   "zstd1 fac945151595031c",
		rfc9111.CodingBrotli: "br1 70bcaf440f141403",
		rfc9111.CodingGzip:   "gzip1 69be0d3d0345f455",
	} {
		var out bytes.Buffer
		if _, err := transcode(t.Context(), &out, storedBody(text), rfc9111.CodingIdentity, c); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(out.Bytes())
		if got := labelOf(c) + " " + hex.EncodeToString(sum[:8]); got != want {
			t.Errorf("%s: %s, recorded is %s", c, got, want)
		}
		var back bytes.Buffer
		if _, err := transcode(t.Context(), &back, storedBody(out.Bytes()), c, rfc9111.CodingIdentity); err != nil || !bytes.Equal(back.Bytes(), text) {
			t.Errorf("%s: %d bytes back, %v", c, back.Len(), err)
		}
	}
}

// Text is not compressed for less than a tenth, and decoding ends at the limit.
func TestTranscodeIsBounded(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, c := range rfc9111.Codings[1:] {
		var bomb bytes.Buffer
		if _, err := transcode(t.Context(), &bomb, storedBody(zeros), rfc9111.CodingIdentity, c); err != nil {
			t.Fatal(err)
		}
		allowed := min(int64(decodedBytesMax), max(decodedFloorBytes, decodedRatioMax*int64(bomb.Len())))
		n, err := transcode(t.Context(), io.Discard, storedBody(bomb.Bytes()), c, rfc9111.CodingIdentity)
		if !errors.Is(err, errBomb) || n > allowed {
			t.Errorf("%s: %d bytes of a bomb, %v", c, n, err)
		}
	}
	noise := sha256.Sum256([]byte("noise"))
	body := []byte(hex.EncodeToString(noise[:]))
	if n, err := transcode(t.Context(), io.Discard, storedBody(body), rfc9111.CodingIdentity, rfc9111.CodingGzip); !errors.Is(err, errNotWorth) || n > int64(len(body)) {
		t.Errorf("%d bytes of noise, %v", n, err)
	}
}

// What the store or the time does not allow says nothing about the body.
func TestTranscodeFailures(t *testing.T) {
	text := numberedLines(200 << 10)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := transcode(gone, io.Discard, storedBody(text), rfc9111.CodingIdentity, rfc9111.CodingZstd); !errors.Is(err, context.Canceled) {
		t.Errorf("after the time: %v", err)
	}
	var coded bytes.Buffer
	if _, err := transcode(t.Context(), &coded, storedBody(text), rfc9111.CodingIdentity, rfc9111.CodingGzip); err != nil {
		t.Fatal(err)
	}
	full := &failing{err: storage.ErrFull}
	for _, c := range []rfc9111.Coding{rfc9111.CodingZstd, rfc9111.CodingBrotli, rfc9111.CodingGzip} {
		if _, err := transcode(t.Context(), full, storedBody(text), rfc9111.CodingIdentity, c); !errors.Is(err, storage.ErrFull) {
			t.Errorf("%s, a full store: %v", c, err)
		}
	}
	_, err := transcode(t.Context(), full, storedBody(coded.Bytes()), rfc9111.CodingGzip, rfc9111.CodingIdentity)
	if !errors.Is(err, storage.ErrFull) || errors.Is(err, errBroken) {
		t.Errorf("decoding into a full store: %v", err)
	}
	short := storedBody(coded.Bytes())
	short.meta.BodyBytes += 10 // more than there is: what a damaged object looks like
	if _, err := transcode(t.Context(), io.Discard, short, rfc9111.CodingGzip, rfc9111.CodingIdentity); err == nil || errors.Is(err, errBroken) {
		t.Errorf("a body that the store cannot read: %v", err)
	}
}

type failing struct{ err error }

func (f *failing) Write([]byte) (int, error) { return 0, f.err }

// The queue and what is remembered have their limits.
func TestDerivationLimits(t *testing.T) {
	e := &Engine{}
	ds := newDerivations(e)
	ds.workersMax = 0
	for i := range derivationsQueueMax + 10 {
		job := ds.start(derivation{key: storage.KeyOf(fmt.Sprint(i))}, i%2 == 0)
		if (job != nil) != (i < derivationsQueueMax) {
			t.Fatalf("derivation %d: %v", i, job != nil)
		}
	}
	if first := ds.start(derivation{key: storage.KeyOf("7")}, false); first == nil || first.key != storage.KeyOf("7") {
		t.Error("one that is queued was not joined")
	}
	ds.close()
	if len(ds.jobs) != 0 || ds.start(derivation{}, true) != nil {
		t.Errorf("%d derivations after the end", len(ds.jobs))
	}
	for i := range outcomesMax + 100 {
		ds.remember(storage.KeyOf(fmt.Sprint(i)), DerivationNotWorth)
	}
	if len(ds.ended) != outcomesMax {
		t.Errorf("%d ends remembered, at most %d may be", len(ds.ended), outcomesMax)
	}
}

// Whatever is stored as coded, decoding stays within its limit and gives either
// an error or the text.
func FuzzDecode(f *testing.F) {
	for _, c := range rfc9111.Codings[1:] {
		var b bytes.Buffer
		if _, err := transcode(f.Context(), &b, storedBody([]byte(strings.Repeat("text ", 1000))), rfc9111.CodingIdentity, c); err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(c), b.Bytes())
		f.Add(uint8(c), b.Bytes()[:b.Len()/2])
	}
	f.Fuzz(func(t *testing.T, coding uint8, body []byte) {
		c := rfc9111.Codings[1+int(coding)%(len(rfc9111.Codings)-1)]
		n, err := transcode(t.Context(), io.Discard, storedBody(body), c, rfc9111.CodingIdentity)
		if limit := max(decodedFloorBytes, decodedRatioMax*int64(len(body))); n > limit {
			t.Errorf("%d bytes of %d, the limit is %d", n, len(body), limit)
		}
		if err != nil && !errors.Is(err, errBroken) && !errors.Is(err, errBomb) {
			t.Errorf("an error of no kind: %v", err)
		}
	})
}
