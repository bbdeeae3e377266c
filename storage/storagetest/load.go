package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"weir/storage"
)

// testRandomAgainstMap does the same random operations to the store and to a
// map, and wants the same answers.
func testRandomAgainstMap(t *testing.T, s storage.Store) {
	random := rand.New(rand.NewPCG(1, 2))
	model := map[string]*storage.Meta{}
	type opened struct {
		name string
		o    storage.Object
	}
	var open []opened
	for id := uint64(1); id <= 400; id++ {
		name := fmt.Sprintf("object-%d", random.IntN(12))
		k := storage.KeyOf(name)
		switch random.IntN(12) {
		case 0, 1, 2:
			mustPut(t, s, name, id, random.Int64N(150_000))
			o := mustGet(t, s, name)
			model[name] = o.Meta()
			mustClose(t, o)
		case 3:
			w := mustCreate(t, s, name, Meta(name, id, -1))
			mustWrite(t, w, Body(id, 5000))
			mustClose(t, w)
		case 4:
			if err := s.Delete(k); err != nil {
				t.Fatal(err)
			}
			delete(model, name)
		case 5:
			refreshModel(t, s, model, name, id)
		case 6:
			if random.IntN(10) == 0 {
				if err := s.Clear(); err != nil {
					t.Fatal(err)
				}
				clear(model)
			}
		case 7:
			if model[name] != nil {
				open = append(open, opened{name, mustGet(t, s, name)})
			}
		default:
			checkModel(t, s, model, name)
		}
		if len(open) > 5 {
			if err := Check(open[0].name, open[0].o); err != nil {
				t.Fatal(err)
			}
			mustClose(t, open[0].o)
			open = open[1:]
		}
	}
	for _, o := range open {
		mustClose(t, o.o)
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	wantStats(t, s, 0, 0)
}

func refreshModel(t *testing.T, s storage.Store, model map[string]*storage.Meta, name string, stamp uint64) {
	t.Helper()
	if model[name] == nil {
		return
	}
	m := *model[name]
	m.Stamp = stamp
	if err := s.Refresh(storage.KeyOf(name), &m); err != nil {
		t.Fatal(err)
	}
	model[name] = &m
}

func checkModel(t *testing.T, s storage.Store, model map[string]*storage.Meta, name string) {
	t.Helper()
	if model[name] == nil {
		wantMissing(t, s, name)
		return
	}
	o := mustGet(t, s, name)
	defer mustClose(t, o)
	wantMeta(t, o.Meta(), model[name])
	if err := Check(name, o); err != nil {
		t.Fatal(err)
	}
}

func runBudget(t *testing.T, open Open) {
	tests := map[string]func(t *testing.T, s storage.Store){
		"TooLarge": testTooLarge, "Full": testFull, "Evict": testEvict,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t, 4<<20)
			test(t, s)
			mustClose(t, s)
		})
	}
}

func wantWithin(t *testing.T, s storage.Store) {
	t.Helper()
	if got := s.Stats(); got.Bytes > got.BudgetBytes || got.Bytes < 0 {
		t.Fatalf("%d of %d bytes in use", got.Bytes, got.BudgetBytes)
	}
}

func testTooLarge(t *testing.T, s storage.Store) {
	budget := s.Stats().BudgetBytes
	if _, err := s.Create(storage.KeyOf("a"), Meta("a", 1, budget+1)); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("declared beyond the budget: %v", err)
	}
	mustPut(t, s, "a", 1, 1000)
	w := mustCreate(t, s, "a", Meta("a", 2, -1))
	piece, written := Body(2, 50_000), int64(0)
	for {
		wantWithin(t, s)
		n, err := w.Write(piece)
		if err != nil {
			if !errors.Is(err, storage.ErrTooLarge) && !errors.Is(err, storage.ErrFull) {
				t.Fatal(err)
			}
			break
		}
		if written += int64(n); written > budget {
			t.Fatal("wrote more than the budget")
		}
	}
	checkReadAt(t, w, piece, 0, 50_000)
	if n, err := w.ReadAt(make([]byte, 10), written-10); n != 10 {
		t.Errorf("what was written before is not readable: %d, %v", n, err)
	}
	if w.Commit() == nil {
		t.Error("committed what could not be written")
	}
	mustClose(t, w)
	wantWithin(t, s)
	if o, err := s.Get(storage.KeyOf("a")); err == nil { // it may have been evicted for the large one
		if o.Meta().BodyID != 1 {
			t.Error("the failed object is visible")
		}
		mustClose(t, o)
	}
}

