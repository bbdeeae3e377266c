package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T, budgetBytes int64) storage.Store {
		return mustOpen(t, Options{Dir: t.TempDir(), BudgetBytes: budgetBytes})
	})
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // twice is safe
	return s
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

// files lists the files of a store but its lock, with their sizes.
func files(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		status, err := d.Info()
		if err == nil {
			sizes[path] = status.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(Options{}); err == nil {
		t.Error("opened no directory")
	}
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
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
	s := mustOpen(t, Options{Dir: dir})
	for i, size := range []int64{0, 1000, 65536, 200_000} {
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
	before := s.Stats()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = mustOpen(t, Options{Dir: dir})
	if after := s.Stats(); after != before {
		t.Errorf("stats %+v, before %+v", after, before)
	}
	for name, id := range map[string]uint64{"0": 0, "1": 12, "2": 3, "3": 4} {
		wantBody(t, s, name, id)
	}
	o, err := s.Get(storage.KeyOf("2"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Meta().Stamp != 99 || o.Checked().Load() != 99 {
		t.Errorf("stamp %d, checked %d", o.Meta().Stamp, o.Checked().Load())
	}
	_ = o.Close()
	mustPut(t, s, "3", 20, 10) // numbers drawn now are higher than those found
	_ = s.Close()
	wantBody(t, mustOpen(t, Options{Dir: dir}), "3", 20)
}

func TestOpenReadsNoBody(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustPut(t, s, "a", 1, 100_000)
	_ = s.Close()
	faulty := vfs.NewFaulty(vfs.OS())
	faulty.Inject(vfs.Fault{Path: func(name string) bool { return filepath.Ext(name) == bodySuffix }, Times: -1})
	s = mustOpen(t, Options{Dir: dir, FS: faulty})
	if faulty.Fired() != 0 || s.Stats().Objects != 1 {
		t.Errorf("touched bodies %d times, found %+v", faulty.Fired(), s.Stats())
	}
}

func TestOpenKeepsTheOrderOfUse(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	for i := range 10 {
		mustPut(t, s, fmt.Sprint(i), uint64(i+1), 100_000)
	}
	long := time.Now().Add(-time.Hour) // as if all had been stored an hour ago, 0 last of all
	for i := range 10 {
		at := long.Add(time.Duration((10-i)%10) * time.Minute)
		path := s.metaPath(storage.KeyOf(fmt.Sprint(i)), s.entries[storage.KeyOf(fmt.Sprint(i))].metaN)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	s = mustOpen(t, Options{Dir: dir})
	wantBody(t, s, "5", 6) // and this one is used
	_ = s.Close()

	s = mustOpen(t, Options{Dir: dir, BudgetBytes: 5 * 110_000, ObjectBytesMax: 100_000})
	if got := s.Stats(); got.Bytes > got.BudgetBytes || got.Objects != 5 {
		t.Errorf("%+v", got)
	}
	for i, want := range []uint64{0, 2, 3, 4, 5, 6, 0, 0, 0, 0} { // in order of age: 0, 9, 8, 7, 6, then 4 to 1 and 5
		wantBody(t, s, fmt.Sprint(i), want)
	}
}

// What is only looked at is not used, touches no file, and an object that
// cannot be read is left for the next Get.
func TestPeekIsNoUse(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, BudgetBytes: 4 << 20, ObjectBytesMax: 4 << 20})
	mustPut(t, s, "first", 1, 1<<20)
	mustPut(t, s, "second", 2, 1<<20)
	if got := s.Peek(storage.KeyOf("first")); len(got) != 1 || got[0].Tier != storage.TierDisk {
		t.Errorf("peek: %v", got)
	}
	for size := int64(1 << 20); s.Stats().Evictions == 0; size++ {
		mustPut(t, s, fmt.Sprint(size), uint64(size), 1<<20)
	}
	if s.Peek(storage.KeyOf("first")) != nil || s.Peek(storage.KeyOf("second")) == nil {
		t.Error("the object peeked at was evicted after one that came later")
	}
	before := s.Stats()
	for path := range files(t, dir) {
		if filepath.Ext(path) == metaSuffix {
			if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := s.Peek(storage.KeyOf("second")); got != nil || s.Stats() != before {
		t.Errorf("unreadable: %v, stats %+v, %+v before", got, s.Stats(), before)
	}
	wantBody(t, s, "second", 0)
	if got := s.Stats().Corrupt; got != before.Corrupt+1 {
		t.Errorf("%d corrupt, want one more than %d", got, before.Corrupt)
	}
}

func TestOpenRemovesLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustPut(t, s, "good", 1, 1000)
	mustPut(t, s, "no body", 2, 1000)
	mustPut(t, s, "bad meta", 3, 1000)
	good := files(t, dir)
	writing, err := s.Create(storage.KeyOf("writing"), storagetest.Meta("writing", 4, -1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writing.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	noBody, badMeta := s.entries[storage.KeyOf("no body")], s.entries[storage.KeyOf("bad meta")]
	goodMeta := s.metaPath(storage.KeyOf("good"), s.entries[storage.KeyOf("good")].metaN)
	gone := []string{
		s.metaPath(noBody.key, noBody.metaN), s.bodyPath(2, noBody.bodyN),
		s.metaPath(badMeta.key, badMeta.metaN), s.bodyPath(3, badMeta.bodyN),
	}
	whole, err := os.ReadFile(goodMeta)
	if err != nil {
		t.Fatal(err)
	}
	older, err := decodeMetaFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	older.n = 0
	olderBytes, err := older.append(nil)
	for _, err := range []error{
		err,
		os.Remove(gone[1]),
		os.WriteFile(gone[2], whole, 0o600), // whole, but of another key
		os.WriteFile(goodMeta+tempSuffix, whole, 0o600),
		os.WriteFile(filepath.Join(filepath.Dir(goodMeta), "junk"), nil, 0o600),
		os.WriteFile(filepath.Join(filepath.Dir(goodMeta), "zz-zz.meta"), nil, 0o600),
		os.WriteFile(s.metaPath(storage.KeyOf("good"), 0), olderBytes, 0o600),
		os.Mkdir(filepath.Join(dir, "objects", "not ours"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = s.lock.Close() // the store is abandoned as by kill -9

	s = mustOpen(t, Options{Dir: dir})
	wantBody(t, s, "good", 1)
	for _, name := range []string{"no body", "bad meta", "writing"} {
		wantBody(t, s, name, 0)
	}
	for _, path := range gone {
		delete(good, path)
	}
	got := files(t, dir)
	if len(got) != len(good) {
		t.Errorf("left: %v, want %v", got, good)
	}
	if stats := s.Stats(); stats.Corrupt != 1 || stats.Bytes != 8192 {
		t.Errorf("%+v", stats)
	}
}

// TestFilesStayWithinBudget compares what is accounted for with the files.
func TestFilesStayWithinBudget(t *testing.T) {
	dir := t.TempDir()
	const budget = 1 << 20
	s := mustOpen(t, Options{Dir: dir, BudgetBytes: budget})
	check := func() {
		t.Helper()
		used := int64(0)
		for _, size := range files(t, dir) {
			used += roundUp(size)
		}
		if accounted := s.Stats().Bytes; used > accounted || accounted > budget {
			t.Fatalf("%d bytes of files, %d accounted, budget %d", used, accounted, budget)
		}
	}
	for i := range uint64(60) {
		w, err := s.Create(storage.KeyOf(fmt.Sprint(i)), storagetest.Meta(fmt.Sprint(i), i, -1))
		if err != nil {
			t.Fatal(err)
		}
		for range i % 5 {
			if _, err := w.Write(storagetest.Body(i, 20_001)); err != nil {
				t.Fatal(err)
			}
			check()
		}
		if err := errors.Join(w.Commit(), w.Close()); err != nil {
			t.Fatal(err)
		}
		check()
	}
	if s.Stats().Evictions == 0 {
		t.Error("nothing was evicted")
	}
}

func TestMetaBeyondTheLimitsIsTooLarge(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	m := storagetest.Meta("a", 1, 10)
	m.Header = make([]byte, storage.MetaBytesMax)
	if _, err := s.Create(storage.KeyOf("a"), m); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("create: %v", err)
	}
	if got := s.Stats().Bytes; got != 0 {
		t.Errorf("%d bytes in use", got)
	}
}

func TestTooManyOpenFilesDropsNothing(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.OS())
	s := mustOpen(t, Options{Dir: t.TempDir(), FS: faulty})
	mustPut(t, s, "a", 1, 1000)
	faulty.Inject(vfs.Fault{Op: vfs.OpOpen, Err: syscall.EMFILE})
	wantBody(t, s, "a", 0)
	wantBody(t, s, "a", 1)
}

func TestReadAfterClose(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	mustPut(t, s, "a", 1, 1000)
	o, err := s.Get(storage.KeyOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(make([]byte, 1), 0); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if err := o.Close(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	wantBody(t, s, "a", 1)
}

func FuzzMetaFile(f *testing.F) {
	for _, n := range []int64{0, 1, blockBytes, 3*blockBytes + 1} {
		m := metaFile{key: storage.KeyOf("a"), n: 7, bodyN: 6, meta: storagetest.Meta("a", 5, n), sums: make([]uint32, blocksOf(n))}
		b, err := m.append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-sumBytes])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b) // else no input but the seeds would get past the checksum
		m, err := decodeMetaFile(b)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("%v is not ErrCorrupt", err)
			}
			return
		}
		again, err := m.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		other, err := decodeMetaFile(again)
		if err != nil || other.key != m.key || other.n != m.n || len(other.sums) != len(m.sums) {
			t.Fatalf("%+v came back as %+v, %v", m, other, err)
		}
	})
}

func BenchmarkRead4KiB(b *testing.B) {
	s := mustOpen(b, Options{Dir: b.TempDir()})
	mustPut(b, s, "a", 1, 1<<20)
	o, err := s.Get(storage.KeyOf("a"))
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for i := range b.N {
		if _, err := o.ReadAt(p, int64(i%256)*4096); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet4KiB(b *testing.B) {
	s := mustOpen(b, Options{Dir: b.TempDir()})
	mustPut(b, s, "a", 1, 4096)
	k := storage.KeyOf("a")
	b.ReportAllocs()
	for b.Loop() {
		o, err := s.Get(k)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		_ = o.Close()
	}
}

// sealed puts the right checksum behind b.
func sealed(b []byte) []byte {
	return appendSum(bytes.Clone(b))
}
