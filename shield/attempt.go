package shield

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weir/cache"
)

// silent is the error of an attempt at a shield that is not there any more.
type silent struct{}

func (silent) Error() string   { return "the shield answers nobody" }
func (silent) Timeout() bool   { return true }
func (silent) Temporary() bool { return true }

// attempt is one request to one of several shields.
type attempt struct {
	client  *Client
	peer    *peer
	request *http.Request
	// reached says that a connection was there: from then on the shield may
	// have seen the request, and its body is the transport's.
	reached atomic.Bool
	gone    atomic.Bool // it was given up since the shield is not there
}

// run sends the request. The context that it goes out with ends early only if
// the shield turns out to be gone; otherwise it lives as long as the request's own,
// which the body needs.
func (a *attempt) run() (*http.Response, error) {
	ctx, giveUp := context.WithCancelCause(a.request.Context())
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { a.reached.Store(true) },
	})
	out := a.request.WithContext(traced)
	if out.Body != nil && out.Body != http.NoBody {
		out.Body = &heldBody{out.Body, &a.reached}
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		a.watch(watching, giveUp, func() bool { return true })
	}()
	mark := a.peer.retry()
	response, err := a.client.send(a.peer, out)
	stop()
	<-watched
	if err == nil {
		a.client.compare(a.peer, mark, response.Header)
		a.watchBody(ctx, giveUp, response)
		return response, nil
	}
	giveUp(nil)
	switch {
	case a.gone.Load():
		err = errors.Join(silent{}, err)
	case !a.reached.Load() && a.request.Context().Err() == nil:
		a.client.fail(a.peer)
	}
	return nil, err
}

// watch gives the attempt up once the shield, while it is silent, is not there any
// more.
func (a *attempt) watch(ctx context.Context, giveUp context.CancelCauseFunc, silence func() bool) {
	tick := time.NewTicker(silenceMax)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if silence() && !a.client.there(ctx, a.peer) {
			a.gone.Store(true)
			a.client.fail(a.peer)
			giveUp(silent{})
			return
		}
	}
}

// elsewhere says whether the request may be sent to the next shield after err.
func (a *attempt) elsewhere(err error) bool {
	r := a.request
	if r.Context().Err() != nil {
		return false
	}
	if !a.reached.Load() {
		return true
	}
	if !a.repeatable() {
		return false
	}
	// What waited for the header in vain waited for an origin: the shield is
	// there, or the attempt would have been given up.
	var late net.Error
	return a.gone.Load() || !errors.As(err, &late) || !late.Timeout()
}

// repeatable says whether it does no harm to send the request twice.
func (a *attempt) repeatable() bool {
	r := a.request
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	return safe && (r.Body == nil || r.Body == http.NoBody) && len(r.Header["Upgrade"]) == 0
}

// refuses says whether the answer is that of a shield which has lost the purge log
// and is told to refuse then (Options.RefuseUntrusted of the engine): another may have
// it, and the origin has not been asked. Only the shield's own member of Cache-Status
// counts, which is the last.
func refuses(response *http.Response) bool {
	if response.StatusCode != http.StatusServiceUnavailable {
		return false
	}
	status := strings.Join(response.Header.Values("Cache-Status"), ", ")
	own := status[strings.LastIndex(status, ", ")+1:]
	return slices.Contains(strings.Split(own, ";"), "detail="+cache.ReasonUntrusted.String())
}

// heldBody stays open for the next shield where no connection took it.
type heldBody struct {
	io.ReadCloser
	reached *atomic.Bool
}

func (b *heldBody) Close() error {
	if !b.reached.Load() {
		return nil
	}
	return b.ReadCloser.Close()
}
