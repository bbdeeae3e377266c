package origin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/origin/release"
)

// freshField is cache.FreshField: the request asks for what there is now.
const freshField = "Weir-Fresh"

// Releases answers for a bucket that `weir deploy` fills: a path is looked up in
// the current release's manifest, and its content read by its hash. A bucket
// without a pointer is served as it is. What belongs to releases is never served
// by its own name.
//
//	the path                         answer
//	has a segment ".weir"            404
//	is in the current release        its content, with the manifest's type, lifetimes and ETag
//	is not                           404
//	and there is no pointer          as S3 says
//
// Each answer from a release has the path's tag (release.Tag) as Surrogate-Key.
//
// # Which pointer a request is answered by
//
// An object's stamp says that it is as new as a purge. So whatever release a
// fill is answered from must have been current at some moment after the purge of
// its stamp was accepted. A pointer is new enough if its reading began after the
// request came, and also if the node had applied by then, before that reading
// began, what it has applied now: the fill's stamp is not above that, and what
// was applied had been accepted.
//
// Beyond that, old is better than new: a node that goes on with the old release
// until it applies the purge of the switch switches both at once, what it fetches
// and what it has stored. It takes a newer one without a purge when what it has is
// older than AgeMax, since a purge may be lost with its log. And it looks for a
// newer one, for one request alone,
//   - before it says that there is no such path, or that an object is gone: a
//     page of the new release may have come by another node;
//   - when the request asks for what there is now.
//
// A bucket without a pointer is looked at for that once a second at most.
type Releases struct {
	o       ReleasesOptions
	s3      *S3
	pointer pointerReader
}

// ReleasesOptions is what Releases knows of its node.
type ReleasesOptions struct {
	// Position is the purge log that the node follows and the newest version in
	// force. Default: no pointer is used for two requests, unless both wait for
	// it.
	Position func() (epoch string, applied uint64)
	// AgeMax is how long a pointer is used at most. Default 30 s.
	AgeMax time.Duration
}

// NewReleases makes the origin over a bucket.
func NewReleases(s3 *S3, o ReleasesOptions) *Releases {
	if o.AgeMax <= 0 {
		o.AgeMax = pointerAgeMax
	}
	r := &Releases{o: o, s3: s3}
	r.pointer.start(s3, o)
	return r
}

// Close ends the reading of pointers and manifests, and waits for it.
func (r *Releases) Close() error {
	r.pointer.close()
	return nil
}

// RoundTrip answers a GET or HEAD by the current release; see S3.RoundTrip.
func (r *Releases) RoundTrip(req *http.Request) (*http.Response, error) {
	if release.Reserved(req.URL.Path) {
		closeBody(req)
		return localResponse(req, http.StatusNotFound, "", "no such object"), nil
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead || asksUpgrade(req.Header) {
		return r.s3.RoundTrip(req)
	}
	key, refused := objectKey(req.URL, r.s3.opts.Prefix)
	if refused != nil {
		closeBody(req)
		return refused.response(req), nil
	}
	key = strings.TrimPrefix(key, r.s3.opts.Prefix)
	for fresh := req.Header.Get(freshField) != ""; ; fresh = true {
		v, waited, err := r.pointer.view(req.Context(), fresh)
		if err != nil {
			closeBody(req)
			return nil, fmt.Errorf("origin release: %s %q: %w", req.Method, key, err)
		}
		resp, err := r.answer(req, key, v.manifest)
		// By an older pointer, that something is missing is not known yet.
		missing := errors.Is(err, errContentGone) || err == nil && resp.StatusCode == http.StatusNotFound
		if !missing || waited && err == nil || v.manifest == nil && time.Since(v.began) < absentAgeMax {
			return resp, err
		}
		if waited {
			return localResponse(req, http.StatusBadGateway, noStore, "the release names a content that the bucket does not have"), nil
		}
		if err == nil {
			discard(resp.Body)
		}
	}
}

// errContentGone says that a manifest names what is not in the bucket: it may
// have been swept since.
var errContentGone = errors.New("the content is gone")

// answer answers by one manifest, nil for a bucket without releases.
func (r *Releases) answer(req *http.Request, key string, m *release.Manifest) (*http.Response, error) {
	if m == nil {
		return r.s3.RoundTrip(req)
	}
	closeBody(req)
	e := m.Find(key)
	if e == nil {
		resp := localResponse(req, http.StatusNotFound, "", "no such object")
		resp.Header.Set("Surrogate-Key", release.Tag(key))
		return resp, nil
	}
	if status := precondition(req.Header, e.ETag()); status != 0 {
		return entryResponse(req, status, e), nil
	}
	if req.Method == http.MethodHead {
		return entryResponse(req, http.StatusOK, e), nil
	}
	return r.content(req, e)
}

// content reads an entry's object.
func (r *Releases) content(req *http.Request, e *release.Entry) (*http.Response, error) {
	ask := (&http.Request{Method: http.MethodGet, URL: req.URL, Header: http.Header{}}).WithContext(req.Context())
	if condition := req.Header["If-Range"]; len(condition) == 0 || len(condition) == 1 && condition[0] == e.ETag() {
		if values := req.Header["Range"]; len(values) == 1 && e.Bytes > 0 {
			ask.Header["Range"] = values
		}
	}
	object := r.s3.opts.Prefix + release.ObjectKey(e.Sum)
	stored, err := r.s3.transport.RoundTrip(r.s3.signed(ask, object))
	if err != nil {
		return nil, fmt.Errorf("origin release: GET %q of %q: %w", object, e.Key, err)
	}
	resp := r.s3.answer(req, stored)
	resp.Request = req
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		if resp.StatusCode == http.StatusOK && resp.ContentLength != e.Bytes {
			discard(resp.Body)
			return localResponse(req, http.StatusBadGateway, noStore,
				fmt.Sprintf("the bucket has %d bytes of a content that has %d", resp.ContentLength, e.Bytes)), nil
		}
		described := entryHeader(e)
		for _, name := range [...]string{"Content-Length", "Content-Range", "Date"} {
			if values := resp.Header[name]; len(values) > 0 {
				described[name] = values
			}
		}
		resp.Header = described
	case http.StatusNotFound:
		discard(resp.Body)
		return nil, fmt.Errorf("origin release: GET %q of %q: %w", object, e.Key, errContentGone)
	case http.StatusRequestedRangeNotSatisfiable:
		resp.Header.Set("Etag", e.ETag())
		resp.Header.Set("Surrogate-Key", release.Tag(e.Key))
	}
	return resp, nil
}

