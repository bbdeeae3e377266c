package natslog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"weir/purge"
	"weir/purge/natslog"
)

func TestVersionsCountFromOneAndSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, "127.0.0.1:0")
	l, state := createLog(t, connect(t, b.URL(), "control"), natslog.Options{})
	if state.First != 1 || state.Last != 0 || !strings.Contains(state.Epoch, "-") {
		t.Errorf("new log: %+v", state)
	}
	if v := appendAll(t, l, "/a", "/b", "/c"); v != 3 {
		t.Errorf("third version is %d", v)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = startBroker(t, dir, "127.0.0.1:0")
	l, again := createLog(t, connect(t, b.URL(), "control"), natslog.Options{})
	if again.Epoch != state.Epoch || again.First != 1 || again.Last != 3 {
		t.Errorf("after restart: %+v, want epoch %s, 1 to 3", again, state.Epoch)
	}
	if v := appendAll(t, l, "/d"); v != 4 {
		t.Errorf("version after restart is %d, want 4", v)
	}
}

func TestTwoControlsAgreeOnOneLog(t *testing.T) { onEachBroker(t, testTwoControlsAgreeOnOneLog) }

func testTwoControlsAgreeOnOneLog(t *testing.T, url string) {
	var wg sync.WaitGroup
	epochs := make([]string, 4)
	for i := range epochs {
		nc := connect(t, url, "control")
		l, err := natslog.New(nc, natslog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			state, err := l.Create(t.Context())
			if err != nil {
				t.Error(err)
			}
			epochs[i] = state.Epoch
		})
	}
	wg.Wait()
	for _, e := range epochs[1:] {
		if e != epochs[0] {
			t.Errorf("epochs differ: %q", epochs)
		}
	}
}

// A control that starts with other limits sets them, and keeps the log.
func TestLimitsOfALogThatThereIs(t *testing.T) { onEachBroker(t, testLimitsOfALogThatThereIs) }

func testLimitsOfALogThatThereIs(t *testing.T, url string) {
	nc := connect(t, url, "control")
	l, before := createLog(t, nc, natslog.Options{})
	body := strings.Repeat("x", 4000)
	var last uint64
	for i := range 100 {
		last = appendAll(t, l, fmt.Sprintf("/%d/%s", i, body))
	}
	_, after := createLog(t, nc, natslog.Options{AgeMax: time.Hour, BytesMax: 100 << 10})
	if after.Epoch != before.Epoch || after.Last != last {
		t.Errorf("the log became another: %+v, was %+v", after, before)
	}
	for deadline := time.Now().Add(time.Minute); after.First < last-30; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has %d to %d still, more than 100 KiB", after.First, after.Last)
		}
		var err error
		if after, err = l.State(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFeedDeliversInOrderAndInBatches(t *testing.T) {
	onEachBroker(t, testFeedDeliversInOrderAndInBatches)
}

func testFeedDeliversInOrderAndInBatches(t *testing.T, url string) {
	l, _ := createLog(t, connect(t, url, "control"), natslog.Options{})
	const count = 300
	for i := range count {
		appendAll(t, l, fmt.Sprintf("/%d", i+1))
	}
	f, err := l.Follow(t.Context(), 11)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	batches := 0
	for next := uint64(11); next <= count; batches++ {
		batch, err := f.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range batch {
			if r.Version != next || r.Targets[0] != fmt.Sprintf("/%d", next) {
				t.Fatalf("got %d %v, want %d", r.Version, r.Targets, next)
			}
			next++
		}
	}
	if batches == count-10 {
		t.Error("every record came alone")
	}
	idle, stop := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer stop()
	if batch, err := f.Next(idle); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an idle feed gave %d records, error %v; heartbeats should keep it", len(batch), err)
	}
}

func TestLargestRecordGoesThrough(t *testing.T) { onEachBroker(t, testLargestRecordGoesThrough) }

func testLargestRecordGoesThrough(t *testing.T, url string) {
	l, _ := createLog(t, connect(t, url, "control"), natslog.Options{})
	r := record("/x")
	for size := 0; size < purge.RecordBytesMax-20<<10; size += 8<<10 + 3 {
		r.Targets = append(r.Targets, "/"+strings.Repeat("y", 8<<10-1))
	}
	if _, err := l.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "ams", url, t.TempDir())
	n.await(t, 1)
	if hard, _ := n.index.Covering("docs", "h", r.Targets[1], nil); hard != 1 {
		t.Errorf("hard = %d, want 1", hard)
	}
	for len(r.Targets) < 600 {
		r.Targets = append(r.Targets, r.Targets[1])
	}
	if _, err := l.Append(t.Context(), r); !errors.Is(err, purge.ErrTooLarge) {
		t.Errorf("a record that is too large: %v", err)
	}
}

func TestUnreadableRecordIsDistrusted(t *testing.T) {
	onEachBroker(t, testUnreadableRecordIsDistrusted)
}