// testFull keeps everything open until nothing can be evicted.
func testFull(t *testing.T, s storage.Store) {
	var open []storage.Object
	var names []string
	for i := 0; ; i++ {
		name := fmt.Sprint(i)
		err := Put(s, name, uint64(i), 100_000)
		wantWithin(t, s)
		if errors.Is(err, storage.ErrFull) {
			break
		}
		if err != nil || i > 1000 {
			t.Fatal(i, err)
		}
		open, names = append(open, mustGet(t, s, name)), append(names, name)
	}
	if len(open) < 15 {
		t.Errorf("full after %d objects of 100 kB in 4 MiB", len(open))
	}
	for i, o := range open {
		if err := Check(names[i], o); err != nil {
			t.Error(err)
		}
		mustClose(t, o)
	}
	mustPut(t, s, "last", 1, 100_000)
	wantBody(t, s, "last", 1)
}

func testEvict(t *testing.T, s storage.Store) {
	for i := range 60 {
		mustPut(t, s, fmt.Sprint(i), uint64(i), 100_000)
		wantWithin(t, s)
		wantBody(t, s, fmt.Sprint(i), uint64(i))
		if i >= 3 {
			wantBody(t, s, "3", 3) // used all the time, so never evicted
		}
	}
	got := s.Stats()
	if got.Evictions == 0 || got.Bytes < got.BudgetBytes/2 {
		t.Errorf("6 MB through 4 MiB: %+v", got)
	}
	wantMissing(t, s, "0")
}

// racer is one name in testRace. One goroutine changes it and many read it.
//
// Each change takes the next number as its stamp. floor is raised once the
// change has returned: from then on nobody may see a lower stamp. That finds
// every way of bringing back what was replaced, refreshed or deleted.
type racer struct {
	name  string
	stamp uint64
	floor atomic.Uint64
	last  *storage.Meta // committed or refreshed last, by this goroutine; nil when deleted
}

// testRace loads a small store from many goroutines while another watches that
// its budget holds.
func testRace(t *testing.T, open Open) {
	s := open(t, 2<<20)
	racers := make([]*racer, 6)
	for i := range racers {
		racers[i] = &racer{name: fmt.Sprintf("racer-%d", i)}
	}
	var changers, readers sync.WaitGroup
	var done atomic.Bool
	for i := range 4 {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for !done.Load() && !t.Failed() {
				raceRead(t, s, racers[random.IntN(len(racers))])
			}
		})
	}
	readers.Go(func() {
		for !done.Load() {
			if got := s.Stats(); got.Bytes > got.BudgetBytes || got.Bytes < 0 {
				t.Errorf("%d of %d bytes in use", got.Bytes, got.BudgetBytes)
				return
			}
		}
	})
	for i, r := range racers {
		changers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			for range 60 {
				raceChange(t, s, r, random)
			}
		})
	}
	changers.Wait()
	done.Store(true)
	readers.Wait()
	if err := s.Clear(); err != nil {
		t.Error(err)
	}
	wantStats(t, s, 0, 0)
	mustClose(t, s)
}

func raceRead(t *testing.T, s storage.Store, r *racer) {
	floor := r.floor.Load()
	o, err := s.Get(storage.KeyOf(r.name))
	if errors.Is(err, storage.ErrNotFound) {
		return
	}
	if err != nil {
		t.Errorf("get: %v", err)
		return
	}
	if o.Meta().Stamp < floor {
		t.Errorf("%s: stamp %d came back after %d", r.name, o.Meta().Stamp, floor)
	}
	if err := Check(r.name, o); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func raceChange(t *testing.T, s storage.Store, r *racer, random *rand.Rand) {
	k := storage.KeyOf(r.name)
	r.stamp++
	switch random.IntN(8) {
	case 0:
		if err := s.Delete(k); err != nil {
			t.Errorf("delete: %v", err)
			return
		}
		r.last = nil
	case 1, 2, 3:
		if r.last == nil {
			return
		}
		m := *r.last
		m.Stamp = r.stamp
		if err := s.Refresh(k, &m); err != nil {
			if !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrFull) {
				t.Errorf("refresh: %v", err)
			}
			return
		}
		r.last = &m
	default:
		m := Meta(r.name, r.stamp, random.Int64N(120_000))
		if err := PutMeta(s, r.name, m); err != nil {
			if !errors.Is(err, storage.ErrFull) {
				t.Errorf("put: %v", err)
			}
			return
		}
		r.last = m
	}
	r.floor.Store(r.stamp)
}
