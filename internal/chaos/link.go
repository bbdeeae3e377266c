package chaos

import (
	"io"
	"net"
	"sync"
	"time"
)

// condition is what a link does with what comes.
type condition uint8

const (
	linkUp     condition = iota
	linkCut              // open connections break, new ones are closed at once
	linkSilent           // everything waits until the link is up again
)

// link stands in for an address, which it passes connections on to.
type link struct {
	address, target string
	listener        net.Listener
	running         sync.WaitGroup

	// mu guards what follows.
	mu        sync.Mutex
	condition condition
	delay     time.Duration // of each piece
	changed   chan struct{} // closed, and replaced, when condition changes
	open      map[net.Conn]struct{}
	closed    bool
}

// pieceBytesMax is what is passed on at a time.
const pieceBytesMax = 32 << 10

func openLink(target string) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{
		address: l.Addr().String(), target: target, listener: l,
		changed: make(chan struct{}), open: make(map[net.Conn]struct{}),
	}
	k.running.Go(k.accept)
	return k, nil
}

func (k *link) accept() {
	for {
		near, err := k.listener.Accept()
		if err != nil {
			return // closed
		}
		if !k.track(near) {
			continue
		}
		k.running.Go(func() { k.serve(near) })
	}
}

// track notes a connection, which is closed if the link is cut.
func (k *link) track(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.condition == linkCut {
		_ = c.Close()
		return false
	}
	k.open[c] = struct{}{}
	return true
}

func (k *link) drop(c net.Conn) {
	k.mu.Lock()
	delete(k.open, c)
	k.mu.Unlock()
	_ = c.Close()
}

// serve passes one connection on, both ways, until either end is done.
func (k *link) serve(near net.Conn) {
	defer k.drop(near)
	if !k.pass() {
		return
	}
	far, err := net.DialTimeout("tcp", k.target, 2*time.Second)
	if err != nil || !k.track(far) {
		return
	}
	defer k.drop(far)
	var back sync.WaitGroup
	back.Go(func() { k.pump(near, far) })
	k.pump(far, near)
	back.Wait()
}

// pump copies until an end is done, and then ends both: none of what uses links
// closes one direction alone.
func (k *link) pump(to, from net.Conn) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	piece := make([]byte, pieceBytesMax)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			if !k.pass() {
				return
			}
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err == io.EOF {
				k.pass() // an end is as silent as bytes are
			}
			return
		}
	}
}

// pass waits as long as the link is silent, and its delay. It is false once the
// link is cut or closed.
func (k *link) pass() bool {
	for {
		k.mu.Lock()
		condition, delay, changed, closed := k.condition, k.delay, k.changed, k.closed
		k.mu.Unlock()
		switch {
		case closed || condition == linkCut:
			return false
		case condition == linkUp && delay == 0:
			return true
		case condition == linkUp:
			select {
			case <-time.After(delay):
				return true
			case <-changed:
			}
		default:
			<-changed
		}
	}
}

// set changes the link's condition.
func (k *link) set(c condition, delay time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.condition, k.delay = c, delay
	close(k.changed)
	k.changed = make(chan struct{})
	if c == linkCut {
		for c := range k.open {
			_ = c.Close()
		}
	}
}

func (k *link) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.set(linkCut, 0)
	_ = k.listener.Close()
	k.running.Wait()
}
