package scenario

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// hostState says what becomes of those who connect to a host.
type hostState uint8

const (
	hostUp     hostState = iota
	hostDown             // refused, and what is open breaks
	hostSilent           // no answer, and what is open breaks
)

// network joins hosts by name with net.Pipe, on which a write ends when its
// bytes have been read: who is slow, or gone, is noticed at once.
type network struct {
	// mu guards all fields, and those of the listeners.
	mu        sync.Mutex
	states    map[string]hostState
	listeners map[string]*listener
	ports     int // given out to clients so far
}

func newNetwork() *network {
	return &network{states: make(map[string]hostState), listeners: make(map[string]*listener)}
}

// setState changes what becomes of those who connect to host.
func (n *network) setState(host string, s hostState) {
	n.mu.Lock()
	n.states[host] = s
	l := n.listeners[host]
	n.mu.Unlock()
	if s != hostUp && l != nil {
		l.sever()
	}
}

// listen opens host for connections, in place of who had it before.
func (n *network) listen(host string) *listener {
	l := &listener{
		network: n, host: host, arriving: make(chan net.Conn),
		closed: make(chan struct{}), open: make(map[*conn]struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[host] = l
	return l
}

// dialer gives a dial function that connects to host whatever the address.
func (n *network) dialer(host string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := n.dial(ctx, host)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: address(host), Err: err}
		}
		return c, nil
	}
}

// dialNamed connects to the host that the address names.
func (n *network) dialNamed(ctx context.Context, network, to string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	return n.dialer(host)(ctx, network, to)
}

func (n *network) dial(ctx context.Context, host string) (net.Conn, error) {
	n.mu.Lock()
	l, state := n.listeners[host], n.states[host]
	n.ports++
	from := address(fmt.Sprintf("192.0.2.1:%d", n.ports))
	n.mu.Unlock()
	switch {
	case state == hostSilent:
		<-ctx.Done()
		return nil, ctx.Err()
	case state == hostDown, l == nil:
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	served := &conn{Conn: far, listener: l, local: address(host), remote: from}
	if !l.track(served) {
		return nil, syscall.ECONNREFUSED
	}
	select {
	case l.arriving <- served:
		return &conn{Conn: near, local: from, remote: address(host)}, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		_ = served.Close()
		return nil, ctx.Err()
	}
}

// listener is one host's end of the network.
type listener struct {
	network  *network
	host     string
	arriving chan net.Conn
	closed   chan struct{}
	once     sync.Once
	open     map[*conn]struct{} // guarded by network.mu; nil once closed
}

// Accept gives the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.arriving:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses what comes from now on. Connections stay.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is the host's name.
func (l *listener) Addr() net.Addr { return address(l.host) }

// sever breaks every connection that is open.
func (l *listener) sever() {
	l.network.mu.Lock()
	open := make([]*conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.network.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

func (l *listener) track(c *conn) bool {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	select {
	case <-l.closed:
		return false
	default:
		l.open[c] = struct{}{}
		return true
	}
}

// conn is one end of a pipe that says who is at its ends.
type conn struct {
	net.Conn
	listener      *listener // of the end that was accepted
	local, remote address
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) Close() error {
	if c.listener != nil {
		c.listener.network.mu.Lock()
		delete(c.listener.open, c)
		c.listener.network.mu.Unlock()
	}
	return c.Conn.Close()
}

// address is a name in the network.
type address string

func (address) Network() string  { return "pipe" }
func (a address) String() string { return string(a) }
