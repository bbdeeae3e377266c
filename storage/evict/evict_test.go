package evict

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// Random operations, compared with a map.
func TestAgainstAMap(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.String(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(k)))
			open := make(map[Entry]bool)
			p := New(k, Options{BudgetBytes: 1 << 20, InUse: func(e Entry) bool { return open[e] }})
			live, used := make(map[Entry]int64), int64(0)
			gone := func(e Entry) { used -= live[e]; delete(live, e); delete(open, e) }
			for range 50_000 {
				var some Entry
				for some = range live { // any one
					break
				}
				switch op := r.IntN(20); {
				case op < 9 || len(live) == 0:
					bytes := int64(1) << r.IntN(17)
					for used+bytes > 1<<20 {
						e := p.Evict()
						if _, known := live[e]; !known || open[e] {
							t.Fatalf("evicted %d: known %v, in use %v", e, known, open[e])
						}
						gone(e)
					}
					e := p.Add(uint64(r.IntN(5000)), bytes)
					if _, taken := live[e]; taken {
						t.Fatalf("entry %d was given out twice", e)
					}
					live[e] = bytes
					used += bytes
				case op < 16:
					p.Hit(some)
				case op < 17:
					p.Remove(some)
					gone(some)
				case op < 18:
					bytes := int64(1) << r.IntN(10)
					p.Resize(some, bytes)
					used += bytes - live[some]
					live[some] = bytes
				default:
					if open[some] = !open[some]; len(open) > 20 {
						clear(open)
					}
				}
				if p.Len() != len(live) || p.Bytes() != used {
					t.Fatalf("%d entries of %d bytes; want %d of %d", p.Len(), p.Bytes(), len(live), used)
				}
			}
		})
	}
}

func TestNothingToEvict(t *testing.T) {
	for _, k := range Kinds() {
		busy := true
		p := New(k, Options{InUse: func(Entry) bool { return busy }})
		if e := p.Evict(); e != None {
			t.Errorf("%s: evicted %d of nothing", k, e)
		}
		for i := range uint64(100) {
			p.Hit(p.Add(i, 1000+int64(i)))
		}
		if e := p.Evict(); e != None {
			t.Errorf("%s: evicted %d, which is in use", k, e)
		}
		busy = false
		for range 100 {
			if p.Evict() == None {
				t.Fatalf("%s: %d entries and none to evict", k, p.Len())
			}
		}
		if p.Len() != 0 || p.Bytes() != 0 {
			t.Errorf("%s: %d entries, %d bytes are left", k, p.Len(), p.Bytes())
		}
	}
}

// Hits run beside one another; the race detector looks on.
func TestHitsBesideHits(t *testing.T) {
	for _, k := range Kinds() {
		p := New(k, Options{BudgetBytes: 1000})
		for i := range uint64(64) {
			p.Add(i, 100)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range 2000 {
					p.Hit(Entry(i % 64))
				}
			})
		}
		all.Wait()
		for p.Len() > 0 {
			p.Evict()
		}
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	for _, k := range Kinds() {
		p := New(k, Options{BudgetBytes: 1000})
		a, b := p.Add(1, 10), p.Add(2, 10)
		if n := testing.AllocsPerRun(100, func() { p.Hit(a); p.Hit(b) }); n != 0 {
			t.Errorf("%s: %v allocations", k, n)
		}
	}
}

func TestKindNames(t *testing.T) {
	for _, k := range Kinds() {
		var back Kind
		if err := back.UnmarshalText([]byte(k.String())); err != nil || back != k {
			t.Errorf("%s: %v, %v", k, back, err)
		}
	}
	var k Kind
	if k.UnmarshalText([]byte("mru")) == nil || Kind(99).String() != "policy(99)" {
		t.Error("an unknown policy is taken")
	}
}

