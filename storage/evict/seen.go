package evict

// seen remembers which hashes have been asked for, roughly and in little
// memory: two Bloom filters, of which the older is forgotten when the newer has
// taken its share. It never forgets what was noted within half of its memory,
// and about one answer in a hundred is a wrong yes.
type seen struct {
	newer, older []uint64 // bits; a power of two of them
	keysMax      int      // of one filter
	bytesMax     int64    // noted in one filter
	keys         int
	bytes        int64
}

const (
	seenBitsAKey = 10
	seenProbes   = 4
)

// newSeen makes one whose filters take keysMax keys, or bytesMax bytes of
// objects, whichever is reached first.
func newSeen(keysMax int, bytesMax int64) seen {
	words := 1
	for words*64 < keysMax*seenBitsAKey {
		words *= 2
	}
	return seen{newer: make([]uint64, words), older: make([]uint64, words), keysMax: keysMax, bytesMax: bytesMax}
}

// note remembers a hash whose object has some bytes, and says whether it was
// noted before.
func (s *seen) note(hash uint64, bytes int64) bool {
	known := s.has(s.newer, hash)
	if known {
		return true
	}
	known = s.has(s.older, hash)
	if s.keys >= s.keysMax || s.bytes >= s.bytesMax {
		s.newer, s.older = s.older, s.newer
		clear(s.newer)
		s.keys, s.bytes = 0, 0
	}
	s.keys++
	s.bytes += bytes
	step := mix(hash)
	for range seenProbes {
		bit := step & uint64(len(s.newer)*64-1)
		s.newer[bit/64] |= 1 << (bit % 64)
		step += hash | 1
	}
	return known
}

func (s *seen) has(bits []uint64, hash uint64) bool {
	step := mix(hash)
	for range seenProbes {
		bit := step & uint64(len(bits)*64-1)
		if bits[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
		step += hash | 1
	}
	return true
}
