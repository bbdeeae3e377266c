package httpcache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache"
	"weir/cache/rfc9111"
)

// upgradeOf gives the protocols that a request asks to switch its connection to
// (RFC 9110 section 7.8), or "". Another version of HTTP, and TLS, are between
// the client and this node: those are left out, which a server may do. So is
// Upgrade on a request with a body, and before HTTP/1.1.
func upgradeOf(r *http.Request) string {
	if r.ProtoMajor != 1 || r.ProtoMinor == 0 || r.ContentLength != 0 || !listed(r.Header["Connection"], "upgrade") {
		return ""
	}
	var kept []string
	for _, line := range r.Header["Upgrade"] {
		for member := range strings.SplitSeq(line, ",") {
			member = strings.Trim(member, " \t")
			name, version, _ := strings.Cut(member, "/")
			if isToken(name) && (version == "" || isToken(version)) && !ofThisHop(name) {
				kept = append(kept, member)
			}
		}
	}
	return strings.Join(kept, ", ")
}

func ofThisHop(protocol string) bool {
	switch strings.ToLower(protocol) {
	case "h2c", "http", "tls":
		return true
	}
	return false
}

var errTunnelsMax = &Refusal{
	Status: http.StatusServiceUnavailable, Type: rfc9111.ProxyConnectionLimitReached,
	Text: "this node has as many connections with other protocols as it takes",
}

// tunnels are the connections of a node that have left HTTP for another
// protocol, such as WebSocket (RFC 6455).
type tunnels struct {
	max int

	// mu guards what follows. Nothing blocks under it.
	mu     sync.Mutex
	taken  int // asked for or open
	open   map[*tunnel]struct{}
	closed bool
	idle   chan struct{} // closed once closed is set and none is open
}

func newTunnels(most int) *tunnels {
	return &tunnels{max: most, open: make(map[*tunnel]struct{}), idle: make(chan struct{})}
}

// take reserves a place, which release gives back.
func (t *tunnels) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.taken >= t.max {
		return false
	}
	t.taken++
	return true
}

func (t *tunnels) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
}

// begin registers an open tunnel, unless the node is stopping.
func (t *tunnels) begin(n *tunnel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.open[n] = struct{}{}
	}
	return !t.closed
}

func (t *tunnels) end(n *tunnel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, n)
	if t.closed && len(t.open) == 0 {
		close(t.idle)
	}
}

