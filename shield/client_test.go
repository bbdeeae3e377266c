package shield

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// clientOf asks the shields whose URLs are given.
func clientOf(t *testing.T, urls ...string) *Client {
	t.Helper()
	o := ClientOptions{Token: "t", Position: func() (string, uint64) { return "log", 1 }}
	for i, url := range urls {
		o.Shields = append(o.Shields, Peer{Name: fmt.Sprint("s", i), URL: url})
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// echo answers with what it was sent.
func echo(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s", r.Method, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// nobody is an address that refuses connections.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// breaking answers nobody: it hangs up on who has sent a request, and counts.
func breaking(t *testing.T, asked *atomic.Int64) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// ownedBy gives a URL whose owner has that name.
func ownedBy(t *testing.T, c *Client, name string) string {
	t.Helper()
	for i := range 1000 {
		if path := fmt.Sprintf("/%d", i); c.Order("www.test", path)[0] == name {
			return "http://www.test" + path
		}
	}
	t.Fatalf("%s owns nothing", name)
	return ""
}

// closed notices that the client's body was given back.
type closed struct {
	io.Reader
	times atomic.Int64
}

func (c *closed) Close() error { c.times.Add(1); return nil }

// What has not reached a shield goes to the next one, body and all; what may
// have is sent again only if doing it twice is harmless.
func TestFailover(t *testing.T) {
	for _, row := range []struct {
		name, method, body string
		broken             bool // the owner takes the request and hangs up
		want               string
	}{
		{name: "refused", method: "GET", want: "GET "},
		{name: "refused with a body", method: "POST", body: "hello", want: "POST hello"},
		{name: "broken", method: "GET", broken: true, want: "GET "},
		{name: "broken with a body", method: "POST", body: "hello", broken: true},
		{name: "broken, and not safe", method: "DELETE", broken: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var asked atomic.Int64
			owner := nobody(t)
			if row.broken {
				owner = breaking(t, &asked)
			}
			c := clientOf(t, owner, echo(t))
			r, err := http.NewRequest(row.method, ownedBy(t, c, "s0"), nil)
			if err != nil {
				t.Fatal(err)
			}
			body := &closed{Reader: strings.NewReader(row.body)}
			if row.body != "" {
				r.Body, r.ContentLength = body, int64(len(row.body))
			}
			got := ""
			response, err := c.RoundTrip(r)
			if err == nil {
				said, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				got = string(said)
			}
			if got != row.want || (err != nil) != (row.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, row.want)
			}
			if row.body != "" && !row.broken && body.times.Load() == 0 {
				t.Error("the body was left open")
			}
			if down := c.Health()[0].Down; down == row.broken {
				t.Errorf("down is %t: a shield is down once it takes no connection", down)
			}
			if row.broken && asked.Load() == 0 {
				t.Error("the owner was not asked")
			}
		})
	}
}

func TestClientRefuses(t *testing.T) {
	position := func() (string, uint64) { return "", 0 }
	for _, shields := range [][]Peer{nil, {{Name: "a", URL: "ftp://x"}}, {{Name: "a", URL: "http://x"}, {Name: "a", URL: "http://y"}}} {
		if _, err := NewClient(ClientOptions{Shields: shields, Token: "t", Position: position}); err == nil {
			t.Errorf("%+v is accepted", shields)
		}
	}
}
