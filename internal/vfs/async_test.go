package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"weir/internal/vfs"
)

// TestAsync reads a file from many goroutines, in and out of the page cache, up to
// its end and beyond, and compares.
func TestAsync(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := make([]byte, 3<<20+123)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	plain, err := vfs.OS().OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := vfs.Async(plain)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	forget(t, name)
	var readers sync.WaitGroup
	for w := range uint64(400) { // more than it has room for
		readers.Go(func() {
			random := rand.New(rand.NewPCG(w, 1))
			for range 20 {
				off := random.Int64N(int64(len(content)) + 100)
				p := make([]byte, random.IntN(200_000))
				want := content[min(off, int64(len(content))):]
				want = want[:min(len(want), len(p))]
				n, err := f.ReadAt(p, off)
				if !bytes.Equal(p[:n], want) || (n < len(p)) != (err == io.EOF) || err != nil && err != io.EOF {
					t.Errorf("%d bytes at %d: %d, %v; want %d", len(p), off, n, err, len(want))
				}
			}
		})
	}
	readers.Wait()
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset is no error")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}

// TestAsyncCloses closes while others read.
func TestAsyncCloses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		plain, err := vfs.OS().OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := vfs.Async(plain)
		forget(t, name)
		var readers sync.WaitGroup
		for w := range int64(16) {
			readers.Go(func() {
				for off := w << 16; ; off = (off + 4096*7) % (1 << 20) {
					if _, err := f.ReadAt(make([]byte, 4096), off); err != nil {
						if !errors.Is(err, os.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		readers.Wait()
	}
}
