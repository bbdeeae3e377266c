package cache

import (
	"cmp"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"weir/storage"
)

// relays is the memory that relaying streams hold for their slowest readers,
// shared by those that run.
type relays struct{ running atomic.Int64 }

const (
	// relayBytesMax bounds the windows of all relays of a node together, as
	// long as there are not so many that each has but windowBytesMin.
	relayBytesMax  = 64 << 20
	windowBytesMax = 1 << 20
	windowBytesMin = 2 * copyBufferBytes
)

// window is how much one relay may hold now.
func (r *relays) window() int {
	return min(max(relayBytesMax/int(max(r.running.Load(), 1)), windowBytesMin), windowBytesMax)
}

// stream is a fill's body on its way: written once, read by many while it
// grows. What the store has taken is read back through its Writer. If the
// store refuses more in the middle of a body, the stream relays the rest
// through a window in memory that moves with its slowest reader; a reader that
// stands still for stallTimeout is dropped, so that one cannot hold up all.
//
//	0 ............ stored ............ base ..... received
//	 read from the writer  (= base until     in window
//	                       the window moves)
type stream struct {
	writer       storage.Writer
	declared     int64 // the length that upstream announced; negative if it did not
	stallTimeout time.Duration
	// wanted counts the transactions that have a part in the fill: those that
	// read, and those that have been let in but have not attached yet.
	wanted func() int
	relays *relays

	// stored counts the bytes that writer holds: what is below can be read
	// without mu. relaying is set once, with mu held.
	stored   atomic.Int64
	relaying atomic.Bool
	// mu guards all below. Nothing blocks under it.
	mu      sync.Mutex
	window  []byte
	base    int64 // offset of window[0]
	ended   bool
	err     error
	wake    chan struct{} // closed and replaced when bytes or the end arrive
	moved   chan struct{} // likewise when a reader of a relay moved or left
	readers map[*reader]struct{}
	dropped int // readers that were dropped and have not left yet
}

func newStream(w storage.Writer, declared int64, stallTimeout time.Duration, all *relays, wanted func() int) *stream {
	return &stream{
		writer: w, declared: declared, stallTimeout: stallTimeout, relays: all, wanted: wanted,
		wake: make(chan struct{}), moved: make(chan struct{}),
		readers: make(map[*reader]struct{}),
	}
}

// reader is one answer's place in a stream. Not for concurrent use.
type reader struct {
	s *stream
	// at is the next byte it wants, as far as the stream has been told, which
	// is only while it relays; movedAt is when it was. Both guarded by s.mu.
	at      int64
	movedAt time.Time
}

// attach gives a reader at the body's start, or nil if that is gone already.
func (s *stream) attach() *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relaying.Load() && s.base > s.stored.Load() {
		return nil
	}
	r := &reader{s: s, movedAt: time.Now()}
	s.readers[r] = struct{}{}
	return r
}

func (r *reader) leave() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if _, attached := r.s.readers[r]; attached {
		delete(r.s.readers, r)
	} else {
		r.s.dropped--
	}
	r.s.signalMoved()
}

// append takes the body's next bytes. When the store refuses them, it calls
// relay once, which takes the fill out of the map, and keeps p for the readers.
//
// The bytes that complete a body of declared length are shown to the readers
// at its end, after the commit: a client that has all of a response, and asks
// again at once, gets a hit.
func (s *stream) append(ctx context.Context, p []byte, relay func()) error {
	if !s.relaying.Load() {
		n, err := s.writer.Write(p)
		s.mu.Lock()
		s.base += int64(n)
		if s.base != s.declared || err != nil {
			s.stored.Store(s.base)
		}
		if err != nil {
			s.relaying.Store(true)
			s.relays.running.Add(1)
		}
		s.signalWake()
		s.mu.Unlock()
		if err == nil {
			return nil
		}
		p = p[n:]
		relay()
	}
	return s.hold(ctx, p)
}

// attachPoll is how often a relay looks whether the transactions that it waits
// for have attached or left; only those that read can wake it.
const attachPoll = 20 * time.Millisecond

