package netdelay

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// How much of a connection may be on its way in one direction. While the far
// end keeps up, that is what the wire holds: at 32 MiB, 800 MB/s over a round
// trip of 80 ms. Where the far end is late in taking what has arrived, it is a
// socket buffer's worth, so that a thousand slow readers stay cheap.
const (
	wireBytesMax = 32 << 20
	lateBytesMax = 1 << 20
	// lateAfter is more than a timer and the scheduler are off by.
	lateAfter = 20 * time.Millisecond
)

// queue is one direction of a connection: bytes in order, each with the time
// at which it comes out.
type queue struct {
	delay time.Duration
	// opens is when the first byte may go in.
	opens time.Time

	mu     sync.Mutex // guards the rest; never held during a wait or I/O
	pieces []piece    // by due time, which is the order that they came in
	bytes  int        // memory of the pieces
	// pushErr refuses pieces, popErr refuses to give any; nil while they work.
	pushErr, popErr error
	// The zero time means no deadline.
	pushDeadline, popDeadline time.Time
	// Whoever waits makes the channel, whoever changes something closes it.
	pushWake, popWake chan struct{}
}

// piece is either bytes or the mark of an end.
type piece struct {
	due  time.Time
	mark error
	buffer
}

// push takes bytes in, and waits while too much is on its way. The queue owns
// the buffer unless there is an error.
func (q *queue) push(b buffer) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case q.pushErr != nil:
			return q.pushErr
		case isPast(q.pushDeadline, now):
			return os.ErrDeadlineExceeded
		case len(b.bytes) == 0:
			return nil
		case !q.isFull(now):
			q.append(piece{buffer: b}, now)
			return nil
		}
		q.wait(&q.pushWake, q.pushDeadline)
	}
}

func (q *queue) isFull(now time.Time) bool {
	if q.bytes < lateBytesMax {
		return false
	}
	return q.bytes >= wireBytesMax || now.Sub(q.pieces[0].due) > lateAfter
}

func (q *queue) append(p piece, now time.Time) {
	if now.Before(q.opens) {
		now = q.opens
	}
	p.due = now.Add(q.delay)
	q.bytes += p.size()
	q.pieces = append(q.pieces, p)
	// Others need no call: who waits for the first piece knows its time.
	if len(q.pieces) == 1 {
		wake(&q.popWake)
	}
}

// read copies bytes out whose time has come, and waits for the first of them.
// Behind the last it answers with the mark, as often as it is asked.
func (q *queue) read(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.waitDue(len(p) == 0); err != nil || len(p) == 0 {
		return 0, err
	}
	if first := q.pieces[0]; first.mark != nil {
		return 0, first.mark
	}
	n := 0
	for now := time.Now(); n < len(p) && q.hasDue(now) && q.pieces[0].mark == nil; {
		first := &q.pieces[0]
		copied := copy(p[n:], first.bytes)
		n += copied
		if first.bytes = first.bytes[copied:]; len(first.bytes) == 0 {
			q.removeFirst().free()
		}
	}
	return n, nil
}

// take waits for the first piece's time and hands it over: bytes or a mark.
func (q *queue) take() (buffer, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.waitDue(false); err != nil {
		return buffer{}, err
	}
	mark := q.pieces[0].mark
	return q.removeFirst(), mark
}

// waitDue waits until the first piece is due; if peek, it only looks whether
// waiting is in order.
func (q *queue) waitDue(peek bool) error {
	for {
		now := time.Now()
		switch {
		case q.popErr != nil:
			return q.popErr
		case isPast(q.popDeadline, now):
			return os.ErrDeadlineExceeded
		case peek || q.hasDue(now):
			return nil
		}
		until := q.popDeadline
		if len(q.pieces) > 0 && (until.IsZero() || q.pieces[0].due.Before(until)) {
			until = q.pieces[0].due
		}
		q.wait(&q.popWake, until)
	}
}

func (q *queue) hasDue(now time.Time) bool {
	return len(q.pieces) > 0 && !q.pieces[0].due.After(now)
}

func (q *queue) removeFirst() buffer {
	b := q.pieces[0].buffer
	q.bytes -= q.pieces[0].size()
	q.pieces[0] = piece{}
	q.pieces = q.pieces[1:]
	wake(&q.pushWake)
	return b
}

// end puts a mark behind what was taken in, and refuses more with err. Of two
// calls the later one's error counts, and both marks come out.
func (q *queue) end(mark, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.popErr != nil {
		return
	}
	q.pushErr = err
	q.append(piece{mark: mark}, time.Now())
	wake(&q.pushWake)
}

// fail drops the bytes, but no marks, and refuses more with err. Marks are due
// at once.
func (q *queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pushErr == nil {
		q.pushErr = err
	}
	kept := q.pieces[:0]
	for _, p := range q.pieces {
		if p.mark == nil {
			q.bytes -= p.size()
			p.free()
			continue
		}
		kept = append(kept, piece{mark: p.mark})
	}
	clear(q.pieces[len(kept):])
	q.pieces = kept
	wake(&q.pushWake)
	wake(&q.popWake)
}

// abandon drops everything and ends both sides with err.
func (q *queue) abandon(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushErr, q.popErr = err, err
	for _, p := range q.pieces {
		p.free()
	}
	q.pieces, q.bytes = nil, 0
	wake(&q.pushWake)
	wake(&q.popWake)
}

func (q *queue) setPushDeadline(t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushDeadline = t
	wake(&q.pushWake)
}

func (q *queue) setPopDeadline(t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.popDeadline = t
	wake(&q.popWake)
}

// wait gives the lock up until the channel is closed or the time has come; the
// zero time never comes.
func (q *queue) wait(channel *chan struct{}, until time.Time) {
	if *channel == nil {
		*channel = make(chan struct{})
	}
	woken := *channel
	q.mu.Unlock()
	defer q.mu.Lock()
	waitFor(woken, until)
}

// waitFor waits for the channel, but no longer than until a time unless that
// is zero.
func waitFor(woken <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-woken
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-woken:
	case <-timer.C:
	}
}

// wake ends all waits on a channel.
func wake(channel *chan struct{}) {
	if *channel != nil {
		close(*channel)
		*channel = nil
	}
}

// isPast says whether a deadline is set and has come.
func isPast(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// isOwn says whether an error is one that this package makes, bare.
func isOwn(err error) bool {
	return err == net.ErrClosed || err == os.ErrDeadlineExceeded || err == error(syscall.EPIPE)
}
