package origin_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/origin"
)

func httpOn(t *testing.T, opts origin.HTTPOptions) *origin.HTTP {
	t.Helper()
	h, err := origin.NewHTTP(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// requestLines is a server that keeps the head of each request as it was sent.
func requestLines(t *testing.T, answer string) (addr string, heads chan string) {
	t.Helper()
	heads = make(chan string, 1)
	addr, stop := scripted(t, func(r *bufio.Reader, conn net.Conn) {
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
			head.WriteString(line)
		}
		heads <- head.String()
		_, _ = conn.Write([]byte(answer))
	})
	t.Cleanup(stop)
	return addr, heads
}

const empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// RFC 9112 section 3.2: the target is passed as it came.
func TestHTTPTargetByteForByte(t *testing.T) {
	addr, heads := requestLines(t, empty)
	for _, row := range []struct{ base, target, want string }{
		{"", "/", "/"},
		{"", "/a/../b/./c//d", "/a/../b/./c//d"},
		{"", "/%7euser/%2F/%2e%2e/%41", "/%7euser/%2F/%2e%2e/%41"},
		{"", "/a%20b?x=%20+y&&z=;%zz", "/a%20b?x=%20+y&&z=;%zz"},
		{"", "/a?", "/a?"},
		{"", "/a?b?c/d", "/a?b?c/d"},
		{"", "//two/slashes", "//two/slashes"},
		{"", "/a|b^c{d}", "/a|b^c{d}"},
		{"", "/caf\xe9", "/caf\xe9"},
		{"", "//a|b", "//a%7Cb"}, // The one exception: see HTTP.target.
		{"", "/a;p=1,2:3@4!$&'()*+=", "/a;p=1,2:3@4!$&'()*+="},
		{"/base", "/a%2Fb?q", "/base/a%2Fb?q"},
		{"/base/", "/", "/base/"},
		{"/b%2Fse", "/a|b", "/b%2Fse/a|b"},
	} {
		via := httpOn(t, origin.HTTPOptions{URL: "http://" + addr + row.base})
		exchange(t, via, request(t, http.MethodGet, row.target, nil))
		if got, _, _ := strings.Cut(<-heads, "\r\n"); got != "GET "+row.want+" HTTP/1.1" {
			t.Errorf("base %q, target %q: sent %q", row.base, row.target, got)
		}
	}
}

func TestHTTPRefusesWhatLeavesTheBase(t *testing.T) {
	via := httpOn(t, origin.HTTPOptions{URL: "http://127.0.0.1:1/base"})
	for _, target := range []string{"/..", "/../x", "/a/../../x", "/%2e%2e/x", "/..%2fx", "/a/..%5c..%5cx", "/./x"} {
		if resp, _ := fetch(t, via, target); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", target, resp.Status)
		}
	}
}

// RFC 9110 section 7.6.1, and weir's own fields, on the way to the origin.
func TestHTTPRequestFields(t *testing.T) {
	addr, heads := requestLines(t, empty)
	via := httpOn(t, origin.HTTPOptions{URL: "http://" + addr})
	exchange(t, via, request(t, http.MethodGet, "/", http.Header{
		"Connection": {"close, X-Private", "keep-alive"}, "X-Private": {"1"}, "Keep-Alive": {"timeout=5"}, "Proxy-Authorization": {"x"},
		"Proxy-Connection": {"keep-alive"}, "Upgrade": {"websocket"}, "Te": {"gzip, trailers"}, "Transfer-Encoding": {"chunked"}, "Trailer": {"X"},
		"Weir-Applied": {"7"}, "weir-lower": {"7"}, "X-Kept": {"a", "b"}, "Authorization": {"Basic x"}, "Accept-Encoding": {"br"},
	}))
	want := "GET / HTTP/1.1\r\nHost: www.example.com\r\nAccept-Encoding: br\r\nAuthorization: Basic x\r\n" +
		"Connection: TE\r\nTe: trailers\r\nX-Kept: a\r\nX-Kept: b\r\n"
	if got := <-heads; got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
	named := httpOn(t, origin.HTTPOptions{URL: "http://" + addr, Host: "origin.internal"})
	exchange(t, named, request(t, http.MethodGet, "/", nil))
	if got := <-heads; !strings.Contains(got, "Host: origin.internal\r\n") {
		t.Errorf("sent\n%s", got)
	}
}

