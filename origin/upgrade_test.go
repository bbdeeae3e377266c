package origin_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/origin"
)

// switched asks for another protocol and gives the connection that it got.
func switched(t *testing.T, via http.RoundTripper) io.ReadWriteCloser {
	t.Helper()
	resp, err := via.RoundTrip(request(t, http.MethodGet, "/", http.Header{
		"Connection": {"Upgrade, X-Private"}, "Upgrade": {"websocket"}, "X-Private": {"1"}, "Te": {"trailers"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		t.Fatalf("%s, body %T", resp.Status, resp.Body)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if got := resp.Header.Get("Connection") + " " + resp.Header.Get("Upgrade") + " " + resp.Header.Get("Weir-Stamp"); got != "Upgrade websocket " {
		t.Errorf("fields %q", got)
	}
	return conn
}

// RFC 9110 section 7.8: a connection leaves HTTP when both sides say so, and
// does not take the place of one for requests.
func TestHTTPUpgrade(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			return
		}
		if r.Header.Get("X-Private") != "" || strings.Join(r.Header["Connection"], ", ") != "TE, Upgrade" {
			t.Errorf("received %v", r.Header)
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nWeir-Stamp: 9\r\n\r\nfirst\n")
		_, _ = io.Copy(conn, buffered)
	}))
	defer server.Close()
	via := httpOn(t, origin.HTTPOptions{URL: server.URL, ConnsMax: 1})
	for range 3 {
		conn := switched(t, via)
		lines := bufio.NewReader(conn)
		if _, err := io.WriteString(conn, "second\n"); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"first\n", "second\n"} {
			if line, err := lines.ReadString('\n'); err != nil || line != want {
				t.Fatalf("%q, %v", line, err)
			}
		}
	}
	if resp, _ := exchange(t, via, request(t, http.MethodGet, "/", nil)); resp.StatusCode != 200 {
		t.Errorf("beside open tunnels: %s", resp.Status)
	}
}

// RFC 9110 section 15: what is below 100 is no status.
func TestHTTPBadStatus(t *testing.T) {
	for _, line := range []string{"HTTP/1.1 099 Low", "HTTP/1.1 000 None"} {
		addr, heads := requestLines(t, line+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_, err := httpOn(t, origin.HTTPOptions{URL: "http://" + addr}).RoundTrip(request(t, http.MethodGet, "/key", nil))
		<-heads
		if err == nil || !strings.Contains(err.Error(), "GET") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Expect goes along, and without a 100 the body stays where it is.
func TestHTTPExpect(t *testing.T) {
	addr, stop := scripted(t, func(r *bufio.Reader, conn net.Conn) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
		}
	})
	defer stop()
	via := httpOn(t, origin.HTTPOptions{URL: "http://" + addr})
	req := request(t, http.MethodPut, "/", http.Header{"Expect": {"100-continue"}})
	req.Body, req.ContentLength, req.Close = io.NopCloser(unread{t}), 5, true
	if resp, body := exchange(t, via, req); resp.StatusCode != http.StatusUnauthorized || body != "no" {
		t.Errorf("%s, %q", resp.Status, body)
	}
}

// unread is a body that nobody is to read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, errors.New("unread")
}

// A bucket speaks HTTP only; the rules of a static site leave the matter to
// what is below them.
func TestUpgradeOfABucket(t *testing.T) {
	s3, err := origin.NewS3(origin.S3Options{Endpoint: "127.0.0.1:1", Bucket: "site", AccessKey: "k", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	asks := http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}}
	for _, target := range []string{"/a", "/folder/"} {
		static := origin.Static{Next: s3, Index: origin.DefaultIndex, NotFound: origin.DefaultNotFound, SlashRedirect: true}
		resp, _ := exchange(t, static, request(t, http.MethodGet, target, asks))
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s", target, resp.Status)
		}
	}
}
