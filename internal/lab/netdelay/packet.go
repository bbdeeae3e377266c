package netdelay

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// flushMax is how long Close waits for datagrams that are on their way.
	flushMax = 2 * time.Second
	// errorPause keeps a socket that fails again and again from taking a core.
	errorPause = time.Millisecond
)

// packetConn is a datagram socket whose both directions are delayed.
type packetConn struct {
	inner   net.PacketConn
	rtt     func(remote net.Addr) time.Duration
	in, out datagrams

	closing   sync.Once
	sending   sync.WaitGroup
	receiving sync.WaitGroup
	closed    chan struct{}
}

// PacketConn shapes a datagram socket, for quic-go's Transport and the like:
// what goes to or comes from a remote address is delayed by half its round-trip
// time. Where that is 0 or less, outbound datagrams are sent straight on. At
// most 4,096 datagrams or 8 MiB are on their way in one direction; what is more
// is lost, as in a full router.
//
// Two goroutines run until Close, which waits for them, and for up to 2 s for
// the datagrams that were sent before it. It closes inner.
func PacketConn(inner net.PacketConn, rtt func(remote net.Addr) time.Duration) net.PacketConn {
	c := &packetConn{inner: inner, rtt: rtt, closed: make(chan struct{})}
	c.sending.Go(c.send)
	c.receiving.Go(c.receive)
	return c
}

// ReadFrom gives a datagram whose time has come. What does not fit is lost.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	d, err := c.in.pop()
	if err != nil {
		return 0, nil, c.wrap("read", err)
	}
	defer d.free()
	return copy(p, d.bytes), d.remote, d.err
}

// WriteTo takes a datagram to send. It never waits; a datagram too many is lost
// without an error.
func (c *packetConn) WriteTo(p []byte, remote net.Addr) (int, error) {
	if err := c.out.check(time.Now()); err != nil {
		return 0, c.wrap("write", err)
	}
	rtt := c.rtt(remote)
	if rtt <= 0 {
		return c.inner.WriteTo(p, remote)
	}
	if len(p) > pieceBytesMax {
		return 0, c.wrap("write", errTooLong)
	}
	d := &datagram{remote: keep(remote), buffer: newBuffer(len(p))}
	copy(d.bytes, p)
	c.out.push(d, rtt/2)
	return len(p), nil
}

// keep copies an address that the caller might use again.
func keep(remote net.Addr) net.Addr {
	if udp, ok := remote.(*net.UDPAddr); ok && udp != nil {
		kept := *udp
		return &kept
	}
	return remote
}

// send gives outbound datagrams to inner when they are due, until the queue
// has ended.
func (c *packetConn) send() {
	for {
		d, err := c.out.pop()
		if err != nil {
			return
		}
		// A datagram that cannot be sent is lost; nobody waits for it here.
		_, _ = c.inner.WriteTo(d.bytes, d.remote)
		d.free()
	}
}

// receive stamps what comes in, until inner is closed. Other errors concern
// one datagram, and reach the reader in its place.
func (c *packetConn) receive() {
	b := newBuffer(pieceBytesMax)
	defer func() { b.free() }()
	for {
		n, remote, err := c.inner.ReadFrom(b.bytes)
		if errors.Is(err, net.ErrClosed) || c.isClosed() {
			c.in.end(net.ErrClosed)
			return
		}
		d := &datagram{remote: remote, err: err}
		var rtt time.Duration
		if err == nil {
			d.buffer, b = b.split(n)
			rtt = max(0, c.rtt(remote))
		}
		c.in.push(d, rtt-rtt/2)
		if err != nil {
			waitFor(c.closed, time.Now().Add(errorPause))
		}
	}
}

func (c *packetConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Close sends what is on its way, closes inner and waits for the goroutines.
func (c *packetConn) Close() error {
	err := c.wrap("close", net.ErrClosed)
	c.closing.Do(func() {
		close(c.closed)
		limit := time.Now().Add(flushMax)
		c.in.abandon(net.ErrClosed)
		c.out.end(net.ErrClosed)
		c.out.setDeadline(limit)
		_ = c.inner.SetWriteDeadline(limit) // fails on closed sockets only
		c.sending.Wait()
		c.out.abandon(net.ErrClosed)
		err = c.inner.Close()
		c.receiving.Wait()
	})
	return err
}

// LocalAddr is inner's.
func (c *packetConn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

// SetDeadline sets both deadlines.
func (c *packetConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is for datagrams whose time has not come by then, too.
func (c *packetConn) SetReadDeadline(t time.Time) error {
	if c.isClosed() {
		return c.wrap("set", net.ErrClosed)
	}
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline refuses datagrams from then on; WriteTo never waits.
func (c *packetConn) SetWriteDeadline(t time.Time) error {
	if c.isClosed() {
		return c.wrap("set", net.ErrClosed)
	}
	c.out.setPushDeadline(t)
	return nil
}

// SetReadBuffer sets the size in bytes of the kernel's buffer, where inner has one.
func (c *packetConn) SetReadBuffer(bytes int) error {
	if inner, ok := c.inner.(interface{ SetReadBuffer(int) error }); ok {
		return inner.SetReadBuffer(bytes)
	}
	return errors.ErrUnsupported
}

// SetWriteBuffer sets the size in bytes of the kernel's buffer, where inner has one.
func (c *packetConn) SetWriteBuffer(bytes int) error {
	if inner, ok := c.inner.(interface{ SetWriteBuffer(int) error }); ok {
		return inner.SetWriteBuffer(bytes)
	}
	return errors.ErrUnsupported
}

// wrap gives errors the form that package net's have.
func (c *packetConn) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Err: err}
}

// errTooLong is for more bytes than a datagram can have.
var errTooLong = &os.SyscallError{Syscall: "sendto", Err: errors.New("message too long")}