// entryHeader gives the fields that a release says of a path. There is no
// Last-Modified: after a rollback it would be older than what clients have, and
// make If-Modified-Since lie.
func entryHeader(e *release.Entry) http.Header {
	h := http.Header{
		"Accept-Ranges": {"bytes"}, "Cache-Control": {e.Cache}, "Content-Type": {e.Type}, "Etag": {e.ETag()},
		"Surrogate-Key": {release.Tag(e.Key)},
	}
	if e.Edge != "" {
		h.Set("Surrogate-Control", e.Edge)
	}
	return h
}

// entryResponse is one that needs no content: to a HEAD, or to a condition.
func entryResponse(req *http.Request, status int, e *release.Entry) *http.Response {
	resp := localResponse(req, status, "", "")
	resp.Body, resp.ContentLength = http.NoBody, 0
	date := resp.Header.Get("Date")
	resp.Header = entryHeader(e)
	resp.Header.Set("Date", date)
	switch status {
	case http.StatusOK:
		resp.ContentLength = e.Bytes
		resp.Header.Set("Content-Length", strconv.FormatInt(e.Bytes, 10))
	case http.StatusPreconditionFailed:
		resp.Header.Del("Content-Type")
		resp.Header.Del("Surrogate-Control")
		resp.Header.Set("Cache-Control", noStore)
		resp.Header.Set("Content-Length", "0")
	}
	return resp
}

// precondition evaluates a request's conditions on entity tags: 304, 412 or 0
// (RFC 9110 section 13.2.2). Those on dates do not count where there is no
// Last-Modified.
func precondition(h http.Header, etag string) int {
	if values := h["If-Match"]; len(values) > 0 && !namesTag(values, etag, false) {
		return http.StatusPreconditionFailed
	}
	if values := h["If-None-Match"]; len(values) > 0 && namesTag(values, etag, true) {
		return http.StatusNotModified
	}
	return 0
}

// namesTag says whether a list of entity tags has one of a release's, in which
// there are no commas.
func namesTag(values []string, etag string, weak bool) bool {
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			tag = strings.Trim(tag, " \t")
			if weak {
				tag = strings.TrimPrefix(tag, "W/")
			}
			if tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

// addTags gives a response the tags of another that it depends on: each one's
// purge reaches it.
func addTags(to, from http.Header) {
	for _, name := range [...]string{"Surrogate-Key", "Cache-Tag"} {
		if values := from[name]; len(values) > 0 {
			to[name] = append(to[name][:len(to[name]):len(to[name])], values...)
		}
	}
}

// CheckKey says why no origin would serve the object of a key, or nil.
func CheckKey(key string) error {
	if release.Reserved(key) {
		return fmt.Errorf("a folder named %s is kept for releases", release.Dir)
	}
	if _, refused := objectKey(keyURL(key), ""); refused != nil {
		return refused
	}
	return nil
}
