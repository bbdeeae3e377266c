package natslog_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"weir/purge/natslog"
)

// answering runs AnswerQuestions until stop is called, at the latest when the
// test ends.
func answering(t *testing.T, nc *nats.Conn, node string, answer func([]byte) []byte) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- natslog.AnswerQuestions(ctx, nc, node, answer, func() { close(ready) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	<-ready
	return stop
}

func TestQuestions(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, dir, "127.0.0.1:0")
	ask := natslog.Asker(connect(t, b.URL(), "control"))
	shout := func(q []byte) []byte { return []byte(strings.ToUpper(string(q))) }
	// A name may have bytes that are special in a subject.
	stop := answering(t, connect(t, b.URL(), "ams"), "ams.>", shout)
	silent := make(chan struct{})
	answering(t, connect(t, b.URL(), "sin"), "sin", func([]byte) []byte { <-silent; return nil })
	defer close(silent)

	try := func(node string, wait time.Duration) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		a, err := ask(ctx, node, []byte("where?"))
		return string(a), err
	}
	if a, err := try("ams.>", time.Minute); a != "WHERE?" || err != nil {
		t.Errorf("%q, %v", a, err)
	}
	if _, err := try("sin", 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a node that does not answer: %v", err)
	}
	began := time.Now()
	if _, err := try("iad", time.Minute); !errors.Is(err, natslog.ErrAway) || time.Since(began) > 5*time.Second {
		t.Errorf("a node that is not there: %v after %s; want ErrAway at once", err, time.Since(began))
	}

	// It is heard again after the broker was away.
	addr := b.Addr()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	startBroker(t, dir, addr)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a, err := try("ams.>", time.Second)
		if err == nil && a == "WHERE?" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	stop()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := try("ams.>", time.Second); errors.Is(err, natslog.ErrAway) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a node that has stopped is still there")
		}
	}
}

// AnswerCalls answers several at once, and waits for the last.
func TestCallsAreAnsweredAtOnce(t *testing.T) {
	b := startBroker(t, t.TempDir(), "127.0.0.1:0")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var both sync.WaitGroup
	both.Add(2)
	ready, done := make(chan struct{}), make(chan error, 1)
	nc := connect(t, b.URL(), "control")
	go func() {
		done <- natslog.AnswerCalls(ctx, nc, "control", func(q []byte) []byte {
			both.Done()
			both.Wait()
			return q
		}, func() { close(ready) })
	}()
	<-ready
	ask := natslog.Asker(connect(t, b.URL(), "ams"))
	var asking sync.WaitGroup
	for _, text := range []string{"one", "two"} {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if got, err := ask(ctx, "control", []byte(text)); err != nil || string(got) != text {
				t.Errorf("%s: %s, %v", text, got, err)
			}
		})
	}
	asking.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
