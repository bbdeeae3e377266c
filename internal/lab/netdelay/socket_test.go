package netdelay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/nettest"
)

// These few tests use real sockets and real time: they check that nothing comes
// early, and leave how late it may be to the tests in synctest's time.

const shortRTT = 20 * time.Millisecond

func always(d time.Duration) func(net.Addr) time.Duration {
	return func(net.Addr) time.Duration { return d }
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// socketPair gives both ends of a TCP connection, each shaped.
func socketPair(d *Dialer, l *DelayListener) (near, far net.Conn, err error) {
	accepted := make(chan error, 1)
	go func() {
		var err error
		far, err = l.Accept()
		accepted <- err
	}()
	near, err = d.Dial("tcp", l.Addr().String())
	return near, far, errors.Join(err, <-accepted)
}

// TestConformance runs x/net's suite for net.Conn.
func TestConformance(t *testing.T) {
	const rtt = time.Millisecond
	inner := listenTCP(t)
	defer inner.Close()
	d := &Dialer{RTT: func(string) time.Duration { return rtt }}
	l := Listener(inner, always(rtt))
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2, err = socketPair(d, l)
		stop = func() { _, _ = c1.Close(), c2.Close() }
		return c1, c2, stop, err
	})
	mustDrain(t, d.Drain)
	mustDrain(t, l.Drain)
}

func TestHalfClose(t *testing.T) {
	inner := listenTCP(t)
	defer inner.Close()
	d := &Dialer{RTT: func(string) time.Duration { return shortRTT }}
	l := Listener(inner, always(0))
	near, far, err := socketPair(d, l)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, near, "question")
	if err := near.(closeWriter).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(far); string(got) != "question" || err != nil {
		t.Errorf("question: %q, %v", got, err)
	}
	mustWrite(t, far, "answer")
	_ = far.Close()
	if got, err := io.ReadAll(near); string(got) != "answer" || err != nil {
		t.Errorf("answer: %q, %v", got, err)
	}
	_ = near.Close()
	if err := near.(closeWriter).CloseWrite(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("CloseWrite after Close: %v", err)
	}
	mustDrain(t, d.Drain)
}

// TestBulk moves many bytes over a long way: their order holds, and they do not
// take a round trip for every window's worth.
func TestBulk(t *testing.T) {
	const size = 32 << 20
	inner := listenTCP(t)
	defer inner.Close()
	d := &Dialer{RTT: func(string) time.Duration { return 80 * time.Millisecond }}
	l := Listener(inner, always(0))
	near, far, err := socketPair(d, l)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	sent := sha256.New()
	var sending sync.WaitGroup
	sending.Go(func() {
		source := io.LimitReader(mathrand.NewChaCha8([32]byte{1}), size)
		_, _ = io.Copy(io.MultiWriter(far, sent), source)
		_ = far.Close()
	})
	received := sha256.New()
	n, err := io.Copy(received, near)
	if n != size || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	sending.Wait()
	t.Logf("%d MiB in %v", size>>20, time.Since(start))
	if string(sent.Sum(nil)) != string(received.Sum(nil)) {
		t.Error("the bytes differ")
	}
	_ = near.Close()
	mustDrain(t, d.Drain)
}

// certificate makes a pair for 127.0.0.1 that clients of the test trust.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots}
}

// echo answers with the request's body behind 1 MiB.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = w.Write(make([]byte, 1<<20))
	_, _ = w.Write(body)
}

