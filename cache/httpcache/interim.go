package httpcache

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"weir/cache/rfc9111"
)

// interimMax bounds the interim responses of one request.
const interimMax = 100

// interimTimeout bounds the writing of one. It is short, because a fill that
// others wait for stands still meanwhile.
const interimTimeout = time.Second

var errInterimFlood = errors.New("upstream sent more than 100 interim responses")

// interim relays upstream's 1xx responses (RFC 9110 section 15.2) while the
// client waits for its own. They arrive in a goroutine of the transport, which
// goes on after the handler has answered if the request was for a fill: stop
// ends the relay, and nothing is written after it has returned.
type interim struct {
	control *http.ResponseController
	seen    atomic.Int64

	// mu guards w and whatever is written to it until stop. The client has
	// interimTimeout for each write under it.
	mu sync.Mutex
	w  http.ResponseWriter // nil once stopped
}

// newInterim makes the relay of one request. A client of HTTP/1.0 knows no
// interim responses: its relay is stopped from the beginning.
func newInterim(w http.ResponseWriter, r *http.Request, control *http.ResponseController) *interim {
	i := &interim{control: control}
	if r.ProtoAtLeast(1, 1) {
		i.w = w
	}
	return i
}

// stop ends the relay.
func (i *interim) stop() {
	i.mu.Lock()
	i.w = nil
	i.mu.Unlock()
}

// traced gives a context whose requests tell the relay of interim responses.
func (i *interim) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: i.got})
}

// got takes one interim response. A 100 is for this node, which asked for the
// body; the client gets one of its own when its body is read. An error ends the
// exchange with upstream.
func (i *interim) got(status int, fields textproto.MIMEHeader) error {
	if i.seen.Add(1) > interimMax {
		return errInterimFlood
	}
	if status == http.StatusContinue {
		return nil
	}
	header := http.Header(fields).Clone()
	rfc9111.EndToEnd(header)
	dropInternal(header)
	header.Del("Content-Length")
	i.send(status, header)
	return nil
}

// send writes one interim response. What the handler and those around it have
// put into the final header does not go out with it.
func (i *interim) send(status int, fields http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.w == nil {
		return
	}
	_ = i.control.SetWriteDeadline(time.Now().Add(interimTimeout))
	header := i.w.Header()
	final := maps.Clone(header)
	clear(header)
	maps.Copy(header, fields)
	i.w.WriteHeader(status)
	clear(header)
	maps.Copy(header, final)
	_ = i.control.SetWriteDeadline(time.Time{}) // or on HTTP/2 the wait would end with it
}

// goOn tells the client to send its body (RFC 9110 section 10.1.1).
func (i *interim) goOn() { i.send(http.StatusContinue, nil) }
