package chaos

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// content is what is at one path of one host: a counter, told in every line of
// the body, so that an answer that mixes two versions shows it.
type content struct {
	host, path string
	tag        string
	lines      int
	maxAge     time.Duration
}

// key names it in the history.
func (c *content) key() string { return c.host + c.path }

// lineBytes is the length of every line of every body.
const lineBytes = 64

// line is "www.lab.test/a/1 42", filled up with dots.
func line(key string, value int) string {
	text := key + " " + strconv.Itoa(value) + " "
	return text + strings.Repeat(".", lineBytes-1-len(text)) + "\n"
}

// parseLine reads what line has written.
func parseLine(text, key string) (value int, err error) {
	name, rest, _ := strings.Cut(text, " ")
	number, _, _ := strings.Cut(rest, " ")
	value, err = strconv.Atoi(number)
	if err != nil || name != key || text != line(key, value) {
		return 0, fmt.Errorf("a line of %s is %q", key, text)
	}
	return value, nil
}

// contents are those of every host: small ones, some of many pieces, and one
// that is longer than a block of a partial object.
func contents(random *rand.Rand) []*content {
	var all []*content
	for _, host := range hosts {
		for _, c := range []content{
			{path: "/a/1", tag: "t1", lines: 2}, {path: "/a/2", tag: "t2", lines: 100}, {path: "/a/3?x=1", tag: "t1", lines: 2},
			{path: "/b/1", tag: "t2", lines: 4000}, {path: "/b/2", tag: "t3", lines: 20}, {path: "/c/large", tag: "t3", lines: 18000},
		} {
			c.host = host
			c.maxAge = []time.Duration{3 * time.Second, 20 * time.Second, 10 * time.Minute, 10 * time.Minute}[random.IntN(4)]
			all = append(all, &c)
		}
	}
	return all
}

// manner is how the origin answers while a fault is in force.
type manner struct {
	delay, pause     time.Duration // before the header; in the middle of the body
	failing, dropped bool          // every second answer is a 503; breaks in the middle
}

// origin is the HTTP server that has the truth.
type origin struct {
	address  string
	all      []*content
	server   *http.Server
	listener net.Listener
	serving  sync.WaitGroup

	// mu guards what follows.
	mu     sync.Mutex
	random *rand.Rand
	values map[string]int
	hot    *content // what was raised last
	manner manner
}

func startOrigin(random *rand.Rand) (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{address: l.Addr().String(), all: contents(random), listener: l, random: random, values: make(map[string]int)}
	for _, c := range o.all {
		o.values[c.key()] = 1
	}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	o.serving.Go(func() { _ = o.server.Serve(l) })
	return o, nil
}

func (o *origin) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if o.server.Shutdown(ctx) != nil {
		_ = o.server.Close()
	}
	o.serving.Wait()
}

// newest is the value of a key now.
func (o *origin) newest(key string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.values[key]
}

// bump raises the value of a content, and gives those of all.
func (o *origin) bump(c *content) map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.values[c.key()]++
	o.hot = c
	return maps.Clone(o.values)
}

// choose gives a content to read: as often as not the one that was raised last,
// which is the one to be wrong about.
func (o *origin) choose(random *rand.Rand) *content {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hot != nil && random.IntN(2) == 0 {
		return o.hot
	}
	return o.all[random.IntN(len(o.all))]
}

// set changes the origin's manner.
func (o *origin) set(m manner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.manner = m
}

// asked gives what a request for a content is to be answered with. The value is
// that of its arrival, however long the answer takes.
func (o *origin) asked(key string) (value int, m manner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m = o.manner
	m.failing = m.failing && o.random.IntN(2) == 0
	m.dropped = m.dropped && o.random.IntN(2) == 0
	if m.delay > 0 {
		m.delay = time.Duration(o.random.Int64N(int64(m.delay)))
	}
	// Without a fault too, some answers take long enough to meet a purge.
	m.delay += time.Duration(o.random.IntN(4) * o.random.IntN(40) * int(time.Millisecond))
	return o.values[key], m
}

// ServeHTTP answers with the content's value, and in the manner of the moment.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	i := slices.IndexFunc(o.all, func(c *content) bool { return c.host == host && c.path == r.URL.RequestURI() })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	c := o.all[i]
	value, m := o.asked(c.key())
	sleep(r.Context(), m.delay)
	header := w.Header()
	if m.failing {
		header.Set("Cache-Control", "no-store")
		http.Error(w, "the origin is failing", http.StatusServiceUnavailable)
		return
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", fmt.Sprintf("max-age=%d", int(c.maxAge.Seconds())))
	header.Set("Surrogate-Key", c.tag)
	header.Set("ETag", fmt.Sprintf(`"%d"`, value))
	body := strings.Repeat(line(c.key(), value), c.lines)
	half := &halfway{ResponseWriter: w, r: r, manner: m, left: len(body) / 2}
	http.ServeContent(half, r, "", time.Time{}, bytes.NewReader([]byte(body)))
}

// halfway pauses, or breaks the connection, in the middle of the body.
type halfway struct {
	http.ResponseWriter
	r      *http.Request
	manner manner
	left   int // bytes before the middle; below 0 once it is behind
}

func (h *halfway) Write(p []byte) (int, error) {
	if h.left < 0 || len(p) <= h.left || h.manner.pause == 0 && !h.manner.dropped {
		h.left -= len(p)
		return h.ResponseWriter.Write(p)
	}
	n, err := h.ResponseWriter.Write(p[:h.left])
	if err != nil {
		return n, err
	}
	h.left = -1
	_ = http.NewResponseController(h.ResponseWriter).Flush()
	sleep(h.r.Context(), h.manner.pause)
	if h.manner.dropped {
		panic(http.ErrAbortHandler)
	}
	m, err := h.ResponseWriter.Write(p[n:])
	return n + m, err
}

// sleep waits, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