// What an entry costs in memory: its record, its links, and its share of the
// ghosts.
func TestOverhead(t *testing.T) {
	p := NewPriced(WorthObjects, Options{BudgetBytes: 100_000})
	for i := range uint64(100_000) {
		if p.Bytes() == 100_000 {
			p.Evict()
		}
		p.Add(i, 10)
	}
	perEntry := p.OverheadBytes() / int64(p.Len())
	t.Logf("%d bytes an entry, with two ghosts for each", perEntry)
	if perEntry > 220 {
		t.Errorf("%d bytes an entry", perEntry)
	}
	if p.ghosts.bytes > ghostTurns*100_000 || p.ghosts.live > 2*p.Len()+ghostEntriesMin {
		t.Errorf("%d ghosts of %d bytes", p.ghosts.live, p.ghosts.bytes)
	}
	few := NewPriced(WorthObjects, Options{BudgetBytes: 100_000, GhostEntriesMax: 50})
	for i := range uint64(20_000) {
		few.Add(i, 10)
		few.Evict()
	}
	if few.ghosts.live != 50 {
		t.Errorf("%d ghosts, 50 are the bound", few.ghosts.live)
	}
}

// A hit within a twentieth of a turn of the last one does not count, a later one
// does.
func TestCorrelatedUsesCountOnce(t *testing.T) {
	p := NewPriced(WorthObjects, Options{BudgetBytes: 1000})
	burst, spread, other := p.Add(1, 10), p.Add(2, 10), uint64(3)
	turn := func(share float64) {
		for range int(share * 100) {
			p.Add(other, 10)
			other++
		}
	}
	for range 5 {
		p.Hit(burst)
		p.Hit(spread)
	}
	turn(0.1)
	p.Hit(spread)
	turn(0.1)
	p.Hit(spread)
	for _, row := range []struct {
		e    Entry
		want uint32
	}{{burst, 0}, {spread, 2}} {
		if got := p.slab.records[row.e].mark & markUses; got != row.want {
			t.Errorf("entry %d: %d uses counted, want %d", row.e, got, row.want)
		}
	}
}

// Patience follows what comes back.
func TestPatience(t *testing.T) {
	for _, row := range []struct {
		name   string
		kind   int // of the ghosts that come back
		higher bool
	}{{"new come back", 0, true}, {"known come back", 1, false}} {
		p := NewPriced(WorthObjects, Options{BudgetBytes: 1 << 20})
		class := classOf(1000)
		before := p.patience[class]
		for i := range uint64(40) {
			p.ghosts.put(ghost{hash: i, bytes: 1000, uses: 1, kind: kindOf(1000) | uint8(i)%2}, 0)
		}
		for i := uint64(row.kind); i < 20; i += 2 {
			p.Add(i, 1000)
		}
		if after := p.patience[class]; (after > before) != row.higher {
			t.Errorf("%s: from %v to %v", row.name, before, after)
		}
	}
}

// Half of what a ghost was used is forgotten in two turns.
func TestGhostsFade(t *testing.T) {
	const budget, bytes, others = 1 << 20, 1 << 10, 1 << 40
	for _, row := range []struct{ turns, want float64 }{{0, 1 + 8}, {0.5, 1 + 8*math.Exp2(-0.25)}, {1, 1 + 8*math.Exp2(-0.5)}, {1.9, 1 + 8*math.Exp2(-0.95)}, {2.5, 1}} {
		p := NewPriced(WorthObjects, Options{BudgetBytes: budget, GhostEntriesMax: 1 << 20})
		p.ghosts.put(ghost{hash: 1, bytes: bytes, uses: 8 * useUnit, kind: kindOf(bytes) | kindKnown}, 0)
		for i := range uint64(row.turns * budget / bytes) {
			p.Add(others+i, bytes)
			p.Evict()
		}
		e := p.Add(1, bytes)
		if got := float64(p.slab.records[e].uses) / useUnit; math.Abs(got-row.want) > 0.1 {
			t.Errorf("back after %v turns: %v uses, want %v", row.turns, got, row.want)
		}
	}
}

// A ghost that comes back at once has no more uses than count.
func TestUsesHaveAMost(t *testing.T) {
	p := NewPriced(WorthObjects, Options{BudgetBytes: 1 << 20})
	p.ghosts.put(ghost{hash: 1, bytes: 100, uses: usesMax, kind: kindOf(100) | kindKnown}, 0)
	if got := p.slab.records[p.Add(1, 100)].uses; got != usesMax {
		t.Errorf("%d sixteenths, want %d", got, usesMax)
	}
}

