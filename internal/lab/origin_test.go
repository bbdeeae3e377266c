package lab_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/lab"
)

// dialTimeout is for a thousand clients that connect at once, on a busy machine.
const dialTimeout = 30 * time.Second

// dial connects to an address of the lab's.
func dial(address string) (net.Conn, error) { return net.DialTimeout("tcp", address, dialTimeout) }

// raw sends bytes to a URL's server and reads until it closes.
func raw(t *testing.T, base, text string) string {
	t.Helper()
	conn, err := dial(strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%q: read: %v after %q", text, err, got)
	}
	return string(got)
}

// A thousand requests for one cold 8 MiB object, spread over three PoPs, cost
// the origin one GET, and every client has its first byte before the origin
// has sent the last. The client that came first leaves in the middle. With the race
// detector the object has 2 MiB: eight gigabytes would take it minutes.
func TestCollapseAcrossPoPs(t *testing.T) {
	const requests = 1000
	length := 8 << 20
	if raceEnabled {
		length = 2 << 20
	}
	content := blob(length, 8)
	var gets, first atomic.Int64
	gate := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gets.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = io.WriteString(w, content[:1<<20])
		w.(http.Flusher).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
		_, _ = io.WriteString(w, content[1<<20:])
	}))
	defer origin.Close()
	l := start(t, lab.Options{Origin: origin.URL})
	all := clients(t, l.Ready)
	clear := []client{of(all, "ams")[0], of(all, "iad")[0], of(all, "sin")[0]}

	leaver, err := dial(strings.TrimPrefix(clear[0].base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(leaver, "GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	_, _ = io.ReadFull(leaver, make([]byte, 1000))

	var wait sync.WaitGroup
	var right atomic.Int64
	for i := range requests {
		wait.Go(func() {
			// Gigabytes take a while on a busy machine.
			patient := &http.Client{Transport: clear[i%3].http.Transport, Timeout: 3 * time.Minute}
			response, err := patient.Get(clear[i%3].base + "/big")
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			head := make([]byte, 1)
			if _, err := io.ReadFull(response.Body, head); err != nil {
				t.Error(err)
				return
			}
			if first.Add(1) == requests {
				_ = leaver.Close()
				close(gate)
			}
			if equalRest(response.Body, content[1:]) {
				right.Add(1)
			}
		})
	}
	wait.Wait()
	if gets.Load() != 1 || right.Load() != requests {
		t.Errorf("%d GETs at the origin, %d right bodies; want 1 and %d", gets.Load(), right.Load(), requests)
	}
}

func equalRest(r io.Reader, want string) bool {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > len(want) || string(buf[:n]) != want[:n] {
			return false
		}
		want = want[n:]
		if err != nil {
			return err == io.EOF && want == ""
		}
	}
}

// The origin's Cache-Control is honoured, seen from a client of one PoP.
func TestCacheControlOfTheOrigin(t *testing.T) {
	var gets sync.Map
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := gets.LoadOrStore(r.URL.Path, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		for _, field := range strings.Split(r.URL.Query().Get("h"), "|") {
			name, value, _ := strings.Cut(field, ":")
			w.Header().Add(name, value)
		}
		_, _ = io.WriteString(w, "body")
	}))
	defer origin.Close()
	l := start(t, lab.Options{Origin: origin.URL})
	c := of(clients(t, l.Ready), "ams")[0]
	soon := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for i, test := range []struct {
		fields string
		send   []string
		gets   int64 // for two requests
	}{
		{"Cache-Control:max-age=60", nil, 1},
		{"Cache-Control:s-maxage=60", nil, 1},
		{"Cache-Control:max-age=0, s-maxage=60", nil, 1},
		{"Cache-Control:max-age=60, s-maxage=0", nil, 2},
		{"Cache-Control:no-store", nil, 2},
		{"Cache-Control:no-cache|ETag:\"1\"", nil, 2},
		{"Cache-Control:private, max-age=60", nil, 2},
		{"Expires:" + soon, nil, 1},
		{"Expires:0", nil, 2},
		{"X-Nothing:1", nil, 2},
		{"Cache-Control:max-age=60|Set-Cookie:a=b", nil, 2},
		{"Cache-Control:public, max-age=60|Set-Cookie:a=b", nil, 1},
		{"Cache-Control:max-age=60", []string{"Authorization", "Bearer x"}, 2},
		{"Cache-Control:public, max-age=60", []string{"Authorization", "Bearer x"}, 1},
		{"Cache-Control:s-maxage=60", []string{"Authorization", "Bearer x"}, 1},
		{"Cache-Control:max-age=60, must-revalidate", []string{"Authorization", "Bearer x"}, 1},
	} {
		path := fmt.Sprintf("/%d", i)
		query := "?h=" + strings.NewReplacer(" ", "%20", `"`, "%22", "|", "%7C", ":", "%3A", ",", "%2C", "=", "%3D").Replace(test.fields)
		for range 2 {
			if got := c.do(t, "GET", path+query, test.send...); got.StatusCode != 200 || got.body != "body" {
				t.Errorf("%s: %d %q", test.fields, got.StatusCode, got.body)
			}
		}
		n, _ := gets.Load(path)
		if got := n.(*atomic.Int64).Load(); got != test.gets {
			t.Errorf("%s %q: two requests cost %d GETs; want %d", test.fields, test.send, got, test.gets)
		}
	}
}

