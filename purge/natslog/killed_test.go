package natslog_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"weir/purge"
	"weir/purge/natslog"
)

// natsServerEnv makes the test binary a NATS server of a cluster; it has a
// natsServer as JSON.
const natsServerEnv = "WEIR_TEST_NATS_SERVER"

// natsServer is one server of a cluster as a process of its own, which can be
// killed.
type natsServer struct {
	Name, Dir, Certificate string
	Port, RoutePort        int
	Routes                 []string

	cmd *exec.Cmd
}

// runNATSServer is the child: it serves until it is killed, or the test that has
// started it is gone.
func runNATSServer(text string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var n natsServer
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return fail(err)
	}
	pair, err := tls.LoadX509KeyPair(n.Certificate, n.Certificate)
	if err != nil {
		return fail(err)
	}
	var routes []*url.URL
	for _, r := range n.Routes {
		u, err := url.Parse(r)
		if err != nil {
			return fail(err)
		}
		routes = append(routes, u)
	}
	o := clusterServer(n.Name, n.Dir, routes, n.RoutePort, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	o.Port = n.Port
	s, err := server.NewServer(o)
	if err != nil {
		return fail(err)
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends, however it does
	return 0
}

func (n *natsServer) start(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(os.Args[0], "-test.run=^$")
	n.cmd.Env = append(os.Environ(), natsServerEnv+"="+string(text))
	n.cmd.Stderr = os.Stderr
	if _, err := n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill is kill -9.
func (n *natsServer) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// startServers starts a cluster of three processes and gives their addresses.
func startServers(t *testing.T) (servers []*natsServer, address string) {
	t.Helper()
	certificate := filepath.Join(t.TempDir(), "server.pem")
	writeClusterCertificate(t, certificate)
	routes, clients := freeRoutes(t, 3), freeRoutes(t, 3)
	var names, urls []string
	for _, r := range routes {
		names = append(names, r.String())
	}
	for i := range routes {
		n := &natsServer{
			Name: fmt.Sprint("nats-", i+1), Dir: t.TempDir(), Certificate: certificate,
			Port: portOf(t, clients[i]), RoutePort: portOf(t, routes[i]), Routes: names,
		}
		n.start(t)
		t.Cleanup(n.kill)
		servers = append(servers, n)
		urls = append(urls, "tls://"+clients[i].Host)
	}
	return servers, strings.Join(urls, ",")
}

func portOf(t *testing.T, u *url.URL) int {
	t.Helper()
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func writeClusterCertificate(t *testing.T, path string) {
	t.Helper()
	served, _ := clusterTLS()
	pair := served.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// createSoon makes the log once the cluster has come together.
func createSoon(t *testing.T, nc *nats.Conn) *natslog.Log {
	t.Helper()
	l, err := natslog.New(nc, natslog.Options{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := l.Create(ctx)
		cancel()
		if err == nil {
			return l
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// awaitCurrent waits until every server has all of the log, and gives the name of
// the one that orders it.
func awaitCurrent(t *testing.T, nc *nats.Conn) (leader string) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		s, err := js.Stream(ctx, natslog.StreamName)
		cancel()
		if err == nil {
			if c := s.CachedInfo().Cluster; c != nil && c.Leader != "" && len(c.Replicas) == 2 &&
				c.Replicas[0].Current && c.Replicas[1].Current && !c.Replicas[0].Offline && !c.Replicas[1].Offline {
				return c.Leader
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the servers are not level again: %v", err)
		}
	}
}

// given are the versions that writers were given for their keys.
type given struct {
	mu       sync.Mutex // guards the rest
	keys     map[uint64]string
	repeated int
}

// write has purges accepted, each under a key of its own, until stop is closed.
// One of which nobody knows whether it was is asked for again.
func (g *given) write(t *testing.T, l *natslog.Log, name string, stop <-chan struct{}) {
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s-%d", name, i)
		r := keyed(key, "/"+key)
		for {
			select {
			case <-stop:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			version, err := l.Append(ctx, r)
			cancel()
			if version == 0 {
				continue
			}
			g.mu.Lock()
			if errors.Is(err, purge.ErrRepeated) {
				g.repeated++
			} else if err != nil {
				t.Errorf("%s: version %d, %v", key, version, err)
			}
			if other := g.keys[version]; other != "" {
				t.Errorf("version %d was given to %s and %s", version, other, key)
			}
			g.keys[version] = key
			g.mu.Unlock()
			break
		}
	}
}

// readUntil reads the newest purges again and again until stop is closed: whoever asks
// what was purged waits while the servers choose who orders the log, and is answered.
func readUntil(t *testing.T, l *natslog.Log, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		state, err := l.State(ctx)
		if err == nil && state.Last > 0 {
			err = l.Scan(ctx, state.Last, max(state.First, state.Last-min(state.Last, 10)), func(purge.Record) bool { return true })
		}
		if err != nil {
			t.Errorf("read the log: %v", err)
		}
		cancel()
	}
}

// TestClusterServersAreKilled kills servers of a cluster with kill -9 while purges
// come in, the one that orders the log first, and starts each again on its files:
// the log can be read all the time, all that was accepted is in it once, under the
// version that was given for its key, and in force on every node; nodes drop nothing.
func TestClusterServersAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills three servers, one after the other")
	}
	servers, address := startServers(t)
	nc := connect(t, address, "control")
	l := createSoon(t, nc)
	nodes := []*node{startNode(t, "ams", address, t.TempDir()), startNode(t, "iad", address, t.TempDir())}
	g := &given{keys: make(map[uint64]string)}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for i := range 4 {
		writing.Go(func() { g.write(t, l, fmt.Sprint("w", i), stop) })
	}
	writing.Go(func() { readUntil(t, l, stop) })
	for range 3 {
		time.Sleep(700 * time.Millisecond)
		leader := awaitCurrent(t, nc)
		for _, s := range servers {
			if s.Name == leader {
				s.kill()
				time.Sleep(1500 * time.Millisecond)
				s.start(t)
			}
		}
	}
	awaitCurrent(t, nc)
	close(stop)
	writing.Wait()
	t.Logf("%d purges accepted, %d asked for again under their keys", len(g.keys), g.repeated)
	if len(g.keys) < 20 {
		t.Fatal("that is too few to lose any")
	}
	g.check(t, l)
	for _, n := range nodes {
		g.checkNode(t, n)
	}
}

// check reads the log: it has every version given, under its key, and no key twice.
func (g *given) check(t *testing.T, l *natslog.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state, err := l.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found, keys := make(map[uint64]string), make(map[string]uint64)
	err = l.Scan(ctx, state.First, state.Last, func(r purge.Record) bool {
		if other := keys[r.Key]; other > 0 {
			t.Errorf("key %s has versions %d and %d", r.Key, other, r.Version)
		}
		found[r.Version], keys[r.Key] = r.Key, r.Version
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for version, key := range g.keys {
		if found[version] != key {
			t.Errorf("version %d was given to %s, and the log has %q there", version, key, found[version])
		}
	}
}

func (g *given) checkNode(t *testing.T, n *node) {
	t.Helper()
	last := uint64(0)
	for v := range g.keys {
		last = max(last, v)
	}
	n.await(t, last)
	for v, key := range g.keys {
		if hard, _ := n.index.Covering("docs", "h", "/"+key, nil); hard != v {
			t.Errorf("%s: purge %d of %s: covered by %d", n.Name, v, key, hard)
		}
	}
	if s := n.Status(); s.Resets != 1 || s.Distrusts != 0 {
		t.Errorf("%s: %d resets and %d distrusts; the first of all is one reset", n.Name, s.Resets, s.Distrusts)
	}
}
