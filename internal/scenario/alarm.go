package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// alarm is where the servers log. It keeps what no script can want, a handler
// that panicked, and drops the rest, which the answers tell.
type alarm struct {
	mu     sync.Mutex
	panics []string
}

func (a *alarm) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write takes one line of a log.
func (a *alarm) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic serving")) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.panics = append(a.panics, string(line))
	}
	return len(line), nil
}

// raised gives the panics as an error, or nil.
func (a *alarm) raised() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.panics) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", errPanicked, strings.Join(a.panics, ""))
}

var errPanicked = errors.New("a handler panicked")
