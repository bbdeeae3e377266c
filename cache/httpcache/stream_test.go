package httpcache_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/cache/httpcache"
	"weir/origin"
)

// echo answers with the request's line, length and body, of which it sends each
// part as it comes.
func echo(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	fmt.Fprintf(w, "%s %s %s %d\n", r.Method, r.Host, r.RequestURI, r.ContentLength)
	_ = control.Flush()
	buf := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buf)
		_, _ = w.Write(buf[:n])
		_ = control.Flush()
		if err != nil {
			return
		}
	}
}

// RFC 9110 section 9, RFC 9111 section 4.4: any method is passed, with its body
// and to the same host and path, of known length and unknown.
func TestMethodsArePassed(t *testing.T) {
	c := startChain(t, http.HandlerFunc(echo), settings{})
	c.each(func(t *testing.T, via client) {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "PROPFIND", "OPTIONS", "QUERY", "X!#$%&'*+.^_`|~"} {
			for _, length := range []int64{0, 5, -1} {
				var body io.Reader
				if length != 0 {
					body = io.NopCloser(strings.NewReader("hello"))
				}
				r := via.request(t, method, "/a%2Fb/c%20d?x=%7e&y", body)
				r.Host, r.ContentLength = "A.test", length
				response, text := via.do(t, r)
				want := fmt.Sprintf("%s a.test /a%%2Fb/c%%20d?x=%%7e&y ", method)
				if !strings.HasPrefix(text, want) || strings.HasSuffix(text, "\nhello") != (length != 0) {
					t.Errorf("%s, length %d: %q, want %q", method, length, text, want)
				}
				if _, got, _ := strings.Cut(strings.TrimSuffix(strings.SplitAfter(text, "\n")[0], "\n"), "y "); length == 5 && got != "5" {
					t.Errorf("%s: the origin saw length %s", method, got)
				}
				wants(t, method, response.Header, map[string]string{"Age": ""})
			}
		}
	})
}

// The first bytes of an answer may come before the request's body has ended.
func TestBodiesStreamBothWays(t *testing.T) {
	c := startChain(t, http.HandlerFunc(echo), settings{})
	c.each(func(t *testing.T, via client) {
		in, out := io.Pipe()
		r := via.request(t, http.MethodPost, "/", in)
		response, err := via.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		answer := bufio.NewReader(response.Body)
		if line, err := answer.ReadString('\n'); err != nil || !strings.HasPrefix(line, "POST") {
			t.Fatalf("%q, %v", line, err)
		}
		for i := range 5 {
			go fmt.Fprintln(out, "line", i)
			if line, err := answer.ReadString('\n'); err != nil || line != fmt.Sprintln("line", i) {
				t.Fatalf("%q, %v", line, err)
			}
		}
		_ = out.Close()
		if rest, err := io.ReadAll(answer); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		// The connection, or the next one, is fit for another request.
		if _, text := via.do(t, via.request(t, http.MethodPut, "/next", strings.NewReader("x"))); !strings.HasSuffix(text, "\nx") {
			t.Errorf("afterwards: %q", text)
		}
	})
}

// The header of a response whose body is long in coming is not held back.
func TestHeaderBeforeBody(t *testing.T) {
	proceed := make(chan struct{})
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-proceed
		_, _ = io.WriteString(w, "event")
	}), settings{})
	c.each(func(t *testing.T, via client) {
		response, err := via.RoundTrip(via.request(t, http.MethodGet, "/"+strconv.Itoa(via.major), nil))
		proceed <- struct{}{}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(body) != "event" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// Timeouts are for a client that is slow, not for an origin that pauses, in its
// answer or in taking the body.
func TestPausesBeyondTimeouts(t *testing.T) {
	const timeout = 800 * time.Millisecond
	for _, cc := range []string{"no-store", "max-age=60"} {
		c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", cc)
			control := http.NewResponseController(w)
			_ = control.EnableFullDuplex()
			for range 3 {
				time.Sleep(2 * timeout)
				_, _ = io.WriteString(w, "event ")
				_ = control.Flush()
			}
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		}), settings{edge: httpcache.Options{WriteTimeout: timeout, ReadTimeout: timeout}})
		var all sync.WaitGroup
		for _, via := range c.clients() {
			for method, size := range map[string]int{http.MethodGet: 0, http.MethodPost: 4 << 20} {
				all.Go(func() {
					r := via.request(t, method, "/"+strings.ReplaceAll(via.name, " ", ""), strings.NewReader(strings.Repeat("x", size)))
					response, err := via.RoundTrip(r)
					if err != nil {
						t.Errorf("%s, %s: %v", via.name, method, err)
						return
					}
					body, err := io.ReadAll(response.Body)
					_ = response.Body.Close()
					if want := fmt.Sprint("event event event ", size, nil); string(body) != want || err != nil {
						t.Errorf("%s, %s: %q, %v; want %q", via.name, method, body, err, want)
					}
				})
			}
		}
		all.Wait()
	}
}

