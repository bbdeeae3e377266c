package shield

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a shield on net.Pipe, for bubbles, with an answer for every path.
type pipes struct {
	handler http.Handler
	refused atomic.Bool // it takes no connection
	mute    atomic.Bool // it takes connections and says nothing
	server  http.Server
	conns   chan net.Conn
	closed  chan struct{}
	running sync.WaitGroup
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context) (net.Conn, error) {
	if p.refused.Load() {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	if !p.mute.Load() {
		p.conns <- far
	}
	return near, nil
}

// servePipes makes shields and a client of theirs.
func servePipes(t *testing.T, handlers ...http.HandlerFunc) (*Client, []*pipes) {
	t.Helper()
	o := ClientOptions{Token: "t", Position: func() (string, uint64) { return "log", 1 }}
	var all []*pipes
	for i, h := range handlers {
		p := &pipes{handler: h, conns: make(chan net.Conn), closed: make(chan struct{})}
		p.server.Handler = h
		p.running.Go(func() { _ = p.server.Serve(p) })
		all = append(all, p)
		o.Shields = append(o.Shields, Peer{Name: fmt.Sprint("s", i), URL: fmt.Sprint("http://s", i)})
	}
	o.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var i int
		if _, err := fmt.Sscanf(host, "s%d", &i); err != nil {
			return nil, err
		}
		return all[i].dial(ctx)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		for _, p := range all {
			close(p.closed)
			_ = p.server.Close()
			p.running.Wait()
		}
	})
	return c, all
}

func ask(t *testing.T, c *Client, url string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// half sends half of a body, and the rest once it may.
func half(rest <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			return
		}
		w.Header().Set("Content-Length", "8")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-rest:
			_, _ = io.WriteString(w, "rest")
		case <-r.Context().Done():
		}
	}
}

// A shield that says nothing more in the middle of a body, to nobody, is given up
// within seconds; one that is there, and waits itself, is not.
func TestSilenceInABody(t *testing.T) {
	for _, there := range []bool{false, true} {
		t.Run(fmt.Sprint("there ", there), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rest := make(chan struct{})
				c, all := servePipes(t, half(rest), half(rest))
				response := ask(t, c, ownedBy(t, c, "s0"))
				if _, err := io.ReadFull(response.Body, make([]byte, 4)); err != nil {
					t.Fatal(err)
				}
				all[0].mute.Store(!there)
				time.AfterFunc(30*time.Second, func() { close(rest) })
				began := time.Now()
				text, err := io.ReadAll(response.Body)
				took := time.Since(began)
				_ = response.Body.Close()
				switch {
				case there && (string(text) != "rest" || err != nil || took != 30*time.Second):
					t.Errorf("%q, %v after %v", text, err, took)
				case !there && (!errors.Is(err, silent{}) || took > silenceMax+silenceMax+probeTimeout):
					t.Errorf("%q, %v after %v", text, err, took)
				}
				if down := c.Health()[0].Down; down == there {
					t.Errorf("down is %t", down)
				}
			})
		})
	}
}

// says answers requests with a status and Cache-Status, and says whether it is well
// and ready.
func says(status int, cacheStatus string, well, ready int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			w.WriteHeader(well)
		case "/readyz":
			w.WriteHeader(ready)
		default:
			w.Header().Set("Cache-Status", cacheStatus)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, cacheStatus)
		}
	}
}

// A shield that refuses since it has lost the purge log is not the last to be asked;
// what an origin says, in its own words or in those of a shield, is the answer.
func TestRefusing(t *testing.T) {
	for _, row := range []struct {
		first, second string
		status        int
		body          string
		down          bool
	}{
		{"s0;fwd=miss;detail=untrusted", "s1;hit", 200, "s1;hit", true},
		{"s0;fwd=miss;detail=untrusted", "s1;fwd=miss;detail=untrusted", 503, "s1;fwd=miss;detail=untrusted", true},
		{"s0;fwd=uri-miss;fwd-status=503", "s1;hit", 503, "s0;fwd=uri-miss;fwd-status=503", false},
		{"theirs;detail=untrusted, s0;fwd=uri-miss;fwd-status=503", "s1;hit", 503, "theirs;detail=untrusted, s0;fwd=uri-miss;fwd-status=503", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			second := 200
			if row.second != "s1;hit" {
				second = 503
			}
			c, _ := servePipes(t, says(503, row.first, 503, 503), says(second, row.second, 200, 200))
			response := ask(t, c, ownedBy(t, c, "s0"))
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != row.status || string(body) != row.body {
				t.Errorf("%s, then %s: %d %q; want %d %q", row.first, row.second, response.StatusCode, body, row.status, row.body)
			}
			if c.Health()[0].Down != row.down {
				t.Errorf("%s: down is %t", row.first, c.Health()[0].Down)
			}
		})
	}
}

// A shield that was down is asked first again once it can answer, whatever else of
// it is out of order.
func TestBackWhenReady(t *testing.T) {
	for ready, back := range map[int]bool{200: true, 503: false} {
		synctest.Test(t, func(t *testing.T) {
			c, all := servePipes(t, says(200, "s0;hit", 503, ready), says(200, "s1;hit", 200, 200))
			all[0].refused.Store(true)
			response := ask(t, c, ownedBy(t, c, "s0"))
			_ = response.Body.Close()
			if !c.Health()[0].Down {
				t.Fatal("it is not down")
			}
			all[0].refused.Store(false)
			time.Sleep(10 * time.Second)
			if down := c.Health()[0].Down; down == back {
				t.Errorf("/healthz 503, /readyz %d: down is %t", ready, down)
			}
		})
	}
}
