package netdelay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const rtt = 80 * time.Millisecond

// inBubble runs a test in synctest's time, where sleeping costs none, and
// delays are exact.
func inBubble(t *testing.T, f func(t *testing.T, since func() time.Duration)) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f(t, func() time.Duration { return time.Since(start) })
	})
}

// dialPipe gives a shaped connection and its far end.
func dialPipe(t *testing.T) (d *Dialer, near, far net.Conn) {
	t.Helper()
	inner, far := net.Pipe()
	d = &Dialer{
		Base: func(context.Context, string, string) (net.Conn, error) { return inner, nil },
		RTT:  func(string) time.Duration { return rtt },
	}
	near, err := d.Dial("tcp", "far:80")
	if err != nil {
		t.Fatal(err)
	}
	return d, near, far
}

func mustDrain(t *testing.T, drain func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
}

// readAt reads as much as want and checks it and the time.
func readAt(t *testing.T, c net.Conn, want string, since func() time.Duration, at time.Duration) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
	if since() != at {
		t.Errorf("%q came at %v, want %v", want, since(), at)
	}
}

func mustWrite(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
		t.Errorf("write %q: %d, %v", text, n, err)
	}
}

func TestDialerTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		if since() != rtt {
			t.Errorf("dialled after %v", since())
		}
		mustWrite(t, near, "ping")
		if since() != rtt {
			t.Errorf("the write took until %v", since())
		}
		readAt(t, far, "ping", since, rtt+rtt/2)
		mustWrite(t, far, "pong")
		readAt(t, near, "pong", since, 2*rtt)

		_ = far.Close()
		if _, err := near.Read(make([]byte, 1)); err != io.EOF || since() != 2*rtt+rtt/2 {
			t.Errorf("end: %v at %v", err, since())
		}
		_ = near.Close()
		mustDrain(t, d.Drain)
	})
}

// TestServerSpeaksFirst has a far end that greets: SYN, SYN and ACK, ACK and
// the greeting are two round trips.
func TestServerSpeaksFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		go func() { _, _ = far.Write([]byte("INFO")) }()
		readAt(t, near, "INFO", since, 2*rtt)
		_ = near.Close()
		mustDrain(t, d.Drain)
	})
}

func TestDialerOnItsWay(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		refused := errors.New("refused")
		d := &Dialer{
			Base: func(context.Context, string, string) (net.Conn, error) { return nil, refused },
			RTT:  func(string) time.Duration { return rtt },
		}
		if _, err := d.Dial("tcp", "far:80"); err != refused || since() != rtt {
			t.Errorf("refusal: %v at %v", err, since())
		}
		inner, far := net.Pipe()
		d.Base = func(context.Context, string, string) (net.Conn, error) { return inner, nil }
		for _, limit := range []time.Duration{rtt / 4, rtt - 1} {
			start := since()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			if _, err := d.DialContext(ctx, "tcp", "far:80"); err != context.DeadlineExceeded || since()-start != limit {
				t.Errorf("limit: %v at %v", err, since()-start)
			}
			cancel()
		}
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("an abandoned connection was not closed: %v", err)
		}
		mustDrain(t, d.Drain)
	})
}

func TestNoDistanceIsUntouched(t *testing.T) {
	inner, far := net.Pipe()
	defer far.Close()
	for _, d := range []*Dialer{{}, {RTT: func(string) time.Duration { return 0 }}} {
		d.Base = func(context.Context, string, string) (net.Conn, error) { return inner, nil }
		if c, err := d.Dial("tcp", "near:80"); err != nil || c != inner {
			t.Errorf("dialled %v, %v", c, err)
		}
	}
	l := Listener(pipeListener{inner}, func(net.Addr) time.Duration { return 0 })
	if c, err := l.Accept(); err != nil || c != inner {
		t.Errorf("accepted %v, %v", c, err)
	}
	_ = inner.Close()
}

// pipeListener accepts one connection, again and again.
type pipeListener struct{ conn net.Conn }

