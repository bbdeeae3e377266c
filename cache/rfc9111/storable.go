package rfc9111

import (
	"net/http"
	"slices"
	"time"
)

// Fields is what the rules ask of a message's header. http.Header is one.
type Fields interface {
	// Values gives the lines of the named field in order; name is in
	// canonical spelling.
	Values(name string) []string
}

// StoreVerdict says whether a response may be stored and, if not, why.
type StoreVerdict uint8

// The verdicts of Storable, in the order in which it looks for them.
const (
	// CanStore: the response may be stored.
	CanStore StoreVerdict = iota
	// RefusedMethod: only responses to GET are stored (section 3).
	RefusedMethod
	// RefusedUpgrade: the connection changes its protocol (101, 426).
	RefusedUpgrade
	// RefusedPartial: a 206 is not a whole response; StorablePart decides on
	// it (section 3.3).
	RefusedPartial
	// RefusedStatus: the status is not final, answers fields of the request
	// that are not in the key (304, 407, 412, 416, 417), or is not understood
	// although must-understand asks for it (section 5.2.2.3).
	RefusedStatus
	// RefusedRequestNoStore: the request says no-store (section 5.2.1.5).
	RefusedRequestNoStore
	// RefusedNoStore: the response says no-store (section 5.2.2.5).
	RefusedNoStore
	// RefusedPrivate: the response says private (section 5.2.2.7).
	RefusedPrivate
	// RefusedAuthorization: the request has Authorization and the response
	// says none of public, s-maxage, must-revalidate (section 3.5).
	RefusedAuthorization
	// RefusedSetCookie: the response sets a cookie and does not say public or
	// s-maxage. RFC 9111 section 7.3 would allow it; but a cookie is mostly
	// one user's, frameworks add it to responses whose max-age was meant for
	// browsers, and a shared session is worse than a miss.
	RefusedSetCookie
	// RefusedVaryStar: Vary is * or names too much, so that no later request
	// can match (section 4.1).
	RefusedVaryStar
	// RefusedEncoding: Vary names Accept-Encoding, and the response has a
	// content coding that this request listed and that Variant does not tell
	// apart, so that a request which cannot decode it would match. It does not
	// happen to requests that Policy.Negotiate has rewritten.
	RefusedEncoding
	// RefusedLocation: the response to a POST is not said to be what a GET of
	// its target would give (RFC 9110 section 9.3.3).
	RefusedLocation
	// RefusedNoFreshness: it could never be used: no lifetime, and no
	// validator or leave to be served stale either (section 3, last item).
	RefusedNoFreshness
)

// String gives the verdict's one name, for logs, metrics and Cache-Status.
func (v StoreVerdict) String() string {
	switch v {
	case CanStore:
		return "storable"
	case RefusedMethod:
		return "method"
	case RefusedUpgrade:
		return "upgrade"
	case RefusedPartial:
		return "partial"
	case RefusedStatus:
		return "status"
	case RefusedRequestNoStore:
		return "request-no-store"
	case RefusedNoStore:
		return "no-store"
	case RefusedPrivate:
		return "private"
	case RefusedAuthorization:
		return "authorization"
	case RefusedSetCookie:
		return "set-cookie"
	case RefusedVaryStar:
		return "vary-star"
	case RefusedEncoding:
		return "encoding"
	case RefusedLocation:
		return "location"
	case RefusedNoFreshness:
		return "no-freshness"
	default:
		return "unknown"
	}
}

// Storable decides on a response as received, hop-by-hop fields included,
// before anything is removed from it (section 3). A response that has a
// validator and a lifetime of zero, no-cache included, can be stored: it is
// validated before each use.
func Storable(method string, req Fields, status int, resp http.Header, p Policy) StoreVerdict {
	if method != http.MethodGet {
		return RefusedMethod
	}
	if v := storableStatus(status); v != CanStore {
		return v
	}
	p = p.WithDefaults()
	cc := controlOf(resp, p)
	if v := storableFields(req, status, resp, &cc, p); v != CanStore {
		return v
	}
	if !usable(status, resp, &cc, p) {
		return RefusedNoFreshness
	}
	return CanStore
}

