package rfc9111

import (
	"net/http"
	"net/url"
	"strings"
)

// locationBytesMax is the longest Location or Content-Location that is looked at.
const locationBytesMax = 8 * 1024

// Normalise gives host and target as cache keys have them, of an authority
// (host, or host and port) and a target in origin form. ok is false for what no
// key can have.
type Normalise func(authority, target string) (host, key string, ok bool)

// Invalidates says whether a response to a request of this method makes what is
// stored under its target invalid (section 4.4): the method is not known to be
// safe, and the status is no error.
func Invalidates(method string, status int) bool {
	return !safeMethod(method) && status >= 200 && status < 400
}

// safeMethod lists the methods that IANA's registry has as safe (RFC 9110
// section 9.2.1, RFC 3253, RFC 4918, RFC 5323).
func safeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		"PROPFIND", "REPORT", "SEARCH", "QUERY", "PRI":
		return true
	}
	return false
}

// InvalidationTargets gives what else becomes invalid when Invalidates holds
// for a response: the targets that its Location and Content-Location name, if
// they are of the same origin (section 4.4). host and target are the request's,
// in the form that normalise gives. Keys have neither scheme nor port, so the
// same host is the same origin here: at worst something is fetched once more.
// The request's own target is not among the results, of which there are at most
// two.
func InvalidationTargets(host, target string, resp http.Header, normalise Normalise) []string {
	var targets []string
	for _, name := range [...]string{"Location", "Content-Location"} {
		key, ok := resolve(host, target, resp.Values(name), normalise)
		if ok && key != target && (len(targets) == 0 || targets[0] != key) {
			targets = append(targets, key)
		}
	}
	return targets
}

// Located says that a response is a representation of its request's own target:
// its Content-Location is the same URI (RFC 9110 section 6.4.2).
func Located(host, target string, resp http.Header, normalise Normalise) bool {
	key, ok := resolve(host, target, resp.Values("Content-Location"), normalise)
	return ok && key == target
}

// resolve gives the key of a URI reference on the same host. A field that is
// repeated means nothing certain.
func resolve(host, target string, lines []string, normalise Normalise) (key string, ok bool) {
	if len(lines) != 1 || len(lines[0]) > locationBytesMax {
		return "", false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	base, err := url.Parse("http://" + host + target)
	if err != nil {
		return "", false
	}
	reference, err := url.Parse(strings.Trim(lines[0], " \t"))
	if err != nil {
		return "", false
	}
	to := base.ResolveReference(reference)
	if to.Scheme != "http" && to.Scheme != "https" || to.User != nil {
		return "", false
	}
	named := to.EscapedPath()
	if named == "" {
		named = "/"
	}
	if to.RawQuery != "" {
		named += "?" + to.RawQuery
	}
	own, _, ok := normalise(base.Host, target)
	if !ok {
		return "", false
	}
	other, key, ok := normalise(to.Host, named)
	return key, ok && other == own
}
