package explain

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"weir/cache/rfc9110"
	"weir/purge"
)

// Limits of a question.
const (
	urlBytesMax    = 8 << 10
	fieldBytesMax  = 8 << 10
	fieldsMax      = 32
	timeoutDefault = 2 * time.Second
	timeoutMax     = 10 * time.Second
)

// browserEncodings is the Accept-Encoding of a question that has none: what
// browsers send.
const browserEncodings = "gzip, deflate, br, zstd"

// secretFields choose no variant that a person would ask for, and a URL ends up
// in logs.
var secretFields = []string{"Authorization", "Proxy-Authorization", "Cookie"}

// query is what a call of the API asks.
type query struct {
	question
	url     string // as given
	pop     string // "" for all
	timeout time.Duration
}

// parseQuery reads the query of a call: url once, header any number of times,
// pop and timeout at most once. Every error is a *purge.FieldError.
func parseQuery(raw string) (query, error) {
	q := query{timeout: timeoutDefault, question: question{Header: http.Header{}}}
	parameters, err := url.ParseQuery(raw)
	if err != nil {
		return q, problem("query", "%v", err)
	}
	for name, values := range parameters {
		if len(values) != 1 && name != "header" {
			return q, problem(cmp.Or(clip(name), "query"), "given %d times", len(values))
		}
		var err error
		switch name {
		case "url":
			err = q.readURL(values[0])
		case "header":
			err = q.readFields(values)
		case "pop":
			q.pop = values[0]
		case "timeout":
			q.timeout, err = readTimeout(values[0])
		default:
			err = problem(cmp.Or(clip(name), "query"), "unknown parameter: there are url, header, pop and timeout")
		}
		if err != nil {
			return q, err
		}
	}
	if q.url == "" {
		return q, problem("url", "missing: want url=https://host/path?query, percent-encoded")
	}
	if _, given := q.Header["Accept-Encoding"]; !given {
		q.Header.Set("Accept-Encoding", browserEncodings)
	}
	return q, nil
}

// readURL takes a whole URL apart. What is wrong is said with its place in it.
func (q *query) readURL(text string) error {
	scheme, rest, whole := strings.Cut(text, "://")
	switch {
	case text == "":
		return problem("url", "empty")
	case len(text) > urlBytesMax:
		return problem("url", "longer than %d bytes", urlBytesMax)
	case !whole || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return problem("url", "%q does not begin with http:// or https://", clip(text))
	case strings.Contains(text, "#"):
		return problem("url", "a fragment never reaches a server: leave out # and what follows (at byte %d)", strings.Index(text, "#"))
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		authority = rest[:end]
	}
	if strings.Contains(authority, "@") {
		return problem("url", "a user name has no place in it (at byte %d)", strings.Index(text, "@"))
	}
	var err error
	if q.Host, err = rfc9110.CanonicalHost(authority); err != nil {
		return problem("url", "%v (at byte %d)", err, len(text)-len(rest))
	}
	q.url = text
	return q.readTarget(rest[len(authority):], len(text)-len(rest)+len(authority))
}

// readTarget reads what follows the authority; at is where that is in the URL.
func (q *query) readTarget(text string, at int) error {
	path, query := rfc9110.SplitTarget(text)
	if path == "" {
		path = "/" // RFC 9110 section 4.2.3
	}
	normal, err := rfc9110.NormalisePath(path)
	if wrong := new(rfc9110.PathError); errors.As(err, &wrong) {
		return problem("url", "the path %s (at byte %d)", wrong.Problem, at+wrong.Offset)
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c > '~' {
			return problem("url", "the query has a space, control or non-ASCII byte: percent-encode it as clients do (at byte %d)",
				at+strings.IndexByte(text, '?')+1+i)
		}
	}
	q.Target = normal
	if query != "" {
		q.Target += "?" + query
	}
	return nil
}

func (q *query) readFields(lines []string) error {
	if len(lines) > fieldsMax {
		return problem("header", "given %d times, at most %d are taken", len(lines), fieldsMax)
	}
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch {
		case len(line) > fieldBytesMax:
			return problem("header", "longer than %d bytes", fieldBytesMax)
		case !found || !httpguts.ValidHeaderFieldName(name):
			return problem("header", "%q is not of the form Name:value", clip(line))
		case !httpguts.ValidHeaderFieldValue(value):
			return problem("header", "the value of %s has a control byte", clip(name))
		case strings.EqualFold(name, "Host"):
			return problem("header", "the URL says which host is asked, not Host")
		case slices.ContainsFunc(secretFields, func(s string) bool { return strings.EqualFold(s, name) }):
			return problem("header", "%s is not taken: secrets have no place in a URL, which is logged", name)
		}
		q.Header.Add(name, value)
	}
	return nil
}

func readTimeout(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > timeoutMax {
		return 0, problem("timeout", "must be a duration such as 2s, above 0 and at most %s", timeoutMax)
	}
	return d, nil
}

func problem(field, format string, values ...any) error {
	return &purge.FieldError{Field: field, Problem: fmt.Sprintf(format, values...)}
}

// clip keeps what came from outside short enough to be repeated.
func clip(text string) string {
	const bytesMax = 64
	if len(text) <= bytesMax {
		return text
	}
	return text[:bytesMax] + "…"
}
