package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/storagetest"
)

// sweptModel plays purges: each has a version and covers the names whose number it
// divides. An object is good if no purge above its stamp covers its name.
type sweptModel struct {
	t       *testing.T
	applied uint64
	divisor map[uint64]int // of each version
}

func newSweptModel(t *testing.T) *sweptModel {
	return &sweptModel{t: t, divisor: map[uint64]int{}}
}

func (m *sweptModel) purge(divisor int) {
	m.applied++
	m.divisor[m.applied] = divisor
}

// covering is the newest purge that covers a name; 0 for none.
func (m *sweptModel) covering(name string) (newest uint64) {
	number := 0
	fmt.Sscan(name, &number)
	for v := uint64(1); v <= m.applied; v++ {
		if number%m.divisor[v] == 0 {
			newest = v
		}
	}
	return newest
}

func (m *sweptModel) put(s *Store, name string, id, stamp uint64, size int64) {
	m.t.Helper()
	meta := storagetest.Meta(name, id, size)
	meta.Target, meta.Stamp = name, stamp
	if err := storagetest.PutMeta(s, name, meta); err != nil {
		m.t.Fatal(err)
	}
}

// sweep compares as the engine does, with all purges but the newest.
func (m *sweptModel) sweep(s *Store) (compared int, err error) {
	err = s.Sweep(m.t.Context(), m.applied-1, func(k storage.Key, meta *storage.Meta, known uint64) (uint64, error) {
		compared++
		if m.covering(meta.Target) > known {
			return 0, s.Delete(k)
		}
		return m.applied, nil
	})
	return compared, err
}

// check wants that what an object says it has been compared with is true.
func (m *sweptModel) check(s *Store, name string) (checked uint64, found bool) {
	m.t.Helper()
	o, err := s.Get(storage.KeyOf(name))
	if errors.Is(err, storage.ErrNotFound) {
		return 0, false
	}
	if err != nil {
		m.t.Fatal(err)
	}
	defer o.Close()
	checked = o.Checked().Load()
	if v := m.covering(name); v > o.Meta().Stamp && v <= checked {
		m.t.Errorf("%s: body %d of stamp %d says it was compared with %d, and purge %d covers it", name, o.Meta().BodyID, o.Meta().Stamp, checked, v)
	}
	return checked, true
}

