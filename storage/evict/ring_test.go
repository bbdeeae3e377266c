package evict

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestRingAgainstAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ring := NewRing(RingOptions{BudgetBytes: 100_000, RegionBytes: 5000})
	live, written := make(map[Entry]int64), int64(0)
	for range 50_000 {
		var some Entry
		for some = range live { // any one
			break
		}
		switch op := r.IntN(10); {
		case op < 5 || len(live) == 0:
			bytes := int64(1 + r.IntN(900))
			if r.IntN(100) == 0 {
				bytes = 9000 // more than a region
			}
			for ring.Full(bytes) {
				left, rewritten := ring.Reclaim()
				written += rewritten
				for _, e := range left {
					if _, known := live[e]; !known {
						t.Fatalf("entry %d leaves and was not there", e)
					}
					delete(live, e)
				}
			}
			live[ring.Add(bytes)] = bytes
			written += bytes
		case op < 9:
			ring.Hit(some)
		default:
			ring.Remove(some)
			delete(live, some)
		}
		if ring.Len() != len(live) || ring.Bytes() > 100_000 || ring.WrittenBytes() != written {
			t.Fatalf("%d entries, %d bytes, %d written; want %d, at most 100000, %d",
				ring.Len(), ring.Bytes(), ring.WrittenBytes(), len(live), written)
		}
	}
}

func TestRingKeepsWhatIsHit(t *testing.T) {
	ring := NewRing(RingOptions{BudgetBytes: 1600, RegionBytes: 100})
	kept, lost := ring.Add(10), ring.Add(10)
	gone := make(map[Entry]bool)
	for range 1000 {
		ring.Hit(kept)
		for ring.Full(10) {
			left, _ := ring.Reclaim()
			for _, e := range left {
				gone[e] = true
			}
		}
		ring.Add(10)
	}
	if gone[kept] || !gone[lost] {
		t.Errorf("hit: gone %v; never hit: gone %v", gone[kept], gone[lost])
	}
	if ring.Fits(1601) || !ring.Fits(1600) {
		t.Error("Fits does not go by the budget")
	}
}

func TestRewrite(t *testing.T) {
	for _, row := range []struct {
		name                    string
		hit                     bool
		bytes, rewritten, total int64
		want                    bool
	}{
		{"hit", true, 10, 0, 100, true},
		{"not hit", false, 10, 0, 100, false},
		{"up to three quarters", true, 10, 65, 100, true},
		{"and no more", true, 11, 65, 100, false},
	} {
		if got := Rewrite(row.hit, row.bytes, row.rewritten, row.total); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

func TestSeen(t *testing.T) {
	s := newSeen(1000, 1<<40)
	wrong := 0
	for i := range uint64(100_000) {
		if s.note(mix(i), 1) {
			wrong++
		}
		if i > 500 && !s.note(mix(i-500), 1) {
			t.Fatalf("hash %d was noted 500 before %d and is forgotten", i-500, i)
		}
	}
	if wrong > 4000 {
		t.Errorf("%d of 100000 new hashes pass for seen", wrong)
	}
	turned := newSeen(1<<20, 100)
	turned.note(1, 100)
	turned.note(2, 100)
	turned.note(3, 100)
	if turned.note(1, 100) {
		t.Error("two filters' worth of bytes later, a hash is still there")
	}
}

// admissionRun plays requests through an admission and a ring, and gives the
// verdicts of its second half.
func admissionRun(budgetBytes int64, next func(r *rand.Rand, i int) uint64) map[Admitted]int {
	r := rand.New(rand.NewPCG(3, 4))
	a, ring := NewAdmission(AdmissionOptions{BudgetBytes: budgetBytes}), NewRing(RingOptions{BudgetBytes: budgetBytes})
	verdicts, entry, hash := make(map[Admitted]int), make(map[uint64]Entry), make(map[Entry]uint64)
	const requests, bytes = 60_000, 1000
	for i := range requests {
		h := mix(next(r, i))
		if e, ok := entry[h]; ok {
			ring.Hit(e)
			a.Hit(h, bytes)
			continue
		}
		v := a.Miss(h, bytes, 0)
		if i > requests/2 {
			verdicts[v]++
		}
		if !v.Written() {
			continue
		}
		for ring.Full(bytes) {
			left, _ := ring.Reclaim()
			for _, e := range left {
				delete(entry, hash[e])
			}
		}
		e := ring.Add(bytes)
		entry[h], hash[e] = e, h
	}
	return verdicts
}

// A ring that holds what is asked for again takes all; one that drowns in what
// is asked for once waits for the second miss.
func TestAdmissionAdapts(t *testing.T) {
	roomy := admissionRun(20_000_000, func(r *rand.Rand, i int) uint64 { return uint64(i/4 + r.IntN(10_000)) })
	if roomy[RefusedFirst] > roomy[AdmittedFirst] {
		t.Errorf("a ring with room: %v", roomy)
	}
	tight := admissionRun(300_000, func(r *rand.Rand, i int) uint64 {
		if i%4 > 0 {
			return uint64(1<<20 + i)
		}
		return uint64(r.IntN(400))
	})
	if tight[AdmittedFirst] > tight[RefusedFirst] {
		t.Errorf("a ring that is short of room: %v", tight)
	}
}

func TestAdmissionWriteBudget(t *testing.T) {
	a := NewAdmission(AdmissionOptions{BudgetBytes: 1 << 30, WriteBytesPerSecondMax: 1000})
	for _, row := range []struct {
		at    time.Duration
		hash  uint64
		wrote int64
		want  Admitted
	}{
		{0, 1, 50_000, AdmittedFirst},
		{0, 2, 0, RefusedFirst},
		{0, 2, 20_000, AdmittedSecond},
		{0, 2, 0, RefusedBudget},
		{15 * time.Second, 2, 0, AdmittedSecond},
		{15 * time.Second, 3, 0, RefusedFirst},
		{71 * time.Second, 4, 0, AdmittedFirst},
	} {
		got := a.Miss(row.hash, 100, row.at)
		if got != row.want {
			t.Errorf("at %s, hash %d: %s, want %s", row.at, row.hash, got, row.want)
		}
		a.Wrote(row.wrote, row.at)
	}
	if Admitted(9).String() != "admitted(9)" || RefusedBudget.String() != "refused-write-budget" {
		t.Error("a verdict has lost its name")
	}
}

// The sample stays small whatever comes, and about as many hashes stay in it.
func TestDuelThins(t *testing.T) {
	d := newDuel(1 << 40)
	for i := range uint64(200_000) {
		d.asked(mix(i), 1000)
	}
	if n := d.all.ring.live; n > rehearsalEntriesMax || n < rehearsalEntriesMax/4 {
		t.Errorf("%d entries, %d is the bound", n, rehearsalEntriesMax)
	}
}
