package netdelay

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSocket is a datagram socket in synctest's time.
type fakeSocket struct {
	in     chan fakeDatagram
	out    chan fakeDatagram
	closed chan struct{}
	start  time.Time
}

type fakeDatagram struct {
	text   string
	remote net.Addr
	err    error
	at     time.Duration // when it was sent, for those that were
}

func newFakeSocket() *fakeSocket {
	return &fakeSocket{
		in:     make(chan fakeDatagram),
		out:    make(chan fakeDatagram, 2*datagramsMax),
		closed: make(chan struct{}),
		start:  time.Now(),
	}
}

func (s *fakeSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-s.in:
		return copy(p, d.text), d.remote, d.err
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *fakeSocket) WriteTo(p []byte, remote net.Addr) (int, error) {
	s.out <- fakeDatagram{text: string(p), remote: remote, at: time.Since(s.start)}
	return len(p), nil
}

func (s *fakeSocket) Close() error                     { close(s.closed); return nil }
func (s *fakeSocket) LocalAddr() net.Addr              { return &net.UDPAddr{} }
func (s *fakeSocket) SetDeadline(time.Time) error      { return nil }
func (s *fakeSocket) SetReadDeadline(time.Time) error  { return nil }
func (s *fakeSocket) SetWriteDeadline(time.Time) error { return nil }

// byPort gives a round-trip time of a millisecond a port number.
func byPort(remote net.Addr) time.Duration {
	return time.Duration(remote.(*net.UDPAddr).Port) * time.Millisecond
}

func at(port int) net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }

func TestPacketTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		inner := newFakeSocket()
		c := PacketConn(inner, byPort)
		for _, d := range []fakeDatagram{{text: "far", remote: at(200)}, {text: "near", remote: at(20)}, {text: "near, too", remote: at(20)}} {
			inner.in <- d
			_, _ = c.WriteTo([]byte(d.text), d.remote)
		}
		_, _ = c.WriteTo([]byte("here"), at(0))
		for _, want := range []fakeDatagram{
			{text: "near", at: 10 * time.Millisecond},
			{text: "near, too", at: 10 * time.Millisecond},
			{text: "far", at: 100 * time.Millisecond},
		} {
			p := make([]byte, 100)
			n, remote, err := c.ReadFrom(p)
			if string(p[:n]) != want.text || err != nil || since() != want.at || byPort(remote) != 2*want.at {
				t.Errorf("inbound: %q from %v at %v, %v; want %q at %v", p[:n], remote, since(), err, want.text, want.at)
			}
		}
		synctest.Wait()
		for _, want := range []string{"here at 0s", "near at 10ms", "near, too at 10ms", "far at 100ms"} {
			if d := <-inner.out; fmt.Sprintf("%s at %v", d.text, d.at) != want {
				t.Errorf("outbound: %q at %v, want %s", d.text, d.at, want)
			}
		}
		_ = c.Close()
	})
}

func TestPacketDeadlinesAndErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		inner := newFakeSocket()
		c := PacketConn(inner, byPort)
		p := make([]byte, 4)

		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err := c.ReadFrom(p); !errors.Is(err, os.ErrDeadlineExceeded) || since() != time.Second {
			t.Errorf("read: %v at %v", err, since())
		}
		_ = c.SetDeadline(time.Time{})
		// An error of the socket reaches the reader and ends nothing.
		strange := errors.New("strange")
		inner.in <- fakeDatagram{err: strange}
		if _, _, err := c.ReadFrom(p); err != strange {
			t.Errorf("read: %v", err)
		}
		inner.in <- fakeDatagram{text: "too long for p", remote: at(20)}
		if n, _, err := c.ReadFrom(p); n != 4 || err != nil {
			t.Errorf("read: %d, %v", n, err)
		}
		if _, err := c.WriteTo(make([]byte, pieceBytesMax+1), at(20)); err == nil {
			t.Error("a datagram of more than 64 KiB was taken")
		}
		_ = c.SetWriteDeadline(time.Unix(1, 0))
		if _, err := c.WriteTo(p, at(20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
		if err := c.(interface{ SetReadBuffer(int) error }).SetReadBuffer(1); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("read buffer: %v", err)
		}
		_ = c.Close()
	})
}

// TestPacketClose sends what is on its way first, like QUIC's CONNECTION_CLOSE.
func TestPacketClose(t *testing.T) {
	inBubble(t, func(t *testing.T, since func() time.Duration) {
		inner := newFakeSocket()
		c := PacketConn(inner, byPort)
		read := make(chan error)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 4))
			read <- err
		}()
		_, _ = c.WriteTo([]byte("bye"), at(100))
		_, _ = c.WriteTo([]byte("much too far"), at(60_000))
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- c.Close() }()
		if err := <-read; !errors.Is(err, net.ErrClosed) || since() != 0 {
			t.Errorf("read: %v at %v", err, since())
		}
		if err := <-closed; err != nil || since() != flushMax {
			t.Errorf("closed at %v: %v", since(), err)
		}
		if d := <-inner.out; d.text != "bye" || len(inner.out) > 0 {
			t.Errorf("sent %q and %d more", d.text, len(inner.out))
		}
		for name, err := range map[string]error{
			"close": c.Close(), "deadline": c.SetDeadline(time.Time{}), "write deadline": c.SetWriteDeadline(time.Time{}),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s when closed: %v", name, err)
			}
		}
		if _, err := c.WriteTo([]byte("x"), at(100)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write when closed: %v", err)
		}
	})
}

// TestPacketLimits sends more than a router's queue holds.
func TestPacketLimits(t *testing.T) {
	for _, tt := range []struct{ size, want int }{
		{100, datagramsMax},
		{32 << 10, datagramBytesMax / (32 << 10)},
	} {
		inBubble(t, func(t *testing.T, since func() time.Duration) {
			inner := newFakeSocket()
			c := PacketConn(inner, byPort)
			p := make([]byte, tt.size)
			for range datagramsMax + 100 {
				if n, err := c.WriteTo(p, at(100)); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
			}
			time.Sleep(time.Second)
			if got := len(inner.out); got != tt.want {
				t.Errorf("%d datagrams of %d bytes arrived, want %d", got, tt.size, tt.want)
			}
			// There is room again.
			_, _ = c.WriteTo(p, at(100))
			_ = c.Close()
			if got := len(inner.out); got != tt.want+1 {
				t.Errorf("%d datagrams arrived in all, want %d", got, tt.want+1)
			}
		})
	}
}
