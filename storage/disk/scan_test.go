package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/storage"
)

// countedReads counts the calls that a reader gets.
type countedReads struct {
	io.ReaderAt
	reads int
}

func (c *countedReads) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	return c.ReaderAt.ReadAt(p, off)
}

// TestScanEndsWithTheFile: a log that was cut short has nothing behind its end, and
// to look for a record at each 64 bytes there, with a read each, took minutes a region.
func TestScanEndsWithTheFile(t *testing.T) {
	g, err := geometryOf(1<<30, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &record{kind: kindObject, key: storage.KeyOf("a"), sequence: 7, body: []byte("body"), length: 4}
	r.sums = sumsOf(r.body)
	whole := r.append(nil, 1)
	for _, size := range []int{0, 1, recordHeadBytes - 1, len(whole), 3<<20 + 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			file := &countedReads{ReaderAt: bytes.NewReader(append(bytes.Clone(whole), make([]byte, 4<<20)...)[:size])}
			l := logReader{file: file, geometry: g, salt: 1, torn: func() {}}
			entries, err := l.scan(0, 1)
			if err != nil || (len(entries) == 1) != (size >= len(whole)) {
				t.Errorf("%d records, %v", len(entries), err)
			}
			if readsMax := size/scanWindowBytes + 3; file.reads > readsMax {
				t.Errorf("%d reads of a file of %d bytes: at most %d were to be expected", file.reads, size, readsMax)
			}
		})
	}
}

// TestScanOfAHostileBody: a body can be full of what looks like the heads of records as long
// as a region, but for a checksum that it cannot know. Behind damage a scan looks at it.
func TestScanOfAHostileBody(t *testing.T) {
	g, err := geometryOf(64<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := &record{kind: kindObject, key: storage.KeyOf("a"), sequence: 7, body: []byte("body"), length: 4}
	first.sums = sumsOf(first.body)
	hostile := (&record{kind: kindHead, key: storage.KeyOf("b"), sequence: 8}).append(nil, 2)
	region := append(first.append(nil, 1), bytes.Repeat(hostile, int(g.regionBytes/2)/len(hostile))...)
	for at := 0; at+recordHeadBytes <= len(region)-len(hostile); at += len(hostile) {
		if head := region[len(region)-len(hostile)-at:]; string(head[:4]) == recordMagic && at < len(region)-1024 {
			binary.LittleEndian.PutUint32(head[44:], uint32((g.regionBytes/2-4096)/partBytes))
		}
	}
	second := &record{kind: kindObject, key: storage.KeyOf("c"), sequence: 9, body: []byte("more"), length: 4}
	second.sums = sumsOf(second.body)
	region = append(region, second.append(nil, 1)...)
	file := &countedReads{ReaderAt: bytes.NewReader(append(region, make([]byte, int(g.regionBytes)-len(region))...))}
	entries, err := logReader{file: file, geometry: g, salt: 1}.scan(0, 1)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d records, %v; want the one before and the one behind", len(entries), err)
	}
	if readsMax := 200; file.reads > readsMax {
		t.Errorf("%d reads of one region, at most %d were to be expected", file.reads, readsMax)
	}
}

// TestLogCutShort: what is left of a log is served, the rest is a miss, and all goes on.
func TestLogCutShort(t *testing.T) {
	for _, share := range []int64{0, 1, 50, 99} {
		t.Run(fmt.Sprint(share, "%"), func(t *testing.T) {
			o := Options{Dir: t.TempDir(), BudgetBytes: 8 << 20, AdmitAll: true, LoadWait: time.Minute}
			s := mustOpen(t, o)
			const objects = 200
			for i := uint64(1); i <= objects; i++ {
				mustPut(t, s, fmt.Sprint(i), i, 30_000)
			}
			mustClose(t, s)
			log := filepath.Join(o.Dir, logFile)
			status, err := os.Stat(log)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(log, status.Size()*share/100); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, o)
			found := 0
			for i := uint64(1); i <= objects; i++ {
				object, err := s.Get(storage.KeyOf(fmt.Sprint(i)))
				if errors.Is(err, storage.ErrNotFound) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				_ = object.Close()
				wantBody(t, s, fmt.Sprint(i), i)
				found++
			}
			if share == 0 && found > 0 || share == 99 && found < objects/2 {
				t.Errorf("%d of %d objects are left", found, objects)
			}
			for i := uint64(1); i <= objects; i++ {
				mustPut(t, s, fmt.Sprint("new ", i), i, 30_000)
			}
			wantBody(t, s, "new 200", 200)
			mustClose(t, s)
		})
	}
}
