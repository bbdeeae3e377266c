package vfs

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func create(t *testing.T, f FS, name string) File {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func TestOSLockIsExclusiveUntilClosed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	lock, err := OS().Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OS().Lock(name); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v, want ErrLocked", err)
	}
	if !Locked(name) && runtime.GOOS == "linux" {
		t.Error("nobody says that it is locked")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if Locked(name) || Locked(name+"none") {
		t.Error("locked still")
	}
	again, err := OS().Lock(name)
	if err != nil {
		t.Fatalf("lock after close: %v", err)
	}
	_ = again.Close()
}

func TestOSMissingFileIsANilFile(t *testing.T) {
	file, err := OS().OpenFile(filepath.Join(t.TempDir(), "none"), os.O_RDONLY, 0)
	if !errors.Is(err, os.ErrNotExist) || file != nil {
		t.Fatalf("got %v, %v", file, err)
	}
}

func TestFaultyFailsWhatItWasToldTo(t *testing.T) {
	dir := t.TempDir()
	f := NewFaulty(OS())
	a, b := create(t, f, filepath.Join(dir, "a")), create(t, f, filepath.Join(dir, "b"))
	f.Inject(Fault{Op: OpWrite, Path: func(name string) bool { return strings.HasSuffix(name, "a") }, After: 1, Err: syscall.ENOSPC, WriteBytes: 2})

	steps := []struct {
		name string
		do   func() error
		want error
	}{
		{"first write to a passes", func() error { _, err := a.WriteAt([]byte("xxxx"), 0); return err }, nil},
		{"write to b is not meant", func() error { _, err := b.WriteAt([]byte("xxxx"), 0); return err }, nil},
		{"second write to a fails", func() error { _, err := a.WriteAt([]byte("yyyy"), 0); return err }, syscall.ENOSPC},
		{"third write passes again", func() error { _, err := a.WriteAt([]byte("z"), 3); return err }, nil},
	}
	for _, step := range steps {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
	got := make([]byte, 4)
	if _, err := a.ReadAt(got, 0); err != nil || string(got) != "yyxz" {
		t.Fatalf("file holds %q, %v: want the first two bytes of the write that failed", got, err)
	}
	if f.Fired() != 1 {
		t.Fatalf("fired %d", f.Fired())
	}
}

func TestFaultyReachesEveryOperation(t *testing.T) {
	dir := t.TempDir()
	f := NewFaulty(OS())
	file := create(t, f, filepath.Join(dir, "file"))
	calls := map[Op]func() error{
		OpOpen:     func() error { _, err := f.OpenFile(filepath.Join(dir, "file"), os.O_RDONLY, 0); return err },
		OpRead:     func() error { _, err := file.ReadAt(make([]byte, 1), 0); return err },
		OpWrite:    func() error { _, err := file.WriteAt([]byte("x"), 0); return err },
		OpStat:     func() error { _, err := file.Stat(); return err },
		OpRename:   func() error { return f.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "new")) },
		OpRemove:   func() error { return f.Remove(filepath.Join(dir, "file")) },
		OpMkdir:    func() error { return f.MkdirAll(filepath.Join(dir, "sub"), 0o700) },
		OpReadDir:  func() error { _, err := f.ReadDir(dir); return err },
		OpChtimes:  func() error { return f.Chtimes(filepath.Join(dir, "file"), time.Now(), time.Now()) },
		OpLock:     func() error { _, err := f.Lock(filepath.Join(dir, "lock")); return err },
		OpTruncate: func() error { return file.Truncate(1) },
		OpAllocate: func() error { return file.Allocate(0, 1) },
		OpSync:     func() error { return file.Sync() },
		OpClose:    func() error { return create(t, f, filepath.Join(dir, "closing")).Close() },
	}
	for op, call := range calls {
		f.Inject(Fault{Op: op, Times: -1})
		if err := call(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, want EIO", op, err)
		}
		f.Heal()
	}
	names, err := f.ReadDir(dir)
	if err != nil || len(names) != 2 || names[0].Name() != "closing" || names[1].Name() != "file" {
		t.Errorf("after the faults the directory holds %v, %v", names, err)
	}
}

func TestFaultyFlipsABit(t *testing.T) {
	f := NewFaulty(OS())
	file := create(t, f, filepath.Join(t.TempDir(), "file"))
	written, got := []byte("aaaa"), make([]byte, 4)
	f.Inject(Fault{Op: OpWrite, Flip: true})
	if _, err := file.WriteAt(written, 0); err != nil || string(written) != "aaaa" {
		t.Fatalf("%q, %v", written, err)
	}
	if _, err := file.ReadAt(got, 0); err != nil || string(got) != "aa`a" {
		t.Fatalf("written: %q, %v", got, err)
	}
	f.Inject(Fault{Op: OpRead, Flip: true})
	if _, err := file.ReadAt(got, 0); err != nil || string(got) != "aaaa" {
		t.Fatalf("read: %q, %v", got, err)
	}
}

func TestCrashingKeepsWhatWasSynced(t *testing.T) {
	dir := t.TempDir()
	calls := 0
	c := NewCrashing(OS(), func() { calls++ })
	file := create(t, c, filepath.Join(dir, "file"))
	lost, kept := 0, 0
	for i, p := range []string{"synced", "later"} {
		if _, err := file.WriteAt([]byte(p), int64(i)*sectorBytes); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := file.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for seed := range uint64(30) {
		to := t.TempDir()
		if err := c.Crash(dir, to, rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(to, "file"))
		if err != nil || string(got[:6]) != "synced" {
			t.Fatalf("%q, %v", got[:6], err)
		}
		if string(got[sectorBytes:]) == "later" {
			kept++
		} else {
			lost++
		}
	}
	if calls != 3 || lost == 0 || kept == 0 {
		t.Errorf("%d calls, lost %d times and kept %d times", calls, lost, kept)
	}
}
