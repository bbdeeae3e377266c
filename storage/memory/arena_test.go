package memory

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// checkArena wants each unit to be either in one free block or given out once.
func checkArena(t *testing.T, a *arena, given map[ref]ref) {
	t.Helper()
	owned := make([]bool, a.units)
	claim := func(what string, u, n ref) {
		for i := u; i < u+n; i++ {
			if owned[i] {
				t.Fatalf("unit %d is in two places, the second: %s", i, what)
			}
			owned[i] = true
		}
	}
	claim("nobody's", 0, 1)
	used := ref(1)
	for u, n := range given {
		claim("given", u, n)
		used += n
	}
	for order, u := range a.free {
		if (u != none) != (a.nonzero>>order&1 == 1) {
			t.Fatalf("order %d: the mask is wrong", order)
		}
		for ; u != none; u = a.neighbours(u).next {
			claim("free", u, 1<<order)
			if buddy := u ^ 1<<order; order < ordersMax && buddy+1<<order <= a.units && int(*a.begin(buddy)) == order+1 {
				t.Fatalf("units %d and %d, order %d, are not joined", u, buddy, order)
			}
		}
	}
	if used != a.used {
		t.Fatalf("%d units are given out, %d are counted", used, a.used)
	}
	for i := ref(0); i < min(ref(a.next)*segmentUnits, a.units); i++ {
		if !owned[i] {
			t.Fatalf("unit %d is lost", i)
		}
	}
}

func TestArenaAgainstAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	a := newArena(2*segmentUnits+777, &mappings{})
	given := make(map[ref]ref)
	for i := range 20_000 {
		if r.IntN(100) < 52 {
			n := ref(1 + r.IntN(1<<r.IntN(12)))
			if u := a.takeOne(n); u != none {
				if given[u] != 0 {
					t.Fatalf("unit %d is given out twice", u)
				}
				given[u] = n
			}
		} else {
			for u, n := range given { // any one
				a.give(u, n)
				delete(given, u)
				break
			}
		}
		if i%1000 == 0 {
			checkArena(t, a, given)
		}
	}
	for u, n := range given {
		a.give(u, n)
		delete(given, u)
	}
	checkArena(t, a, given)
}

// As many units as are free can be had, whatever pieces they are in.
func TestListOfWhatIsFree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	a := newArena(segmentUnits, &mappings{})
	var kept, holes []ref
	for u := a.takeOne(1); u != none; u = a.takeOne(1) {
		if r.IntN(3) == 0 {
			kept = append(kept, u)
		} else {
			holes = append(holes, u)
		}
	}
	for _, u := range holes {
		a.give(u, 1)
	}
	var b builder
	if a.grow(&b, int64(len(holes))) {
		t.Error("a list in many pieces needs tables too")
	}
	checkUnits(t, a, len(kept))
	if !a.grow(&b, int64(len(holes)*9/10)) {
		t.Fatal("most of what is free cannot be had")
	}
	if b.pieces < 100 {
		t.Errorf("%d pieces: the test does not test tables", b.pieces)
	}
	body := make([]byte, int(b.units)*unitBytes)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	f := filler{cursor: cursor{arena: a, list: &b.list}}
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(3000))
		f.write(rest[:n])
		rest = rest[n:]
	}
	for _, units := range []int64{int64(b.units), int64(b.units) / 2, 100, 3, 2, 1, 0} {
		a.trim(&b, units)
		checkUnits(t, a, len(kept)+int(a.unitsWithTables(&b)))
		got := make([]byte, units*unitBytes)
		if n, err := a.readAt(&b.list, int64(len(got)), got, 0); n != len(got) || err != nil || !bytes.Equal(got, body[:n]) {
			t.Fatalf("cut to %d units: %d bytes, %v", units, n, err)
		}
	}
	if b.table != none || !a.grow(&b, 500) {
		t.Error("a list that has been cut to nothing does not grow again")
	}
	a.drop(&b.list)
	checkUnits(t, a, len(kept))
}

func checkUnits(t *testing.T, a *arena, want int) {
	t.Helper()
	if got := int(a.used) - 1; got != want {
		t.Fatalf("%d units are out, want %d", got, want)
	}
}

// What has been given back is another's, or poison where memory is poisoned.
func TestGivenBackIsPoisoned(t *testing.T) {
	if !poisons {
		t.Skip("without the race detector, nothing is poisoned")
	}
	a := newArena(segmentUnits, &mappings{})
	u := a.takeOne(10)
	a.give(u, 10)
	if p := a.at(u, 10); p[100] != poisonByte || p[len(p)-1] != poisonByte {
		t.Errorf("% x", p[100:110])
	}
}