func testUnreadableRecordIsDistrusted(t *testing.T, url string) {
	nc := connect(t, url, "control")
	createLog(t, nc, natslog.Options{})
	if _, err := nc.Request("weir.purges.docs", []byte(`{"scope":"from the future"}`), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "ams", url, t.TempDir())
	n.await(t, 1)
	if hard, _ := n.index.Covering("any", "h", "/", nil); hard != 1 {
		t.Errorf("hard = %d, want 1: what cannot be read may have covered anything", hard)
	}
}

func TestAppendWithoutBrokerAcceptsNothing(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, "127.0.0.1:0")
	addr := b.Addr()
	nc := connect(t, b.URL(), "control")
	l, _ := createLog(t, nc, natslog.Options{})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for nc.IsConnected() {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := l.Append(ctx, record("/a")); !errors.Is(err, purge.ErrUnavailable) {
		t.Errorf("Append = %v, want ErrUnavailable", err)
	}
	startBroker(t, dir, addr)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		v, err := l.Append(ctx, record("/b"))
		if err == nil {
			if v != 1 {
				t.Errorf("version = %d, want 1: what failed before was not accepted", v)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestFollowerSurvivesARestartOfTheBroker(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, "127.0.0.1:0")
	addr := b.Addr()
	n := startNode(t, "ams", b.URL(), t.TempDir())
	l, _ := createLog(t, connect(t, b.URL(), "control"), natslog.Options{})
	appendAll(t, l, "/a")
	n.await(t, 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = startBroker(t, dir, addr)
	l, _ = createLog(t, connect(t, b.URL(), "control"), natslog.Options{})
	appendAll(t, l, "/b")
	n.await(t, 2)
	if n.resets != 2 {
		t.Errorf("Reset was called %d times, want the two of the first start", n.resets)
	}
}

func TestNewLogResetsTheNode(t *testing.T) {
	state := t.TempDir()
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	l, old := createLog(t, connect(t, b.URL(), "control"), natslog.Options{})
	appendAll(t, l, "/a", "/b", "/c")
	n := startNode(t, "ams", b.URL(), state)
	n.await(t, 3)
	n.stop()

	other := startBroker(t, t.TempDir(), "127.0.0.1:0")
	l, _ = createLog(t, connect(t, other.URL(), "control"), natslog.Options{})
	appendAll(t, l, "/d")
	n = startNode(t, "ams", other.URL(), state)
	<-n.CaughtUp()
	if s := n.Status(); n.resets != 2 || s.Epoch == old.Epoch || s.Applied != 1 {
		t.Errorf("resets %d, status %+v", n.resets, s)
	}
	if hard, _ := n.index.Covering("docs", "h", "/b", nil); hard != 0 {
		t.Errorf("a purge of the old log is still in force: %d", hard)
	}
}

func TestLogThatForgotIsDistrusted(t *testing.T) {
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	l, _ := createLog(t, connect(t, b.URL(), "control"), natslog.Options{BytesMax: 2 << 10})
	state := t.TempDir()
	appendAll(t, l, "/a")
	n := startNode(t, "ams", b.URL(), state)
	n.await(t, 1)
	n.stop()
	for i := range 40 {
		appendAll(t, l, fmt.Sprintf("/%d", i))
	}
	s, err := l.State(t.Context())
	if err != nil || s.First < 3 {
		t.Fatalf("the log forgot nothing: %+v, %v", s, err)
	}
	n = startNode(t, "ams", b.URL(), state)
	n.await(t, s.Last)
	if hard, _ := n.index.Covering("other", "h", "/x", nil); hard != s.First-1 {
		t.Errorf("distrusted up to %d, want %d", hard, s.First-1)
	}
	if n.resets != 0 {
		t.Error("the node was reset, although the log is the same")
	}
}

func TestPartitionedNodeIsMissing(t *testing.T) { onEachBroker(t, testPartitionedNodeIsMissing) }

func testPartitionedNodeIsMissing(t *testing.T, url string) {
	nc := connect(t, url, "control")
	l, state := createLog(t, nc, natslog.Options{})
	nodes := purge.NewNodes(purge.NodesOptions{Names: []string{"ams", "lax"}, Epoch: state.Epoch})
	observe(t, nc, nodes)
	dir := t.TempDir()
	ams, lax := startNode(t, "ams", url, dir), startNode(t, "lax", url, dir)
	<-ams.CaughtUp()
	<-lax.CaughtUp()
	lax.stop()

	given := time.Now()
	v := appendAll(t, l, "/a")
	nodes.Accepted(v, given)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if confirmed, _ := nodes.Wait(ctx, v, []string{"ams"}); len(confirmed) != 1 || confirmed[0].MS == nil || *confirmed[0].MS > 2000 {
		t.Errorf("confirmed = %+v", confirmed)
	}
	short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if _, missing := nodes.Wait(short, v, nil); len(missing) != 1 || missing[0] != "lax" {
		t.Errorf("missing = %v, want lax", missing)
	}
	lax = startNode(t, "lax", url, dir)
	<-lax.CaughtUp()
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, missing := nodes.Wait(ctx, v, nil); len(missing) != 0 {
		t.Errorf("missing = %v after lax came back", missing)
	}
}

func TestNodeSpeaksForItselfOnly(t *testing.T) {
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	nc := connect(t, b.URL(), "control")
	nodes := purge.NewNodes(purge.NodesOptions{Names: []string{"ams", "lax"}, Epoch: "e"})
	observe(t, nc, nodes)
	for _, m := range []struct{ subject, body string }{
		{"weir.nodes.lax", `{"node":"ams","applied":9,"epoch":"e"}`},
		{"weir.nodes.ams", `{"node":"ams","applied":-1,"epoch":"e"}`},
		{"weir.nodes.ams", `hello`},
		{"weir.nodes.lax", `{"node":"lax","applied":7,"epoch":"e"}`},
	} {
		if err := nc.Publish(m.subject, []byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, missing := nodes.Wait(ctx, 7, []string{"lax"}); missing != nil {
		t.Fatal("lax was not heard")
	}
	if list := nodes.List(); list[0].Applied != 0 || !list[0].Seen.IsZero() {
		t.Errorf("ams was heard in another's name: %+v", list[0])
	}
}

func TestCredentials(t *testing.T) {
	var lines syncBuffer
	log := slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	b, err := natslog.StartBroker(natslog.BrokerOptions{
		Listen: "127.0.0.1:0", StoreDir: store, Username: "weir", Password: "s3cret-password", Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, password := range []string{"wr0ng-password", "s3cret-password"} {
		nc, err := natslog.Connect(t.Context(), natslog.ConnectOptions{URL: b.URL(), Username: "weir", Password: password, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		if want := password == "s3cret-password"; nc.IsConnected() != want {
			t.Errorf("%s: connected %v, want %v", password, nc.IsConnected(), want)
		}
		nc.Close()
	}
	if text := lines.String(); strings.Contains(text, "cret-password") || strings.Contains(text, "wr0ng") {
		t.Errorf("a password is in the log:\n%s", text)
	}
	if in, err := os.Stat(store); err != nil || in.Mode().Perm() != 0o700 {
		t.Errorf("store has mode %v, %v", in.Mode(), err)
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]natslog.BrokerOptions{
		"no store":       {Token: "t"},
		"no credentials": {StoreDir: t.TempDir()},
		"half a pair":    {StoreDir: t.TempDir(), Username: "u"},
		"both kinds":     {StoreDir: t.TempDir(), Username: "u", Password: "p", Token: "t"},
		"no port":        {StoreDir: t.TempDir(), Token: "t", Listen: "127.0.0.1"},
	} {
		if b, err := natslog.StartBroker(o); err == nil {
			b.Close()
			t.Errorf("%s: started", name)
		}
	}
	for _, url := range []string{"", "nats://", "nats://user:hunter2@127.0.0.1:4222", "%zz"} {
		nc, err := natslog.Connect(t.Context(), natslog.ConnectOptions{URL: url})
		if err == nil {
			nc.Close()
			t.Errorf("%q: connected", url)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func TestTakenPortIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	b, err := natslog.StartBroker(natslog.BrokerOptions{
		Listen: taken.Addr().String(), StoreDir: t.TempDir(), Token: "t", ReadyTimeout: 200 * time.Millisecond,
	})
	if err == nil {
		b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error = %v", err)
	}
}

// slowDialer is what the lab does to put distance between regions.
type slowDialer struct{ dials int }

func (d *slowDialer) Dial(network, address string) (net.Conn, error) {
	d.dials++
	time.Sleep(10 * time.Millisecond)
	return net.Dial(network, address)
}

func TestConnectUsesTheDialer(t *testing.T) {
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	d := new(slowDialer)
	nc, err := natslog.Connect(t.Context(), natslog.ConnectOptions{URL: b.URL(), Token: testToken, Dialer: d})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.Status() != nats.CONNECTED || d.dials != 1 {
		t.Errorf("status %v after %d dials", nc.Status(), d.dials)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A log that is renewed has another identity and the same purges; of two controls
// that find out at once, one renews it.
func TestRenew(t *testing.T) { onEachBroker(t, testRenew) }

func testRenew(t *testing.T, url string) {
	l, before := createLog(t, connect(t, url, "control"), natslog.Options{})
	appendAll(t, l, "/a", "/b")
	after, err := l.Renew(t.Context(), before.Epoch)
	if err != nil || after.Epoch == before.Epoch || after.First != 1 || after.Last != 2 {
		t.Fatalf("renewed: %+v, %v; was %+v", after, err, before)
	}
	if again, err := l.Renew(t.Context(), before.Epoch); err != nil || again != after {
		t.Errorf("renewed by another: %+v, %v, want %+v", again, err, after)
	}
	if v := appendAll(t, l, "/c"); v != 3 {
		t.Errorf("the next version is %d, want 3", v)
	}
	if _, state := createLog(t, connect(t, url, "control"), natslog.Options{}); state.Epoch != after.Epoch {
		t.Errorf("a control that starts finds %q, want %q", state.Epoch, after.Epoch)
	}
}
