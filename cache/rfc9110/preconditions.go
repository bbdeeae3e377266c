// Package rfc9110 holds the rules of RFC 9110 that answering from a store needs,
// as pure functions: preconditions (section 13), ranges and parts (sections 14, 15.3.7), and the
// one normal form of paths and hosts (RFC 3986 section 6.2.2) that cache keys
// and purge targets share.
//
// Nothing here locks, logs, sleeps or asks the time.
package rfc9110

import (
	"cmp"
	"net/http"
	"strings"
)

// Fields is what the rules ask of a request's header. http.Header is one.
type Fields interface {
	// Values gives the lines of the named field in order; name is in
	// canonical spelling.
	Values(name string) []string
}

// Precondition says what the conditions of a request make of its answer.
type Precondition uint8

// The answers of EvaluateStored.
const (
	// Proceed: the conditions hold, or there are none.
	Proceed Precondition = iota
	// NotModified: answer 304; the client has what it asks for.
	NotModified
	// Failed: answer 412.
	Failed
)

// String gives the answer's one name.
func (p Precondition) String() string {
	switch p {
	case Proceed:
		return "proceed"
	case NotModified:
		return "not-modified"
	case Failed:
		return "failed"
	default:
		return "unknown"
	}
}

// EvaluateStored checks a request's conditions in the order of section 13.2.2,
// against a stored representation that would be answered with 2xx. etag and
// lastModified are its validators as received, "" where it has none; one that is
// malformed matches nothing.
//
// Where it has no Last-Modified, its Date stands in for If-Modified-Since (RFC
// 9111 section 4.3.2), and for nothing else: it says when the response was made,
// so that a later time in the condition means that nothing is newer. Give "" for
// a date that is not to stand in.
//
// A condition that cannot be read is met in the way that is always correct:
// If-Match fails, If-None-Match does not match, a date is ignored. If-Range is
// for IfRange. RFC 9111 section 4.3.2 leaves If-Match and If-Unmodified-Since
// to origins; a cache that forwards such requests never asks here.
func EvaluateStored(method string, req Fields, etag, lastModified, date string) Precondition {
	if ifMatch := req.Values("If-Match"); len(ifMatch) > 0 {
		if !anyTagMatches(ifMatch, etag, strongly) {
			return Failed
		}
	} else if modifiedSince(req.Values("If-Unmodified-Since"), lastModified) == yes {
		return Failed
	}

	reading := method == http.MethodGet || method == http.MethodHead
	if ifNoneMatch := req.Values("If-None-Match"); len(ifNoneMatch) > 0 {
		switch {
		case !anyTagMatches(ifNoneMatch, etag, weakly):
			return Proceed
		case reading:
			return NotModified
		default:
			return Failed
		}
	}
	if reading && modifiedSince(req.Values("If-Modified-Since"), cmp.Or(lastModified, date)) == no {
		return NotModified
	}
	return Proceed
}

// IfRange says whether the request's Range may be applied: there is no
// If-Range, or it names exactly the stored representation (section 13.1.5):
// the same strong entity tag, or the very text of Last-Modified. What is weak,
// malformed or repeated does not, and the whole is sent.
//
// A Last-Modified is strong only if the response's Date is at least a second
// later (section 8.8.2.2): give "" for one that is not.
func IfRange(req Fields, etag, lastModified string) bool {
	lines := req.Values("If-Range")
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	validator := strings.Trim(lines[0], " \t")
	if tag, rest, ok := cutTag(validator); ok {
		return rest == "" && tag.matches(parseTag(etag), strongly)
	}
	_, ok := parseDate(validator)
	return ok && validator == lastModified
}

// answer is what a condition on dates gives: it can also not apply.
type answer uint8

const (
	notApplicable answer = iota
	yes
	no
)

// modifiedSince compares Last-Modified with a date condition. The condition
// does not apply if it is repeated or no HTTP-date, or if there is no
// modification date (sections 13.1.3, 13.1.4).
func modifiedSince(lines []string, lastModified string) answer {
	if len(lines) != 1 || lastModified == "" {
		return notApplicable
	}
	since, ok := parseDate(strings.Trim(lines[0], " \t"))
	if !ok {
		return notApplicable
	}
	modified, ok := parseDate(lastModified)
	switch {
	case !ok:
		return notApplicable
	case modified.After(since):
		return yes
	default:
		return no
	}
}
