package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

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

// TestLogCutShort: what is left of a log is served, the rest is a miss, and all goes on.
func TestLogCutShort(t *testing.T) {
	for _, share := range []int64{0, 1, 50, 99} {
		t.Run(fmt.Sprint(share, "%"), func(t *testing.T) {
			o := Options{Dir: t.TempDir(), BudgetBytes: 8 << 20, AdmitAll: true}
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
