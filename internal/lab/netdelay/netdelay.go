// Package netdelay gives connections over loopback the round-trip times of
// distant places: a Dialer and a Listener for streams, PacketConn for datagrams.
// It is plain Go: no root rights, no help of the kernel.
//
// Shape a hop at one end only. That end delays both directions by half the
// round-trip time each, so a request and its answer take the whole of it:
//
//	    this process                     shaped end                     far end
//	Write ──► copied, stamped ──► waits for its time (RTT/2) ──► inner.Write
//	Read  ◄── waits for its time (RTT/2) ◄── stamped, copied ◄── inner.Read
//
// Delay is not throttle: any number of bytes travel at once, up to a limit that
// ends in backpressure for streams and in loss for datagrams, as in a network.
// Functions that give round-trip times are called from many goroutines.
package netdelay

import (
	"context"
	"net"
	"time"
)

// dialTimeout bounds Dial, which has no context.
const dialTimeout = 10 * time.Second

// Dialer makes connections that are as slow as the way is long. It must not be
// copied once used. All methods may be called from many goroutines.
type Dialer struct {
	// Base makes the connection itself; a zero net.Dialer by default.
	Base func(ctx context.Context, network, addr string) (net.Conn, error)
	// RTT gives the round-trip time to the address that is dialled. Where it
	// is 0 or less, or RTT is nil, connections are Base's own, untouched.
	RTT func(addr string) time.Duration

	open openConns
}

// DialContext connects. The handshake takes one round trip, a refusal too.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	base := d.Base
	if base == nil {
		base = (&net.Dialer{}).DialContext
	}
	var rtt time.Duration
	if d.RTT != nil {
		rtt = d.RTT(addr)
	}
	if rtt <= 0 {
		return base(ctx, network, addr)
	}
	// The first half: the far end sees nobody before.
	if err := sleep(ctx, rtt/2); err != nil {
		return nil, err
	}
	inner, dialErr := base(ctx, network, addr)
	// The second half: the answer, whichever it is, on its way back.
	if err := sleep(ctx, rtt-rtt/2); err != nil {
		if dialErr == nil {
			_ = inner.Close()
		}
		return nil, err
	}
	if dialErr != nil {
		return nil, dialErr
	}
	// The far end accepts when the handshake's last part reaches it, and may
	// be the first to speak.
	now := time.Now()
	return d.open.start(newConn(inner, rtt, now.Add(rtt/2), now)), nil
}

// Dial is DialContext within 10 s, for callers that have no context, like
// nats.go's CustomDialer.
func (d *Dialer) Dial(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return d.DialContext(ctx, network, addr)
}

// Drain waits until all connections of this dialer have been closed and what
// was written to them has left. When the context ends it cuts those that
// remain, and returns the context's error.
func (d *Dialer) Drain(ctx context.Context) error { return d.open.drain(ctx) }

// DelayListener accepts connections that are as slow as the way is long.
type DelayListener struct {
	net.Listener
	rtt  func(remote net.Addr) time.Duration
	open openConns
}

// Listener shapes what inner accepts, for clients that are not shaped
// themselves. The kernel has shaken hands with them at no cost, so one more
// round trip is charged to a connection's first bytes. Connections whose rtt
// is 0 or less are inner's own, untouched.
func Listener(inner net.Listener, rtt func(remote net.Addr) time.Duration) *DelayListener {
	return &DelayListener{Listener: inner, rtt: rtt}
}

// Accept waits for the next connection.
func (l *DelayListener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	rtt := l.rtt(inner.RemoteAddr())
	if rtt <= 0 {
		return inner, nil
	}
	// In a distant client's time it is connected one round trip from now, and
	// we accept it half a round trip later.
	now := time.Now()
	return l.open.start(newConn(inner, rtt, now.Add(rtt), now.Add(rtt+rtt/2))), nil
}

// Drain waits until all accepted connections have been closed and what was
// written to them has left; call it after the server that used the listener
// has shut down. When the context ends it cuts those that remain, and returns
// the context's error.
func (l *DelayListener) Drain(ctx context.Context) error { return l.open.drain(ctx) }

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
