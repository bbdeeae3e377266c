package disk

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"weir/storage"
	"weir/storage/storagetest"
)

// walked gives every key that a walk gives, and how often.
func walked(t *testing.T, s *Store) map[storage.Key]int {
	t.Helper()
	all := map[storage.Key]int{}
	for next, more := "", true; more; {
		keys, after, err := s.Walk(next, 7)
		if err != nil || len(keys) > 7 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			all[k]++
		}
		next, more = after, after != ""
	}
	return all
}

func TestWalkGivesWhatGetFinds(t *testing.T) {
	o := Options{Dir: t.TempDir(), BudgetBytes: 1 << 20, More: []Directory{{Path: t.TempDir(), BudgetBytes: 1 << 20}}, AdmitAll: true}
	synctest.Test(t, func(t *testing.T) { walkGivesWhatGetFinds(t, o) })
}

func walkGivesWhatGetFinds(t *testing.T, o Options) {
	s := mustOpen(t, o)
	if all := walked(t, s); len(all) != 0 {
		t.Errorf("an empty store has %d", len(all))
	}
	names := make([]string, 150)
	for i := range 600 { // the log comes round
		names[i%150] = fmt.Sprint(i % 150)
		mustPut(t, s, names[i%150], uint64(i+1), int64(100+i%9*3000))
		if i%50 == 49 {
			wantWalk(t, s, names)
		}
	}
	for i := range 20 {
		if err := s.Delete(storage.KeyOf(fmt.Sprint(i * 7))); err != nil {
			t.Fatal(err)
		}
	}
	wantWalk(t, s, names)
	mustClose(t, s)
	if _, _, err := s.Walk("", 7); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	s = mustOpen(t, o)
	wantWalk(t, s, names)
	defer mustClose(t, s)
	for _, bad := range []string{"x", "1", "0.1", "-1.0.0", "0.0.-1", "0.0.0.0", "0.0.0 "} {
		if _, _, err := s.Walk(bad, 1); err == nil {
			t.Errorf("went on at %q", bad)
		}
	}
	if _, next, err := s.Walk("99.0.0", 1); err != nil || next != "" {
		t.Errorf("a directory that is gone: %q, %v", next, err)
	}
}

func wantWalk(t *testing.T, s *Store, names []string) {
	t.Helper()
	synctest.Wait() // the keeper writes nothing again meanwhile
	all := walked(t, s)
	found := 0
	for _, name := range names {
		k := storage.KeyOf(name)
		stored := len(s.Peek(k)) > 0
		if stored {
			found++
		}
		if (all[k] > 0) != stored || all[k] > 1 {
			t.Errorf("%s: given %d times, stored %t", name, all[k], stored)
		}
	}
	if len(all) != found || found == 0 {
		t.Errorf("%d keys given, %d stored", len(all), found)
	}
}

func TestLookIsNoUse(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { lookIsNoUse(t, dir) })
}

func lookIsNoUse(t *testing.T, dir string) {
	s := mustOpen(t, Options{Dir: dir, BudgetBytes: 1 << 20, AdmitAll: true})
	defer mustClose(t, s)
	mustPut(t, s, "a", 1, 1000)
	for i := range 4 { // its region is full after that
		mustPut(t, s, fmt.Sprint(i), uint64(i+2), 20_000)
	}
	synctest.Wait()
	k := storage.KeyOf("a")
	o, err := s.Look(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(storagetest.Check("a", o), o.Close()); err != nil {
		t.Error(err)
	}
	hit := func() bool { return s.members[0].volume.index.get(fingerprintOf(k)).hit() }
	if hit() {
		t.Error("a look is a hit")
	}
	wantBody(t, s, "a", 1)
	if !hit() {
		t.Error("a Get is none: the test shows nothing")
	}
	if _, err := s.Look(storage.KeyOf("none")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
