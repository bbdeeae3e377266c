package netdelay

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// After Close, what was written still leaves: the far end has to take 64 KiB
// within two round trips, or this long if that is longer, and all of it within
// lingerMax.
const (
	lingerMin = time.Second
	lingerMax = 20 * time.Second
)

// The marks that end the outbound queue.
var (
	errHalfClose = errors.New("netdelay: writing has ended")
	errFullClose = errors.New("netdelay: connection has ended")
)

// closeWriter is what connections have that can end one direction alone.
type closeWriter interface{ CloseWrite() error }

// conn is a connection whose both directions are delayed.
//
//	state    entered by           Read, Write          inner, goroutines
//	open     newConn              work                 both run
//	closing  Close                net.ErrClosed        send writes what was taken, receive discards
//	ended    send met the mark    net.ErrClosed        closed, both gone
//
// The lean paths of *net.TCPConn (ReadFrom, SyscallConn) are not offered, for
// they would go around the delay.
type conn struct {
	inner   net.Conn
	linger  time.Duration
	in, out queue

	// writing keeps the pieces of one Write together.
	writing sync.Mutex
	// closeBy is when a closing connection ends whatever is left; nil while
	// it is open.
	closeBy atomic.Pointer[time.Time]
}

// newConn shapes a connection. Nothing sets out before the handshake would let
// it: inbound before inOpens, outbound before outOpens.
func newConn(inner net.Conn, rtt time.Duration, inOpens, outOpens time.Time) *conn {
	c := &conn{inner: inner, linger: max(2*rtt, lingerMin)}
	c.in.delay, c.in.opens = rtt-rtt/2, inOpens
	c.out.delay, c.out.opens = rtt/2, outOpens
	return c
}

// Read gives bytes whose time has come.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write takes bytes to send and returns when the last of them is on its way.
func (c *conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		piece := p[n:min(len(p), n+pieceBytesMax)]
		b := newBuffer(len(piece))
		copy(b.bytes, piece)
		if err := c.out.push(b); err != nil {
			b.free()
			return n, c.wrap("write", err)
		}
		if n += len(piece); n == len(p) {
			return n, nil
		}
	}
}

// send writes outbound bytes when they are due, until it meets the mark of
// Close.
func (c *conn) send() {
	for {
		b, mark := c.out.take()
		switch mark {
		case nil:
			c.write(b)
		case errHalfClose:
			c.endWriting()
		default:
			_ = c.inner.Close() // there is nobody left to tell
			return
		}
	}
}

func (c *conn) write(b buffer) {
	defer b.free()
	if closeBy := c.closeBy.Load(); closeBy != nil {
		c.limitWrite(*closeBy)
	}
	if _, err := c.inner.Write(b.bytes); err != nil {
		c.out.fail(err)
	}
}

// limitWrite keeps a closing connection from waiting for a far end that reads
// no more.
func (c *conn) limitWrite(closeBy time.Time) {
	limit := time.Now().Add(c.linger)
	if closeBy.Before(limit) {
		limit = closeBy
	}
	_ = c.inner.SetWriteDeadline(limit) // fails on closed connections only
}

func (c *conn) endWriting() {
	if inner, ok := c.inner.(closeWriter); ok {
		if err := inner.CloseWrite(); err != nil {
			c.out.fail(err)
		}
	}
}

// receive stamps what comes in, until the far end ends or inner is closed.
// Nothing is left unread in a closing connection, for the kernel would answer
// that with a reset, which takes away what the far end has not read yet.
func (c *conn) receive() {
	b := newBuffer(pieceBytesMax)
	for {
		n, err := c.inner.Read(b.bytes)
		if n > 0 {
			var full buffer
			full, b = b.split(n)
			if c.in.push(full) != nil {
				full.free()
			}
		}
		if err != nil {
			b.free()
			c.in.end(err, err)
			return
		}
	}
}

// endOutbound puts the end behind what was written.
func (c *conn) endOutbound() error {
	if c.closeBy.Load() != nil {
		return c.wrap("close", net.ErrClosed)
	}
	c.out.end(errHalfClose, syscall.EPIPE)
	return nil
}

// Close ends both directions. It does not wait: what was written before, and
// the end itself, still travel, and then the inner connection is closed.
func (c *conn) Close() error {
	closeBy := time.Now().Add(lingerMax)
	if !c.closeBy.CompareAndSwap(nil, &closeBy) {
		return c.wrap("close", net.ErrClosed)
	}
	c.in.abandon(net.ErrClosed)
	c.out.end(errFullClose, net.ErrClosed)
	// A write that has begun is limited, too.
	c.limitWrite(closeBy)
	return nil
}

// cut ends the connection now, and loses what is on its way.
func (c *conn) cut() {
	_ = c.Close() // may have happened
	c.out.fail(net.ErrClosed)
	_ = c.inner.Close() // send closes it again; that is no harm
}

// LocalAddr is inner's.
func (c *conn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

// RemoteAddr is inner's.
func (c *conn) RemoteAddr() net.Addr { return c.inner.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is for bytes whose time has not come by then, too.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.closeBy.Load() != nil {
		return c.wrap("set", net.ErrClosed)
	}
	c.in.setPopDeadline(t)
	return nil
}

// SetWriteDeadline is for Write's waiting; what was taken still leaves.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.closeBy.Load() != nil {
		return c.wrap("set", net.ErrClosed)
	}
	c.out.setPushDeadline(t)
	return nil
}

// wrap gives errors the form that package net's have. io.EOF and errors of
// inner, which have it already, stay as they are.
func (c *conn) wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case isOwn(err):
		return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
	default:
		return err
	}
}

// halfCloser is a conn whose inner connection can end one direction alone.
type halfCloser struct{ *conn }

// CloseWrite ends the outbound direction behind what was written.
func (c *halfCloser) CloseWrite() error { return c.endOutbound() }
