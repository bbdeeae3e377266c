package evict

import "sync/atomic"

const (
	s3Small = iota // what is new
	s3Main         // what was asked for again
	s3Queues
)

const (
	s3SmallShare = 10 // the small queue has a tenth of the budget
	s3UsesMax    = 3  // hits counted
	s3Promoted   = 2  // hits that make the small queue's oldest one of the main queue
)

type s3Entry struct {
	hash  uint64
	bytes int64
	uses  uint32 // atomic
	queue uint8
}

// S3FIFO is "FIFO queues are all you need for cache eviction" (Yang et al.,
// SOSP 2023): a small queue that most new entries do not outlive, a main queue
// whose used entries go round again, and ghosts, which go to the main queue at
// once. It is a reference: it resists scans, and size means nothing to it.
type S3FIFO struct {
	options Options
	slab    slab[s3Entry]
	queues  [s3Queues]queue
	bytes   [s3Queues]int64
	ghosts  ghosts
}

var _ Policy = (*S3FIFO)(nil)

// NewS3FIFO makes an empty S3FIFO.
func NewS3FIFO(o Options) *S3FIFO {
	o = o.withDefaults()
	return &S3FIFO{
		options: o, slab: newSlab[s3Entry](), queues: [s3Queues]queue{newQueue(), newQueue()},
		ghosts: newGhosts(o.BudgetBytes-o.BudgetBytes/s3SmallShare, o.GhostEntriesMax),
	}
}

// Add implements Policy.
func (s *S3FIFO) Add(hash uint64, bytes int64) Entry {
	to := s3Small
	if g := s.ghosts.find(hash); g != nil {
		s.ghosts.drop(g)
		to = s3Main
	}
	i := s.slab.add(s3Entry{hash: hash, bytes: max(bytes, 1)})
	s.push(i, to)
	return Entry(i)
}

// Hit implements Policy.
func (s *S3FIFO) Hit(e Entry) {
	r := &s.slab.records[e]
	if uses := atomic.LoadUint32(&r.uses); uses < s3UsesMax {
		atomic.CompareAndSwapUint32(&r.uses, uses, uses+1) // lost to another Hit, it is counted there
	}
}

// Resize implements Policy.
func (s *S3FIFO) Resize(e Entry, bytes int64) {
	r := &s.slab.records[e]
	bytes = max(bytes, 1)
	s.bytes[r.queue] += bytes - r.bytes
	r.bytes = bytes
}

// Remove implements Policy.
func (s *S3FIFO) Remove(e Entry) {
	s.unlink(uint32(e))
	s.slab.release(uint32(e))
}

// Evict implements Policy. Each pass takes a use from an entry, moves it on, or
// finds it in use, which those that are get away with once for every use that
// could be taken.
func (s *S3FIFO) Evict() Entry {
	for range (s3UsesMax + 2) * s.slab.live {
		from := s3Main
		if s.queues[s3Main].empty() || !s.queues[s3Small].empty() && s.bytes[s3Small] > s.options.BudgetBytes/s3SmallShare {
			from = s3Small
		}
		i := s.queues[from].oldest
		r := &s.slab.records[i]
		switch {
		case s.options.InUse(Entry(i)):
			s.move(i, from)
		case from == s3Small && r.uses >= s3Promoted:
			r.uses = 0
			s.move(i, s3Main)
		case from == s3Main && r.uses > 0:
			r.uses--
			s.move(i, s3Main)
		default:
			s.leave(i, from)
			return Entry(i)
		}
	}
	return None
}

func (s *S3FIFO) leave(i uint32, from int) {
	r := s.slab.records[i]
	s.Remove(Entry(i))
	if from == s3Small {
		s.ghosts.put(ghost{hash: r.hash, bytes: r.bytes}, s.slab.live)
	}
}

func (s *S3FIFO) move(i uint32, to int) {
	s.unlink(i)
	s.push(i, to)
}

func (s *S3FIFO) push(i uint32, to int) {
	r := &s.slab.records[i]
	r.queue = uint8(to)
	s.bytes[to] += r.bytes
	s.slab.push(&s.queues[to], i)
}

func (s *S3FIFO) unlink(i uint32) {
	r := &s.slab.records[i]
	s.bytes[r.queue] -= r.bytes
	s.slab.unlink(&s.queues[r.queue], i)
}

// Len implements Policy.
func (s *S3FIFO) Len() int { return s.slab.live }

// Bytes implements Policy.
func (s *S3FIFO) Bytes() int64 { return s.bytes[s3Small] + s.bytes[s3Main] }

// OverheadBytes implements Policy.
func (s *S3FIFO) OverheadBytes() int64 { return s.slab.bytes() + s.ghosts.memoryBytes() }
