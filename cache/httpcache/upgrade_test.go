package httpcache_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"weir/cache/httpcache"
)

// switching is an origin that switches to an echo, which says goodbye when told
// "bye" and otherwise goes on for as long as the client does.
func switching(t *testing.T) string {
	t.Helper()
	return scripted(t, func(head string, conn net.Conn) {
		if field(head, "Upgrade") == "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nplain")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Accept: "+field(head, "Sec-WebSocket-Key")+"\r\nX-Connection: "+field(head, "Connection")+
			"\r\nWeir-Stamp: e:9\r\n\r\nwelcome\n")
		lines := bufio.NewReader(conn)
		for {
			line, err := lines.ReadString('\n')
			if _, failed := io.WriteString(conn, line); err != nil || failed != nil || line == "bye\n" {
				return
			}
		}
	})
}

const handshake = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: key\r\n\r\n"

// dials gives the ways to speak HTTP/1.1 with an edge.
func (c *chain) dials() map[string]func(text string) net.Conn {
	return map[string]func(text string) net.Conn{
		"clear": func(text string) net.Conn { return raw(c.t, c.clear, text) },
		"TLS": func(text string) net.Conn {
			conn := tls.Client(raw(c.t, c.secure, ""), &tls.Config{RootCAs: c.pool, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}})
			if _, err := io.WriteString(conn, text); err != nil {
				c.t.Fatal(err)
			}
			return conn
		},
	}
}

// expect reads exactly the text.
func expect(t *testing.T, r io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got[:n], err, text)
	}
}

// ends waits for the end of what the peer sends.
func ends(t *testing.T, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); len(rest) > 0 || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%q, %v after the end", rest, err)
	}
}

// RFC 9110 section 7.8: a connection that the origin takes to another protocol
// is joined through edge and shield, whatever has been sent too early included,
// and ends when one of the two ends it.
func TestUpgrade(t *testing.T) {
	c := chainTo(t, settings{origin: originAt(t, switching(t))})
	seen := 0
	for name, dial := range c.dials() {
		t.Run(name, func(t *testing.T) {
			conn := dial(handshake + "early\n")
			head := readHead(conn)
			if !strings.HasPrefix(head, "HTTP/1.1 101 Switching Protocols\r\n") {
				t.Fatal(head)
			}
			for name, want := range map[string]string{
				"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Accept": "key", "X-Connection": "Upgrade",
				"Weir-Stamp": "", "Via": "1.1 shield, 1.1 edge", "Cache-Control": "", "Content-Length": "",
			} {
				if got := field(head, name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			expect(t, conn, "welcome\nearly\n")
			// The tunnel of the connection before this one may take a moment to end.
			for deadline := time.Now().Add(5 * time.Second); c.edge.Tunnels() != 1 || c.shield.Tunnels() != 1; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d and %d tunnels are open", c.edge.Tunnels(), c.shield.Tunnels())
				}
			}
			long := strings.Repeat("x", 200_000) + "\n"
			go func() { _, _ = io.WriteString(conn, long) }()
			expect(t, conn, long)
			_, _ = io.WriteString(conn, "bye\n")
			expect(t, conn, "bye\n")
			ends(t, conn)
			_ = conn.Close()
		})
		seen++
		access := c.accesses(seen)[seen-1]
		if access.Status != 101 || access.Bytes != int64(len("welcome\nearly\n")+200_001+len("bye\n")) || access.Err != nil {
			t.Errorf("%s: observed %+v", name, access)
		}
	}
	if c.edge.Tunnels() != 0 {
		t.Errorf("%d tunnels are left", c.edge.Tunnels())
	}
}

// What is stored is not the answer to who asks for another protocol, and their
// answer is not stored. What does not concern the origin is left out, or the
// request is one like any other.
func TestUpgradeAndTheStore(t *testing.T) {
	c := chainTo(t, settings{origin: originAt(t, switching(t))})
	for _, row := range []struct{ name, connection, upgrade, want string }{
		{"not named in Connection", "keep-alive", "websocket", "200"},
		{"another HTTP", "Upgrade, HTTP2-Settings", "h2c, HTTP/2.0, TLS/1.2", "200"},
		{"malformed", "Upgrade", "web socket", "200"},
		{"among others", "upgrade", "h2c, WebSocket", "101"},
	} {
		conn := raw(t, c.clear, "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: "+row.connection+"\r\nUpgrade: "+row.upgrade+"\r\n\r\n")
		if head := readHead(conn); !strings.HasPrefix(head, "HTTP/1.1 "+row.want) {
			t.Errorf("%s: %s", row.name, head)
		}
		_ = conn.Close()
	}
	conn := raw(t, c.clear, strings.ReplaceAll(handshake, "HTTP/1.1", "HTTP/1.0"))
	if head := readHead(conn); !strings.HasPrefix(head, "HTTP/1.0 200") {
		t.Errorf("HTTP/1.0: %s", head)
	}
}

