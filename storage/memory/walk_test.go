package memory

import (
	"fmt"
	"testing"

	"weir/storage"
	"weir/storage/storagetest"
)

func TestWalk(t *testing.T) {
	s := New(Options{BudgetBytes: 8 << 20})
	defer s.Close()
	want := map[storage.Key]bool{}
	for i := range 1000 {
		name := fmt.Sprint(i)
		if err := storagetest.Put(s, name, uint64(i), 1000); err != nil {
			t.Fatal(err)
		}
		want[storage.KeyOf(name)] = true
	}
	got, pieces := 0, 0
	for next, more := "", true; more; pieces++ {
		keys, after, err := s.Walk(next, 30)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if !want[k] {
				t.Fatalf("%s is not stored, or was given before", k)
			}
			delete(want, k)
			got++
		}
		next, more = after, after != ""
	}
	if got != 1000 || len(want) != 0 || pieces < 10 {
		t.Errorf("%d keys in %d pieces, %d are missing", got, pieces, len(want))
	}
	if _, _, err := s.Walk("x", 1); err == nil {
		t.Error("went on at a place that is none")
	}
	o, err := s.Look(storage.KeyOf("7"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := storagetest.Check("7", o); err != nil {
		t.Error(err)
	}
}
