package chaos

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"weir/internal/history"
)

const (
	// readTimeout is longer than any wait that weir promises to end.
	readTimeout = 20 * time.Second
	// readPause is between two reads of one reader, at most.
	readPause = 40 * time.Millisecond
	// bodyBytesMax is more than any content has.
	bodyBytesMax = 4 << 20
	// failedPause is after a read that got nothing, so that a PoP that is away does
	// not make up most of what is counted.
	failedPause = 200 * time.Millisecond
	// readersEach is how many there are of a PoP and protocol.
	readersEach = 2
	// quicIdle is how long a QUIC connection may be silent: one to a process that
	// was killed says nothing.
	quicIdle = 4 * time.Second
)

// protocols are what every PoP is read over, each by a reader of its own.
var protocols = []string{"HTTP/1.1", "HTTP/2", "HTTP/3"}

// reader asks one PoP over one version of HTTP, one request after the other.
type reader struct {
	w        *world
	pop      *pop
	protocol string
	base     string
	random   *rand.Rand
	client   http.RoundTripper
	close    func()
}

func newReader(w *world, p *pop, protocol string, random *rand.Rand) *reader {
	r := &reader{w: w, pop: p, protocol: protocol, random: random, base: "https://" + p.https}
	trust := &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12}
	dial := (&net.Dialer{Timeout: readTimeout}).DialContext
	switch protocol {
	case "HTTP/1.1":
		t := &http.Transport{DialContext: dial, DisableCompression: true}
		r.base, r.client, r.close = "http://"+p.http, t, t.CloseIdleConnections
	case "HTTP/2":
		t := &http.Transport{DialContext: dial, DisableCompression: true, TLSClientConfig: trust, Protocols: new(http.Protocols)}
		t.Protocols.SetHTTP2(true)
		r.client, r.close = t, t.CloseIdleConnections
	default:
		t := &http3.Transport{TLSClientConfig: trust, DisableCompression: true, QUICConfig: &quic.Config{
			HandshakeIdleTimeout: quicIdle, MaxIdleTimeout: quicIdle, KeepAlivePeriod: quicIdle / 4,
		}}
		r.client, r.close = t, func() { _ = t.Close() }
	}
	return r
}

// loadRoots reads the authority that the PoPs' certificate is from.
func (w *world) loadRoots() error {
	text, err := os.ReadFile(w.authority.File())
	if err != nil {
		return err
	}
	w.roots = x509.NewCertPool()
	if !w.roots.AppendCertsFromPEM(text) {
		return errors.New("the lab's authority has no certificate")
	}
	return nil
}

func (r *reader) run(ctx context.Context) {
	defer r.close()
	for sleep(ctx, time.Duration(r.random.Int64N(int64(readPause)))) {
		if !r.read(ctx, r.w.origin.choose(r.random), r.draw) {
			sleep(ctx, failedPause) // a client would go elsewhere by now
		}
	}
}

// draw makes some requests ask for a part, and some for another coding.
func (r *reader) draw(c *content, header http.Header) {
	switch n := r.random.IntN(8); {
	case n < 2 && c.lines > 17000:
		parts := []string{"0-4095", "-4096", "1040000-1060000", "1000-"}
		header.Set("Range", "bytes="+parts[r.random.IntN(len(parts))])
	case n < 4:
		header.Set("Accept-Encoding", "gzip")
	}
}

