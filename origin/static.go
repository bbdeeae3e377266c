package origin

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The usual names of a static site's documents.
const (
	DefaultIndex    = "index.html"
	DefaultNotFound = "/404.html"
)

const (
	// redirectCacheControl is how long the redirect to the slash form may be
	// reused: short, since a file of that name may appear.
	redirectCacheControl = "max-age=60"
	// notFoundBytesMax is the longest body of an upstream's own 404 that is
	// kept while a not-found document is looked for.
	notFoundBytesMax = 64 << 10
)

// Static puts the rules of a static site around an upstream. They apply to GET
// and HEAD that do not ask for another protocol (Upgrade); everything else goes
// to Next as it is. The zero value of each field but Next turns its rule off.
//
//	request           Next says                  answer
//	path ends in "/"  (asked for path + Index)   as Next says
//	any other         not 404                    as Next says
//	any other         404, but path + "/" +      301 to path + "/"
//	                  Index exists
//	any               404                        the not-found document, with status 404
//
// An answer has the tags (Surrogate-Key, Cache-Tag) of everything that Next was
// asked for it: a redirect and a 404 are purged by what they depend on.
type Static struct {
	// Next is the upstream that has the files.
	Next http.RoundTripper
	// Index is the document of a path that ends in a slash, such as
	// "index.html".
	Index string
	// NotFound is the absolute path of the document that is sent with status
	// 404, such as "/404.html".
	NotFound string
	// SlashRedirect sends a client that left out a directory's slash to the
	// path with it. It needs Index.
	SlashRedirect bool
}

// RoundTrip answers by the rules above. Requests that it makes of its own carry
// none of the client's conditions and no Range.
func (s Static) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead || asksUpgrade(req.Header) {
		return s.Next.RoundTrip(req)
	}
	asked, isDir := req, strings.HasSuffix(req.URL.Path, "/")
	if isDir && s.Index != "" {
		asked = atPath(req, req.URL.Path+s.Index, req.URL.EscapedPath()+s.Index)
	}
	resp, err := s.Next.RoundTrip(asked)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	if resp.StatusCode != http.StatusNotFound {
		return resp, nil
	}
	if resp, err = keepNotFound(resp); err != nil {
		return nil, fmt.Errorf("origin static: %s %q: read the 404: %w", req.Method, req.URL.Path, err)
	}
	if !isDir && s.SlashRedirect && s.Index != "" {
		redirect, err := s.slashRedirect(req, resp.Header)
		if redirect != nil || err != nil {
			return redirect, err
		}
	}
	return s.notFound(req, resp), nil
}

// keepNotFound takes the upstream's 404 off its connection, so that the
// requests that follow it do not need a second one: with all connections busy
// holding 404s, each would wait for another to be free.
func keepNotFound(resp *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, notFoundBytesMax+1))
	_ = resp.Body.Close() // All that is wanted of it has been read.
	if err != nil {
		return nil, err
	}
	if len(body) > notFoundBytesMax {
		return localResponse(resp.Request, http.StatusNotFound, resp.Header.Get("Cache-Control"), "not found"), nil
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp, nil
}

// slashRedirect looks for the index of the directory that the path may name. It
// returns neither response nor error if there is none. missing are the fields of
// the path's own 404: they get the tags of what is missing besides.
func (s Static) slashRedirect(req *http.Request, missing http.Header) (*http.Response, error) {
	location := req.URL.EscapedPath() + "/"
	if !isLocalReference(location) {
		return nil, nil
	}
	ask := atPath(req, req.URL.Path+"/"+s.Index, location+s.Index)
	ask.Method = http.MethodHead
	unconditional(ask)
	found, err := s.Next.RoundTrip(ask)
	if err != nil {
		return nil, err
	}
	discard(found.Body)
	addTags(missing, found.Header)
	switch {
	case found.StatusCode == http.StatusOK:
		redirect := movedTo(req, location)
		addTags(redirect.Header, missing)
		return redirect, nil
	case found.StatusCode >= http.StatusInternalServerError:
		// Whether there is such a directory is not known, so neither is
		// whether this is a 404.
		return localResponse(req, found.StatusCode, noStore, "the origin failed on the directory's index"), nil
	}
	return nil, nil
}

// isLocalReference says whether a Location stays on the host that it is sent
// from. Browsers take "//evil" and "/\evil" for references to another host
// (RFC 3986 section 4.2, WHATWG URL).
func isLocalReference(location string) bool {
	return strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") && !strings.HasPrefix(location, `/\`)
}

func movedTo(req *http.Request, location string) *http.Response {
	if req.URL.RawQuery != "" || req.URL.ForceQuery {
		location += "?" + req.URL.RawQuery
	}
	resp := localResponse(req, http.StatusMovedPermanently, redirectCacheControl, "moved to the address that ends in a slash")
	resp.Header.Set("Location", location)
	return resp
}

// notFound replaces the upstream's 404 by the not-found document, under the
// same status. Without such a document the upstream's own goes out; not to be
// stored if it is not known whether there is one.
func (s Static) notFound(req *http.Request, plain *http.Response) *http.Response {
	if s.NotFound == "" || req.URL.Path == s.NotFound {
		return plain
	}
	ask := atPath(req, s.NotFound, "")
	unconditional(ask)
	doc, err := s.Next.RoundTrip(ask)
	if err != nil {
		plain.Header.Set("Cache-Control", noStore)
		return plain
	}
	addTags(plain.Header, doc.Header)
	if doc.StatusCode != http.StatusOK {
		discard(doc.Body)
		if doc.StatusCode >= http.StatusInternalServerError {
			plain.Header.Set("Cache-Control", noStore)
		}
		return plain
	}
	for _, name := range [...]string{"Surrogate-Key", "Cache-Tag"} {
		if values := plain.Header[name]; len(values) > 0 {
			doc.Header[name] = values
		}
	}
	return asNotFound(req, doc)
}

// asNotFound makes a 404 of a document. What was said of the document's own
// lifetime and identity does not hold for the resource that is missing.
func asNotFound(req *http.Request, doc *http.Response) *http.Response {
	for _, name := range [...]string{
		"Accept-Ranges", "Age", "Cache-Control", "Cdn-Cache-Control", "Content-Location", "Content-Disposition",
		"Etag", "Expires", "Last-Modified", "Pragma", "Surrogate-Control",
	} {
		doc.Header.Del(name)
	}
	if doc.Header.Get("Date") == "" {
		doc.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	doc.StatusCode = http.StatusNotFound
	doc.Status = strconv.Itoa(doc.StatusCode) + " " + http.StatusText(doc.StatusCode)
	doc.Request = req
	return doc
}

// atPath copies a request to another path of the same host. raw is the encoded
// path, or "".
func atPath(req *http.Request, path, raw string) *http.Request {
	out := req.Clone(req.Context())
	out.URL.Path, out.URL.RawPath = path, raw
	return out
}

// unconditional strips from a request of our own what the client said to another
// resource: its query, its conditions, its range and its body.
func unconditional(req *http.Request) {
	req.URL.RawQuery, req.URL.ForceQuery = "", false
	for _, name := range [...]string{
		"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
		"Content-Length", "Content-Type", "Content-Encoding", "Expect",
	} {
		req.Header.Del(name)
	}
	req.Body, req.GetBody, req.ContentLength, req.Trailer, req.TransferEncoding = nil, nil, 0, nil, nil
}