// An origin that cannot be reached: 502 with Proxy-Status, never cached; a
// stale copy where one may be used; 504 where it may not.
func TestOriginDown(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", strings.TrimPrefix(r.URL.Path, "/"))
		_, _ = io.WriteString(w, "body")
	}))
	defer origin.Close()
	l := start(t, lab.Options{Origin: origin.URL})
	c := of(clients(t, l.Ready), "ams")[0]
	c.do(t, "GET", "/max-age=1")
	c.do(t, "GET", "/max-age=1,must-revalidate")
	origin.Close()
	time.Sleep(2100 * time.Millisecond)
	for _, test := range []struct {
		path   string
		status int
	}{{"/max-age=1", 200}, {"/max-age=1,must-revalidate", 504}, {"/never-seen", 502}, {"/never-seen", 502}} {
		got := c.do(t, "GET", test.path)
		if got.StatusCode != test.status {
			t.Errorf("%s: %s %q; want %d", test.path, got.Status, got.body, test.status)
		}
		if test.status != 200 && (got.Header.Get("Proxy-Status") == "" || got.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s: Proxy-Status %q, Cache-Control %q", test.path, got.Header.Get("Proxy-Status"), got.Header.Get("Cache-Control"))
		}
	}
}

// Every node says how it is and counts what it does.
func TestHealthAndMetrics(t *testing.T) {
	l := start(t, lab.Options{})
	c := of(clients(t, l.Ready), "ams")[0]
	c.do(t, "GET", "/")
	c.do(t, "GET", "/")
	for _, node := range []string{l.Ready.PoPs[0].Admin, l.Ready.PoPs[1].Admin, l.Ready.Shield, l.Ready.Control, l.Ready.Router} {
		for path, want := range map[string]string{"/healthz": `"status":"ok"`, "/metrics": "go_goroutines"} {
			response, err := http.Get(node + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != 200 || !strings.Contains(string(body), want) {
				t.Errorf("%s%s: %s %.200s", node, path, response.Status, body)
			}
			if node == l.Ready.PoPs[0].Admin && path == "/metrics" {
				for _, series := range []string{
					`weir_requests_total{node="ams",outcome="hit",proto="1.1",site="lab",status="200"} 1`,
					`weir_requests_total{node="ams",outcome="miss",proto="1.1",site="lab",status="200"} 1`,
					`weir_store_objects{node="ams",tier="disk"} 1`,
				} {
					if !strings.Contains(string(body), series) {
						t.Errorf("no %s", series)
					}
				}
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// The router sends a client to the PoP that is nearest to it.
func TestRouter(t *testing.T) {
	l := start(t, lab.Options{PoPs: 3})
	for from, pop := range map[string]int{"127.101.0.1": 0, "127.102.0.1": 1, "127.103.0.1": 2, "127.0.0.1": 0} {
		transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext}
		request, _ := http.NewRequestWithContext(t.Context(), "GET", l.Ready.Router+"/a?b=c", nil)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		transport.CloseIdleConnections()
		if want := l.Ready.PoPs[pop].HTTP + "/a?b=c"; response.StatusCode != 307 || response.Header.Get("Location") != want {
			t.Errorf("from %s: %s to %s; want 307 to %s", from, response.Status, response.Header.Get("Location"), want)
		}
	}
}

// Without a shield the PoPs ask the origin themselves.
func TestWithoutShield(t *testing.T) {
	l := start(t, lab.Options{NoShield: true, Site: site(t, map[string]string{"index.html": "home"})})
	for _, pop := range l.Ready.PoPs {
		c := of(clients(t, l.Ready), pop.Name)[0]
		first := c.do(t, "GET", "/")
		if got := first.Header.Get("Via"); got != "1.1 "+pop.Name || first.body != "home" {
			t.Errorf("%s: Via %q, %q", pop.Name, got, first.body)
		}
		wantTier(t, "first", first, pop.Name, "fwd=uri-miss", "stored")
		wantTier(t, "second", c.do(t, "GET", "/"), pop.Name, "hit")
	}
}