// RFC 9110 section 15: statuses that nobody has defined are relayed as they are.
func TestStatusesAreRelayed(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "text")
	}), settings{})
	c.each(func(t *testing.T, via client) {
		for _, status := range []int{200, 201, 203, 299, 399, 401, 418, 499, 500, 503, 599, 600, 999} {
			if response, body := via.get(t, fmt.Sprint("/", status)); response.StatusCode != status || body != "text" {
				t.Errorf("%d: %s, %q", status, response.Status, body)
			}
		}
	})
}

// RFC 9110 section 15: what is no status at all is 502.
func TestStatusesThatAreNone(t *testing.T) {
	for _, line := range []string{"HTTP/1.1 099 Low", "HTTP/1.1 000 None", "HTTP/1.1 101 Switching Protocols"} {
		url := scripted(t, func(_ string, conn net.Conn) {
			_, _ = io.WriteString(conn, line+"\r\nContent-Length: 0\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
		})
		c := chainTo(t, settings{origin: originAt(t, url)})
		for _, method := range []string{"GET", "POST"} {
			via := c.clients()[0]
			if response, _ := via.do(t, via.request(t, method, "/", nil)); response.StatusCode != http.StatusBadGateway {
				t.Errorf("%s, %s: %s", line, method, response.Status)
			}
		}
	}
}

// RFC 9110 section 10.1.1: the client is told to go on when, and only if, the
// origin wants the body.
func TestExpectContinue(t *testing.T) {
	url := scripted(t, func(head string, conn net.Conn) {
		if !strings.EqualFold(field(head, "Expect"), "100-continue") {
			_, _ = io.WriteString(conn, "HTTP/1.1 500 No Expect\r\nContent-Length: 0\r\n\r\n")
			return
		}
		if strings.HasPrefix(head, "PUT /no ") {
			_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		body := make([]byte, 5)
		_, _ = io.ReadFull(conn, body)
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", body)
	})
	c := chainTo(t, settings{origin: originAt(t, url)})
	for _, row := range []struct{ path, answer string }{{"/yes", "hello"}, {"/no", "no"}} {
		conn := raw(t, c.clear, "PUT "+row.path+" HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
		head := readHead(conn)
		if row.path == "/yes" {
			if head != "HTTP/1.1 100 Continue\r\n\r\n" {
				t.Fatalf("%s: %q", row.path, head)
			}
			_, _ = io.WriteString(conn, "hello")
			head = readHead(conn)
		}
		body := make([]byte, len(row.answer))
		if _, err := io.ReadFull(conn, body); err != nil || string(body) != row.answer {
			t.Errorf("%s: %s%s, %v", row.path, head, body, err)
		}
	}
	c.each(func(t *testing.T, via client) {
		if via.major == 2 {
			t.Skip("net/http answers for itself")
		}
		for _, row := range []struct {
			path   string
			status int
		}{{"/yes", 200}, {"/no", 403}} {
			read := &counting{Reader: strings.NewReader("hello")}
			r := via.request(t, http.MethodPut, row.path, read, "Expect", "100-continue")
			r.ContentLength = 5
			response, body := via.do(t, r)
			if response.StatusCode != row.status || body != map[int]string{200: "hello", 403: "no"}[row.status] {
				t.Errorf("%s: %s, %q", row.path, response.Status, body)
			}
			if via.major == 1 && row.status == 403 && read.reads > 0 {
				t.Errorf("%s: the body was asked for", row.path)
			}
		}
	})
}

// counting counts reads.
type counting struct {
	io.Reader
	reads int
}

func (c *counting) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// RFC 9110 section 10.1.1: an expectation that nobody knows is 417.
func TestExpectSomethingElse(t *testing.T) {
	c := startChain(t, http.HandlerFunc(echo), settings{})
	c.each(func(t *testing.T, via client) {
		response, _ := via.do(t, via.request(t, http.MethodPut, "/", strings.NewReader("x"), "Expect", "tea"))
		if response.StatusCode != http.StatusExpectationFailed {
			t.Errorf("%s", response.Status)
		}
	})
}

// RFC 9110 section 15.5.14: a body beyond the limit is 413, whether its length
// was announced or not, and the next request is answered.
func TestBodyBeyondTheLimit(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}), settings{edge: httpcache.Options{RequestBytesMax: 1000}})
	c.each(func(t *testing.T, via client) {
		for _, row := range []struct {
			bytes, length int64
			status        int
			text          string
		}{{1000, 1000, 200, "1000"}, {1000, -1, 200, "1000"}, {1001, 1001, 413, ""}, {1001, -1, 413, ""}, {300_000, -1, 413, ""}} {
			r := via.request(t, http.MethodPost, "/", io.NopCloser(strings.NewReader(strings.Repeat("x", int(row.bytes)))))
			r.ContentLength = row.length
			response, text := via.do(t, r)
			if response.StatusCode != row.status || row.text != "" && text != row.text {
				t.Errorf("%d bytes, length %d: %s, %q", row.bytes, row.length, response.Status, text)
			}
			if row.status == 413 {
				wants(t, "413", response.Header, map[string]string{
					"Proxy-Status": "edge;error=http_request_error", "Cache-Control": "no-store",
				})
			}
		}
	})
}