// exchange sends one request and says how long it took to the answer's head.
func exchange(t *testing.T, client *http.Client, url string, proto int) time.Duration {
	t.Helper()
	start := time.Now()
	r, err := client.Post(url, "text/plain", io.LimitReader(zeros{}, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	head := time.Since(start)
	defer r.Body.Close()
	if n, err := io.Copy(io.Discard, r.Body); n != 1<<20+100_000 || err != nil || r.ProtoMajor != proto {
		t.Errorf("%s: %d bytes, %v", r.Proto, n, err)
	}
	return head
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func shutDown(t *testing.T, server interface{ Shutdown(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestHTTP has a shaped server in clear and over TLS, for HTTP/1.1 and HTTP/2.
func TestHTTP(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	for _, tt := range []struct {
		name   string
		secure bool
		proto  int
		// trips until the answer's first byte: handshakes, and the request.
		cold, warm int
	}{
		{"HTTP/1.1", false, 1, 2, 1},
		{"HTTP/1.1 over TLS 1.3", true, 1, 3, 1},
		{"HTTP/2", true, 2, 3, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := Listener(listenTCP(t), always(shortRTT))
			server := &http.Server{Handler: http.HandlerFunc(echo), TLSConfig: serverTLS.Clone()}
			ended := make(chan error, 1)
			url := "http://" + l.Addr().String()
			if tt.secure {
				url = "https://" + l.Addr().String()
				go func() { ended <- server.ServeTLS(l, "", "") }()
			} else {
				go func() { ended <- server.Serve(l) }()
			}
			transport := &http.Transport{TLSClientConfig: clientTLS.Clone(), ForceAttemptHTTP2: tt.proto == 2}
			client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
			if took := exchange(t, client, url, tt.proto); took < time.Duration(tt.cold)*shortRTT {
				t.Errorf("cold: %v, less than %d round trips", took, tt.cold)
			}
			if took := exchange(t, client, url, tt.proto); took < time.Duration(tt.warm)*shortRTT {
				t.Errorf("warm: %v, less than %d round trips", took, tt.warm)
			}
			transport.CloseIdleConnections()
			shutDown(t, server)
			<-ended
			mustDrain(t, l.Drain)
		})
	}
}

// TestShapedClient has a shaped client, and a server that ends every
// connection behind its answer.
func TestShapedClient(t *testing.T) {
	inner := listenTCP(t)
	server := &http.Server{Handler: http.HandlerFunc(echo)}
	server.SetKeepAlivesEnabled(false)
	ended := make(chan error, 1)
	l := Listener(inner, always(shortRTT))
	go func() { ended <- server.Serve(l) }()
	d := &Dialer{RTT: func(string) time.Duration { return shortRTT }}
	transport := &http.Transport{DialContext: d.DialContext}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for range 3 {
		// Both ends are shaped here, so their times add up.
		if took := exchange(t, client, "http://"+inner.Addr().String(), 1); took < 3*shortRTT {
			t.Errorf("%v", took)
		}
	}
	transport.CloseIdleConnections()
	shutDown(t, server)
	<-ended
	mustDrain(t, d.Drain)
	mustDrain(t, l.Drain)
}

// TestHTTP3 has a shaped socket under quic-go's server.
func TestHTTP3(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	inner, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket := PacketConn(inner, always(shortRTT))
	quicTransport := &quic.Transport{Conn: socket}
	listener, err := quicTransport.ListenEarly(http3.ConfigureTLSConfig(serverTLS), nil)
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: http.HandlerFunc(echo)}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeListener(listener) }()

	transport := &http3.Transport{TLSClientConfig: clientTLS}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	url := "https://" + inner.LocalAddr().String()
	if took := exchange(t, client, url, 3); took < 2*shortRTT {
		t.Errorf("cold: %v", took)
	}
	if took := exchange(t, client, url, 3); took < shortRTT {
		t.Errorf("warm: %v", took)
	}
	if err := transport.Close(); err != nil {
		t.Error(err)
	}
	shutDown(t, server)
	<-ended
	_ = listener.Close()
	if err := quicTransport.Close(); err != nil {
		t.Error(err)
	}
	if err := socket.Close(); err != nil {
		t.Error(err)
	}
}

// TestPacketReadDeadline is how quic-go wakes its reader.
func TestPacketReadDeadline(t *testing.T) {
	inner, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := PacketConn(inner, always(shortRTT))
	defer c.Close()
	read := make(chan error)
	go func() {
		_, _, err := c.ReadFrom(make([]byte, 1))
		read <- err
	}()
	_ = c.SetReadDeadline(time.Now())
	var timeout net.Error
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read: %v", err)
	}
	if err := c.(interface{ SetReadBuffer(int) error }).SetReadBuffer(1 << 16); err != nil {
		t.Error(err)
	}
	if err := c.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(1 << 16); err != nil {
		t.Error(err)
	}
}
