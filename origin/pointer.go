package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"weir/origin/release"
)

const (
	pointerAgeMax = 30 * time.Second
	// absentAgeMax is how long it is believed, when a path is missing, that there
	// is no pointer: buckets that never have one must not pay for it.
	absentAgeMax = time.Second
	// pointerTimeout bounds one reading, of a pointer and its manifest.
	pointerTimeout = 60 * time.Second
)

var errReaderClosed = errors.New("the node is stopping")

// pointerView is what a pointer led to.
type pointerView struct {
	manifest *release.Manifest // nil: the bucket has no pointer
	sum      release.Sum       // of the manifest
	etag     string            // of the pointer; "" for none

	// Of the moment before the reading began.
	began   time.Time
	epoch   string
	applied uint64
}

// reading is one reading of the pointer and its manifest, for all who wait.
// Whoever asked for news alone gets it alone.
type reading struct {
	done chan struct{}
	view *pointerView
	err  error
}

// pointerReader reads a bucket's pointer for many requests at once. One reading
// runs at a time. It is for those who came before it began; who comes later waits
// for the next, which begins when it ends. So two readings' time bounds every
// wait, and however many requests there are, the bucket sees one small GET after
// the other.
type pointerReader struct {
	s3     *S3
	o      ReleasesOptions
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	// mu guards what follows.
	mu     sync.Mutex
	closed bool
	// adopted is what requests are answered by for as long as it is usable;
	// newest is what was read last, which may be another release.
	adopted *pointerView
	newest  *pointerView
	next    *reading // has not begun
	runs    bool
}

func (p *pointerReader) start(s3 *S3, o ReleasesOptions) {
	p.s3, p.o = s3, o
	p.ctx, p.cancel = context.WithCancel(context.Background())
}

func (p *pointerReader) close() {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wait.Wait()
}