// A client that stops in the middle of its body is told so, and holds nothing.
func TestBodyThatStops(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}), settings{edge: httpcache.Options{ReadTimeout: 100 * time.Millisecond}})
	began := time.Now()
	conn := raw(t, c.clear, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhal")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %s, %v", time.Since(began), answer, err)
	}
}

// RFC 9112 section 9.3: a body that nobody has read whole never becomes the
// next request.
func TestUnreadBodyIsNoRequest(t *testing.T) {
	url := scripted(t, func(head string, conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\nX-Path: "+strings.Fields(head)[1]+"\r\n\r\nearly")
	})
	c := chainTo(t, settings{origin: originAt(t, url)})
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for _, row := range []struct{ name, head, body string }{
		{"length", "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n", strings.Repeat("x", 1000-len(smuggled)) + smuggled},
		{"chunked", "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", "3e8\r\n" + strings.Repeat("x", 1000-len(smuggled)) + smuggled},
		{"get", "GET /hit HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n", strings.Repeat("x", 1000-len(smuggled)) + smuggled},
	} {
		conn := raw(t, c.clear, row.head)
		first := readHead(conn)
		_, _ = io.WriteString(conn, row.body)
		rest, _ := io.ReadAll(conn)
		if !strings.HasPrefix(first, "HTTP/1.1 200") && row.name != "get" || strings.Contains(string(rest), "smuggled") {
			t.Errorf("%s: %s then %s", row.name, first, rest)
		}
	}
}

// RFC 9110 section 6.5: trailers go both ways with what is passed, less what a
// trailer may not say.
func TestTrailers(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		te := r.Header.Get("Te")
		w.Header().Set("Trailer", "X-Sum, Weir-Sum, Cache-Control")
		w.Header().Set("X-Te", te)
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Count")+"/"+r.Trailer.Get("Weir-Count"))
		w.Header().Set("Weir-Sum", "1")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}), settings{})
	c.each(func(t *testing.T, via client) {
		for _, length := range []int64{-1, 5} {
			if via.major == 1 && length >= 0 {
				continue // a body of known length has no trailers there
			}
			r := via.request(t, http.MethodPost, "/", io.NopCloser(strings.NewReader("hello")), "Te", "trailers")
			r.ContentLength = length
			r.Trailer = http.Header{"X-Count": {"2"}, "Weir-Count": {"3"}}
			if via.major == 1 {
				r.Header.Set("Connection", "TE")
			}
			response, body := via.do(t, r)
			if body != "hello" || response.Header.Get("X-Te") != "trailers" {
				t.Errorf("length %d: %q, TE %q", length, body, response.Header.Get("X-Te"))
			}
			wants(t, via.name, response.Trailer, map[string]string{
				"X-Sum": "2/", "X-Late": "late", "Weir-Sum": "", "Cache-Control": "",
			})
			wants(t, via.name, response.Header, map[string]string{"Cache-Control": ""})
		}
	})
}

// RFC 9112 section 7.1.2: trailers that were not announced go along.
func TestTrailersUnannounced(t *testing.T) {
	c := startChain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Saw", r.Trailer.Get("X-Late")+r.Trailer.Get("Content-Type"))
	}), settings{})
	conn := raw(t, c.clear, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"5\r\nhello\r\n0\r\nX-Late: late\r\nContent-Type: x\r\n\r\n")
	if head := readHead(conn); field(head, "X-Saw") != "late" {
		t.Errorf("%s", head)
	}
}

// Over a bucket, methods that change something, and protocols, are refused.
func TestBucketRefuses(t *testing.T) {
	s3, err := origin.NewS3(origin.S3Options{Endpoint: "127.0.0.1:1", Bucket: "site", AccessKey: "k", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	c := chainTo(t, settings{origin: origin.Static{Next: s3, Index: origin.DefaultIndex}})
	via := c.clients()[0]
	for range 3 { // on one connection
		response, _ := via.do(t, via.request(t, http.MethodPost, "/a", strings.NewReader("body")))
		if response.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST: %s", response.Status)
		}
	}
	response, _ := via.get(t, "/a", "Connection", "Upgrade", "Upgrade", "websocket")
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("Upgrade: %s", response.Status)
	}
}