func TestHTTPResponseFields(t *testing.T) {
	addr, heads := requestLines(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"+
		"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: x\r\n"+
		"Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nWeir-Stamp: 9\r\nX-Kept: a\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
	resp, body := fetch(t, httpOn(t, origin.HTTPOptions{URL: "http://" + addr}), "/")
	<-heads
	if resp.StatusCode != http.StatusFound || body != "abc" || resp.Uncompressed {
		t.Errorf("%s, %q", resp.Status, body)
	}
	for name := range resp.Header {
		switch name {
		case "Location", "X-Kept", "Content-Encoding", "Content-Length":
		default:
			t.Errorf("%s came through", name)
		}
	}
}

func TestHTTPRefusesToSwitchProtocols(t *testing.T) {
	addr, heads := requestLines(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	via := httpOn(t, origin.HTTPOptions{URL: "http://" + addr})
	if resp, err := via.RoundTrip(request(t, http.MethodGet, "/", nil)); err == nil {
		t.Errorf("%s", resp.Status)
	}
	<-heads
	if resp, _ := exchange(t, via, request(t, http.MethodConnect, "/", nil)); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("CONNECT: %s", resp.Status)
	}
}

// RFC 9110 section 6.5: trailers pass both ways, and bodies stream: each half is
// sent only when the one before it has arrived.
func TestHTTPStreamsBothWays(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum, Weir-Sum")
		body := bufio.NewReader(r.Body)
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		for {
			line, err := body.ReadString('\n')
			if err != nil {
				break
			}
			fmt.Fprint(w, "got ", line)
			_ = control.Flush()
		}
		w.Header().Set("X-Sum", r.Trailer.Get("X-Count")+r.Trailer.Get("Weir-Count"))
		w.Header().Set("Weir-Sum", "x")
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
		w.Header().Set(http.TrailerPrefix+"Weir-Late", "x")
	}))
	defer server.Close()
	via := httpOn(t, origin.HTTPOptions{URL: server.URL})
	in, out := io.Pipe()
	req := request(t, http.MethodPost, "/", nil)
	req.Body, req.ContentLength = in, -1
	req.Trailer = http.Header{"X-Count": nil, "Weir-Count": nil}
	go func() { fmt.Fprintln(out, "one") }()
	resp, err := via.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(resp.Body)
	for _, word := range []string{"one", "two"} {
		if line, err := answer.ReadString('\n'); err != nil || line != "got "+word+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if word == "one" {
			fmt.Fprintln(out, "two")
		}
	}
	req.Trailer.Set("X-Count", "2")
	req.Trailer.Set("Weir-Count", "2")
	_ = out.Close()
	if _, err := io.Copy(io.Discard, answer); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if len(resp.Trailer) != 2 || resp.Trailer.Get("X-Sum") != "2" || resp.Trailer.Get("X-Late") != "late" {
		t.Errorf("trailers %v", resp.Trailer)
	}
}

func TestHTTPOptionErrors(t *testing.T) {
	for _, text := range []string{"", "127.0.0.1:80", "ftp://host", "http://", "http://user:pw@host", "http://host?q", "http://host#f", "http://host:port", "http://ho st"} {
		if _, err := origin.NewHTTP(origin.HTTPOptions{URL: text}); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := origin.NewHTTP(origin.HTTPOptions{URL: "https://host", CAFile: "http_test.go"}); err == nil {
		t.Error("a CA file without a certificate is taken")
	}
	if _, err := origin.NewHTTP(origin.HTTPOptions{URL: "https://host", CAFile: "no-such-file"}); err == nil {
		t.Error("a missing CA file is taken")
	}
}
