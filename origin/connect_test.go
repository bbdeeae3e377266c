package origin_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/origin"
)

// origins makes one of each kind for an address, with the same ways to fail.
func origins(t *testing.T, addr string, dial origin.DialFunc) map[string]http.RoundTripper {
	t.Helper()
	const connect, header = 50 * time.Millisecond, 80 * time.Millisecond
	s3, err := origin.NewS3(origin.S3Options{Endpoint: addr, Bucket: "site", AccessKey: "k", SecretKey: "s",
		Dial: dial, ConnectTimeout: connect, HeaderTimeout: header})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := origin.NewHTTP(origin.HTTPOptions{URL: "http://" + addr, Dial: dial, ConnectTimeout: connect, HeaderTimeout: header})
	if err != nil {
		t.Fatal(err)
	}
	secure, err := origin.NewHTTP(origin.HTTPOptions{URL: "https://" + addr, Dial: dial, ConnectTimeout: connect, HeaderTimeout: header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = s3.Close(), plain.Close(), secure.Close() })
	return map[string]http.RoundTripper{"s3": s3, "http": plain, "https": secure}
}

// isDial says whether the failure was one of connecting, as the package comment
// tells callers to find out.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func fails(t *testing.T, name string, via http.RoundTripper, req *http.Request) error {
	t.Helper()
	began := time.Now()
	resp, err := via.RoundTrip(req)
	if err == nil {
		t.Fatalf("%s: %s", name, resp.Status)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("%s: failed after %v", name, took)
	}
	if !strings.HasPrefix(err.Error(), "origin ") || !strings.Contains(err.Error(), "GET") || !strings.Contains(err.Error(), "the-key") {
		t.Errorf("%s: the error does not say what failed: %v", name, err)
	}
	return err
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, via := range origins(t, addr, nil) {
		err := fails(t, name, via, request(t, http.MethodGet, "/the-key", nil))
		if !errors.Is(err, syscall.ECONNREFUSED) || !isDial(err) || isTimeout(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoSuchHost(t *testing.T) {
	missing := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}
	}
	for name, via := range origins(t, "nowhere.invalid:80", missing) {
		err := fails(t, name, via, request(t, http.MethodGet, "/the-key", nil))
		var dns *net.DNSError
		if !errors.As(err, &dns) || !dns.IsNotFound || !isDial(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A dialer that never connects, as a host that drops packets, whose own errors
// say little.
func TestConnectTimeout(t *testing.T) {
	never := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, errors.Join(errors.New("simulated network"), ctx.Err())
	}
	for name, via := range origins(t, "192.0.2.1:80", never) {
		err := fails(t, name, via, request(t, http.MethodGet, "/the-key", nil))
		if !isDial(err) || !isTimeout(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, conn)
		}
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestHeaderTimeout(t *testing.T) {
	for name, via := range origins(t, silent(t), nil) {
		err := fails(t, name, via, request(t, http.MethodGet, "/the-key", nil))
		// To https the silence comes during the handshake, which is connecting.
		if isDial(err) != (name == "https") || !isTimeout(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	for name, via := range origins(t, silent(t), nil) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		err := fails(t, name, via, request(t, http.MethodGet, "/the-key", nil).WithContext(ctx))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if err := fails(t, name, via, request(t, http.MethodGet, "/the-key", nil).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A response that ends early is an error of the body, not an end.
func TestTruncatedBody(t *testing.T) {
	addr, stop := scripted(t, func(r *bufio.Reader, conn net.Conn) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!"))
		}
	})
	defer stop()
	for name, via := range origins(t, addr, nil) {
		if name == "https" {
			continue
		}
		resp, err := via.RoundTrip(request(t, http.MethodGet, "/the-key", nil))
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 20)
		var n int
		for err == nil {
			var got int
			got, err = resp.Body.Read(buf[n:])
			n += got
		}
		if n != 5 || err.Error() != "unexpected EOF" {
			t.Errorf("%s: read %d bytes, %v", name, n, err)
		}
		_ = resp.Body.Close()
	}
}

// scripted is a server that handles each connection with do and closes it.
func scripted(t *testing.T, do func(*bufio.Reader, net.Conn)) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			do(bufio.NewReader(conn), conn)
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), func() {
		_ = l.Close()
		<-done
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Proto + " " + r.Host))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // It logs the handshake that is to fail.
	server.StartTLS()
	defer server.Close()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	trusted, err := origin.NewHTTP(origin.HTTPOptions{URL: server.URL, CAFile: caFile})
	if err != nil {
		t.Fatal(err)
	}
	defer trusted.Close()
	if resp, body := fetch(t, trusted, "/"); resp.StatusCode != 200 || body != "HTTP/1.1 www.example.com" {
		t.Errorf("%s, %q", resp.Status, body)
	}
	untrusting, err := origin.NewHTTP(origin.HTTPOptions{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer untrusting.Close()
	err = fails(t, "https", untrusting, request(t, http.MethodGet, "/the-key", nil))
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || !isDial(err) {
		t.Errorf("an unknown authority: %v", err)
	}
}

// Requests beyond ConnsMax wait, and no more connections are made.
func TestConnsMax(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 8)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	defer server.Close()
	via, err := origin.NewHTTP(origin.HTTPOptions{URL: server.URL, ConnsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer via.Close()
	results := make(chan error, 5)
	for range cap(results) {
		go func() {
			resp, err := via.RoundTrip(request(t, http.MethodGet, "/", nil))
			if err == nil {
				err = resp.Body.Close()
			}
			results <- err
		}()
	}
	<-entered
	<-entered
	select {
	case <-entered:
		t.Error("a third request is under way")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
