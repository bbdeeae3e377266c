package memory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weir/storage"
	"weir/storage/evict"
	"weir/storage/storagetest"
)

// pattern is the body of an id: each byte tells whose it is and where.
func pattern(id uint64, n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(id*31+uint64(i)) ^ byte(i>>8)
	}
	return b
}

// put stores a body, in pieces and with or without a declared length.
func put(s storage.Store, name string, id uint64, body []byte, declared bool) (err error) {
	m := storagetest.Meta(name, id, -1)
	if declared {
		m.BodyBytes = int64(len(body))
	}
	w, err := s.Create(storage.KeyOf(name), m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 10_007)
		if _, err := w.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		at := max(0, len(body)-len(rest)-100) // what has been written can be read
		got := make([]byte, 100)
		if n, _ := w.ReadAt(got, int64(at)); !bytes.Equal(got[:n], body[at:at+n]) || n == 0 {
			return fmt.Errorf("%s: other bytes at %d while it is written", name, at)
		}
	}
	return w.Commit()
}

// check compares an open object with what its meta says that it is.
func check(name string, o storage.Object) error {
	m := o.Meta()
	want := pattern(m.BodyID, m.BodyBytes)
	var got bytes.Buffer
	if n, err := o.WriteTo(&got); err != nil || n != m.BodyBytes || m.Target != "/"+name || !bytes.Equal(got.Bytes(), want) {
		return fmt.Errorf("%s: %d bytes of %s, %v", name, n, m.Target, err)
	}
	part := make([]byte, 1+len(want)/3)
	off := int64(len(want) / 2)
	if n, err := o.ReadAt(part, off); err != nil && err != io.EOF || !bytes.Equal(part[:n], want[off:off+int64(n)]) {
		return fmt.Errorf("%s: %d other bytes at %d: %v", name, n, off, err)
	}
	return nil
}

// What is found is what was stored last; only evictions explain what is not.
func TestModelWithEviction(t *testing.T) {
	for _, kind := range evict.Kinds() {
		t.Run(kind.String(), func(t *testing.T) { runModel(t, kind, 4000) })
	}
}

func runModel(t *testing.T, kind evict.Kind, steps uint64) {
	random := rand.New(rand.NewPCG(3, uint64(kind)))
	s := New(Options{BudgetBytes: 1 << 20, ObjectBytesMax: 200_000, Eviction: kind})
	model := map[string]uint64{} // the body's id
	stamps := map[string]uint64{}
	open := map[string]storage.Object{}
	for id := uint64(1); id <= steps; id++ {
		name := strconv.Itoa(random.IntN(400))
		k := storage.KeyOf(name)
		switch op := random.IntN(20); {
		case op < 8:
			body := pattern(id, random.Int64N(1<<(3+random.IntN(14))))
			if err := put(s, name, id, body, random.IntN(2) == 0); err == nil {
				model[name], stamps[name] = id, id
			} else if !errors.Is(err, storage.ErrFull) {
				t.Fatal(err)
			}
		case op < 10:
			m := storagetest.Meta(name, model[name], -1)
			m.Stamp = id
			m.Header = pattern(id, random.Int64N(1000))
			if err := s.Refresh(k, m); err == nil {
				stamps[name] = id
			} else if !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrFull) {
				t.Fatal(err)
			}
		case op < 11:
			_ = s.Delete(k)
			delete(model, name)
		case op < 12 && open[name] != nil:
			if err := errors.Join(check(name, open[name]), open[name].Close()); err != nil {
				t.Fatal(err)
			}
			delete(open, name)
		default:
			o, err := s.Get(k)
			if err != nil {
				continue
			}
			if err := check(name, o); err != nil {
				t.Fatal(err)
			}
			if m := o.Meta(); m.BodyID != model[name] || m.Stamp != stamps[name] {
				t.Fatalf("%s: body %d, stamp %d; want %d and %d", name, m.BodyID, m.Stamp, model[name], stamps[name])
			}
			if open[name] == nil && len(open) < 5 {
				open[name] = o
			} else {
				_ = o.Close()
			}
		}
	}
	for _, o := range open {
		_ = o.Close()
	}
	wantEmpty(t, s)
}

// wantEmpty clears a store and wants every unit back.
func wantEmpty(t *testing.T, s *Store) {
	t.Helper()
	if s.Stats().Evictions == 0 {
		t.Error("nothing was evicted")
	}
	_ = s.Clear()
	if got := s.Stats(); got.Bytes != 0 || got.Objects != 0 || s.evictableUnits() != 0 {
		t.Errorf("cleared: %+v, %d units can be evicted", got, s.evictableUnits())
	}
	checkArena(t, s.arena, map[ref]ref{})
}

