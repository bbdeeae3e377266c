package natslog_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"weir/purge"
	"weir/purge/natslog"
)

// controlDirEnv makes the test binary a control process; see crash_test.go.
const controlDirEnv = "WEIR_TEST_CONTROL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(controlDirEnv); dir != "" {
		os.Exit(runControl(dir))
	}
	if text := os.Getenv(natsServerEnv); text != "" {
		os.Exit(runNATSServer(text))
	}
	goleak.VerifyTestMain(m)
}

const testToken = "tell-nobody"

func testLog(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func startBroker(t testing.TB, dir, listen string) *natslog.Broker {
	t.Helper()
	b, err := natslog.StartBroker(natslog.BrokerOptions{Listen: listen, StoreDir: dir, Token: testToken, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func connect(t testing.TB, url, name string) *nats.Conn {
	t.Helper()
	return connectOver(t, url, name, nil)
}

// connectOver connects through a dialer; nil for package net's.
func connectOver(t testing.TB, url, name string, dialer nats.CustomDialer) *nats.Conn {
	t.Helper()
	o := natslog.ConnectOptions{URL: url, Token: testToken, Name: name, Log: testLog(t), Dialer: dialer}
	if strings.HasPrefix(url, "tls://") { // a cluster, see startCluster
		o.Token, o.Username, o.Password = "", clusterUser, testToken
		_, o.TLS = clusterTLS()
	}
	nc, err := natslog.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func createLog(t testing.TB, nc *nats.Conn, o natslog.Options) (*natslog.Log, purge.LogState) {
	t.Helper()
	if strings.HasPrefix(nc.ConnectedUrl(), "tls://") {
		o.Replicas = 3
	}
	l, err := natslog.New(nc, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state, err := l.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l, state
}

func record(target string) purge.Record {
	return purge.Record{Site: "docs", Scope: purge.ScopeURL, Targets: []string{target}, Who: "test", At: time.Now()}
}

func appendAll(t testing.TB, l *natslog.Log, targets ...string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last uint64
	for _, target := range targets {
		v, err := l.Append(ctx, record(target))
		if err != nil {
			t.Fatal(err)
		}
		last = v
	}
	return last
}

// node is one follower with what belongs to it.
type node struct {
	*purge.Follower
	index   *purge.Index
	journal *purge.Journal
	conn    *nats.Conn
	resets  int
	stop    func()
}

// startNode follows the log at url until the test ends or stop is called.
func startNode(t testing.TB, name, url, dir string) *node {
	t.Helper()
	return startNodeOver(t, name, url, dir, nil)
}

func startNodeOver(t testing.TB, name, url, dir string, dialer nats.CustomDialer) *node {
	t.Helper()
	return startNodeBeating(t, name, url, dir, dialer, 100*time.Millisecond)
}

// startNodeBeating starts one with a heartbeat, 0 for the follower's own.
func startNodeBeating(t testing.TB, name, url, dir string, dialer nats.CustomDialer, heartbeat time.Duration) *node {
	t.Helper()
	n := &node{conn: connectOver(t, url, name, dialer), index: purge.NewIndex(purge.IndexOptions{})}
	l, err := natslog.New(n.conn, natslog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n.journal, err = purge.OpenJournal(filepath.Join(dir, name+".db"), purge.JournalOptions{}); err != nil {
		t.Fatal(err)
	}
	n.Follower, err = purge.NewFollower(purge.FollowerOptions{
		Name: name, Source: l, Journal: n.journal, Index: n.index, Log: testLog(t),
		Announce:  natslog.Announcer(n.conn),
		Pause:     natslog.Pauser(n.conn),
		Snapshot:  natslog.SnapshotAsker(n.conn),
		Reset:     func() error { n.resets++; return nil },
		Heartbeat: heartbeat,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		n.conn.Close()
		if err := n.journal.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(n.stop)
	return n
}

func (n *node) await(t testing.TB, version uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.index.WaitApplied(ctx, version); err != nil {
		t.Fatalf("node has applied %d, want %d: %v (%v)", n.index.Applied(), version, err, n.Healthy())
	}
}

// observe runs ObserveNodes until the test ends.
func observe(t testing.TB, nc *nats.Conn, nodes *purge.Nodes) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- natslog.ObserveNodes(ctx, nc, nodes.Observe, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-ready
}
