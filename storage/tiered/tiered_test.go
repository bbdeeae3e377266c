package tiered

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/disk"
	"weir/storage/memory"
	"weir/storage/storagetest"
)

func openDisk(t *testing.T, o disk.Options) *disk.Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := disk.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	t.Run("both", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T, budgetBytes int64) storage.Store {
			return New(memory.New(memory.Options{BudgetBytes: budgetBytes / 2}),
				openDisk(t, disk.Options{BudgetBytes: budgetBytes / 2}), Options{})
		})
	})
	t.Run("little memory", func(t *testing.T) { // so that most is promoted and evicted all the time
		storagetest.Run(t, func(t *testing.T, budgetBytes int64) storage.Store {
			return New(memory.New(memory.Options{BudgetBytes: budgetBytes / 8, ObjectBytesMax: budgetBytes / 16}),
				openDisk(t, disk.Options{BudgetBytes: budgetBytes - budgetBytes/8}), Options{})
		})
	})
	t.Run("memory only", func(t *testing.T) {
		storagetest.Run(t, func(_ *testing.T, budgetBytes int64) storage.Store {
			return New(memory.New(memory.Options{BudgetBytes: budgetBytes}), nil, Options{})
		})
	})
}

func mustPut(t *testing.T, s storage.Store, name string, id uint64, n int64) {
	t.Helper()
	if err := storagetest.Put(s, name, id, n); err != nil {
		t.Fatal(err)
	}
}

func mustGet(t *testing.T, s storage.Store, name string) storage.Object {
	t.Helper()
	o, err := s.Get(storage.KeyOf(name))
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return o
}

// want checks that name is stored with body id and read from tier; id 0 wants
// a miss.
func want(t *testing.T, s storage.Store, name string, id uint64, tier storage.Tier) {
	t.Helper()
	if id == 0 {
		if _, err := s.Get(storage.KeyOf(name)); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("get %s: %v, want a miss", name, err)
		}
		return
	}
	o := mustGet(t, s, name)
	if o.Meta().BodyID != id || o.Tier() != tier {
		t.Fatalf("%s: body %d from %s, want %d from %s", name, o.Meta().BodyID, o.Tier(), id, tier)
	}
	if err := errors.Join(storagetest.Check(name, o), o.Close()); err != nil {
		t.Fatal(err)
	}
}

// twoStores gives a tiered store and what it is made of. What is put through
// below is on disk alone.
func twoStores(t *testing.T, o Options) (s *Store, above *memory.Store, below *disk.Store) {
	above, below = memory.New(memory.Options{}), openDisk(t, disk.Options{})
	return New(above, below, o), above, below
}

func TestNeitherStore(t *testing.T) {
	s := New(nil, nil, Options{})
	want(t, s, "a", 0, 0)
	if _, err := s.Create(storage.KeyOf("a"), storagetest.Meta("a", 1, 1)); err == nil {
		t.Error("created")
	}
	if err := errors.Join(s.Delete(storage.KeyOf("a")), s.Clear(), s.Close()); err != nil {
		t.Error(err)
	}
}