// Readers check what they read while what they have open is evicted, replaced,
// refreshed and deleted. With the race detector, memory that is given back is
// poisoned, and the detector sees who still reads it.
func TestReadersDuringEviction(t *testing.T) {
	s := New(Options{BudgetBytes: 2 << 20, ObjectBytesMax: 300_000})
	var ids atomic.Uint64
	var changers, readers sync.WaitGroup
	var done atomic.Bool
	for i := range uint64(3) {
		changers.Go(func() {
			random := rand.New(rand.NewPCG(i, 1))
			for range 300 {
				change(t, s, strconv.Itoa(random.IntN(300)), ids.Add(1), random)
			}
		})
		readers.Go(func() {
			random := rand.New(rand.NewPCG(i, 2))
			for !done.Load() && !t.Failed() {
				readSome(t, s, random)
			}
		})
	}
	changers.Wait()
	done.Store(true)
	readers.Wait()
	wantEmpty(t, s)
}

func change(t *testing.T, s *Store, name string, id uint64, random *rand.Rand) {
	k := storage.KeyOf(name)
	switch random.IntN(8) {
	case 0:
		_ = s.Delete(k)
	case 1, 2:
		for _, c := range s.Peek(k) {
			m := *c.Meta
			m.Stamp, m.Header = id, pattern(id, random.Int64N(3000))
			if err := s.Refresh(k, &m); err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrFull) {
				t.Errorf("refresh: %v", err)
			}
		}
	default:
		err := put(s, name, id, pattern(id, random.Int64N(1<<(4+random.IntN(14)))), random.IntN(2) == 0)
		if err != nil && !errors.Is(err, storage.ErrFull) {
			t.Errorf("put: %v", err)
		}
	}
}

// readSome opens some objects, and checks each twice before it closes it.
func readSome(t *testing.T, s *Store, random *rand.Rand) {
	var names []string
	var open []storage.Object
	for range 3 {
		name := strconv.Itoa(random.IntN(300))
		if o, err := s.Get(storage.KeyOf(name)); err == nil {
			names, open = append(names, name), append(open, o)
		}
	}
	for range 2 {
		for i, o := range open {
			if err := check(names[i], o); err != nil {
				t.Error(err)
			}
		}
	}
	for _, o := range open {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is asked for again and again outlives a scan that is larger than the store.
func TestScanResistance(t *testing.T) {
	s := New(Options{BudgetBytes: 4 << 20})
	body := make([]byte, 4000)
	const hot = 200
	asked := func() (hits int) {
		for i := range uint64(hot) {
			if o, err := s.Get(numbered(i)); err == nil {
				hits++
				_ = o.Close()
			} else {
				putNumbered(t, s, i, body)
			}
		}
		return hits
	}
	scanned := uint64(hot)
	scan := func(objects int) {
		for range objects {
			putNumbered(t, s, scanned, body)
			scanned++
		}
	}
	for range 20 {
		asked()
		scan(200)
	}
	scan(3000)
	if hits := asked(); hits < hot*9/10 {
		t.Errorf("after a scan of three times the budget, %d of %d are left", hits, hot)
	}
}

// The budget holds whatever the sizes are that come, and come next.
func TestBudgetCountsEverything(t *testing.T) {
	budget := int64(64 << 20)
	if poisons { // which takes time
		budget = 16 << 20 // sixteen of the largest objects: a store is short of full by up to one
	}
	s := New(Options{BudgetBytes: budget})
	before := residentBytes(t)
	random := rand.New(rand.NewPCG(1, 1))
	body := make([]byte, 1<<20)
	id, worst := uint64(0), int64(0)
	for _, limit := range []int{1 << 20, 100_000, 3000, 300, 3000, 1 << 20} {
		for written := int64(0); written < 3*budget/2; id++ {
			n := 1 + random.IntN(limit)
			putNumbered(t, s, id, body[:n])
			written += int64(n) + 1000
		}
		total := int64(s.arena.units)*(unitBytes+arenaTableBytes) + s.metas.bytesMax + max(0, s.overheadBytes.Load()-s.floorBytes) - s.ballastUnits.Load()*unitBytes
		if got := s.Stats(); total > budget || got.Bytes > budget || got.Bytes < budget*9/10 {
			t.Errorf("sizes to %d: %d bytes in use, %d with all tables, of %d", limit, got.Bytes, total, budget)
		}
		grown := residentBytes(t) - before
		worst = max(worst, grown)
		t.Logf("sizes to %d: %d objects, %.1f %% of the budget in use, process grown by %.1f %% of it",
			limit, s.Stats().Objects, 100*float64(s.Stats().Bytes)/float64(budget), 100*float64(grown)/float64(budget))
	}
	if !poisons && worst > budget*102/100+(2<<20) { // and 2 MiB for what the Go runtime does meanwhile
		t.Errorf("the process has grown by %d bytes for a budget of %d", worst, budget)
	}
	_ = s.Close()
}

// residentBytes is the memory that the process has, without Go's garbage.
func residentBytes(t *testing.T) int64 {
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
