package shield

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// watchedBody is the body of an answer of one of several shields. A read that waits
// for long makes the shield be asked whether it is there, as a wait for the header
// does: one that is gone in the middle of a body is noticed within seconds, and not
// only when the fill stalls. What has been sent of a body is not asked for again
// elsewhere.
type watchedBody struct {
	io.ReadCloser
	attempt *attempt
	// waiting is when the read that waits now began, in nanoseconds since 1970; 0
	// while none does.
	waiting atomic.Int64
	stop    context.CancelFunc
	stopped chan struct{}
}

// watchBody has a response's body watched until it is closed. giveUp ends the
// request.
func (a *attempt) watchBody(ctx context.Context, giveUp context.CancelCauseFunc, response *http.Response) {
	if response.Body == nil || response.Body == http.NoBody || response.StatusCode == http.StatusSwitchingProtocols {
		return
	}
	b := &watchedBody{ReadCloser: response.Body, attempt: a, stopped: make(chan struct{})}
	response.Body = b
	ctx, b.stop = context.WithCancel(ctx)
	go func() {
		defer close(b.stopped)
		a.watch(ctx, giveUp, b.silent)
	}()
}

// silent says whether a read has waited for long.
func (b *watchedBody) silent() bool {
	since := b.waiting.Load()
	return since > 0 && time.Since(time.Unix(0, since)) >= silenceMax
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.waiting.Store(time.Now().UnixNano())
	n, err := b.ReadCloser.Read(p)
	b.waiting.Store(0)
	if n > 0 {
		b.attempt.peer.heard.Store(time.Now().UnixNano())
	}
	if err != nil && b.attempt.gone.Load() {
		err = errors.Join(silent{}, err)
	}
	return n, err
}

// Close ends the watch, and then the body.
func (b *watchedBody) Close() error {
	b.stop()
	<-b.stopped
	return b.ReadCloser.Close()
}