func (l pipeListener) Accept() (net.Conn, error) { return l.conn, nil }
func (l pipeListener) Addr() net.Addr            { return l.conn.LocalAddr() }
func (l pipeListener) Close() error              { return nil }

func TestListenerTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		inner, far := net.Pipe()
		l := Listener(pipeListener{inner}, func(net.Addr) time.Duration { return rtt })
		near, err := l.Accept()
		if err != nil || since() != 0 {
			t.Fatalf("accepted at %v, %v", since(), err)
		}
		mustWrite(t, far, "first")
		readAt(t, near, "first", since, rtt+rtt/2) // the handshake's round trip, and half of one
		mustWrite(t, near, "answer")
		readAt(t, far, "answer", since, 2*rtt)
		mustWrite(t, far, "second")
		readAt(t, near, "second", since, 2*rtt+rtt/2) // no handshake any more
		_ = near.Close()
		mustDrain(t, l.Drain)
	})
}

// TestPipelined has many writes under way at once, and each at its own time.
func TestPipelined(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		go func() {
			for i := range 100 {
				_, _ = near.Write([]byte{byte(i)})
				time.Sleep(time.Millisecond)
			}
			_, _ = near.Write(make([]byte, 8<<20))
			_ = near.Close()
		}()
		for i := range 100 {
			readAt(t, far, string([]byte{byte(i)}), since, rtt+rtt/2+time.Duration(i)*time.Millisecond)
		}
		rest, err := io.ReadAll(far)
		if len(rest) != 8<<20 || err != nil || since() != rtt+rtt/2+100*time.Millisecond {
			t.Errorf("8 MiB: %d bytes, %v, at %v", len(rest), err, since())
		}
		mustDrain(t, d.Drain)
	})
}

// TestCloseBehindAnswer closes right after writing: nothing may be cut, not
// even for a far end that reads slowly.
func TestCloseBehindAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		mustWrite(t, near, string(body))
		if err := near.Close(); err != nil || since() != rtt {
			t.Errorf("close: %v at %v", err, since())
		}
		if err := near.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second close: %v", err)
		}
		var got bytes.Buffer
		for {
			n, err := io.CopyN(&got, far, 64<<10)
			if err != nil {
				break
			}
			if n > 0 {
				time.Sleep(lingerMin / 2)
			}
		}
		if !bytes.Equal(got.Bytes(), body) {
			t.Errorf("%d bytes of %d arrived", got.Len(), len(body))
		}
		mustDrain(t, d.Drain)
	})
}

// TestCloseLingersNotForever has a far end that reads nothing.
func TestCloseLingersNotForever(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		defer far.Close()
		mustWrite(t, near, "nobody reads this")
		time.Sleep(rtt)
		start := since()
		_ = near.Close()
		mustDrain(t, d.Drain)
		if took := since() - start; took > lingerMin+rtt {
			t.Errorf("lingered for %v", took)
		}
	})
}

// TestDrainCuts ends connections that nobody closes.
func TestDrainCuts(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		defer far.Close()
		mustWrite(t, near, "nobody reads this")
		start := since()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Drain(ctx); err != context.DeadlineExceeded || since()-start != time.Second {
			t.Errorf("drain: %v after %v", err, since()-start)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write to a cut connection: %v", err)
		}
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("far end of a cut connection: %v", err)
		}
	})
}

