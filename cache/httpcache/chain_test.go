package httpcache_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
	"weir/edge"
	"weir/origin"
	"weir/shield"
	"weir/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// purges is a log in which nothing has been purged.
type purges struct{}

func (purges) Applied() uint64                                         { return 0 }
func (purges) Covering(_, _, _ string, _ []string) (hard, soft uint64) { return 0, 0 }
func (purges) NewestTag(string) uint64                                 { return 0 }
func (purges) Position() (epoch string, applied uint64)                { return "e", 0 }
func (purges) Trusted(time.Time) bool                                  { return true }
func (purges) WaitPosition(context.Context, string, uint64) error      { return nil }

// chain is an edge, a shield and an origin, each on sockets of its own.
type chain struct {
	t            *testing.T
	edge, shield *httpcache.Handler
	clear        string // the edge's address for HTTP/1.1 in clear
	secure       string // for HTTP/1.1, 2 and 3 under TLS
	shieldAddr   string
	pool         *x509.CertPool
	mu           sync.Mutex // guards observed
	observed     []httpcache.Access
	stop         context.CancelFunc
	stopped      []chan error
}

// settings are what a test changes of a chain. The zero value works.
type settings struct {
	edge, shield httpcache.Options
	policy       rfc9111.Policy
	origin       http.RoundTripper // instead of the HTTP server
}

// startChain puts a chain in front of an origin.
func startChain(t *testing.T, h http.Handler, s settings) *chain {
	t.Helper()
	if s.origin == nil {
		server := httptest.NewUnstartedServer(h)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		t.Cleanup(server.Close)
		s.origin = originAt(t, server.URL)
	}
	return chainTo(t, s)
}

func originAt(t *testing.T, url string) *origin.HTTP {
	t.Helper()
	up, err := origin.NewHTTP(origin.HTTPOptions{URL: url, HeaderTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close() })
	return up
}

// chainTo starts a chain whose shield asks s.origin.
func chainTo(t *testing.T, s settings) *chain {
	t.Helper()
	c := &chain{t: t}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	s.shield.Node, s.shield.Face = "shield", httpcache.FaceEdges
	c.shield = handler(t, s.shield, s.policy, s.origin)
	tier, err := shield.Listen("127.0.0.1:0", shield.ServerOptions{Handler: c.shield, Token: "t", Purges: purges{}})
	if err != nil {
		t.Fatal(err)
	}
	c.shieldAddr = tier.Addr()
	client, err := shield.NewClient(shield.ClientOptions{Shields: []shield.Peer{{Name: "shield", URL: "http://" + tier.Addr()}}, Token: "t", Position: purges{}.Position})
	if err != nil {
		t.Fatal(err)
	}
	s.edge.Node = cmp.Or(s.edge.Node, "edge")
	s.edge.Observe = func(a *httpcache.Access) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.observed = append(c.observed, *a)
	}
	c.edge = handler(t, s.edge, s.policy, client)
	certificate := c.certificate()
	front, err := edge.Listen(edge.Options{
		Handler: c.edge, HTTP: "127.0.0.1:0", HTTPS: "127.0.0.1:0", ShutdownTimeout: 2 * time.Second,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.clear, c.secure = front.HTTPAddr(), front.HTTPSAddr()
	for _, run := range []func(context.Context) error{front.Run, tier.Run} {
		stopped := make(chan error, 1)
		c.stopped = append(c.stopped, stopped)
		go func() { stopped <- run(ctx) }()
	}
	t.Cleanup(func() {
		c.shut()
		client.Close()
	})
	return c
}

// shut stops the edge and the shield and waits for them.
func (c *chain) shut() {
	c.t.Helper()
	c.stop()
	for _, stopped := range c.stopped {
		if err := <-stopped; err != nil {
			c.t.Error(err)
		}
	}
	c.stopped = nil
}

// accesses gives what the edge has observed, once it is n requests.
func (c *chain) accesses(n int) []httpcache.Access {
	c.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		seen := c.observed
		c.mu.Unlock()
		if len(seen) >= n {
			return seen
		}
		if time.Now().After(end) {
			c.t.Fatalf("%d requests observed, want %d", len(seen), n)
		}
	}
}

