package natslog_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"weir/purge"
	"weir/purge/natslog"
)

// answerSnapshots is a control that follows the log for those who are behind it.
func answerSnapshots(t *testing.T, name, url string) *node {
	n := startNode(t, name, url, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- natslog.AnswerSnapshots(ctx, n.conn, purge.Snapshots{Journal: n.journal}.Answer, func() { close(ready) })
	}()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestSnapshotOfALogThatForgot(t *testing.T) { onEachBroker(t, testSnapshotOfALogThatForgot) }

func testSnapshotOfALogThatForgot(t *testing.T, url string) {
	l, _ := createLog(t, connect(t, url, "control"), natslog.Options{BytesMax: 4 << 10})
	one, two := answerSnapshots(t, "one", url), answerSnapshots(t, "two", url)
	state := t.TempDir()
	appendAll(t, l, "/a")
	n := startNode(t, "ams", url, state)
	n.await(t, 1)
	n.stop()
	for i := range 60 {
		v := appendAll(t, l, fmt.Sprintf("/%d", i))
		one.await(t, v) // the log is so short that they would lose sight of it
		two.await(t, v)
	}
	var s purge.LogState
	var err error
	for end := time.Now().Add(time.Minute); s.First < 10 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s, err = l.State(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.First < 10 {
		t.Fatalf("the log forgot nothing: %+v", s)
	}
	n = startNode(t, "ams", url, state)
	n.await(t, s.Last)
	<-n.CaughtUp()
	if got := n.Status(); got.Snapshots != 1 || got.Distrusts != 0 {
		t.Errorf("%+v", got)
	}
	for i := range 60 {
		if hard, _ := n.index.Covering("docs", "h", fmt.Sprintf("/%d", i), nil); hard != uint64(i+2) {
			t.Errorf("/%d is covered by %d, want %d", i, hard, i+2)
		}
	}
	if hard, _ := n.index.Covering("docs", "h", "/other", nil); hard != 0 {
		t.Errorf("what nobody purged is covered by %d", hard)
	}
}
