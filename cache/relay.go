package cache

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// relay copies a body from upstream that goes past the store. Upstream has
// patience for each of its next bytes, as it has in a fill, and then stop ends
// its request. How long the client takes for them is for whoever writes to it to
// bound.
func relay(w io.Writer, body io.Reader, patience time.Duration, stop context.CancelCauseFunc) (int64, error) {
	b := &watchedBody{body: body, patience: patience}
	b.stall = time.AfterFunc(patience, func() {
		b.late.Store(true)
		stop(errStalled)
	})
	defer b.stall.Stop()
	return io.Copy(w, b)
}

// watchedBody is a body whose next bytes have to come in time.
type watchedBody struct {
	body     io.Reader
	patience time.Duration
	stall    *time.Timer
	late     atomic.Bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.stall.Reset(b.patience)
	n, err := b.body.Read(p)
	b.stall.Stop()
	if err != nil && err != io.EOF && b.late.Load() {
		err = errStalled // upstream's transport says "context canceled"
	}
	return n, err
}