// An origin that does not switch answers as to any request, uncached.
func TestUpgradeDeclined(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, r.Header.Get("Upgrade"))
	}), settings{})
	for range 2 {
		conn := raw(t, c.clear, handshake)
		head := readHead(conn)
		if !strings.HasPrefix(head, "HTTP/1.1 200") || !strings.HasSuffix(field(head, "Cache-Status"), "edge;fwd=bypass;fwd-status=200;detail=bypass") {
			t.Errorf("%s", head)
		}
		expect(t, conn, "websocket")
	}
	if c.edge.Tunnels() != 0 {
		t.Error("tunnels are open")
	}
}

// A switch to what nobody asked for is 502.
func TestUpgradeToAnotherProtocol(t *testing.T) {
	url := scripted(t, func(_ string, conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: irc\r\n\r\n")
	})
	c := chainTo(t, settings{origin: originAt(t, url)})
	head := readHead(raw(t, c.clear, handshake))
	if !strings.HasPrefix(head, "HTTP/1.1 502") || field(head, "Proxy-Status") != "shield;error=http_upgrade_failed" {
		t.Errorf("%s", head)
	}
}

// RFC 9113 section 8.2.2: there is no Upgrade on HTTP/2.
func TestUpgradeOnHTTP2(t *testing.T) {
	c := chainTo(t, settings{origin: originAt(t, switching(t))})
	conn := tls.Client(raw(t, c.secure, ""), &tls.Config{RootCAs: c.pool, ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", "/"}, {"upgrade", "websocket"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_, err := io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	err = errors.Join(err, framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
	}))
	for err == nil {
		var frame http2.Frame
		frame, err = framer.ReadFrame()
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			if status := head.PseudoValue("status"); status != "400" {
				t.Errorf("status %s", status)
			}
			return
		}
	}
	t.Error(err)
}

// RFC 9220 section 3: a protocol that is not served on HTTP/3 is 501.
func TestExtendedConnect(t *testing.T) {
	c := chainTo(t, settings{origin: originAt(t, switching(t))})
	via := c.clients()[3]
	r := via.request(t, http.MethodConnect, "/chat", nil)
	r.Proto = "websocket"
	if response, _ := via.do(t, r); response.StatusCode != http.StatusNotImplemented {
		t.Errorf("%s", response.Status)
	}
}

// No more than TunnelsMax are open at once, and each gives its place back.
func TestTunnelsMax(t *testing.T) {
	c := chainTo(t, settings{edge: httpcache.Options{TunnelsMax: 2}, origin: originAt(t, switching(t))})
	var open []net.Conn
	for range 2 {
		conn := raw(t, c.clear, handshake)
		readHead(conn)
		open = append(open, conn)
	}
	head := readHead(raw(t, c.clear, handshake))
	if !strings.HasPrefix(head, "HTTP/1.1 503") || field(head, "Proxy-Status") != "edge;error=connection_limit_reached" {
		t.Errorf("%s", head)
	}
	if response, _ := c.clients()[0].get(t, "/"); response.StatusCode != 200 {
		t.Errorf("a plain request: %s", response.Status)
	}
	_ = open[0].Close()
	c.accesses(3)
	if head := readHead(raw(t, c.clear, handshake)); !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Errorf("after one has ended: %s", head)
	}
}

// A tunnel that nothing passes is closed; one that is used is not.
func TestTunnelIdle(t *testing.T) {
	c := chainTo(t, settings{edge: httpcache.Options{TunnelIdle: 500 * time.Millisecond}, origin: originAt(t, switching(t))})
	conn := raw(t, c.clear, handshake)
	readHead(conn)
	expect(t, conn, "welcome\n")
	for range 6 {
		time.Sleep(100 * time.Millisecond)
		_, _ = io.WriteString(conn, "ping\n")
		expect(t, conn, "ping\n")
	}
	began := time.Now()
	ends(t, conn)
	if took := time.Since(began); took < 400*time.Millisecond || took > 3*time.Second {
		t.Errorf("closed after %v", took)
	}
	if access := c.accesses(1)[0]; access.Err == nil || !strings.Contains(access.Err.Error(), "idle") {
		t.Errorf("observed %v", access.Err)
	}
}

// A client that reads nothing cannot hold a tunnel.
func TestTunnelStuck(t *testing.T) {
	url := scripted(t, func(_ string, conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		flood := make([]byte, 1<<20)
		for {
			if _, err := conn.Write(flood); err != nil {
				return
			}
		}
	})
	c := chainTo(t, settings{edge: httpcache.Options{WriteTimeout: 150 * time.Millisecond}, origin: originAt(t, url)})
	conn := raw(t, c.clear, handshake)
	readHead(conn)
	if access := c.accesses(1)[0]; access.Err == nil || !strings.Contains(access.Err.Error(), "write timeout") {
		t.Errorf("observed %v", access.Err)
	}
}

// A node that stops closes its tunnels, and its end waits for theirs.
func TestTunnelsAtShutdown(t *testing.T) {
	c := chainTo(t, settings{origin: originAt(t, switching(t))})
	var open []net.Conn
	for _, dial := range c.dials() {
		conn := dial(handshake)
		readHead(conn)
		expect(t, conn, "welcome\n")
		open = append(open, conn)
	}
	began := time.Now()
	c.shut()
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("the end took %v", took)
	}
	if c.edge.Tunnels() != 0 || c.shield.Tunnels() != 0 {
		t.Error("tunnels are open after the end")
	}
	for _, conn := range open {
		ends(t, conn)
	}
}
