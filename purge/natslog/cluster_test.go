package natslog_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"weir/purge/natslog"
)

// onEachBroker runs a test against the broker that control embeds, and against
// an external cluster of three servers.
func onEachBroker(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("embedded", func(t *testing.T) { test(t, startBroker(t, t.TempDir(), "127.0.0.1:0").URL()) })
	t.Run("cluster", func(t *testing.T) { test(t, startCluster(t).url()) })
}

const clusterUser = "weir"

// cluster is three NATS servers as somebody else would run them: TLS, a user
// with a password, JetStream that syncs.
type cluster struct{ servers []*server.Server }

// clusterTLS is the certificate of every server of every cluster, and what
// clients need to believe it.
var clusterTLS = sync.OnceValues(func() (servers, clients *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	servers = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	return servers, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
})

func startCluster(t testing.TB) *cluster {
	t.Helper()
	served, _ := clusterTLS()
	c := new(cluster)
	routes := freeRoutes(t, 3)
	for i, route := range routes {
		port, err := strconv.Atoi(route.Port())
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.NewServer(clusterServer(fmt.Sprintf("nats-%d", i+1), t.TempDir(), routes, port, served))
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		c.servers = append(c.servers, s)
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		if !s.ReadyForConnections(time.Minute) {
			t.Fatalf("server %d is not ready", i)
		}
	}
	for deadline := time.Now().Add(time.Minute); !c.current(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster has not come together")
		}
	}
	return c
}

// clusterServer is one of the servers, on a port that is free.
func clusterServer(name, dir string, routes []*url.URL, routePort int, served *tls.Config) *server.Options {
	return &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT,
		Username: clusterUser, Password: testToken, TLSConfig: served, TLSTimeout: 5,
		MaxPayload: 8 << 20, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
		JetStreamMaxStore: 2 << 30, JetStreamMaxMemory: 64 << 20,
		Cluster: server.ClusterOpts{Name: "weir", Host: "127.0.0.1", Port: routePort},
		Routes:  routes,
	}
}

// freeRoutes are addresses for servers of a cluster, which have to know each
// other's before they start.
func freeRoutes(t testing.TB, count int) (routes []*url.URL) {
	t.Helper()
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // not before all are there, so that no two are the same
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	return routes
}

// current says whether the servers have a leader for JetStream and know of each
// other.
func (c *cluster) current() bool {
	led := false
	for _, s := range c.servers {
		led = led || s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(c.servers)
		if !s.JetStreamIsCurrent() {
			return false
		}
	}
	return led
}

func (c *cluster) url() string {
	var urls []string
	for _, s := range c.servers {
		urls = append(urls, "tls://"+s.Addr().String())
	}
	return strings.Join(urls, ",")
}

// leader is the server that orders the log.
func (c *cluster) leader() *server.Server {
	for _, s := range c.servers {
		if s.JetStreamIsStreamLeader("$G", natslog.StreamName) {
			return s
		}
	}
	return nil
}

func TestClusterWantsCredentialsAndTrust(t *testing.T) {
	c := startCluster(t)
	_, trusting := clusterTLS()
	for _, row := range []struct {
		name string
		o    natslog.ConnectOptions
		want bool
	}{
		{"both", natslog.ConnectOptions{Username: clusterUser, Password: testToken, TLS: trusting}, true},
		{"another password", natslog.ConnectOptions{Username: clusterUser, Password: "guessed", TLS: trusting}, false},
		{"no credentials", natslog.ConnectOptions{TLS: trusting}, false},
		{"roots that do not have it", natslog.ConnectOptions{Username: clusterUser, Password: testToken}, false},
	} {
		row.o.URL, row.o.Log = c.url(), testLog(t)
		nc, err := natslog.Connect(t.Context(), row.o)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if nc.IsConnected() != row.want {
			t.Errorf("%s: connected %t", row.name, nc.IsConnected())
		}
		nc.Close()
	}
}

// TestClusterLosesAServer takes the log's leader away while purges come in: all
// that was accepted is in force on every node, nodes drop nothing, and the log
// goes on taking purges.
func TestClusterLosesAServer(t *testing.T) {
	c := startCluster(t)
	l, _ := createLog(t, connect(t, c.url(), "control"), natslog.Options{})
	nodes := []*node{startNode(t, "ams", c.url(), t.TempDir()), startNode(t, "iad", c.url(), t.TempDir())}
	appendAll(t, l, "/first")

	accepted := make(map[uint64]string)
	var refused, after int
	killAt, end := time.Now().Add(time.Second), time.Now().Add(12*time.Second)
	killed := false
	for i := 0; time.Now().Before(end) && after < 200; i++ {
		if !killed && time.Now().After(killAt) {
			killed = true
			c.leader().Shutdown()
		}
		target := fmt.Sprintf("/%d", i)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		version, err := l.Append(ctx, record(target))
		cancel()
		switch {
		case err != nil:
			refused++
			t.Logf("refused: %v", err)
		case accepted[version] != "":
			t.Fatalf("version %d was given to %s and %s", version, accepted[version], target)
		default:
			accepted[version] = target
			if killed {
				after++
			}
		}
	}
	if !killed || after < 200 {
		t.Fatalf("%d purges were accepted after the loss of the leader, %d refused", after, refused)
	}
	if refused > 0 {
		t.Errorf("%d purges were refused, although two of three servers were there", refused)
	}
	last := uint64(0)
	for v := range accepted {
		last = max(last, v)
	}
	for _, n := range nodes {
		n.await(t, last)
		for v, target := range accepted {
			if hard, _ := n.index.Covering("docs", "h", target, nil); hard != v {
				t.Fatalf("%s: purge %d of %s: covered by %d", n.Name, v, target, hard)
			}
		}
		if s := n.Status(); s.Resets != 1 || s.Distrusts != 0 {
			t.Errorf("%s: %d resets and %d distrusts; the first of all is one reset", n.Name, s.Resets, s.Distrusts)
		}
	}
}