// TestBackpressure has a far end that reads nothing: what is in flight may fill
// the wire, but once it should have been read, little more is taken.
func TestBackpressure(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		// At once: all of it is in flight.
		_ = near.SetWriteDeadline(time.Now().Add(rtt / 4))
		burst, err := near.Write(make([]byte, 2*wireBytesMax))
		if !errors.Is(err, os.ErrDeadlineExceeded) || burst < wireBytesMax*9/10 || burst > wireBytesMax {
			t.Errorf("the wire took %d bytes, %v", burst, err)
		}
		_ = near.SetWriteDeadline(time.Time{})
		if _, err := io.CopyN(io.Discard, far, int64(burst)); err != nil {
			t.Error(err)
		}
		// Bit by bit: the first is late soon.
		_ = near.SetWriteDeadline(time.Now().Add(time.Minute))
		taken, piece := 0, make([]byte, 32<<10)
		for err = nil; err == nil; time.Sleep(5 * time.Millisecond) {
			var n int
			n, err = near.Write(piece)
			taken += n
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || taken < lateBytesMax/2 || taken > 2*lateBytesMax {
			t.Errorf("a late reader's queue took %d bytes, %v", taken, err)
		}
		if _, err := io.CopyN(io.Discard, far, int64(taken)); err != nil {
			t.Error(err)
		}
		_ = near.SetWriteDeadline(time.Time{})
		mustWrite(t, near, "again")
		_ = near.Close()
		if rest, err := io.ReadAll(far); string(rest) != "again" || err != nil {
			t.Errorf("after backpressure: %q, %v", rest, err)
		}
		mustDrain(t, d.Drain)
	})
}

// TestInboundBackpressure has a near end that reads nothing.
func TestInboundBackpressure(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		_ = far.SetWriteDeadline(time.Now().Add(time.Minute))
		taken, piece := 0, make([]byte, 32<<10)
		var err error
		for err == nil {
			var n int
			n, err = far.Write(piece)
			taken += n
			time.Sleep(5 * time.Millisecond)
		}
		if taken > 2*lateBytesMax {
			t.Errorf("took %d bytes that nobody reads", taken)
		}
		if _, err := io.CopyN(io.Discard, near, int64(taken)); err != nil {
			t.Error(err)
		}
		_ = near.Close()
		mustDrain(t, d.Drain)
	})
}

func TestDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		mustWrite(t, far, "late")
		sent := since()
		_ = near.SetReadDeadline(time.Now().Add(rtt / 4))
		if _, err := near.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) || since() != sent+rtt/4 {
			t.Errorf("read before its time: %v at %v", err, since())
		}
		// A deadline that moves while somebody waits: net/http's background read.
		_ = near.SetReadDeadline(time.Time{})
		var waits sync.WaitGroup
		waits.Go(func() {
			if _, err := near.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("aborted read: %v", err)
			}
		})
		synctest.Wait()
		_ = near.SetReadDeadline(time.Unix(1, 0))
		waits.Wait()
		_ = near.SetReadDeadline(time.Time{})
		// The far end could not speak before the handshake's last part came.
		readAt(t, near, "late", since, 2*rtt)
		waits.Go(func() {
			if _, err := near.Read(make([]byte, 4)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read while closing: %v", err)
			}
		})
		synctest.Wait()
		_ = near.Close()
		waits.Wait()
		for _, set := range []func(time.Time) error{near.SetDeadline, near.SetReadDeadline, near.SetWriteDeadline} {
			if err := set(time.Time{}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("deadline of a closed connection: %v", err)
			}
		}
		mustDrain(t, d.Drain)
	})
}

// TestFarEndGone writes to a far end that has closed.
func TestFarEndGone(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		d, near, far := dialPipe(t)
		_ = far.Close()
		mustWrite(t, near, "into the void")
		time.Sleep(rtt)
		if _, err := near.Write([]byte("again")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write: %v", err)
		}
		_ = near.Close()
		mustDrain(t, d.Drain)
	})
}

func TestBuffers(t *testing.T) {
	for _, length := range []int{1, classBytesMin, classBytesMin + 1, 16 << 10, 16<<10 + 1, pieceBytesMax - 1, pieceBytesMax} {
		b := newBuffer(length)
		if len(b.bytes) != length || cap(b.bytes) > max(classBytesMin, 2*length) {
			t.Errorf("%d bytes: length %d, capacity %d", length, len(b.bytes), cap(b.bytes))
		}
		b.free()
	}
	if b := newBuffer(0); len(b.bytes) != 0 || b.size() != pieceExtraBytes {
		t.Errorf("the empty buffer: %+v", b)
	}
}