// hold puts p into the window once there is room.
func (s *stream) hold(ctx context.Context, p []byte) error {
	stalled := time.Now().Add(s.stallTimeout)
	poll := time.NewTicker(attachPoll)
	defer poll.Stop()
	for {
		s.mu.Lock()
		nobody := s.wanted() == s.dropped
		s.trim()
		room := len(s.window)+len(p) <= s.relays.window()
		if room && !nobody {
			s.window = append(s.window, p...)
			s.signalWake()
		}
		moved := s.moved
		s.mu.Unlock()
		if nobody {
			return errNobody
		}
		if room {
			return nil
		}
		select {
		case <-moved:
		case <-poll.C:
			if time.Now().After(stalled) {
				s.dropSlow()
				stalled = time.Now().Add(s.stallTimeout)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// trim drops what every reader has read. Who has been let in but has not
// attached yet still wants the whole. mu is held.
func (s *stream) trim() {
	if s.wanted() > len(s.readers)+s.dropped {
		return
	}
	low := s.end64()
	for r := range s.readers {
		low = min(low, r.at)
	}
	if low > s.base {
		s.window = append(s.window[:0], s.window[low-s.base:]...)
		s.base = low
	}
}

// end64 is the offset behind the last byte received. mu is held.
func (s *stream) end64() int64 { return s.base + int64(len(s.window)) }

// dropSlow lets go of readers that have stood still although there was
// something to read; they fail at their next read.
func (s *stream) dropSlow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.readers {
		if r.at < s.end64() && time.Since(r.movedAt) >= s.stallTimeout {
			delete(s.readers, r)
			s.dropped++
		}
	}
}

func (s *stream) signalWake() {
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *stream) signalMoved() {
	if s.relaying.Load() && !s.ended {
		close(s.moved)
		s.moved = make(chan struct{})
	}
}

// commit makes the object visible in the store.
func (s *stream) commit() error {
	if s.relaying.Load() {
		return nil
	}
	return s.writer.Commit()
}

// end says that no more bytes will come: err is nil for a whole body.
func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relaying.Load() {
		s.relays.running.Add(-1)
	} else {
		s.stored.Store(s.base)
	}
	s.ended, s.err = true, err
	s.signalWake()
}

// close gives the writer back; nobody reads any more.
func (s *stream) close() { _ = s.writer.Close() }

// size is the body's whole length, negative while that is not known.
func (s *stream) size() int64 {
	if s.declared >= 0 {
		return s.declared
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended || s.err != nil {
		return -1
	}
	return s.end64()
}

// writeRange writes n bytes from offset off to w as they arrive; n < 0 means
// to the end. It returns the bytes written.
func (r *reader) writeRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	buf := make([]byte, copyBufferBytes)
	var written int64
	for n < 0 || written < n {
		p := buf
		if n >= 0 {
			p = p[:min(int64(len(p)), n-written)]
		}
		got, err := r.next(ctx, p, off+written)
		if got > 0 {
			if _, err := w.Write(p[:got]); err != nil {
				return written, err
			}
			written += int64(got)
		}
		if err == io.EOF && n < 0 {
			return written, nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// next waits for bytes at offset at and reads some of them.
func (r *reader) next(ctx context.Context, p []byte, at int64) (int, error) {
	s := r.s
	for {
		if stored := s.stored.Load(); at < stored {
			if s.relaying.Load() {
				r.moveTo(at)
			}
			n, err := s.writer.ReadAt(p[:min(int64(len(p)), stored-at)], at)
			if n > 0 {
				return n, nil
			}
			return 0, cmp.Or(err, io.ErrUnexpectedEOF)
		}
		n, wake, err := r.relayed(p, at)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// now is a wait that is over.
var now = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// relayed reads from the window of a relay; without bytes there it gives the
// end, or what to wait for.
func (r *reader) relayed(p []byte, at int64) (int, <-chan struct{}, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if at < s.stored.Load() {
		return 0, now, nil // arrived between the look and the lock
	}
	if _, attached := s.readers[r]; !attached {
		return 0, nil, errReaderSlow
	}
	if s.relaying.Load() {
		n := 0
		if at < s.end64() {
			n = copy(p, s.window[at-s.base:])
		}
		r.at, r.movedAt = at+int64(n), time.Now()
		s.signalMoved()
		if n > 0 {
			return n, nil, nil
		}
	}
	if s.ended {
		return 0, nil, cmp.Or(s.err, io.EOF)
	}
	return 0, s.wake, nil
}

func (r *reader) moveTo(at int64) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.at, r.movedAt = at, time.Now()
	r.s.signalMoved()
}
