package rfc9111

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"
)

// control is what a response says about caching it: the directives of the one
// field that decides.
type control struct {
	Directives
	field string // in canonical spelling; "" where the response has none
}

// targeted says that a targeted field decides, so that Expires does not count.
func (c *control) targeted() bool { return c.field != "" && c.field != cacheControl }

const (
	cacheControl     = "Cache-Control"
	surrogateControl = "Surrogate-Control"
)

// controlOf finds the field that decides (RFC 9213 section 2.2): the first of
// the target list that is valid and not empty, else Cache-Control. p has its
// defaults filled.
func controlOf(resp http.Header, p Policy) control {
	for _, name := range p.Targets {
		lines := resp.Values(name)
		if len(lines) == 0 {
			continue
		}
		parse := ParseTargeted
		if strings.EqualFold(name, surrogateControl) {
			parse = ParseSurrogateControl
		}
		if d, ok := parse(lines); ok {
			return control{d, http.CanonicalHeaderKey(name)}
		}
	}
	lines := resp.Values(cacheControl)
	if len(lines) == 0 {
		return control{}
	}
	return control{ParseCacheControl(lines), cacheControl}
}

// ResponseDirectives gives the directives that decide on the caching of a
// response, and the canonical name of the field that they come from: one of
// p.Targets, "Cache-Control", or "" if there is none.
func ResponseDirectives(resp http.Header, p Policy) (d Directives, field string) {
	c := controlOf(resp, p.WithDefaults())
	return c.Directives, c.field
}

// NoTransform says that the content must stay as it is (section 5.2.2.6): it
// must not be compressed, nor decompressed. Cache-Control is asked beside the
// field that decides on caching, because leaving content alone is never wrong.
func NoTransform(resp http.Header, p Policy) bool {
	if cc := ParseCacheControl(resp.Values(cacheControl)); cc.NoTransform {
		return true
	}
	c := controlOf(resp, p.WithDefaults())
	return c.NoTransform
}

// ParseTargeted reads all lines of a targeted field, a structured field
// dictionary (RFC 9213 section 2.1). ok is false for a field that must count as
// absent: it is empty, or it is no dictionary, or a directive known here has a
// value of another type than its own. Parameters and unknown directives are
// ignored. Of a directive that comes twice the last counts, as in every
// dictionary.
func ParseTargeted(lines []string) (d Directives, ok bool) {
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dictionary.Names()) == 0 {
		return Directives{}, false
	}
	for _, name := range dictionary.Names() {
		member, _ := dictionary.Get(name)
		m, ok := typedDirective(name, member)
		if !ok {
			return Directives{}, false
		}
		d.apply(&m)
	}
	return d, true
}

// typedDirective holds a dictionary's member to the type that the directive of
// this name has in Cache-Control: true, a string of field names or nothing, or
// a whole number of seconds.
func typedDirective(name string, member httpsfv.Member) (m directive, ok bool) {
	m = directive{name: name, sound: true}
	item, isItem := member.(httpsfv.Item)
	switch name {
	case "no-store", "must-revalidate", "proxy-revalidate", "no-transform", "public", "must-understand", "immutable":
		return m, isItem && item.Value == true
	case "no-cache", "private":
		_, isString := item.Value.(string)
		_, isToken := item.Value.(httpsfv.Token)
		m.hasArg = isString || isToken
		return m, isItem && (m.hasArg || item.Value == true)
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		seconds, isInteger := item.Value.(int64)
		m.hasArg, m.arg = true, strconv.FormatInt(seconds, 10)
		return m, isItem && isInteger && seconds >= 0
	}
	// Unknown, or a request's: no directive of a response.
	m.name = ""
	return m, true
}
