package httpcache

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"weir/cache/rfc9111"
)

// lingerTimeout bounds how long net/http may read what is left of a body that
// nobody wants, so that its sender gets to read the answer.
const lingerTimeout = 2 * time.Second

var (
	errBodyTooLarge = errors.New("the request's body is larger than this node takes")
	errBodyOver     = errors.New("the request has been answered: its body is not read any more")
)

// bodyState says how far a request's body has come.
//
//	state     entered by                 left by
//	unread    newRequestBody             the first Read, Close, end
//	reading   the first Read             the body's end, an error, Close, end
//	whole     the body's end             -
//	failed    an error, or the limit     -
//	given up  Close, answering, end      -
type bodyState uint8

const (
	bodyUnread bodyState = iota
	bodyReading
	bodyWhole
	bodyFailed
	bodyGivenUp
)

// requestBody is a client's body on its way upstream. It is read as upstream
// takes it, in a goroutine of the transport that can outlive the round trip:
// end makes sure that it does not outlive the handler.
type requestBody struct {
	r       *http.Request
	source  io.ReadCloser
	control *http.ResponseController
	timeout time.Duration // for the client's next bytes
	// late breaks off a Read that takes longer. It is no deadline, since on
	// HTTP/2 one that passes between two Reads ends the body for good.
	late *time.Timer
	// goOn, if set, asks the client for the body before the first Read.
	goOn func()

	// reading is held for the length of a Read, so that end can wait for it.
	// It is taken before mu.
	reading  sync.Mutex
	left     int64       // bytes until the limit; guarded by reading
	peeked   []byte      // read ahead by empty; guarded by reading
	trailers http.Header // of the upstream request, set at the body's end

	// mu guards what follows. Nothing blocks under it.
	mu     sync.Mutex
	state  bodyState
	passed bool // upstream was given the body
	err    error
}

// newRequestBody gives the body of a request, or nil if it has none.
func newRequestBody(r *http.Request, control *http.ResponseController, relay *interim, o *Options) *requestBody {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	b := &requestBody{r: r, source: r.Body, control: control, timeout: o.ReadTimeout, left: o.RequestBytesMax}
	if expectsContinue(r) {
		b.goOn = relay.goOn
	}
	return b
}

// Read gives the body's next bytes.
func (b *requestBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if len(b.peeked) > 0 {
		n := copy(p, b.peeked)
		b.peeked = b.peeked[n:]
		return n, nil
	}
	return b.readLocked(p)
}

func (b *requestBody) readLocked(p []byte) (int, error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	if b.goOn != nil {
		b.goOn()
		b.goOn = nil
	}
	b.watch()
	n, err := b.source.Read(p[:min(int64(len(p)), b.left+1)])
	b.late.Stop()
	if b.left -= int64(n); b.left < 0 {
		n, err = n-1, errBodyTooLarge
	}
	return n, b.leave(err)
}

// watch begins the time that the client has for its next bytes.
func (b *requestBody) watch() {
	if b.late == nil {
		b.late = time.AfterFunc(b.timeout, b.breakOff)
		return
	}
	b.late.Reset(b.timeout)
}

// breakOff makes a Read that is under way fail, and those that follow.
func (b *requestBody) breakOff() { _ = b.control.SetReadDeadline(time.Unix(1, 0)) }

// enter says whether there is anything to read.
func (b *requestBody) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case bodyWhole:
		return io.EOF
	case bodyFailed:
		return b.err
	case bodyGivenUp:
		return errBodyOver
	}
	b.state = bodyReading
	return nil
}

func (b *requestBody) leave(err error) error {
	if err == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == bodyGivenUp:
		return errBodyOver
	case err == io.EOF:
		b.state = bodyWhole
		copyTrailers(b.trailers, b.r.Trailer)
	default:
		b.state, b.err = bodyFailed, err
	}
	return err
}

// pass notes that upstream has been given the body.
func (b *requestBody) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passed = true
}

// Close gives the body up: whoever forwards it needs no more of it.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state <= bodyReading {
		b.state = bodyGivenUp
	}
	return nil
}

// empty reads ahead and says whether there is nothing to send. HTTP/3 does not
// tell a request without a body from one of unknown length.
func (b *requestBody) empty() bool {
	b.reading.Lock()
	defer b.reading.Unlock()
	buf := make([]byte, 1)
	n, err := b.readLocked(buf)
	b.peeked = buf[:n]
	return n == 0 && err == io.EOF
}

// answering is called before the answer's header is written. Two things can
// be left of the body. What upstream still reads goes on while the answer is
// written; on HTTP/1.1 the connection ends with it, as nobody can say where the
// next request would begin. What nobody reads is net/http's to throw away, and
// takes lingerTimeout at most.
func (b *requestBody) answering(header http.Header) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == bodyWhole:
	case !b.passed, b.state == bodyGivenUp:
		b.state = bodyGivenUp
		if b.r.ProtoMajor == 1 {
			_ = b.control.SetReadDeadline(time.Now().Add(lingerTimeout))
		}
	default:
		_ = b.control.EnableFullDuplex() // HTTP/3 needs no leave
		if b.r.ProtoMajor == 1 {
			header.Set("Connection", "close")
		}
	}
}

// end is called when the answer has been written. It breaks off a Read that is
// under way and waits for it. A body that is whole must be left alone: net/http
// listens on the connection then, and takes a deadline for the client's end.
func (b *requestBody) end() {
	if b == nil {
		return
	}
	b.mu.Lock()
	over := b.state == bodyWhole || !b.passed
	if !over {
		if b.state <= bodyReading {
			b.state = bodyGivenUp
		}
		b.breakOff()
	}
	b.mu.Unlock()
	if over {
		return
	}
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.r.ProtoMajor == 1 && !errors.Is(b.err, os.ErrDeadlineExceeded) { // or it has been waited for long enough
		_ = b.control.SetReadDeadline(time.Now().Add(lingerTimeout))
	}
}

// failure says what a body that could not be forwarded whole means for its
// sender, or nil.
func (b *requestBody) failure() *Refusal {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state != bodyFailed:
		return nil
	case errors.Is(b.err, errBodyTooLarge):
		return tooLarge
	case errors.Is(b.err, os.ErrDeadlineExceeded):
		return &Refusal{Status: http.StatusRequestTimeout, Text: "the request's body did not arrive in time"}
	}
	return &Refusal{Status: http.StatusBadRequest, Text: "the request's body ended too early or is malformed"}
}

// tooLarge refuses a body beyond Options.RequestBytesMax.
var tooLarge = &Refusal{
	Status: http.StatusRequestEntityTooLarge, Text: errBodyTooLarge.Error(), Type: rfc9111.ProxyHTTPRequestError,
}
