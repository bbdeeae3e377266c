package disk

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"weir/storage"
	"weir/storage/storagetest"
)

var modelSteps = flag.Int("model.steps", 10_000, "steps of TestModel")

// TestModel does random operations to a store that the log comes round in again
// and again, restarts it now and then, and compares it with a map. What is
// missing may have been evicted; what is there must be what was last stored.
func TestModel(t *testing.T) {
	o := Options{Dir: t.TempDir(), BudgetBytes: 768 << 10, AdmitAll: true}
	m := &modelRun{t: t, options: o, s: mustOpen(t, o), random: rand.New(rand.NewPCG(5, 6)), model: map[string]*storage.Meta{}}
	for m.step = range *modelSteps {
		m.do()
		if got := m.s.Stats(); got.Corrupt > 0 || got.Bytes > got.BudgetBytes || got.Bytes < 0 {
			t.Fatalf("step %d: %+v", m.step, got)
		}
	}
	m.closeAll()
	if got := m.s.Stats(); m.hits < *modelSteps/20 || got.Evictions == 0 && m.restarts == 0 {
		t.Errorf("%d hits, %d restarts, %+v", m.hits, m.restarts, got)
	}
	if err := m.s.Clear(); err != nil {
		t.Fatal(err)
	}
	if got := m.s.Stats(); got.Objects != 0 || got.Bytes != 0 {
		t.Errorf("after all is cleared: %+v", got)
	}
}

// modelRun is a store, and the map that it is compared with.
type modelRun struct {
	t              *testing.T
	options        Options
	s              *Store
	random         *rand.Rand
	model          map[string]*storage.Meta
	open           []storage.Object
	checkpoints    [][]byte // of earlier restarts
	step           int
	hits, restarts int
}

// do does one random operation.
func (r *modelRun) do() {
	name := fmt.Sprint(r.random.IntN(60))
	k, id := storage.KeyOf(name), uint64(r.step+1)
	switch r.random.IntN(20) {
	case 0, 1, 2, 3:
		r.put(name, id)
	case 4:
		w, err := r.s.Create(k, storagetest.Meta(name, id, -1))
		if err != nil {
			r.t.Fatal(err)
		}
		_, _ = w.Write(storagetest.Body(id, r.random.Int64N(60_000)))
		_ = w.Close()
	case 5, 6:
		r.refresh(name, id)
	case 7:
		if err := r.s.Delete(k); err != nil {
			r.t.Fatal(err)
		}
		delete(r.model, name)
	case 8:
		if r.random.IntN(50) > 0 {
			return
		}
		if err := r.s.Clear(); err != nil {
			r.t.Fatal(err)
		}
		clear(r.model)
	case 9:
		if r.random.IntN(20) == 0 {
			r.restart()
		}
	default:
		r.get(name)
	}
}

func (r *modelRun) put(name string, id uint64) {
	m := storagetest.Meta(name, id, r.random.Int64N(1<<(4+r.random.IntN(13))))
	err := storagetest.PutMeta(r.s, name, m)
	if err == nil {
		r.model[name] = m
	} else if !errors.Is(err, storage.ErrFull) || len(r.open) == 0 { // what is open may keep too many regions
		r.t.Fatalf("step %d: %v", r.step, err)
	}
}

func (r *modelRun) refresh(name string, stamp uint64) {
	if r.model[name] == nil {
		return
	}
	m := *r.model[name]
	m.Stamp = stamp
	if err := r.s.Refresh(storage.KeyOf(name), &m); err == nil {
		r.model[name] = &m
	} else if !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrFull) {
		r.t.Fatal(err)
	}
}

func (r *modelRun) restart() {
	r.closeAll()
	before := r.s.Stats()
	mustClose(r.t, r.s)
	r.disturbCheckpoint()
	r.s = mustOpen(r.t, r.options)
	// The keeper makes room ahead, so a few may have been evicted on either side.
	if after := r.s.Stats(); after.Objects > before.Objects || after.Bytes > before.Bytes || after.Objects < before.Objects/2 {
		r.t.Fatalf("step %d: restart: %+v, before %+v", r.step, after, before)
	}
	r.restarts++
}

// disturbCheckpoint has the next start find no checkpoint, an old one, or a damaged
// one: it may then be slower, and nothing else.
func (r *modelRun) disturbCheckpoint() {
	path := filepath.Join(r.options.Dir, checkpointFile)
	b, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.checkpoints = append(r.checkpoints, bytes.Clone(b)); len(r.checkpoints) > 16 {
		r.checkpoints = r.checkpoints[1:]
	}
	switch r.random.IntN(4) {
	case 0:
		err = os.Remove(path)
	case 1:
		err = os.WriteFile(path, r.checkpoints[r.random.IntN(len(r.checkpoints))], 0o600)
	case 2:
		for range 1 + r.random.IntN(3) {
			b[r.random.IntN(len(b))] ^= 1 << r.random.IntN(8)
		}
		err = os.WriteFile(path, b[:len(b)-r.random.IntN(2)], 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *modelRun) get(name string) {
	o, err := r.s.Get(storage.KeyOf(name))
	if errors.Is(err, storage.ErrNotFound) {
		return
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.hits++
	if m := r.model[name]; m == nil || o.Meta().BodyID != m.BodyID || o.Meta().Stamp != m.Stamp {
		r.t.Fatalf("step %d: %s has body %d, stamp %d; want %+v", r.step, name, o.Meta().BodyID, o.Meta().Stamp, m)
	}
	if err := storagetest.Check(name, o); err != nil {
		r.t.Fatalf("step %d: %v", r.step, err)
	}
	if r.open = append(r.open, o); len(r.open) > 3 {
		_ = r.open[0].Close()
		r.open = r.open[1:]
	}
}

func (r *modelRun) closeAll() {
	for _, o := range r.open {
		_ = o.Close()
	}
	r.open = nil
}