// view gives what a request that has come may be answered by. waited says that
// it was read since.
func (p *pointerReader) view(ctx context.Context, fresh bool) (v *pointerView, waited bool, err error) {
	r, v, err := p.enter(fresh)
	if r == nil || err != nil {
		return v, false, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if r.err != nil && !fresh {
		// Age alone is no reason to fail.
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.inStep(p.adopted) {
			return p.adopted, false, nil
		}
	}
	return r.view, true, r.err
}

// enter gives the view that is known, if it will do, or the reading to wait for.
func (p *pointerReader) enter(fresh bool) (*reading, *pointerView, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !fresh && p.usable(p.adopted) {
		return nil, p.adopted, nil
	}
	if p.closed {
		return nil, nil, errReaderClosed
	}
	if p.next == nil {
		p.next = &reading{done: make(chan struct{})}
	}
	r := p.next
	if !p.runs {
		p.runs = true
		p.wait.Go(p.run)
	}
	return r, nil, nil
}

// usable says whether a view is new enough for a request that has come; see
// Releases.
func (p *pointerReader) usable(v *pointerView) bool {
	return p.inStep(v) && time.Since(v.began) <= p.o.AgeMax
}

// inStep says whether nothing has been purged since a view's reading began.
func (p *pointerReader) inStep(v *pointerView) bool {
	if v == nil || p.o.Position == nil {
		return false
	}
	epoch, applied := p.o.Position()
	return epoch == v.epoch && applied == v.applied
}

// run reads as long as somebody waits.
func (p *pointerReader) run() {
	for {
		p.mu.Lock()
		r, newest := p.next, p.newest
		p.next = nil
		if r == nil {
			p.runs = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()

		r.view, r.err = p.read(newest)
		if r.err == nil {
			p.learn(r.view)
		}
		close(r.done)
	}
}

// learn keeps what was read. It takes the place of what is adopted only if that
// may not be used any more: a release that is switched to, and whose purge has not
// come yet, would be answered beside what is stored of the one before.
func (p *pointerReader) learn(v *pointerView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest = v
	if !p.usable(p.adopted) || p.adopted.sum == v.sum {
		p.adopted = v
	}
}

// read reads the pointer and, if it names another manifest than is known, that.
// A manifest that is gone has been replaced since its pointer was read: one more
// try tells.
func (p *pointerReader) read(known *pointerView) (v *pointerView, err error) {
	ctx, cancel := context.WithTimeout(p.ctx, pointerTimeout)
	defer cancel()
	for range 2 {
		if v, err = p.readOnce(ctx, known); !errors.Is(err, errManifestGone) {
			return v, err
		}
	}
	return v, err
}

var errManifestGone = errors.New("the bucket does not have the manifest that its pointer names")

func (p *pointerReader) readOnce(ctx context.Context, known *pointerView) (*pointerView, error) {
	v := &pointerView{began: time.Now()}
	if p.o.Position != nil {
		v.epoch, v.applied = p.o.Position()
	}
	etag := ""
	if known != nil {
		etag = known.etag
	}
	got, err := p.s3.read(ctx, release.PointerKey, etag, release.PointerBytesMax)
	switch {
	case err != nil:
		return nil, err
	case got.status == http.StatusNotModified && etag != "":
		v.manifest, v.sum, v.etag = known.manifest, known.sum, known.etag
		return v, nil
	case got.status == http.StatusNotFound && got.code != "NoSuchBucket":
		return v, nil
	case got.status == http.StatusForbidden && (known == nil || known.manifest == nil):
		// To keys that may not list a bucket, stores say so of what is not there.
		return v, nil
	case got.status != http.StatusOK:
		return nil, fmt.Errorf("read %s: the store answered %d%s", release.PointerKey, got.status, named(got.code))
	}
	pointer, err := release.DecodePointer(got.body)
	if err != nil {
		return nil, err
	}
	v.etag, v.sum = got.etag, pointer.CurrentRef().Manifest
	if known != nil && known.manifest != nil && known.sum == v.sum {
		v.manifest = known.manifest
		return v, nil
	}
	v.manifest, err = p.readManifest(ctx, v.sum)
	return v, err
}

func (p *pointerReader) readManifest(ctx context.Context, sum release.Sum) (*release.Manifest, error) {
	key := release.ManifestKey(sum)
	got, err := p.s3.read(ctx, key, "", release.ManifestBytesMax)
	switch {
	case err != nil:
		return nil, err
	case got.status == http.StatusNotFound:
		return nil, fmt.Errorf("%w, %s", errManifestGone, key)
	case got.status != http.StatusOK:
		return nil, fmt.Errorf("read %s: the store answered %d%s", key, got.status, named(got.code))
	case release.SumOf(got.body) != sum:
		return nil, fmt.Errorf("read %s: its content has another hash", key)
	}
	return release.DecodeManifest(got.body)
}

// read is a small object of the site's own, whole.
type smallObject struct {
	status int
	etag   string
	code   string // of the store's error
	body   []byte
}

// read reads an object below the prefix into memory, unless it has the entity
// tag given.
func (s *S3) read(ctx context.Context, key, etag string, bytesMax int64) (smallObject, error) {
	req := (&http.Request{Method: http.MethodGet, URL: &url.URL{}, Header: http.Header{}}).WithContext(ctx)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := s.transport.RoundTrip(s.signed(req, s.opts.Prefix+key))
	if err != nil {
		return smallObject{}, fmt.Errorf("read %q: %w", s.opts.Prefix+key, err)
	}
	got := smallObject{status: resp.StatusCode, etag: resp.Header.Get("Etag")}
	if resp.StatusCode != http.StatusOK {
		got.code = s3ErrorCode(resp)
		return got, nil
	}
	defer discard(resp.Body)
	if got.body, err = io.ReadAll(io.LimitReader(resp.Body, bytesMax+1)); err == nil && int64(len(got.body)) > bytesMax {
		err = fmt.Errorf("longer than %d bytes", bytesMax)
	}
	if err != nil {
		return got, fmt.Errorf("read %q: %w", s.opts.Prefix+key, err)
	}
	return got, nil
}

// keyURL is the URL of a key.
func keyURL(key string) *url.URL { return &url.URL{Path: "/" + key} }
