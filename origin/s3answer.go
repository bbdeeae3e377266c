package origin

import (
	"encoding/xml"
	"io"
	"net/http"
	"strings"
)

// errorBytesMax is how much of a store's error document is read for its code.
const errorBytesMax = 64 << 10

// s3Kept are the fields of a store's response that are the object's. All
// others speak of the store and stay here.
var s3Kept = [...]string{
	"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding",
	"Content-Language", "Content-Length", "Content-Range", "Content-Type",
	"Date", "Etag", "Expires", "Last-Modified",
}

// s3Renamed are the object's own fields that become response fields: the tags
// that a purge by tag names.
var s3Renamed = [...]struct{ from, to string }{
	{"X-Amz-Meta-Surrogate-Key", "Surrogate-Key"},
	{"X-Amz-Meta-Cache-Tag", "Cache-Tag"},
}

// answer turns the store's response into the origin's.
//
//	store                                   origin
//	200, 206                                the same, the body streams
//	304, 412, 416                           the same, without a body
//	404                                     404, a text of ours
//	404 NoSuchBucket                        502: the site is set up wrongly
//	400 for a name that the store forbids   404
//	403                                     502, or 404 (see ForbiddenIsNotFound)
//	429, 503                                503, with Retry-After if it came
//	anything else                           502
func (s *S3) answer(req *http.Request, resp *http.Response) *http.Response {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		resp.Header = s3Header(resp.Header)
		return resp
	case http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return bodyless(req, resp)
	}
	code := s3ErrorCode(resp)
	switch {
	case resp.StatusCode == http.StatusNotFound && code != "NoSuchBucket",
		resp.StatusCode == http.StatusBadRequest && isNameError(code),
		resp.StatusCode == http.StatusForbidden && s.hidesMissing(code):
		return localResponse(req, http.StatusNotFound, "", "no such object")
	case resp.StatusCode == http.StatusForbidden:
		return localResponse(req, http.StatusBadGateway, noStore, "the store refused this node's keys"+named(code))
	case resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusTooManyRequests:
		return unavailable(req, resp, code)
	}
	return localResponse(req, http.StatusBadGateway, noStore, "the store answered "+resp.Status+named(code))
}

// s3Header keeps what describes the object.
func s3Header(from http.Header) http.Header {
	to := make(http.Header, len(s3Kept)+len(s3Renamed))
	for _, name := range s3Kept {
		if values := from[name]; len(values) > 0 {
			to[name] = values
		}
	}
	for _, field := range s3Renamed {
		if values := from[field.from]; len(values) > 0 {
			to[field.to] = values
		}
	}
	dropChunkedCoding(to)
	return to
}

// dropChunkedCoding removes "aws-chunked" from Content-Encoding. It is how an
// upload was framed; some stores remember it as if the object had that coding.
func dropChunkedCoding(h http.Header) {
	coding := h.Get("Content-Encoding")
	if !strings.Contains(coding, "aws-chunked") {
		return
	}
	var kept []string
	for part := range strings.SplitSeq(coding, ",") {
		if part = strings.TrimSpace(part); part != "" && part != "aws-chunked" {
			kept = append(kept, part)
		}
	}
	h.Del("Content-Encoding")
	if len(kept) > 0 {
		h.Set("Content-Encoding", strings.Join(kept, ", "))
	}
}

// bodyless passes on a status that needs no body. The fields that described the
// store's error document go with it: taken for the object's, they would damage
// a stored response that a 304 refreshes (RFC 9111 section 3.2).
func bodyless(req *http.Request, resp *http.Response) *http.Response {
	discard(resp.Body)
	header := s3Header(resp.Header)
	header.Del("Content-Type")
	header.Del("Content-Length")
	header.Del("Content-Encoding")
	resp.ContentLength = 0
	if resp.StatusCode != http.StatusNotModified {
		header.Set("Content-Length", "0")
		header.Set("Cache-Control", noStore)
		header.Del("Expires")
	} else if header.Get("Etag") == "" {
		restoreETag(header, req.Header)
	}
	resp.Header, resp.Body = header, http.NoBody
	resp.TransferEncoding = nil
	return resp
}

// restoreETag gives a 304 the entity tag that it must have (RFC 9110 section
// 15.4.5) and some stores leave out. If the request named one tag only, that is
// the one that matched.
func restoreETag(to, asked http.Header) {
	tags := asked["If-None-Match"]
	if len(tags) != 1 {
		return
	}
	if tag := tags[0]; len(tag) >= 2 && tag[0] == '"' && strings.IndexByte(tag[1:], '"') == len(tag)-2 {
		to.Set("Etag", tag)
	}
}

func unavailable(req *http.Request, resp *http.Response, code string) *http.Response {
	local := localResponse(req, http.StatusServiceUnavailable, noStore, "the store is overloaded"+named(code))
	if after := resp.Header.Get("Retry-After"); after != "" {
		local.Header.Set("Retry-After", after)
	}
	return local
}

// hidesMissing says whether a 403 is a store's way of not saying NoSuchKey. To
// a HEAD there is no code.
func (s *S3) hidesMissing(code string) bool {
	return s.opts.ForbiddenIsNotFound && (code == "AccessDenied" || code == "")
}

// isNameError says whether the store can have no object of that name. Stores on
// file systems limit a segment to 255 bytes, and forbid some segments.
func isNameError(code string) bool {
	switch code {
	case "KeyTooLongError", "KeyTooLong", "XMinioInvalidObjectName", "InvalidObjectName":
		return true
	}
	return false
}

// s3ErrorCode reads the code of an error document and closes the body. A HEAD
// has no document; MinIO then gives the code in a field.
func s3ErrorCode(resp *http.Response) string {
	defer discard(resp.Body)
	var doc struct {
		Code string `xml:"Code"`
	}
	if err := xml.NewDecoder(io.LimitReader(resp.Body, errorBytesMax)).Decode(&doc); err != nil {
		doc.Code = resp.Header.Get("X-Minio-Error-Code")
	}
	if strings.ContainsFunc(doc.Code, notLetterOrDigit) || len(doc.Code) > 64 {
		return ""
	}
	return doc.Code
}

func notLetterOrDigit(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

func named(code string) string {
	if code == "" {
		return ""
	}
	return " (" + code + ")"
}

// discard reads the little that may be left, so that the connection can be used
// again, and closes the body. What fails here has no one to tell: the response
// has been understood already.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, errorBytesMax)
	_ = body.Close()
}
