package cache

import (
	"context"
	"net/http"

	"weir/cache/rfc9111"
	"weir/storage"
)

// Request is what the engine needs to know of a request. Nothing in it belongs
// to net/http's server, so that a hit can be answered without one.
type Request struct {
	Site *Site
	// Method is the request's method, as received.
	Method string
	// Host is the canonical host (lower case, no port), Target the
	// normalised path and the query that Site.Key leaves of it: together the
	// primary key, by which purges and invalidations reach what is stored.
	Host, Target string
	// Extra is what else is in the key, as Site.Key.Extra gives it. It tells
	// variants apart, as Vary does, and before any response has said so: the
	// primary key of a site that has it leads to a list of variants, always.
	Extra string
	// Fields are the request's header fields.
	Fields rfc9111.Fields
	// Normalise makes a key's host and target of a reference in a response:
	// what Location names after an unsafe request is invalidated (RFC 9111
	// section 4.4).
	Normalise rfc9111.Normalise
	// Forward makes the request that goes upstream. It is asked only on a
	// miss or a pass.
	Forward Forwarder
	// Hint, if set, is told of the stored object that upstream is asked about
	// before the wait for it begins: what it says of other resources may be of
	// use to the client meanwhile.
	Hint func(stored *storage.Meta)
	// Bypass sends the request upstream whatever is stored: a shield that is
	// behind the edge that asks must not answer from its store (promise P2).
	Bypass bool
	// NoStale asks for validation where stale-while-revalidate would answer at
	// once: an edge that revalidates behind its own clients wants news.
	NoStale bool
}

// Forwarder makes upstream requests of a client's request.
type Forwarder interface {
	// Fill gives a GET with the fields that may choose or authorise a
	// response, without conditions, ranges and body.
	Fill(ctx context.Context) *http.Request
	// Pass gives the request as it is: method, body, conditions, ranges.
	Pass(ctx context.Context) *http.Request
}

// named are the targets, of the request's host, that the response to an unsafe
// request names in Location and Content-Location.
func (r *Request) named(response http.Header) []string {
	if r.Normalise == nil {
		return nil
	}
	return rfc9111.InvalidationTargets(r.Host, r.Target, response, r.Normalise)
}

// selective says whether the request wants less than the whole response: its
// header alone, a range of it, or nothing if the client's copy is current.
func (r *Request) selective() bool {
	if r.Method == http.MethodHead {
		return true
	}
	for _, name := range [...]string{"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
		if len(r.Fields.Values(name)) > 0 {
			return true
		}
	}
	return false
}

// keyText is the primary key as text. A space ends the site's name and cannot
// occur in a host; a target begins with a slash.
func (r *Request) keyText() string { return keyText(r.Site.Name, r.Host, r.Target) }

func keyText(site, host, target string) string { return site + " " + host + target }

// variant is the text that tells this request's variant from others, of a
// response whose Vary names the fields. Both parts say where they end, so that
// two requests have the same text only if both are the same.
func (r *Request) variant(fields []string) string {
	return r.Extra + r.Site.Policy.Variant(fields, r.Fields)
}

// unlisted stands for the list of variants as long as there is none. Requests
// that Extra tells apart then have keys of their own, and neither wait for one
// another nor get one another's answers.
var unlisted = &storage.Meta{}

// variantKey names one variant. The list's BodyID is part of it: a list that
// was replaced takes its variants out of reach with it.
func variantKey(primary string, list *storage.Meta, variant string) storage.Key {
	id := list.BodyID
	b := make([]byte, 0, len(primary)+len(variant)+10)
	b = append(b, primary...)
	b = append(b, '\n')
	for range 8 {
		b = append(b, byte(id))
		id >>= 8
	}
	b = append(b, variant...)
	return storage.KeyOf(string(b))
}

// cacheable says whether requests of this method are looked up. HEAD is
// answered from what a GET stored (RFC 9111 section 4, RFC 9110 section 9.3.2).
func cacheable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead
}
