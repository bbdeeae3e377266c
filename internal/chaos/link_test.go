package chaos

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo is a server that says what it hears.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// said is what comes back of a word within a while: the word, "" for nothing yet,
// or "broken".
func said(c net.Conn, word string, within time.Duration) string {
	if _, err := io.WriteString(c, word); err != nil {
		return "broken"
	}
	return heard(c, len(word), within)
}

func heard(c net.Conn, length int, within time.Duration) string {
	_ = c.SetReadDeadline(time.Now().Add(within))
	back := make([]byte, length)
	_, err := io.ReadFull(c, back)
	if timeout, is := err.(net.Error); is && timeout.Timeout() {
		return ""
	}
	if err != nil {
		return "broken"
	}
	return string(back)
}

func TestLink(t *testing.T) {
	k, err := openLink(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", k.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	const soon, patient = 50 * time.Millisecond, 5 * time.Second
	first := dial()
	if got := said(first, "one", patient); got != "one" {
		t.Errorf("up: %q", got)
	}
	k.set(linkSilent, 0)
	second := dial()
	if got := said(first, "two", soon) + said(second, "new", soon); got != "" {
		t.Errorf("silent: %q", got)
	}
	k.set(linkUp, 0)
	if got := heard(first, 3, patient) + heard(second, 3, patient); got != "twonew" {
		t.Errorf("no longer silent: %q", got)
	}
	k.set(linkUp, 200*time.Millisecond)
	if got := said(first, "late", soon) + heard(first, 4, patient); got != "late" {
		t.Errorf("slow: %q", got)
	}
	k.set(linkCut, 0)
	if got := said(first, "gone", patient); got != "broken" {
		t.Errorf("cut: %q", got)
	}
	if got := said(dial(), "gone", patient); got != "broken" {
		t.Errorf("a new connection while it is cut: %q", got)
	}
	k.set(linkUp, 0)
	if got := said(dial(), "back", patient); got != "back" {
		t.Errorf("up again: %q", got)
	}
}
