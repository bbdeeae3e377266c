package httpcache_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/storage/disk"
)

// TestRangesOfDamagedObject: a block that fails its checksum within a range, however the
// range is written, is fetched again within the same answer.
func TestRangesOfDamagedObject(t *testing.T) {
	const size = 400_000
	whole := content(0, size)
	for _, field := range []string{"bytes=100000-350000", "bytes=100000-", "bytes=-300000", "bytes=0-9,150000-350000"} {
		t.Run(field, func(t *testing.T) {
			dir := t.TempDir()
			store, err := disk.Open(disk.Options{Dir: dir, BudgetBytes: 64 << 20, AdmitAll: true})
			if err != nil {
				t.Fatal(err)
			}
			h := partialHandler(t, store, &versioned{size: size})
			if rec, _ := ask(h); !bytes.Equal(rec.Body.Bytes(), whole) {
				t.Fatalf("%d bytes", rec.Body.Len())
			}
			damage(t, filepath.Join(dir, "regions.log"), whole, 200_000)
			for range 2 { // the second finds whatever the first has stored
				rec, complete := ask(h, "Range", field)
				if err := checkParts(rec, size); err != nil || !complete || rec.Code != http.StatusPartialContent {
					t.Errorf("status %d, complete %t, %v", rec.Code, complete, err)
				}
			}
			if stats := store.Stats(); stats.Corrupt != 1 {
				t.Errorf("%d were corrupt, want 1", stats.Corrupt)
			}
		})
	}
}

// damage flips a bit of a body in a file, once it is there.
func damage(t *testing.T, path string, body []byte, at int) {
	t.Helper()
	for range 200 {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if start := bytes.Index(b, body); start >= 0 {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = file.WriteAt([]byte{body[at] ^ 1}, int64(start+at))
				err = errors.Join(err, file.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the body is not in %s", path)
}
