package memory

import "weir/storage"

// What a store takes besides its arena is set aside when it is made, and the
// arena gets the rest of the budget:
//
//	buckets   refBytes for each bucketShare bytes of budget
//	begins    arenaTableBytes for each unit
//	metas     metasBytesMax: the metas that are kept decoded
//	policies  asideBytes a shard, of which floorBytes are arrays that grow
//
// What the policies' arrays take beyond that floor is taken out of the arena as
// it grows (ballast), so that the two together stay within the budget.
const (
	refBytes    = 4
	bucketShare = 1024 // so that few buckets have two views, with objects of some KiB

	// ghostShare bounds what a policy remembers of what left: as many as the
	// objects of 4 KiB that would fit, whose memory is a hundredth of theirs.
	ghostShare = 4096

	asideBytesMax = 24 << 10
	floorBytesMax = 16 << 10
	asideShare    = 8 // of the budget, at most this part

	// Ballast is taken a step at a time, and a step is this part of the budget,
	// within bounds. To clear a stretch takes a look at every object.
	ballastShare   = 256
	ballastStepMin = 4 << 10
	ballastTries   = 4
)

// divide fixes what a budget is spent on.
func (s *Store) divide() *arena {
	budget, shards := s.options.BudgetBytes, int64(len(s.shards))
	s.shardBytes = budget / shards
	buckets := ceilPower(s.shardBytes / bucketShare)
	mapped := &mappings{}
	all := mapped.refs(int(shards * buckets))
	for i := range s.shards {
		from := int64(i) * buckets
		s.shards[i].buckets = all[from : from+buckets : from+buckets]
	}
	aside := min(asideBytesMax, s.shardBytes/asideShare)
	s.floorBytes = shards * aside * floorBytesMax / asideBytesMax
	s.metas.init(min(metasMax*metaBytesUsual, budget/metasShare))
	s.ballastStep = min(max(ceilPower(budget/ballastShare), ballastStepMin), segmentBytes)
	rest := budget - shards*(aside+buckets*refBytes) - s.metas.bytesMax
	return newArena(ref(min(max(rest/(unitBytes+arenaTableBytes), 1), 1<<32-1)), mapped)
}

// makeRoom evicts until the arena has units to give. It evicts nothing if even
// all that nobody has open would not be enough.
func (s *Store) makeRoom(units int64) error {
	for {
		if s.closed.Load() {
			return storage.ErrClosed
		}
		free := int64(s.arena.freeUnits())
		if free >= units {
			return nil
		}
		if free+s.evictableUnits() < units || !s.evict() {
			return storage.ErrFull
		}
	}
}

// grow adds units to a list, evicting for them.
func (s *Store) grow(b *builder, units int64) error {
	for short := int64(0); !s.arena.grow(b, units); short += 1 + units/512 {
		// What the tables of a list in many pieces take is not in units: with
		// each time that it is not enough, more is asked for.
		if err := s.makeRoom(units + short); err != nil {
			return err
		}
	}
	return nil
}

// takeUnit takes one unit, evicting for it.
func (s *Store) takeUnit() (ref, error) {
	for {
		if u := s.arena.takeOne(1); u != none {
			return u, nil
		}
		if err := s.makeRoom(1); err != nil {
			return none, err
		}
	}
}

func (s *Store) evictableUnits() (n int64) {
	for i := range s.shards {
		n += s.shards[i].linkedUnits.Load() - s.shards[i].pinnedUnits.Load()
	}
	return n
}

// evict evicts one object: from the shard that has most, and so more than its
// share, or from the next one where not all is open.
func (s *Store) evict() bool {
	fullest, most := 0, int64(-1)
	for i := range s.shards {
		if n := s.shards[i].linkedUnits.Load(); n > most {
			fullest, most = i, n
		}
	}
	for i := range s.shards {
		if s.evictFrom(&s.shards[(fullest+i)&(len(s.shards)-1)]) {
			return true
		}
	}
	return false
}

// settle makes the ballast as heavy as what the policies take beyond their
// floor. The pages of ballast go back to the system.
func (s *Store) settle() {
	have, excess := s.ballastUnits.Load(), s.excessUnits()
	if have == excess || excess > 0 && have > excess && have < excess+2*s.ballastStep/unitBytes {
		return
	}
	s.ballastMu.Lock()
	defer s.ballastMu.Unlock()
	want := s.excessUnits()
	for int64(s.ballast.units) < want && s.weigh() {
	}
	if int64(s.ballast.units) > want {
		s.arena.trim(&s.ballast, want)
	}
	s.ballastUnits.Store(int64(s.ballast.units))
}

// weigh adds a step to the ballast: whole pages. Where none are together that
// are free, a stretch of the arena is cleared.
func (s *Store) weigh() bool {
	units := ref(s.ballastStep / unitBytes)
	for range ballastTries {
		if p := s.arena.takeInto(&s.ballast, units); p != none {
			release(s.arena.at(p, units))
			return true
		}
		s.sweep = (s.sweep + units) % max(s.arena.units&^(units-1), units)
		for i := range s.shards {
			s.clearStretch(&s.shards[i], s.sweep, units)
		}
	}
	return s.grow(&s.ballast, int64(units)) == nil // what is open stands in the way
}

// excessUnits is how heavy the ballast should be: in whole steps.
func (s *Store) excessUnits() int64 {
	excess := max(0, s.overheadBytes.Load()-s.floorBytes)
	return (excess + s.ballastStep - 1) / s.ballastStep * (s.ballastStep / unitBytes)
}
