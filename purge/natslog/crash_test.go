package natslog_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/purge"
	"weir/purge/natslog"
)

// runControl is the child process of TestAcceptedPurgeSurvivesKill: broker, log
// and API in one, until it is killed. It prints the API's and the broker's URL.
func runControl(dir string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b, err := natslog.StartBroker(natslog.BrokerOptions{Listen: "127.0.0.1:0", StoreDir: dir, Token: testToken})
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nc, err := natslog.Connect(ctx, natslog.ConnectOptions{URL: b.URL(), Token: testToken})
	if err != nil {
		return fail(err)
	}
	l, err := natslog.New(nc, natslog.Options{})
	if err != nil {
		return fail(err)
	}
	state, err := l.Create(ctx)
	if err != nil {
		return fail(err)
	}
	nodes := purge.NewNodes(purge.NodesOptions{Names: []string{"ams"}, Epoch: state.Epoch})
	go func() { _ = natslog.ObserveNodes(context.Background(), nc, nodes.Observe, nil) }()
	api, err := purge.NewAPI(purge.APIOptions{Sites: []string{"docs"}, Token: testToken, Append: l.Append, Nodes: nodes})
	if err != nil {
		return fail(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	fmt.Printf("http://%s %s\n", listener.Addr(), b.URL())
	return fail(http.Serve(listener, api))
}

// startControl runs the child and gives its URLs, and what kills it.
func startControl(t *testing.T, dir string) (api, broker string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), controlDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill() // SIGKILL
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	urls := strings.Fields(line)
	return urls[0], urls[1], kill
}

// P5: a purge that was answered with 202 is there after kill -9, and versions
// go on behind it. The node that was away gets it before it is trusted.
func TestAcceptedPurgeSurvivesKill(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	for round := uint64(0); round < 3; round++ {
		api, broker, kill := startControl(t, dir)
		if round > 0 {
			n := startNode(t, "ams", broker, state)
			n.await(t, 2*round)
			target := fmt.Sprintf("/%d-b", round-1)
			if hard, _ := n.index.Covering("docs", "h", target, nil); hard != 2*round {
				t.Errorf("purge %d is lost: hard = %d", 2*round, hard)
			}
			n.stop()
		}
		client := &purge.Client{URL: api, Token: testToken, HTTP: &http.Client{Transport: new(http.Transport)}}
		for i, name := range []string{"a", "b"} {
			got, err := client.Purge(t.Context(), purge.Request{
				Site: "docs", Scope: purge.ScopeURL, Targets: []string{fmt.Sprintf("/%d-%s", round, name)},
			})
			if want := 2*round + uint64(i) + 1; err != nil || got.Version != want {
				t.Fatalf("purge: %+v, %v; want version %d", got, err, want)
			}
		}
		kill()
		client.HTTP.CloseIdleConnections()
	}
}

// The whole way over real sockets: API, log, two nodes, receipts.
func TestWaitForReceiptsOverTheAPI(t *testing.T) {
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	nc := connect(t, b.URL(), "control")
	l, state := createLog(t, nc, natslog.Options{})
	nodes := purge.NewNodes(purge.NodesOptions{Names: []string{"ams", "lax"}, Epoch: state.Epoch})
	observe(t, nc, nodes)
	api, err := purge.NewAPI(purge.APIOptions{
		Sites: []string{"docs"}, Token: testToken, Append: l.Append, Nodes: nodes, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	client := &purge.Client{URL: server.URL, Token: testToken, HTTP: server.Client()}
	dir := t.TempDir()
	ams, lax := startNode(t, "ams", b.URL(), dir), startNode(t, "lax", b.URL(), dir)
	<-ams.CaughtUp()
	<-lax.CaughtUp()

	var seen []string
	for round := range 20 {
		seen = nil
		target := fmt.Sprintf("/%d", round)
		result, err := client.Watch(t.Context(), purge.Request{Site: "docs", Scope: purge.ScopeURL, Targets: []string{target}},
			5*time.Second, func(r purge.Receipt) { seen = append(seen, r.Node) })
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []*node{ams, lax} {
			if hard, _ := n.index.Covering("docs", "h", target, nil); hard != result.Version {
				t.Errorf("a confirmed purge is not in force: %d, want %d", hard, result.Version)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("seen %v, want both nodes", seen)
	}
	lax.stop()
	result, err := client.Wait(t.Context(), purge.Request{Site: "docs", Scope: purge.ScopeSite}, 300*time.Millisecond)
	if err == nil || len(result.Missing) != 1 || result.Missing[0] != "lax" || result.Version != 21 {
		t.Errorf("result %+v, %v; want lax missing", result, err)
	}
}