// close ends every tunnel, and waits until all have ended or ctx has.
func (t *tunnels) close(ctx context.Context) error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		if len(t.open) == 0 {
			close(t.idle)
		}
	}
	for n := range t.open {
		go n.close(http.ErrServerClosed) // telling a TLS peer may take a moment
	}
	t.mu.Unlock()
	select {
	case <-t.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CloseTunnels ends the connections that have left HTTP (Upgrade), which an
// http.Server does not know of any more, and waits for those who serve them, at
// most until ctx ends. New ones are refused from then on.
func (h *Handler) CloseTunnels(ctx context.Context) error { return h.tunnels.close(ctx) }

// Tunnels is how many connections have left HTTP and are open.
func (h *Handler) Tunnels() int {
	h.tunnels.mu.Lock()
	defer h.tunnels.mu.Unlock()
	return len(h.tunnels.open)
}

// tunnel joins a client's connection to upstream's.
type tunnel struct {
	client     net.Conn
	upstream   io.ReadWriteCloser
	idleFor    atomic.Int64 // nanoseconds; shorter once one way has ended
	writeFor   time.Duration
	idle       *time.Timer
	closeOnce  sync.Once
	err        error // set by closeOnce
	downstream int64 // bytes written to the client
}

// halfTimeout closes a tunnel that has ended one way when nothing has passed the
// other for so long.
const halfTimeout = 10 * time.Second

var (
	errTunnelIdle  = errors.New("httpcache: no byte passed the tunnel within its idle limit")
	errTunnelStuck = errors.New("httpcache: a peer of the tunnel took no bytes within the write timeout")
)

// switchProtocols relays upstream's 101 and then whatever comes, both ways.
func (o *writer) switchProtocols(a *cache.Answer) {
	protocol := strings.Join(a.Response.Header["Upgrade"], ", ")
	upstream, ok := a.Response.Body.(io.ReadWriteCloser)
	if !ok || protocol == "" || !offered(o.upgrade, protocol) {
		o.tiers(a)
		o.malformed(a, rfc9111.ProxyHTTPUpgradeFailed, "it switches to a protocol that was not asked for")
		return
	}
	header := o.relayed(a)
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", protocol)
	t := &tunnel{upstream: upstream, writeFor: o.h.WriteTimeout}
	t.idleFor.Store(int64(o.h.TunnelIdle))
	conn, buffered, err := o.control.Hijack()
	if err != nil {
		o.malformed(a, rfc9111.ProxyInternalError, "this connection cannot leave HTTP")
		return
	}
	defer func() { _ = conn.Close() }() // the tunnel has said what went wrong
	t.client = conn
	if !o.h.tunnels.begin(t) {
		o.access.Err = http.ErrServerClosed
		return
	}
	defer o.h.tunnels.end(t)
	o.access.Status, o.access.FirstByte = http.StatusSwitchingProtocols, time.Since(o.access.Start)
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err == nil {
		err = writeSwitch(conn, header, o.h.WriteTimeout)
	}
	if err == nil {
		err = t.run(bytes.Clone(early))
	}
	o.access.Err, o.access.Bytes = err, t.downstream
}

// offered says whether each protocol that was chosen had been asked for.
func offered(asked, chosen string) bool {
	for member := range strings.SplitSeq(chosen, ",") {
		if !listed([]string{asked}, strings.Trim(member, " \t")) {
			return false
		}
	}
	return true
}

func writeSwitch(conn net.Conn, header http.Header, timeout time.Duration) error {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = header.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		return err
	}
	return conn.SetWriteDeadline(time.Time{})
}

// run copies both ways until both have ended. early is what the client has sent
// already. A nil error means that the peers have ended it.
func (t *tunnel) run(early []byte) error {
	t.idle = time.AfterFunc(time.Duration(t.idleFor.Load()), func() { t.close(errTunnelIdle) })
	defer t.idle.Stop()
	up := make(chan struct{})
	go func() {
		defer close(up)
		t.copy(t.upstream, io.MultiReader(bytes.NewReader(early), t.client))
	}()
	t.downstream = t.copy(t.client, t.upstream)
	<-up
	t.close(nil)
	return t.err
}

// tunnelBufferBytes is what each direction holds at most.
const tunnelBufferBytes = 16 << 10

// copy moves bytes one way until there are no more. Then it ends that way
// alone, if the connection can be closed by halves, and the tunnel otherwise.
func (t *tunnel) copy(to io.Writer, from io.Reader) (written int64) {
	stuck := time.AfterFunc(t.writeFor, func() { t.close(errTunnelStuck) })
	stuck.Stop()
	buf := make([]byte, tunnelBufferBytes)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			t.idle.Reset(time.Duration(t.idleFor.Load()))
			stuck.Reset(t.writeFor)
			m, failed := to.Write(buf[:n])
			stuck.Stop()
			written += int64(m)
			if failed != nil {
				t.close(failed)
				return written
			}
		}
		if err == io.EOF {
			t.idleFor.Store(min(t.idleFor.Load(), int64(halfTimeout)))
			t.idle.Reset(time.Duration(t.idleFor.Load()))
			if half, ok := to.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
				t.close(nil)
			}
			return written
		}
		if err != nil {
			t.close(err)
			return written
		}
	}
}

// close ends the tunnel on account of err, nil if a peer has ended it. Only the
// first cause counts.
func (t *tunnel) close(err error) {
	t.closeOnce.Do(func() {
		t.err = err
		_ = t.client.Close() // whatever these say, the tunnel is over
		_ = t.upstream.Close()
	})
}