// What Evict looks at next has the lowest price, but for a quarter of how far
// another's was above the level when that was queued.
func TestLowestPriceLeaves(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const budget = 1 << 17
	p := NewPriced(WorthObjects, Options{BudgetBytes: budget})
	live := make(map[Entry]bool)
	for range 3000 {
		bytes := 1 + int64(math.Exp(r.Float64()*9))
		for p.Bytes()+bytes > budget {
			queue, _ := p.fronts.lowest()
			price := p.slab.records[p.queues[queue].oldest].price
			for e := range live {
				other := &p.slab.records[e]
				above := math.Float64frombits(uint64(queueFirst+int(other.queue)) << queueShift)
				if price-other.price > above*0.2501 {
					t.Fatalf("%v is looked at before %v, which was %v above the level", price, other.price, above)
				}
			}
			delete(live, p.Evict())
		}
		e := p.Add(uint64(r.IntN(5000)), bytes)
		live[e] = true
		for other := range live { // any one
			p.Hit(other)
			break
		}
	}
	least, most := queueOf(1/float64(int64(1)<<50)/useUnit), queueOf(patienceMax)
	if least <= 0 || most >= queuesMax-1 || queueOf(-1) != 0 || queueOf(math.Inf(1)) != queuesMax-1 {
		t.Errorf("queues %d to %d of %d", least, most, queuesMax)
	}
}

func TestGhostsAgainstAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	s := newGhosts(20_000, 150)
	var want []ghost // oldest first
	drop := func(i int) { want = slices.Delete(want, i, i+1) }
	for range 100_000 {
		hash := uint64(r.IntN(400))
		at := slices.IndexFunc(want, func(g ghost) bool { return g.hash == hash })
		g := s.find(hash)
		if (g != nil) != (at >= 0) || g != nil && g.bytes != want[at].bytes {
			t.Fatalf("hash %d: %+v, place %d", hash, g, at)
		}
		if g != nil && r.IntN(2) == 0 {
			s.drop(g)
			drop(at)
			continue
		}
		if at >= 0 {
			drop(at)
		}
		fresh := ghost{hash: hash, bytes: int64(r.IntN(300)), kind: uint8(hash)}
		s.put(fresh, 0)
		want = append(want, fresh)
		total := int64(0)
		for _, g := range want {
			total += g.bytes
		}
		for total > 20_000 || len(want) > 150 {
			total -= want[0].bytes
			drop(0)
		}
		if s.live != len(want) || s.bytes != total {
			t.Fatalf("%d ghosts of %d bytes, want %d of %d", s.live, s.bytes, len(want), total)
		}
	}
	if len(s.ring) > 1024 {
		t.Errorf("the ring has grown to %d records for 150 ghosts", len(s.ring))
	}
}

func TestTournament(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	tree, prices := newTournament(), make(map[int]float64)
	if _, ok := tree.lowest(); ok {
		t.Fatal("a winner among none")
	}
	for range 10_000 {
		queue, price := r.IntN(queuesMax), float64(r.IntN(1000))
		tree.set(queue, price)
		prices[queue] = price
		got, ok := tree.lowest()
		for _, p := range prices {
			if !ok || prices[got] > p {
				t.Fatalf("queue %d at %v wins; there is one at %v", got, prices[got], p)
			}
		}
	}
}

// The same calls give the same answers.
func TestPure(t *testing.T) {
	run := func() (left []Entry) {
		r := rand.New(rand.NewPCG(9, 10))
		p := NewPriced(WorthObjects, Options{BudgetBytes: 1 << 16})
		for range 5000 {
			bytes := int64(1) << r.IntN(12)
			for p.Bytes()+bytes > 1<<16 {
				left = append(left, p.Evict())
			}
			p.Hit(p.Add(uint64(r.IntN(3000)), bytes))
		}
		return left
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs evict in different orders")
	}
}

func benchmarked() (*Priced, int) {
	const n = 1 << 16
	p := NewPriced(WorthObjects, Options{BudgetBytes: n * 1000})
	for i := range uint64(n) {
		p.Add(mix(i), 500+int64(mix(i)%1000))
	}
	return p, n
}

func BenchmarkHit(b *testing.B) {
	p, n := benchmarked()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Hit(Entry(i * 7919 % n))
	}
}

func BenchmarkAddAndEvict(b *testing.B) {
	p, n := benchmarked()
	b.ReportAllocs()
	for i := uint64(n); b.Loop(); i++ {
		for p.Bytes() > int64(n)*1000 {
			p.Evict()
		}
		p.Hit(p.Add(mix(i%uint64(8*n)), 500+int64(mix(i)%1000)))
	}
}