// read makes one request, and holds what comes against the history. It tells
// whether there was an answer with content.
func (r *reader) read(ctx context.Context, c *content, draw func(*content, http.Header)) bool {
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(reading, http.MethodGet, r.base+c.path, nil)
	if err != nil {
		r.w.report.broken(err)
		return false
	}
	request.Host = c.host
	draw(c, request.Header)
	what := fmt.Sprintf("%s GET %s %s", r.protocol, c.key(), strings.TrimPrefix(request.Header.Get("Range"), "bytes="))
	began := time.Now()
	seen := r.w.history.Begin(r.pop.name, c.key(), strings.TrimSpace(what), began)
	got := r.exchange(request, c)
	now := time.Now()
	if ctx.Err() != nil {
		return false // the run is over, and cut this read short
	}
	got.answer.Note = fmt.Sprintf("%d, %s", got.status, got.answer.Note)
	if err := errors.Join(got.wrong, seen.End(got.answer, now)); err != nil {
		r.w.report.broken(err)
	}
	if got.failure != "" {
		f := failed{pop: r.pop.name, failure: got.failure, from: began, to: now, what: fmt.Sprintf("%s: %s %s", what, got.answer.Note, got.why)}
		f.replaced = got.status == http.StatusPartialContent && len(got.answer.Values) > 0 && got.answer.Values[0] < r.w.origin.newest(c.key())
		r.w.report.failed(f, r.w.cause(f))
		return false
	}
	r.w.report.read(got.outcome)
	return true
}

// exchanged is what has come of a request.
type exchanged struct {
	status  int
	answer  history.Answer
	outcome string
	failure failure
	why     string
	wrong   error // what no failure explains: bytes that are not the content's
}

func (r *reader) exchange(request *http.Request, c *content) (x exchanged) {
	response, err := r.client.RoundTrip(request)
	if err != nil {
		return exchanged{failure: failureOf(err, noAnswer), why: err.Error()}
	}
	defer func() { _ = response.Body.Close() }()
	x.status = response.StatusCode
	lines := response.Header.Values("Cache-Status")
	x.answer, x.outcome = history.FromCacheStatus(lines), outcomeOf(lines)
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyBytesMax))
	switch {
	case x.status >= http.StatusInternalServerError:
		x.failure, x.why = refusal, response.Header.Get("Proxy-Status")
		return x
	case x.status != http.StatusOK && x.status != http.StatusPartialContent:
		x.failure, x.why = unexpected, string(body[:min(len(body), 100)])
		return x
	case err != nil:
		x.failure, x.why = failureOf(err, brokenBody), err.Error()
	}
	x.read(response, c, body)
	return x
}

func failureOf(err error, other failure) failure {
	var timeout net.Error
	var reset http2.StreamError
	var reset3 *http3.Error
	switch {
	case errors.As(err, &reset), errors.As(err, &reset3) && reset3.Remote:
		return brokenBody
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return tooLate
	}
	return other
}

// read takes the values out of a body. One that came to its end must be whole.
func (x *exchanged) read(response *http.Response, c *content, body []byte) {
	whole := x.failure == ""
	if response.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gunzip(body)
		if err != nil && whole {
			x.wrong = fmt.Errorf("%s: a gzip body that cannot be read: %w; %s", c.key(), err, x.answer.Note)
		}
		body = unpacked
	}
	first, want := 0, c.lines*lineBytes
	if x.status == http.StatusPartialContent {
		var last, size int
		if _, err := fmt.Sscanf(response.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &size); err != nil || size != want {
			x.wrong = fmt.Errorf("%s: Content-Range %q of %d bytes", c.key(), response.Header.Get("Content-Range"), want)
			return
		}
		want = last + 1 - first
	}
	if whole && x.wrong == nil && len(body) != want {
		x.wrong = fmt.Errorf("%s: %d bytes and no error; want %d; %s", c.key(), len(body), want, x.answer.Note)
	}
	skip := (lineBytes - first%lineBytes) % lineBytes
	for body = body[min(skip, len(body)):]; len(body) >= lineBytes; body = body[lineBytes:] {
		value, err := parseLine(string(body[:lineBytes]), c.key())
		if err != nil {
			x.wrong = fmt.Errorf("%w; %s", err, x.answer.Note)
			return
		}
		x.answer.Values = append(x.answer.Values, value)
	}
}

// gunzip gives what can be read of a body.
func gunzip(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, bodyBytesMax))
}
