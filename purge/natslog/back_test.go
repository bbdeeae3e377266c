//go:build linux

package natslog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/purge/natslog"
)

// trouble is what befalls the way to a broker.
type trouble uint8

const (
	wayWell    trouble = iota
	wayRefused         // open connections break, new ones are closed at once
	waySilent          // everything waits until the way is well again
	wayLost            // open connections are silent for ever, and who connects gets no answer
)

// way passes connections on to a broker.
type way struct {
	listener *net.TCPListener
	target   string
	running  sync.WaitGroup

	mu      sync.Mutex // guards the rest
	trouble trouble
	changed chan struct{}
	open    map[net.Conn]bool // true: what is sent over it is lost
	waiting []net.Conn        // fill the queue of those that nobody accepts, so that the kernel answers no others
}

func openWay(tb testing.TB, target string) *way {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	w := &way{listener: l.(*net.TCPListener), target: target, changed: make(chan struct{}), open: make(map[net.Conn]bool)}
	w.running.Go(w.accept)
	tb.Cleanup(func() {
		w.set(tb, wayRefused)
		_ = l.Close()
		w.running.Wait()
	})
	return w
}

func (w *way) address() string { return "nats://" + w.listener.Addr().String() }

func (w *way) state() (trouble, chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble, w.changed
}

func (w *way) accept() {
	for {
		near, err := w.listener.Accept()
		state, changed := w.state()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if state == wayLost {
				<-changed
			}
			_ = w.listener.SetDeadline(time.Time{})
		case err != nil:
			return
		case state == wayRefused:
			_ = near.Close()
		default:
			w.mu.Lock()
			w.open[near] = false
			w.mu.Unlock()
			w.running.Go(func() { w.serve(near) })
		}
	}
}

func (w *way) serve(near net.Conn) {
	defer func() {
		w.mu.Lock()
		delete(w.open, near)
		w.mu.Unlock()
		_ = near.Close()
	}()
	if !w.passes(near) {
		return
	}
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		w.pump(near, far, near)
		_ = near.Close()
	})
	w.pump(far, near, near)
	_ = far.Close()
	back.Wait()
}

// pump passes on what comes, until an end is done.
func (w *way) pump(to, from, near net.Conn) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 && w.passes(near) {
			_, _ = to.Write(piece[:n])
		}
		if err != nil {
			return
		}
	}
}

// passes waits while the way is silent, and is false where what is sent is lost.
func (w *way) passes(near net.Conn) bool {
	for {
		w.mu.Lock()
		state, lost, changed := w.trouble, w.open[near], w.changed
		w.mu.Unlock()
		if state != waySilent {
			return !lost && state != wayRefused
		}
		<-changed
	}
}

// set changes what befalls the way.
func (w *way) set(tb testing.TB, t trouble) {
	tb.Helper()
	w.mu.Lock()
	w.trouble = t
	for c := range w.open {
		switch t {
		case wayRefused:
			_ = c.Close()
		case wayLost:
			w.open[c] = true
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	if t == wayLost {
		w.queue(tb, 0)
		_ = w.listener.SetDeadline(time.Now())
		for {
			c, err := net.DialTimeout("tcp", w.listener.Addr().String(), 100*time.Millisecond)
			if err != nil {
				return
			}
			w.waiting = append(w.waiting, c)
		}
	}
	for _, c := range w.waiting {
		_ = c.Close()
	}
	w.waiting = nil
	w.queue(tb, 128)
}

// queue sets how many may wait to be accepted.
func (w *way) queue(tb testing.TB, backlog int) {
	tb.Helper()
	raw, err := w.listener.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), backlog) }), err)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// Who waits to ask the log again waits no longer once there is a connection, also if
// that was made just before; it is no reason twice.
func TestPauserIsWokenByAConnection(t *testing.T) {
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	w := openWay(t, b.Addr())
	nc := connect(t, w.address(), "ams")
	pause := natslog.Pauser(nc)
	waits := func(what string, d, least, most time.Duration) {
		t.Helper()
		begun := time.Now()
		pause(t.Context(), d)
		if took := time.Since(begun); took < least || took > most {
			t.Errorf("%s: waited %v; want %v to %v", what, took, least, most)
		}
	}
	reconnects := func(n uint64) {
		for deadline := time.Now().Add(15 * time.Second); nc.Stats().Reconnects < n || !nc.IsConnected(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not connected again")
			}
		}
	}
	const short, long = 50 * time.Millisecond, 20 * time.Second
	waits("the first connection", short, short, long)
	w.set(t, wayRefused)
	waits("refused", short, short, long)
	time.AfterFunc(short, func() { w.set(t, wayWell) })
	waits("while it waits", long, short, long/2)
	before := nc.Stats().Reconnects
	w.set(t, wayRefused)
	w.set(t, wayWell)
	reconnects(before + 1)
	waits("before it waits", long, 0, long/2)
	waits("the same", short, short, long)
}

// BenchmarkBack cuts nodes off from the broker and lets them back: how long each takes
// from then until it has the purge of meanwhile in force, and knows by an answer to a
// question of since then that this is all. The link's trouble and how long it
// lasts are in the name.
func BenchmarkBack(b *testing.B) {
	for _, c := range []struct {
		name    string
		trouble trouble
		lasts   time.Duration
	}{
		{"refused/10s", wayRefused, 10 * time.Second},
		{"silent/2s", waySilent, 2 * time.Second},
		{"silent/5s", waySilent, 5 * time.Second},
		{"silent/10s", waySilent, 10 * time.Second},
		{"lost/2s", wayLost, 2 * time.Second},
		{"lost/10s", wayLost, 10 * time.Second},
	} {
		b.Run(c.name, func(b *testing.B) {
			var all []time.Duration
			for i := range b.N {
				all = append(all, cutOff(b, c.trouble, c.lasts+time.Duration(i)*stagger, 12)...)
			}
			slices.Sort(all)
			b.ReportMetric(all[len(all)/2].Seconds(), "median-s")
			b.ReportMetric(all[len(all)-1].Seconds(), "max-s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// stagger is by how much longer each cut is than the last, so that they end in other
// places of what the nodes do meanwhile.
const stagger = 450 * time.Millisecond

// cutOff gives what each of n nodes takes to be back.
func cutOff(tb testing.TB, t trouble, lasts time.Duration, n int) []time.Duration {
	broker := startBroker(tb, tb.TempDir(), "127.0.0.1:0")
	l, _ := createLog(tb, connect(tb, broker.URL(), "control"), natslog.Options{})
	first := appendAll(tb, l, "/a")
	w := openWay(tb, broker.Addr())
	var nodes []*node
	for i := range n {
		nodes = append(nodes, startNodeBeating(tb, fmt.Sprint("node-", i), w.address(), tb.TempDir(), nil, 0))
	}
	for _, node := range nodes {
		node.await(tb, first)
	}
	w.set(tb, t)
	time.Sleep(lasts)
	last := appendAll(tb, l, "/b")
	healed := time.Now()
	w.set(tb, wayWell)
	took := make([]time.Duration, n)
	var waiting sync.WaitGroup
	for i, node := range nodes {
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			for node.index.Applied() < last || !node.Status().Current.After(healed) {
				select {
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
					tb.Errorf("%s is not back: %v", node.Name, node.Healthy())
					return
				}
			}
			took[i] = time.Since(healed)
		})
	}
	waiting.Wait()
	for _, node := range nodes {
		node.stop()
	}
	return took
}
