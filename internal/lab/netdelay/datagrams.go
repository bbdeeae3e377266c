package netdelay

import (
	"container/heap"
	"net"
	"os"
	"sync"
	"time"
)

// How much may be on its way in one direction of a socket.
const (
	datagramsMax     = 4096
	datagramBytesMax = 8 << 20
)

// datagram is one on its way, or an error in one's place.
type datagram struct {
	due time.Time
	// order tells datagrams of the same time apart, and keeps them in order.
	order  uint64
	remote net.Addr
	err    error
	buffer
}

// datagrams is one direction of a socket. Remote addresses have delays of their
// own, so what goes in later may come out earlier.
type datagrams struct {
	mu     sync.Mutex // guards the rest; never held during a wait or I/O
	byDue  dueHeap
	bytes  int // what the datagrams carry
	pushed uint64
	// pushErr refuses datagrams; an emptied queue answers with it, too. popErr
	// refuses to give any. They are nil while the queue works.
	pushErr, popErr error
	// The zero time means no deadline.
	pushDeadline, deadline time.Time
	// Who waits makes the channel, who changes something closes it.
	popWake chan struct{}
}

// check says whether the queue takes datagrams at all.
func (q *datagrams) check(now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.pushErr != nil:
		return q.pushErr
	case isPast(q.pushDeadline, now):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// push takes a datagram in, or loses it if there are too many or the queue has
// ended.
func (q *datagrams) push(d *datagram, delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pushErr != nil || len(q.byDue) >= datagramsMax || q.bytes+len(d.bytes) > datagramBytesMax {
		d.free()
		return
	}
	q.pushed++
	d.due, d.order = time.Now().Add(delay), q.pushed
	q.bytes += len(d.bytes)
	heap.Push(&q.byDue, d)
	if q.byDue[0].order == d.order {
		wake(&q.popWake)
	}
}

// pop waits for the first datagram's time and hands it over.
func (q *datagrams) pop() (*datagram, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		now := time.Now()
		until := q.deadline
		switch {
		case q.popErr != nil:
			return nil, q.popErr
		case isPast(q.deadline, now):
			return nil, os.ErrDeadlineExceeded
		case len(q.byDue) == 0 && q.pushErr != nil:
			return nil, q.pushErr
		case len(q.byDue) == 0:
		case !q.byDue[0].due.After(now):
			d := heap.Pop(&q.byDue).(*datagram)
			q.bytes -= len(d.bytes)
			return d, nil
		case until.IsZero() || q.byDue[0].due.Before(until):
			until = q.byDue[0].due
		}
		q.wait(until)
	}
}

// wait gives the lock up until something has changed or the time has come.
func (q *datagrams) wait(until time.Time) {
	if q.popWake == nil {
		q.popWake = make(chan struct{})
	}
	woken := q.popWake
	q.mu.Unlock()
	defer q.mu.Lock()
	waitFor(woken, until)
}

// end refuses more datagrams with err; those taken in still come out.
func (q *datagrams) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushErr = err
	wake(&q.popWake)
}

// abandon drops everything and ends both sides with err.
func (q *datagrams) abandon(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushErr, q.popErr = err, err
	for _, d := range q.byDue {
		d.free()
	}
	q.byDue, q.bytes = nil, 0
	wake(&q.popWake)
}

func (q *datagrams) setDeadline(t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deadline = t
	wake(&q.popWake)
}

func (q *datagrams) setPushDeadline(t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushDeadline = t
}

// dueHeap is a container/heap with the earliest datagram first.
type dueHeap []*datagram

func (h dueHeap) Len() int { return len(h) }

func (h dueHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].order < h[j].order
	}
	return h[i].due.Before(h[j].due)
}

func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push appends; container/heap calls it.
func (h *dueHeap) Push(d any) { *h = append(*h, d.(*datagram)) }

// Pop removes the last; container/heap calls it.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
