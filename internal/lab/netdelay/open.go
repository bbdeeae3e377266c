package netdelay

import (
	"context"
	"net"
	"sync"
)

// openConns owns the goroutines of connections: two for each connection that
// has not ended yet. The zero value is empty.
type openConns struct {
	mu    sync.Mutex // guards the rest; taken before no other lock
	conns map[*conn]struct{}
	// empty is closed when the last connection ends, where somebody waits.
	empty chan struct{}
	// isCut says that drain has lost patience: new connections end at once.
	isCut bool
}

// start begins to move a connection's bytes.
func (o *openConns) start(c *conn) net.Conn {
	o.mu.Lock()
	if o.conns == nil {
		o.conns = make(map[*conn]struct{})
	}
	o.conns[c] = struct{}{}
	isCut := o.isCut
	o.mu.Unlock()
	if isCut {
		c.cut()
	}

	var receiving sync.WaitGroup
	receiving.Go(c.receive)
	go func() {
		c.send()
		receiving.Wait()
		o.remove(c)
	}()
	if _, ok := c.inner.(closeWriter); ok {
		return &halfCloser{c}
	}
	return c
}

func (o *openConns) remove(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.conns, c)
	if len(o.conns) == 0 && o.empty != nil {
		close(o.empty)
		o.empty = nil
	}
}

// ended gives a channel that is closed once there is no connection.
func (o *openConns) ended() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.conns) == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if o.empty == nil {
		o.empty = make(chan struct{})
	}
	return o.empty
}

// drain waits for all, and cuts them when the context ends. A cut connection's
// socket is closed, which ends its goroutines at once.
func (o *openConns) drain(ctx context.Context) error {
	ended := o.ended()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	o.isCut = true
	rest := make([]*conn, 0, len(o.conns))
	for c := range o.conns {
		rest = append(rest, c)
	}
	o.mu.Unlock()
	for _, c := range rest {
		c.cut()
	}
	<-ended
	return ctx.Err()
}