func TestPromotion(t *testing.T) {
	for _, test := range []struct {
		name    string
		options Options
		size    int64
		second  storage.Tier
	}{
		{"empty", Options{}, 0, storage.TierMemory},
		{"small", Options{}, 1000, storage.TierMemory},
		{"as long as may be", Options{PromoteBytesMax: 200_000}, 200_000, storage.TierMemory},
		{"longer", Options{PromoteBytesMax: 200_000}, 200_001, storage.TierDisk},
		{"off", Options{PromoteBytesMax: -1}, 1, storage.TierDisk},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _, below := twoStores(t, test.options)
			mustPut(t, below, "a", 1, test.size)
			want(t, s, "a", 1, storage.TierDisk) // the Get that promotes found it on disk
			want(t, s, "a", 1, test.second)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPromotionCarriesChecked(t *testing.T) {
	s, above, below := twoStores(t, Options{})
	mustPut(t, below, "a", 1, 1000)
	o := mustGet(t, below, "a")
	o.Checked().Store(50)
	_ = o.Close()
	for _, store := range []storage.Store{s, above} {
		o := mustGet(t, store, "a")
		if got := o.Checked().Load(); got != 50 {
			t.Errorf("checked %d", got)
		}
		_ = o.Close()
	}
}

func TestPromotionWithoutRoomServesFromDisk(t *testing.T) {
	above, below := memory.New(memory.Options{BudgetBytes: 100_000, ObjectBytesMax: 90_000}), openDisk(t, disk.Options{})
	s := New(above, below, Options{})
	mustPut(t, below, "a", 1, 80_000)
	mustPut(t, below, "b", 2, 80_000)
	mustPut(t, below, "c", 3, 95_000)
	open := mustGet(t, s, "a")
	for range 2 {
		want(t, s, "b", 2, storage.TierDisk) // a has all the memory and is open
		want(t, s, "c", 3, storage.TierDisk) // too large for memory
	}
	_ = open.Close()
	want(t, s, "b", 2, storage.TierDisk)
	want(t, s, "b", 2, storage.TierMemory)
}

// hooked is a store that calls a hook after it has looked up an object, and
// before it commits or refreshes one.
type hooked struct {
	storage.Store
	afterGet, beforeChange func()
}

func (h *hooked) Get(k storage.Key) (storage.Object, error) {
	o, err := h.Store.Get(k)
	h.afterGet()
	return o, err
}

func (h *hooked) Refresh(k storage.Key, m *storage.Meta) error {
	h.beforeChange()
	return h.Store.Refresh(k, m)
}

func (h *hooked) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	w, err := h.Store.Create(k, m)
	return &hookedWriter{w, h}, err
}

type hookedWriter struct {
	storage.Writer
	store *hooked
}

func (h *hookedWriter) Commit() error {
	h.store.beforeChange()
	return h.Writer.Commit()
}

func nothing() {}

// gate gives a hook that, the first time, says that it has been reached and
// waits until it is let go on.
func gate() (hook func(), arrived, goOn chan struct{}) {
	var once sync.Once
	arrived, goOn = make(chan struct{}), make(chan struct{})
	return func() {
		once.Do(func() {
			close(arrived)
			<-goOn
		})
	}, arrived, goOn
}

// TestDiskChangesFirst checks that memory never has what the disk does not have
// yet: after an eviction the older object would come to light.
func TestDiskChangesFirst(t *testing.T) {
	above := memory.New(memory.Options{})
	below := &hooked{Store: openDisk(t, disk.Options{}), afterGet: nothing, beforeChange: nothing}
	s := New(above, below, Options{})
	mustPut(t, s, "a", 1, 1000)
	changes := 0
	below.beforeChange = func() {
		changes++
		if o := mustGet(t, above, "a"); o.Meta().Stamp != uint64(changes) {
			t.Errorf("change %d is in memory already", changes)
		}
	}
	mustPut(t, s, "a", 2, 1000)
	m := storagetest.Meta("a", 2, 1000)
	m.Stamp = 3
	if err := s.Refresh(storage.KeyOf("a"), m); err != nil {
		t.Fatal(err)
	}
	if changes != 2 {
		t.Errorf("%d changes", changes)
	}
}

// TestPromotionBegunWithinAChange lets a Get find the older object on disk after
// a commit has begun and before it ends.
func TestPromotionBegunWithinAChange(t *testing.T) {
	above := memory.New(memory.Options{ObjectBytesMax: 10_000})
	below := &hooked{Store: openDisk(t, disk.Options{}), beforeChange: nothing}
	s := New(above, below, Options{})
	mustPut(t, below, "a", 1, 1000)
	hook, arrived, goOn := gate()
	below.afterGet = hook
	var getter sync.WaitGroup
	below.beforeChange = func() {
		getter.Go(func() {
			if o, err := s.Get(storage.KeyOf("a")); err == nil {
				_ = o.Close()
			}
		})
		<-arrived
	}
	mustPut(t, s, "a", 2, 20_000) // on disk alone
	close(goOn)
	getter.Wait()
	want(t, s, "a", 2, storage.TierDisk)
}

// TestPromotionNeverBringsBack changes a key while a Get that found the older
// object on disk is about to promote it.
func TestPromotionNeverBringsBack(t *testing.T) {
	k := storage.KeyOf("a")
	refreshed := storagetest.Meta("a", 1, 1000)
	refreshed.Stamp = 9
	for _, test := range []struct {
		name   string
		change func(s *Store) error
		body   uint64 // that is stored afterwards; 0 for none
		stamp  uint64
	}{
		{"commit", func(s *Store) error { return storagetest.Put(s, "a", 2, 500) }, 2, 2},
		{"commit too large for memory", func(s *Store) error { return storagetest.Put(s, "a", 3, 50_000) }, 3, 3},
		{"refresh", func(s *Store) error { return s.Refresh(k, refreshed) }, 1, 9},
		{"delete", func(s *Store) error { return s.Delete(k) }, 0, 0},
		{"clear", func(s *Store) error { return s.Clear() }, 0, 0},
		{"delete, then the same body again", func(s *Store) error {
			return errors.Join(s.Delete(k), storagetest.PutMeta(s, "a", refreshed))
		}, 1, 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			above := memory.New(memory.Options{ObjectBytesMax: 10_000})
			hook, arrived, goOn := gate()
			below := &hooked{Store: openDisk(t, disk.Options{}), afterGet: hook, beforeChange: nothing}
			s := New(above, below, Options{})
			mustPut(t, below, "a", 1, 1000)
			var early storage.Object
			var getter sync.WaitGroup
			getter.Go(func() { early, _ = s.Get(k) })
			<-arrived
			if err := test.change(s); err != nil {
				t.Error(err)
			}
			close(goOn)
			getter.Wait()
			if early != nil {
				if err := errors.Join(storagetest.Check("a", early), early.Close()); err != nil {
					t.Error(err)
				}
			}
			o, err := s.Get(k)
			if test.body == 0 {
				if !errors.Is(err, storage.ErrNotFound) {
					t.Fatalf("it came back: %v", err)
				}
				return
			}
			if err != nil || o.Meta().BodyID != test.body || o.Meta().Stamp != test.stamp {
				t.Fatalf("got %+v, %v", o, err)
			}
			if err := errors.Join(storagetest.Check("a", o), o.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCorruptOnDiskIsAMiss(t *testing.T) {
	dir := t.TempDir()
	below := openDisk(t, disk.Options{Dir: dir})
	mustPut(t, below, "a", 1, 100_000)
	if err := below.Close(); err != nil { // so that all of it is in the file
		t.Fatal(err)
	}
	path := filepath.Join(dir, "regions.log")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body := storagetest.Body(1, 100_000)
	b[bytes.Index(b, body)+70_000]++
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(memory.New(memory.Options{}), openDisk(t, disk.Options{Dir: dir}), Options{})
	want(t, s, "a", 0, 0)
	if got := s.Stats(); got.Corrupt != 1 || got.Objects != 0 || got.Bytes != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTooLargeForMemoryIsOnDisk(t *testing.T) {
	above, below := memory.New(memory.Options{ObjectBytesMax: 100_000}), openDisk(t, disk.Options{})
	s := New(above, below, Options{})
	for _, declared := range []int64{150_000, -1} {
		mustPut(t, s, "a", 1, 1000)
		w, err := s.Create(storage.KeyOf("a"), storagetest.Meta("a", 2, declared))
		if err != nil {
			t.Fatal(err)
		}
		body := storagetest.Body(2, 150_000)
		for at := 0; at < len(body); at += 50_000 {
			if _, err := w.Write(body[at : at+50_000]); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, at+50_000)
			if _, err := w.ReadAt(got, 0); err != nil || !bytes.Equal(got, body[:at+50_000]) {
				t.Fatalf("after %d bytes: %v", at, err)
			}
		}
		if err := errors.Join(w.Commit(), w.Close()); err != nil {
			t.Fatal(err)
		}
		want(t, s, "a", 2, storage.TierDisk)
		want(t, above, "a", 0, 0) // the one before is not left in memory
	}
}

// TestFailingDisk lets the disk fail, for one operation after the other and
// then for all, at every stage of an object's life. Memory serves on.
func TestFailingDisk(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpRead, vfs.OpAllocate, vfs.OpSync, vfs.OpAny} {
		t.Run("op "+string(op), func(t *testing.T) {
			faulty := vfs.NewFaulty(vfs.OS())
			below := openDisk(t, disk.Options{FS: faulty})
			above := memory.New(memory.Options{})
			s := New(above, below, Options{})
			mustPut(t, s, "before", 1, 70_000)
			writing, err := s.Create(storage.KeyOf("writing"), storagetest.Meta("writing", 2, 70_000))
			if err != nil {
				t.Fatal(err)
			}
			body := storagetest.Body(2, 70_000)
			if _, err := writing.Write(body[:30_000]); err != nil {
				t.Fatal(err)
			}

			faulty.Inject(vfs.Fault{Op: op, Times: -1})
			if _, err := writing.Write(body[30_000:]); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(writing.Commit(), writing.Close()); err != nil {
				t.Fatal(err)
			}
			mustPut(t, s, "after", 3, 70_000)
			mustPut(t, s, "before", 4, 70_000)
			m := storagetest.Meta("after", 3, 70_000)
			m.Stamp = 9
			if err := s.Refresh(storage.KeyOf("after"), m); err != nil {
				t.Fatal(err)
			}
			for name, id := range map[string]uint64{"before": 4, "writing": 2, "after": 3} {
				want(t, s, name, id, storage.TierMemory)
			}
			want(t, s, "never", 0, 0)

			faulty.Heal() // and what memory loses is not there in an older form
			if err := above.Clear(); err != nil {
				t.Fatal(err)
			}
			for name, id := range map[string]uint64{"before": 4, "writing": 2, "after": 3} {
				o, err := s.Get(storage.KeyOf(name))
				if err != nil {
					continue
				}
				if o.Meta().BodyID != id || (name == "after" && o.Meta().Stamp != 9) {
					t.Errorf("%s: body %d, stamp %d came back", name, o.Meta().BodyID, o.Meta().Stamp)
				}
				_ = o.Close()
			}
		})
	}
}

func TestNeitherTakesTheWrite(t *testing.T) {
	s := New(memory.New(memory.Options{ObjectBytesMax: 100_000}), openDisk(t, disk.Options{ObjectBytesMax: 130_000}), Options{})
	mustPut(t, s, "a", 1, 1000)
	w, err := s.Create(storage.KeyOf("a"), storagetest.Meta("a", 2, -1))
	if err != nil {
		t.Fatal(err)
	}
	body := storagetest.Body(2, 160_000)
	for _, piece := range [][]byte{body[:80_000], body[80_000:120_000]} { // the second is too much for memory
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(body[120_000:]); !errors.Is(err, storage.ErrFull) {
		t.Errorf("write: %v, want ErrFull", err)
	}
	got := make([]byte, 160_000)
	if n, _ := w.ReadAt(got, 0); n != 120_000 || !bytes.Equal(got[:n], body[:n]) {
		t.Errorf("%d bytes are readable", n)
	}
	if err := w.Commit(); !errors.Is(err, storage.ErrFull) {
		t.Errorf("commit: %v", err)
	}
	_ = w.Close()
	want(t, s, "a", 1, storage.TierMemory) // the one before stays
}

// broken is a store that fails: in Create, or later in Commit.
type broken struct {
	storage.Store
	create, commit error
}

func (b *broken) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	if b.create != nil {
		return nil, b.create
	}
	w, err := b.Store.Create(k, m)
	return brokenWriter{w, b.commit}, err
}

type brokenWriter struct {
	storage.Writer
	commit error
}

func (w brokenWriter) Commit() error {
	if w.commit != nil {
		return w.commit
	}
	return w.Writer.Commit()
}

func TestAbortedCommitKeepsWhatWasThere(t *testing.T) {
	below := &broken{Store: openDisk(t, disk.Options{})}
	s := New(nil, below, Options{})
	mustPut(t, s, "a", 1, 1000)
	below.commit = syscall.EIO
	if err := storagetest.Put(s, "a", 2, 1000); !errors.Is(err, storage.ErrFull) {
		t.Errorf("put: %v", err)
	}
	want(t, s, "a", 1, storage.TierDisk)
}

// TestManyGetsPromoteOnce lets many find one object on disk at once.
func TestManyGetsPromoteOnce(t *testing.T) {
	above := memory.New(memory.Options{BudgetBytes: 1 << 20, ObjectBytesMax: 400_000})
	below := openDisk(t, disk.Options{})
	s := New(above, below, Options{})
	mustPut(t, s, "other", 1, 300_000)
	mustPut(t, below, "a", 2, 300_000)
	var getters sync.WaitGroup
	for range 16 {
		getters.Go(func() {
			o, err := s.Get(storage.KeyOf("a"))
			if err == nil {
				err = errors.Join(storagetest.Check("a", o), o.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	getters.Wait()
	want(t, s, "a", 2, storage.TierMemory)
	want(t, s, "other", 1, storage.TierMemory)
}

func TestDeadDiskIsLoggedSparingly(t *testing.T) {
	var log bytes.Buffer
	s := New(memory.New(memory.Options{}), &broken{Store: openDisk(t, disk.Options{}), create: syscall.EIO},
		Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 50 {
		mustPut(t, s, fmt.Sprint(i), 1, 10)
	}
	if lines := strings.Count(log.String(), "\n"); lines < 1 || lines > 10 {
		t.Errorf("%d lines for 50 errors", lines)
	}
}

// What is no failure of the disk is not logged as one: an object that is not worth a write
// to it when memory has no room either, and one that failed its checksum and was dropped.
func TestWhatIsNoFailureIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	below := &broken{Store: openDisk(t, disk.Options{}), create: storage.ErrFull}
	s := New(memory.New(memory.Options{BudgetBytes: 1 << 20, ObjectBytesMax: 64 << 10}), below, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	w, err := s.Create(storage.KeyOf("a"), storagetest.Meta("a", 1, -1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, storage.ErrFull) {
		t.Errorf("write: %v", err)
	}
	_ = w.Close()
	s.failed("promote", storage.KeyOf("a"), fmt.Errorf("block 1: %w", storage.ErrCorrupt))
	if log.Len() > 0 {
		t.Errorf("logged: %s", log.String())
	}
}

func TestMemoryHitAllocatesNothing(t *testing.T) {
	s, _, _ := twoStores(t, Options{})
	mustPut(t, s, "a", 1, 1000)
	k := storage.KeyOf("a")
	if n := testing.AllocsPerRun(100, func() { o, _ := s.Get(k); _ = o.Close() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