// StorablePart is Storable for a 206 (section 3.3). Whether its Content-Range
// can be relied on is for the caller to see: rfc9110.PartOf.
func StorablePart(req Fields, resp http.Header, p Policy) StoreVerdict {
	p = p.WithDefaults()
	cc := controlOf(resp, p)
	if v := storableFields(req, http.StatusPartialContent, resp, &cc, p); v != CanStore {
		return v
	}
	if !usable(http.StatusPartialContent, resp, &cc, p) {
		return RefusedNoFreshness
	}
	return CanStore
}

// StorablePost decides whether the response to a POST may be stored for later
// requests of GET and HEAD to the same target (RFC 9110 section 9.3.3): it must
// name a lifetime of its own and say, by Content-Location, that it is the
// target's new representation. located says the latter: see Located. Only a 200
// is taken: another status reports on the POST.
func StorablePost(req Fields, status int, resp http.Header, located bool, p Policy) StoreVerdict {
	p = p.WithDefaults()
	cc := controlOf(resp, p)
	switch {
	case !located:
		return RefusedLocation
	case status != http.StatusOK:
		return RefusedStatus
	}
	if v := storableFields(req, status, resp, &cc, p); v != CanStore {
		return v
	}
	date, _ := dateOf(resp, time.Time{})
	if lifetime, explicit := lifetimeOf(status, resp, &cc, date, p); !explicit || lifetime == 0 || cc.NoCache {
		return RefusedNoFreshness
	}
	return CanStore
}

// storableFields is what Storable asks of the fields of request and response,
// save whether the response could be of use. p has its defaults filled.
func storableFields(req Fields, status int, resp http.Header, cc *control, p Policy) StoreVerdict {
	if reqCC := RequestDirectives(req, p); reqCC.NoStore {
		return RefusedRequestNoStore
	}
	if v := storableByDirectives(status, &cc.Directives); v != CanStore {
		return v
	}
	if len(req.Values("Authorization")) > 0 && !cc.shareable() && !cc.MustRevalidate {
		return RefusedAuthorization
	}
	if setsCookie(resp) && !cc.shareable() && !p.ShareSetCookie {
		return RefusedSetCookie
	}
	vary, star := VaryFields(resp)
	if star {
		return RefusedVaryStar
	}
	if slices.Contains(vary, "accept-encoding") && unkeyedEncoding(req, resp) {
		return RefusedEncoding
	}
	return CanStore
}

func storableStatus(status int) StoreVerdict {
	switch {
	case status == http.StatusSwitchingProtocols, status == http.StatusUpgradeRequired:
		return RefusedUpgrade
	case status == http.StatusPartialContent:
		return RefusedPartial
	case status < 200 || status > 599:
		return RefusedStatus
	}
	switch status {
	case http.StatusNotModified, http.StatusProxyAuthRequired, http.StatusPreconditionFailed,
		http.StatusRequestedRangeNotSatisfiable, http.StatusExpectationFailed:
		return RefusedStatus
	}
	return CanStore
}

func storableByDirectives(status int, cc *Directives) StoreVerdict {
	understood := http.StatusText(status) != ""
	switch {
	case cc.MustUnderstand && !understood:
		return RefusedStatus
	case cc.NoStore && !cc.MustUnderstand:
		return RefusedNoStore
	case cc.Private:
		return RefusedPrivate
	}
	return CanStore
}

func setsCookie(resp http.Header) bool {
	return len(resp.Values("Set-Cookie")) > 0 || len(resp.Values("Set-Cookie2")) > 0
}

// usable says that some later request could be answered with the response.
// Without a Date, `now` would be needed to know the lifetime; the zero time
// stands in for it, so that every valid Expires counts as a lifetime, and
// Last-Modified is a validator anyway.
func usable(status int, resp http.Header, cc *control, p Policy) bool {
	date, _ := dateOf(resp, time.Time{})
	lifetime, explicit := lifetimeOf(status, resp, cc, date, p)
	vouched := p.StatusTTL[status] > 0
	if !explicit && !cc.Public && !heuristicStatus(status) && !vouched {
		return false
	}
	if hasValidator(resp) {
		return true
	}
	if cc.NoCache {
		return false
	}
	if lifetime > 0 {
		return true
	}
	mayBeStale := !mustRevalidate(&cc.Directives, p)
	return mayBeStale && max(cc.StaleWhileRevalidate.Value, cc.StaleIfError.Value) > 0
}

func hasValidator(resp http.Header) bool {
	return resp.Get("Etag") != "" || resp.Get("Last-Modified") != ""
}