func TestSweep(t *testing.T) {
	o := Options{Dir: t.TempDir(), BudgetBytes: 1 << 20, More: []Directory{{Path: t.TempDir(), BudgetBytes: 1 << 20}}, AdmitAll: true}
	synctest.Test(t, func(t *testing.T) {
		m, s := newSweptModel(t), mustOpen(t, o)
		for i := range 40 {
			m.put(s, fmt.Sprint(i), uint64(i+1), 0, int64(i%3)*6000)
		}
		for _, divisor := range []int{2, 3, 41} {
			m.purge(divisor)
		}
		if n, err := m.sweep(s); n != 40 || err != nil {
			t.Errorf("%d compared, %v", n, err)
		}
		m.wantSwept(s, 2)
		m.put(s, "late", 99, 1, 100) // of a fill that began before
		if checked, _ := m.check(s, "late"); checked != 1 {
			t.Errorf("what came after the sweep is said to be compared with %d", checked)
		}
		mustClose(t, s)
		s = mustOpen(t, o)
		m.wantSwept(s, 2)
		if checked, _ := m.check(s, "late"); checked != 1 {
			t.Errorf("after a restart: %d", checked)
		}
		if err := s.Clear(); err != nil {
			t.Fatal(err)
		}
		m.put(s, "5", 100, 0, 100)
		if checked, _ := m.check(s, "5"); checked != 0 {
			t.Errorf("after Clear: compared with %d", checked)
		}
		mustClose(t, s)
		if _, err := m.sweep(s); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// wantSwept wants that all that no purge covers is there, compared with a version.
func (m *sweptModel) wantSwept(s *Store, version uint64) {
	m.t.Helper()
	for i := range 40 {
		checked, found := m.check(s, fmt.Sprint(i))
		if found != (i%2 != 0 && i%3 != 0) || found && checked < version {
			m.t.Errorf("%d: found %v, compared with %d", i, found, checked)
		}
	}
}

// What was compared stays so when its region is taken back and it is written again.
func TestSweptSurvivesReclaim(t *testing.T) {
	o := Options{Dir: t.TempDir(), BudgetBytes: 512 << 10, AdmitAll: true}
	synctest.Test(t, func(t *testing.T) {
		m, s := newSweptModel(t), mustOpen(t, o)
		defer mustClose(t, s)
		m.put(s, "1", 1, 0, 2000)
		for i := range 20 {
			m.put(s, "fill", uint64(i+2), 0, 10_000)
		}
		m.purge(2)
		m.purge(2)
		if _, err := m.sweep(s); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for i := range 400 {
			m.put(s, "fill", uint64(i+100), 2, 10_000)
			checked, found := m.check(s, "1")
			if found && checked != 1 {
				t.Fatalf("after %d: compared with %d", i, checked)
			}
			if found {
				kept = i
			}
			synctest.Wait()
		}
		if kept < 300 {
			t.Errorf("it was evicted after %d", kept)
		}
	})
}

// TestSweptModel sweeps a store that is written round and round, restarted and
// purged, with a directory that fails to delete now and then.
func TestSweptModel(t *testing.T) {
	for seed := range uint64(3) {
		o := Options{Dir: t.TempDir(), BudgetBytes: 768 << 10, AdmitAll: true}
		synctest.Test(t, func(t *testing.T) { sweptModelRun(t, o, rand.New(rand.NewPCG(seed, 9))) })
	}
}

func sweptModelRun(t *testing.T, o Options, r *rand.Rand) {
	m, s := newSweptModel(t), mustOpen(t, o)
	sweeps, swept := 0, 0
	for step := range 2000 {
		name := fmt.Sprint(1 + r.IntN(60))
		switch n := r.IntN(40); {
		case n < 18:
			m.put(s, name, uint64(step+1), m.applied-min(m.applied, r.Uint64N(3)), r.Int64N(20_000))
		case n < 26:
			if checked, found := m.check(s, name); found && checked > 0 {
				swept++
			}
		case n < 28:
			if o, err := s.Get(storage.KeyOf(name)); err == nil {
				meta := *o.Meta()
				_ = o.Close()
				meta.Stamp = max(meta.Stamp, m.applied-min(m.applied, r.Uint64N(2)))
				if err := s.Refresh(storage.KeyOf(name), &meta); err != nil && !errors.Is(err, storage.ErrNotFound) {
					t.Fatal(err)
				}
			}
		case n < 29:
			_ = s.Delete(storage.KeyOf(name))
		case n < 33:
			m.purge(1 + r.IntN(30))
		case n < 35 && m.applied > 0:
			if _, err := m.sweep(s); err != nil {
				t.Fatal(err)
			}
			sweeps++
		case n < 36:
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		case n < 37 && r.IntN(4) == 0:
			mustClose(t, s)
			s = mustOpen(t, o)
		}
	}
	for i := range 60 {
		m.check(s, fmt.Sprint(i+1))
	}
	mustClose(t, s)
	if sweeps < 20 || swept < 100 {
		t.Errorf("%d sweeps, %d objects that knew of one", sweeps, swept)
	}
}

// TestSweptAfterCrash cuts the power now and then in a run, and after each sweep in
// it. Whatever is found afterwards, and says that it was compared with a
// version, was: what a sweep did not look at because it had been replaced or deleted
// must not come back and count as compared.
func TestSweptAfterCrash(t *testing.T) {
	const names = 12
	base, dir := t.TempDir(), filepath.Join(t.TempDir(), "store")
	type crash struct {
		dir     string
		applied uint64
	}
	var mu sync.Mutex
	var crashes []crash
	events := 0
	m := newSweptModel(t)
	random := rand.New(rand.NewPCG(3, 4))
	var c *vfs.Crashing
	cut := func(now bool) {
		mu.Lock()
		defer mu.Unlock()
		if events++; events%200 > 0 && !now {
			return
		}
		to := filepath.Join(base, fmt.Sprint(len(crashes)))
		r := random
		if len(crashes)%3 == 0 {
			r = nil // kill -9
		}
		if err := c.Crash(dir, to, r); err != nil {
			t.Error(err)
		}
		crashes = append(crashes, crash{to, m.applied})
	}
	c = vfs.NewCrashing(vfs.OS(), func() { cut(false) })
	o := Options{BudgetBytes: 512 << 10, AdmitAll: true}
	synctest.Test(t, func(t *testing.T) {
		o := o
		o.Dir, o.FS = dir, c
		s := mustOpen(t, o)
		r := rand.New(rand.NewPCG(5, 6))
		for step := range 300 {
			name := fmt.Sprint(1 + r.IntN(names))
			switch n := r.IntN(20); {
			case n < 11:
				m.put(s, name, uint64(step+1), m.applied-min(m.applied, r.Uint64N(2)), r.Int64N(15_000))
			case n < 13:
				_ = s.Delete(storage.KeyOf(name))
			case n < 17:
				mu.Lock()
				m.purge(1 + r.IntN(6))
				mu.Unlock()
			case n < 19 && m.applied > 0:
				if _, err := m.sweep(s); err != nil {
					t.Fatal(err)
				}
				cut(true)
				cut(true)
			default:
				time.Sleep(flushAfter)
			}
		}
		mustClose(t, s)
	})
	t.Logf("%d crashes of %d moments", len(crashes), events)
	marked := 0
	for n, crash := range crashes {
		o.Dir = crash.dir
		s := mustOpen(t, o)
		for i := range names {
			if checked, found := m.check(s, fmt.Sprint(i+1)); found && checked > 0 {
				marked++
			}
		}
		mustClose(t, s)
		if t.Failed() {
			t.Fatalf("crash %d of %d", n, len(crashes))
		}
		if err := os.RemoveAll(crash.dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(crashes) < 60 || marked < 60 {
		t.Errorf("only %d crashes, %d objects that had been compared", len(crashes), marked)
	}
}

// The region of an object that was evicted is still in the table until the next one
// is opened: after a kill in between it is back, and no sweep has looked at it.
func TestEvictedIsNotSwept(t *testing.T) {
	for range 20 { // the keeper may have opened the next region by then
		if evictedComesBack(t) {
			return
		}
	}
	t.Error("the object never came back: this test tests nothing")
}

func evictedComesBack(t *testing.T) bool {
	dir, killed := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "killed")
	o := Options{BudgetBytes: 512 << 10, AdmitAll: true}
	m := newSweptModel(t)
	synctest.Test(t, func(t *testing.T) {
		o := o
		o.Dir = dir
		s := mustOpen(t, o)
		m.put(s, "1", 1, 0, 2000)
		m.purge(1)
		m.purge(2)
		for i := uint64(2); len(s.Peek(storage.KeyOf("1"))) > 0; i++ {
			m.put(s, fmt.Sprint(i), i, 2, 10_000)
			synctest.Wait()
		}
		if _, err := m.sweep(s); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	})
	o.Dir = killed
	s := mustOpen(t, o)
	defer mustClose(t, s)
	_, found := m.check(s, "1")
	return found
}

// Damage to a record brings back what the record had replaced. No sweep has looked
// at that, whatever the mark says of its sequence.
func TestDamageVoidsTheMark(t *testing.T) {
	for _, after := range []bool{false, true} { // is there a record behind the one that is damaged?
		o := Options{Dir: t.TempDir(), BudgetBytes: 512 << 10, AdmitAll: true}
		m, s := newSweptModel(t), mustOpen(t, o)
		m.put(s, "1", 1, 0, 100)
		m.purge(1)
		m.purge(2)
		m.put(s, "1", 2, 2, 100)
		if after {
			m.put(s, "3", 3, 2, 100)
		}
		if _, err := m.sweep(s); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		path := filepath.Join(o.Dir, logFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		second := 1 + bytes.Index(b[1:], []byte(recordMagic))
		b[second+50] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, o)
		if checked, found := m.check(s, "1"); !found || checked != 0 {
			t.Errorf("behind it %v: found %v, compared with %d", after, found, checked)
		}
		mustClose(t, s)
	}
}

// BenchmarkSweep is what it takes to look at every object: 4 KiB each, in the page
// cache.
func BenchmarkSweep(b *testing.B) {
	const objects = 50_000
	s := mustOpen(b, Options{Dir: b.TempDir(), BudgetBytes: 1 << 30, AdmitAll: true})
	defer mustClose(b, s)
	for i := range uint64(objects) {
		if err := storagetest.Put(s, fmt.Sprint(i), i+1, 4096); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	version := uint64(0)
	for b.Loop() {
		version++
		compared := 0
		err := s.Sweep(b.Context(), version, func(storage.Key, *storage.Meta, uint64) (uint64, error) {
			compared++
			return version, nil
		})
		if err != nil || compared != objects {
			b.Fatalf("%d compared, %v", compared, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/objects, "ns/object")
}

// Right after a sweep, a kill or a power cut must not undo what made it pass an object
// by: that it had been replaced or deleted, or that the sweep deleted it itself. (A
// mark is not believed where the newest record is missing that it knew; so what
// shows that the sweep did not wait is that the mark is gone.)
func TestSweepWaitsForWhatItDidNotLookAt(t *testing.T) {
	for name, change := range map[string]func(m *sweptModel, s *Store){
		"replaced": func(m *sweptModel, s *Store) { m.put(s, "2", 2, 2, 3000) },
		"deleted":  func(_ *sweptModel, s *Store) { _ = s.Delete(storage.KeyOf("2")) },
		"covered":  func(*sweptModel, *Store) {},
	} {
		t.Run(name, func(t *testing.T) {
			base, dir := t.TempDir(), filepath.Join(t.TempDir(), "store")
			c, m := vfs.NewCrashing(vfs.OS(), nil), newSweptModel(t)
			const cuts = 20
			synctest.Test(t, func(t *testing.T) {
				s := mustOpen(t, Options{Dir: dir, FS: c, BudgetBytes: 512 << 10, AdmitAll: true})
				m.put(s, "2", 1, 0, 3000)
				m.put(s, "3", 9, 0, 3000)
				time.Sleep(flushAfter + 2*syncAfter)
				synctest.Wait()
				m.purge(2)
				m.purge(41)
				change(m, s)
				if _, err := m.sweep(s); err != nil {
					t.Fatal(err)
				}
				for i := range uint64(cuts) {
					random := rand.New(rand.NewPCG(i, 1))
					if i == 0 {
						random = nil // kill -9
					}
					if err := c.Crash(dir, filepath.Join(base, fmt.Sprint(i)), random); err != nil {
						t.Fatal(err)
					}
				}
				mustClose(t, s)
			})
			for i := range cuts {
				s := mustOpen(t, Options{Dir: filepath.Join(base, fmt.Sprint(i)), BudgetBytes: 512 << 10, AdmitAll: true})
				m.check(s, "2")
				if checked, found := m.check(s, "3"); !found || checked != 1 {
					t.Errorf("cut %d: what nothing covers: found %v, compared with %d", i, found, checked)
				}
				mustClose(t, s)
			}
		})
	}
}
