package cache_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
)

// A reader whose wait runs out fetches for itself, and stores nothing; the fill
// goes on. Its owner has nobody else to ask.
func TestFillWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		w := newWorld(t, cache.Options{FillWait: 2 * time.Second}, func(*http.Request) (*http.Response, error) {
			if asked.Add(1) == 1 {
				time.Sleep(10 * time.Second)
				return good("slow")()
			}
			return good("quick")()
		})
		owner := make(chan string)
		go func() { owner <- w.get(nil) }()
		time.Sleep(time.Second)
		began := time.Now()
		w.want(nil, "pass/wait: quick")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the reader waited %v; want 2s", took)
		}
		if got := <-owner; got != "error/upstream: 504" {
			t.Errorf("the owner: %s", got)
		}
		w.want(nil, "pass/wait: quick") // nothing was stored
		time.Sleep(10 * time.Second)
		w.want(nil, "hit/fresh: slow")
	})
}

// A fill beyond its age ends, however steadily its body comes.
func TestFillAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Options{FillTimeout: 10 * time.Second}, func(r *http.Request) (*http.Response, error) {
			response, err := good("")()
			response.Body, response.ContentLength = &drip{ctx: r.Context(), every: 3 * time.Second}, -1
			return response, err
		})
		began := time.Now()
		w.want(nil, `miss/absent: "..." then the fill reached its age limit`)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %v; want 10s", took)
		}
		synctest.Wait()
		if running := w.engine.FillsRunning(); running != 0 {
			t.Errorf("%d fills run", running)
		}
	})
}

// drip is a body of one byte every so often, for ever or until it has none
// left, as a transport gives it: broken off with its request's context.
type drip struct {
	ctx   context.Context
	every time.Duration
	left  int // 0: for ever
	given int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.left > 0 && d.given == d.left {
		return 0, io.EOF
	}
	select {
	case <-time.After(d.every):
		p[0], d.given = '.', d.given+1
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (d *drip) Close() error { return nil }

// A pass ends as broken when upstream has sent nothing for StallTimeout, and
// lasts as long as it does send; so does a response that only its owner reads.
func TestPassStall(t *testing.T) {
	const broken = `"" then upstream sent no more of the body within the time allowed`
	for _, tt := range []struct {
		name, method, control string
		every                 time.Duration
		want                  string
		after                 time.Duration
	}{
		{"steady", http.MethodPost, "", 50 * time.Second, "pass/method: ....", 200 * time.Second},
		{"silent", http.MethodPost, "", 70 * time.Second, "pass/method: " + broken, 60 * time.Second},
		{"steady, private", http.MethodGet, "private", 50 * time.Second, "pass/uncacheable: ....", 200 * time.Second},
		{"silent, private", http.MethodGet, "private", 70 * time.Second, "pass/uncacheable: " + broken, 60 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, cache.Options{StallTimeout: time.Minute}, func(r *http.Request) (*http.Response, error) {
					response := reply(200, "", "Cache-Control", tt.control)
					response.Body, response.ContentLength = &drip{ctx: r.Context(), every: tt.every, left: 4}, -1
					return response, nil
				})
				began := time.Now()
				if got := w.serve(w.request(tt.method, nil)); got != tt.want {
					t.Errorf("got %s; want %s", got, tt.want)
				}
				if took := time.Since(began); took != tt.after {
					t.Errorf("it took %v; want %v", took, tt.after)
				}
			})
		})
	}
}

// The time that a client takes to read is not upstream's.
func TestPassSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Options{StallTimeout: time.Minute}, func(r *http.Request) (*http.Response, error) {
			response := reply(200, "")
			response.Body, response.ContentLength = &drip{ctx: r.Context(), every: time.Second, left: 3}, -1
			return response, nil
		})
		a := w.engine.Serve(t.Context(), w.request(http.MethodPost, nil))
		defer a.Close()
		if n, err := a.WriteRange(t.Context(), slow{}, 0, -1); n != 3 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

type slow struct{}

func (slow) Write(p []byte) (int, error) {
	time.Sleep(2 * time.Minute)
	return len(p), nil
}
