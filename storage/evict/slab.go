package evict

import "unsafe"

// nowhere ends a list.
const nowhere = ^uint32(0)

// link places a record in one queue.
type link struct {
	newer, older uint32 // nowhere at the ends
}

// queue is a FIFO of a slab's records. Use newQueue.
type queue struct {
	newest, oldest uint32
}

func newQueue() queue { return queue{nowhere, nowhere} }

func (q *queue) empty() bool { return q.oldest == nowhere }

// slab keeps records by number and links them into queues. It hands the
// numbers of removed records out again, so it is as long as it ever was full.
type slab[T any] struct {
	records []T
	links   []link
	free    uint32 // the first of the free records, chained by link.older
	live    int
}

func newSlab[T any]() slab[T] { return slab[T]{free: nowhere} }

// add keeps a record, which is in no queue yet.
func (s *slab[T]) add(record T) uint32 {
	s.live++
	if i := s.free; i != nowhere {
		s.free = s.links[i].older
		s.records[i] = record
		return i
	}
	s.records = append(s.records, record)
	s.links = append(s.links, link{})
	return uint32(len(s.records) - 1)
}

// release takes back a record that is in no queue.
func (s *slab[T]) release(i uint32) {
	s.links[i].older = s.free
	s.free = i
	s.live--
}

func (s *slab[T]) push(q *queue, i uint32) {
	s.links[i] = link{newer: nowhere, older: q.newest}
	if q.newest == nowhere {
		q.oldest = i
	} else {
		s.links[q.newest].newer = i
	}
	q.newest = i
}

func (s *slab[T]) unlink(q *queue, i uint32) {
	l := s.links[i]
	if l.newer == nowhere {
		q.newest = l.older
	} else {
		s.links[l.newer].older = l.older
	}
	if l.older == nowhere {
		q.oldest = l.newer
	} else {
		s.links[l.older].newer = l.newer
	}
}

// bytes is the memory that the slab takes.
func (s *slab[T]) bytes() int64 {
	var record T
	return int64(cap(s.records))*int64(unsafe.Sizeof(record)) + int64(cap(s.links))*int64(unsafe.Sizeof(link{}))
}
