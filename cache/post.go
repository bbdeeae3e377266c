package cache

import (
	"context"
	"io"
	"net/http"
	"time"

	"weir/cache/rfc9111"
	"weir/storage"
)

// unsafeFill is what a fill needs to know if the response to a POST turns out to
// be the target's new representation (RFC 9110 section 9.3.3): how things were
// before the request left.
type unsafeFill struct {
	epoch string
	stamp uint64
	group uint64
	asked time.Time
}

func (e *Engine) beforePost() unsafeFill {
	epoch, applied := e.Purges.Position()
	return unsafeFill{epoch: epoch, stamp: applied, group: e.groups.stamp(), asked: e.now()}
}

// keep stores the response to a POST for later requests of GET, while it goes
// out to the client who posted. It gives the body that the client reads instead.
func (t *transaction) keep(before unsafeFill, out *http.Request, response *http.Response) {
	if t.req.Method != http.MethodPost || t.req.Normalise == nil || t.req.Bypass || unkeyed(t.req, out.Header) {
		return
	}
	located := rfc9111.Located(t.req.Host, t.req.Target, response.Header, t.req.Normalise)
	if rfc9111.StorablePost(t.req.Fields, response.StatusCode, response.Header, located, t.req.Site.Policy) != rfc9111.CanStore {
		return
	}
	primary := t.req.keyText()
	f := &fill{
		e: t.e, req: t.req, primary: primary, key: storage.KeyOf(primary),
		epoch: before.epoch, stamp: before.stamp, grouped: before.group, began: before.asked,
		out: out, cancel: func(error) {}, ready: make(chan struct{}),
	}
	f.refs.Store(2)
	if !t.e.beginKept(f) {
		return
	}
	arrived := t.e.now()
	m := f.newMeta(response.StatusCode, rfc9111.StoredFields(response.Header),
		rfc9111.NewStored(response.StatusCode, response.Header, before.asked, arrived, t.req.Site.Policy), response)
	why := f.store(m, response)
	close(f.ready)
	if why != ReasonNone {
		f.settled()
		t.e.ended()
		return
	}
	t.ans.kept = true
	body := response.Body
	response.Body = &keptBody{ctx: t.ctx, fill: f, reader: f.stream.attach()}
	go f.copyKept(body)
}

// unkeyed says whether the origin of a request that is passed has seen what a
// fill would not have told it, so that the answer is for nobody else: fields in
// which a fill has no trust, or more of what the site has in its keys.
func unkeyed(r *Request, sent http.Header) bool {
	if r.Extra != "" {
		return true
	}
	for name := range sent {
		if rfc9111.TrustOf(name) == rfc9111.TrustUnsafe {
			return true
		}
	}
	return false
}

// copyKept is the goroutine of a fill that took over a response. Its request is
// the client's own, and ends with it.
func (f *fill) copyKept(body io.ReadCloser) {
	defer f.e.ended()
	defer f.release()
	stall := time.AfterFunc(f.e.StallTimeout, func() { _ = body.Close() })
	defer stall.Stop()
	closing := context.AfterFunc(f.e.ctx, func() { _ = body.Close() })
	defer closing()
	err := f.copy(body, stall)
	_ = body.Close()
	f.land(err)
}

// beginKept registers the fill, so that the next unsafe request keeps it from
// landing. It gives way to one that runs: that began after the answer came.
func (e *Engine) beginKept(f *fill) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.fills[f.key] != nil || e.FillsRunning() >= e.FillsMax {
		return false
	}
	f.keys = []storage.Key{f.key}
	e.fills[f.key] = f
	e.storing[f] = struct{}{}
	e.running.Add(1)
	e.count.Add(1)
	return true
}

// ended counts a fill out.
func (e *Engine) ended() {
	e.count.Add(-1)
	e.running.Done()
}

// keptBody is the response's body as the store's writer has it.
type keptBody struct {
	ctx    context.Context
	fill   *fill
	reader *reader
	at     int64
}

func (b *keptBody) Read(p []byte) (int, error) {
	if b.reader == nil {
		return 0, io.ErrClosedPipe
	}
	n, err := b.reader.next(b.ctx, p, b.at)
	b.at += int64(n)
	return n, err
}

func (b *keptBody) Close() error {
	if b.reader != nil {
		b.reader.leave()
		b.fill.release()
		b.reader = nil
	}
	return nil
}
