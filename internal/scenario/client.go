package scenario

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// exchangeTimeout ends a request that nobody else ends, in the bubble's time.
const exchangeTimeout = 10 * time.Minute

// shown are the response fields that get prints, in this order.
var shown = []string{
	"Age", "Allow", "Cache-Status", "Content-Range", "ETag", "Location", "Proxy-Status", "Set-Cookie", "Vary", "Via",
}

// exchange is one request of a client and what has come of it.
type exchange struct {
	method string
	pop    string
	cancel context.CancelFunc
	done   chan struct{}

	// mu guards what follows, which grows until done is closed.
	mu      sync.Mutex
	began   time.Time
	first   time.Time // when the first byte of the body, or the header of a response without one, was there
	ended   time.Time
	status  int
	header  http.Header
	head    []byte // the body's first bytes
	bytes   int64
	sum     hash.Hash
	err     error
	message string // the status line's words
	closing bool   // the connection ends with this answer
}

// headBytesMax is how much of a body is printed.
const headBytesMax = 160

// Write takes body bytes.
func (x *exchange) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bytes == 0 {
		x.first = time.Now()
	}
	x.bytes += int64(len(p))
	x.sum.Write(p)
	x.head = append(x.head, p[:min(len(p), headBytesMax+1-len(x.head))]...)
	return len(p), nil
}

// begin sends the request that the command describes to an edge.
func (s *script) begin(a *args, pop string) (*exchange, error) {
	client := s.cluster.clients[pop]
	if client == nil {
		return nil, fmt.Errorf("no pop %q", pop)
	}
	header, body, err := parseMessage(a.data.Input)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), exchangeTimeout)
	x := &exchange{
		method: a.text("method", http.MethodGet), pop: pop, cancel: cancel,
		done: make(chan struct{}), began: time.Now(), sum: sha256.New(),
	}
	path, query, _ := strings.Cut(a.text("path", ""), "?")
	r := (&http.Request{
		Method: x.method, Host: a.text("host", siteHost), Header: header,
		URL:  &url.URL{Scheme: "http", Host: pop, Opaque: path, RawQuery: query},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}).WithContext(ctx)
	go x.run(client, r)
	return x, nil
}

func (x *exchange) run(client *http.Transport, r *http.Request) {
	defer close(x.done)
	defer x.cancel()
	response, err := client.RoundTrip(r)
	if err == nil {
		x.mu.Lock()
		x.status, x.header, x.first = response.StatusCode, response.Header, time.Now()
		x.message, x.closing = response.Status, response.Close
		x.mu.Unlock()
		_, err = io.Copy(x, response.Body)
		_ = response.Body.Close()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err, x.ended = err, time.Now()
}

// get sends a request and shows its answer, or many and what they came to.
func (s *script) get(a *args) (string, error) {
	s.cluster.used = true
	pops, n := a.list("pop"), a.number("n", 1)
	fields, times := a.list("fields"), a.flag("times")
	if len(pops) == 0 {
		return "", errors.New("wants pop=")
	}
	exchanges := make([]*exchange, 0, n)
	for i := range max(n, len(pops)) {
		x, err := s.begin(a, pops[i%len(pops)])
		if err != nil {
			return "", err
		}
		exchanges = append(exchanges, x)
	}
	for _, x := range exchanges {
		<-x.done
	}
	if len(exchanges) == 1 {
		return exchanges[0].show(fields, times), nil
	}
	return summary(exchanges, times), nil
}

func (s *script) start(a *args) (string, error) {
	s.cluster.used = true
	name := a.text("name", "")
	if name == "" || s.exchanges[name] != nil {
		return "", fmt.Errorf("name %q: want one that is not in use", name)
	}
	x, err := s.begin(a, a.text("pop", ""))
	if err != nil {
		return "", err
	}
	s.exchanges[name] = x
	return "", nil
}

// named is the exchange that a command is about.
func (s *script) named(a *args) (*exchange, error) {
	name := a.text("name", "")
	x := s.exchanges[name]
	if x == nil {
		return nil, fmt.Errorf("nothing on its way is called %q", name)
	}
	return x, nil
}

// peek shows what has arrived by now.
func (s *script) peek(a *args) (string, error) {
	x, err := s.named(a)
	if err != nil {
		return "", err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.status == 0:
		return "no answer yet\n", nil
	case x.ended.IsZero():
		return fmt.Sprintf("%s, %d bytes so far\n", x.message, x.bytes), nil
	}
	return fmt.Sprintf("%s, %d bytes, ended\n", x.message, x.bytes), nil
}

func (s *script) finish(a *args) (string, error) {
	x, err := s.named(a)
	if err != nil {
		return "", err
	}
	<-x.done
	delete(s.exchanges, a.text("name", ""))
	return x.show(a.list("fields"), a.flag("times")), nil
}

// leave closes the client's connection, whatever has arrived.
func (s *script) leave(a *args) (string, error) {
	x, err := s.named(a)
	if err != nil {
		return "", err
	}
	x.cancel()
	<-x.done
	delete(s.exchanges, a.text("name", ""))
	return fmt.Sprintf("left after %d bytes\n", x.bytes), nil
}

// show prints an answer: status, fields, body. done is closed.
func (x *exchange) show(fields []string, times bool) string {
	if x.status == 0 {
		return "no answer: the connection ended\n"
	}
	var b strings.Builder
	fmt.Fprintln(&b, x.message)
	names := slices.Concat(shown, fields)
	if x.method == http.MethodHead {
		names = append(names, "Content-Length")
	}
	for _, name := range names {
		if values := x.header.Values(name); len(values) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(values, " | "))
		}
	}
	if x.closing {
		b.WriteString("Connection: close\n")
	}
	x.showBody(&b)
	if times {
		fmt.Fprintf(&b, "%s\n", x.times())
	}
	return b.String()
}

// showBody prints a short body as it is, each line behind a bar, and of a long
// one its length and digest.
func (x *exchange) showBody(b *strings.Builder) {
	if x.bytes > headBytesMax {
		fmt.Fprintf(b, "| %s\n", x.digest())
	} else if x.bytes > 0 {
		for line := range strings.Lines(string(x.head)) {
			fmt.Fprintf(b, "| %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	if x.err != nil {
		fmt.Fprintf(b, "broken after %d bytes\n", x.bytes)
	}
}

func (x *exchange) digest() string {
	return fmt.Sprintf("%d bytes, sha256 %x", x.bytes, x.sum.Sum(nil)[:4])
}

func (x *exchange) times() string {
	return fmt.Sprintf("first byte after %v, end after %v", x.first.Sub(x.began), x.ended.Sub(x.began))
}

// summary counts equal answers: status, what the edge says of itself, body.
func summary(exchanges []*exchange, times bool) string {
	counts := make(map[string]int)
	for _, x := range exchanges {
		status := strings.Split(x.header.Get("Cache-Status"), ", ")
		line := fmt.Sprintf("%s, %s, %s", cmp.Or(x.message, "no answer"), status[len(status)-1], x.digest())
		if x.err != nil {
			line += ", broken"
		}
		if times {
			line += ", " + x.times()
		}
		counts[line]++
	}
	lines := make([]string, 0, len(counts))
	for line := range counts {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%d × %s\n", counts[line], line)
	}
	return b.String()
}