func handler(t testing.TB, o httpcache.Options, policy rfc9111.Policy, up http.RoundTripper) *httpcache.Handler {
	t.Helper()
	store := memory.New(memory.Options{BudgetBytes: 16 << 20})
	engine, err := cache.New(cache.Options{Node: o.Node, Store: store, Purges: purges{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := engine.Close(ctx); err != nil {
			t.Error(err)
		}
		_ = store.Close()
	})
	o.Engine, o.Sites = engine, httpcache.NewSites()
	if err := o.Sites.Add(&cache.Site{Name: "s", Policy: policy, Upstream: up}, "*"); err != nil {
		t.Fatal(err)
	}
	h, err := httpcache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// certificate makes one for 127.0.0.1 that signs itself.
func (c *chain) certificate() *tls.Certificate {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	c.pool = x509.NewCertPool()
	c.pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client speaks one version of HTTP to the edge.
type client struct {
	name  string
	base  string
	major int
	http.RoundTripper
}

// clients gives one for each way to speak to an edge.
func (c *chain) clients() []client {
	conf := func() *tls.Config { return &tls.Config{RootCAs: c.pool, MinVersion: tls.VersionTLS12} }
	one, two := new(http.Protocols), new(http.Protocols)
	one.SetHTTP1(true)
	two.SetHTTP2(true)
	clear := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 10 * time.Second}
	secure := &http.Transport{DisableCompression: true, TLSClientConfig: conf(), Protocols: one, ExpectContinueTimeout: 10 * time.Second}
	second := &http.Transport{DisableCompression: true, TLSClientConfig: conf(), Protocols: two, ExpectContinueTimeout: 10 * time.Second}
	third := &http3.Transport{DisableCompression: true, TLSClientConfig: conf()}
	c.t.Cleanup(func() {
		clear.CloseIdleConnections()
		secure.CloseIdleConnections()
		second.CloseIdleConnections()
		_ = third.Close()
	})
	return []client{
		{"HTTP/1.1", "http://" + c.clear, 1, clear},
		{"HTTP/1.1 TLS", "https://" + c.secure, 1, secure},
		{"HTTP/2", "https://" + c.secure, 2, second},
		{"HTTP/3", "https://" + c.secure, 3, third},
	}
}

// each runs a test over every way to speak to the edge.
func (c *chain) each(f func(t *testing.T, via client)) {
	for _, via := range c.clients() {
		c.t.Run(via.name, func(t *testing.T) { f(t, via) })
	}
}

// request makes one; fields alternate names and values.
func (via client) request(t *testing.T, method, target string, body io.Reader, fields ...string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, via.base+target, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

// do sends a request and reads its whole answer.
func (via client) do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := via.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s after %q: %v", response.Status, body, err)
	}
	return response, string(body)
}

func (via client) get(t *testing.T, target string, fields ...string) (*http.Response, string) {
	t.Helper()
	return via.do(t, via.request(t, http.MethodGet, target, nil, fields...))
}

// raw sends text on a connection to an address and gives the connection.
func raw(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// scripted is an origin that answers each connection's first request head with
// what script does.
func scripted(t *testing.T, script func(head string, conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
				if head := readHead(conn); head != "" {
					script(head, conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return "http://" + l.Addr().String()
}

// readHead reads up to the empty line, a byte at a time so that nothing behind
// it is lost.
func readHead(r io.Reader) string {
	var head strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		if _, err := io.ReadFull(r, b); err != nil {
			return ""
		}
		head.Write(b)
	}
	return head.String()
}

// field gives a field of a request's or response's head.
func field(head, name string) string {
	for line := range strings.Lines(head) {
		if key, value, found := strings.Cut(line, ":"); found && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// wants reports fields that are not as wanted; "" wants none.
func wants(t *testing.T, what string, h http.Header, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := strings.Join(h.Values(name), ", "); got != value {
			t.Errorf("%s: %s: %q, want %q", what, name, got, value)
		}
	}
}
