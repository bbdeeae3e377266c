package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Run("one directory", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T, budgetBytes int64) storage.Store {
			return mustOpen(t, Options{Dir: t.TempDir(), BudgetBytes: budgetBytes, AdmitAll: true, AsyncReads: true})
		})
	})
	t.Run("device", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T, budgetBytes int64) storage.Store {
			device := makeDevice(t, filepath.Join(t.TempDir(), "device"), budgetBytes)
			return mustOpen(t, Options{Dir: t.TempDir(), Device: device, BudgetBytes: budgetBytes, AdmitAll: true})
		})
	})
	t.Run("two directories", func(t *testing.T) {
		t.Chdir(t.TempDir()) // the same names each time, and so the same keys in each
		n := 0
		storagetest.Run(t, func(t *testing.T, budgetBytes int64) storage.Store {
			n++
			return mustOpen(t, Options{Dir: fmt.Sprintf("%d/a", n), BudgetBytes: budgetBytes * 3 / 4, AdmitAll: true,
				More: []Directory{{Path: fmt.Sprintf("%d/b", n), BudgetBytes: budgetBytes * 3 / 4}}})
		})
	})
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	if o.LoadWait == 0 {
		o.LoadWait = time.Minute
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // twice is safe
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustPut(t testing.TB, s *Store, name string, id uint64, n int64) {
	t.Helper()
	if err := storagetest.Put(s, name, id, n); err != nil {
		t.Fatal(err)
	}
}

// wantBody checks that name is stored whole with body id; id 0 wants a miss.
func wantBody(t testing.TB, s *Store, name string, id uint64) {
	t.Helper()
	o, err := s.Get(storage.KeyOf(name))
	if id == 0 {
		if !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("get %s: %v, want a miss", name, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	if err := errors.Join(storagetest.Check(name, o), o.Close()); err != nil || o.Meta().BodyID != id {
		t.Fatalf("%s: body %d, want %d: %v", name, o.Meta().BodyID, id, err)
	}
}

// bytesIn sums the files of a directory but its lock.
func bytesIn(t testing.TB, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a checkpoint has got its name in between
		}
		if err != nil || d.IsDir() || d.Name() == LockFile {
			return err
		}
		status, err := d.Info()
		switch {
		case err == nil:
			sum += status.Size()
		case errors.Is(err, fs.ErrNotExist):
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(Options{}); err == nil {
		t.Error("opened no directory")
	}
	if _, err := Open(Options{Dir: t.TempDir(), BudgetBytes: 100_000}); err == nil {
		t.Error("opened with a budget that is too small")
	}
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	mustClose(t, s)
	mustOpen(t, Options{Dir: dir})
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sub", "store")
	s := mustOpen(t, Options{Dir: dir})
	mustPut(t, s, "a", 1, 10)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		status, err := d.Info()
		if err == nil && status.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, status.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWarmRestart(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, BudgetBytes: 8 << 20, ObjectBytesMax: 2 << 20}
	s := mustOpen(t, o)
	for i, size := range []int64{0, 1000, 65536, 200_000, 1 << 20} {
		mustPut(t, s, fmt.Sprint(i), uint64(i+1), size)
	}
	mustPut(t, s, "1", 12, 2000) // replaced
	refreshed := storagetest.Meta("2", 3, 65536)
	refreshed.Stamp = 99
	if err := s.Refresh(storage.KeyOf("2"), refreshed); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(storage.KeyOf("0")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := s.Stats()
		mustClose(t, s)
		s = mustOpen(t, o)
		if after := s.Stats(); after != before {
			t.Errorf("stats %+v, before %+v", after, before)
		}
		for name, id := range map[string]uint64{"0": 0, "1": 12, "2": 3, "3": 4, "4": 5} {
			wantBody(t, s, name, id)
		}
	}
	got, err := s.Get(storage.KeyOf("2"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Meta().Stamp != 99 || got.Checked().Load() != 99 {
		t.Errorf("stamp %d, checked %d", got.Meta().Stamp, got.Checked().Load())
	}
	_ = got.Close()
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "3", 20, 10)
	mustClose(t, s)
	s = mustOpen(t, o)
	wantBody(t, s, "3", 20)
	wantBody(t, s, "4", 0)
}

// TestFilesStayWithinBudget lets the log come round several times.
func TestFilesStayWithinBudget(t *testing.T) {
	for _, budget := range []int64{256 << 10, 1 << 20, 5_000_000} {
		dir := t.TempDir()
		s := mustOpen(t, Options{Dir: dir, BudgetBytes: budget, AdmitAll: true})
		for i := range uint64(60) {
			w, err := s.Create(storage.KeyOf(fmt.Sprint(i)), storagetest.Meta(fmt.Sprint(i), i, -1))
			if err != nil {
				t.Fatal(err)
			}
			body := storagetest.Body(i, int64(i%5)*budget/50)
			for half := range 2 {
				if _, err := w.Write(body[half*len(body)/2 : (half+1)*len(body)/2]); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(w.Commit(), w.Close()); err != nil {
				t.Fatal(err)
			}
			if used, stats := bytesIn(t, dir), s.Stats(); used > budget || stats.Bytes > used {
				t.Fatalf("%d bytes of files, %d accounted, budget %d", used, stats.Bytes, budget)
			}
		}
		if s.Stats().Evictions == 0 {
			t.Error("nothing was evicted")
		}
		mustClose(t, s)
		s = mustOpen(t, Options{Dir: dir, BudgetBytes: budget})
		wantBody(t, s, "58", 58)
		if used := bytesIn(t, dir); used > budget {
			t.Errorf("%d bytes of files after a restart", used)
		}
	}
}
