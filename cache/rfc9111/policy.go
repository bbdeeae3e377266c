package rfc9111

import (
	"net/http"
	"time"
)

// heuristicMaxDefault bounds heuristic lifetimes. Section 4.2.2 allows more but
// asks for a warning above 24 hours.
const heuristicMaxDefault = 24 * time.Hour

// targetsDefault is the target list of a Policy that names none.
var targetsDefault = []string{"CDN-Cache-Control", surrogateControl}

// Policy holds a site's own numbers for caching. The zero value is the RFC as
// it stands: heuristics for what names no lifetime, nothing served stale that
// the response did not permit, and of a client's directives the safe set. It is
// copied freely, and what it points at must not change once it is in use.
type Policy struct {
	// DefaultTTL is the lifetime of a response that names none and whose
	// status is heuristically cacheable (RFC 9110 section 15.1). 0 leaves it
	// to the heuristic of section 4.2.2: 10 % of the time since Last-Modified.
	DefaultTTL time.Duration
	// HeuristicMax bounds that heuristic; 0 means 24 h.
	HeuristicMax time.Duration
	// NegativeTTL is the lifetime of a 404, 405, 410, 414 or 501 that names
	// none. 0 leaves these to the heuristic; DefaultTTL never applies to them.
	NegativeTTL time.Duration
	// StatusTTL is the lifetime, by status, of a response that names none; it
	// goes before the three above. A status that is not in RFC 9110's list may
	// be here as well, 503 for example: section 3 leaves such a response
	// unstored unless someone vouches for it, and here the site does. A
	// lifetime of zero or less gives the status none, whatever the rest says.
	// See DefaultStatusTTL.
	StatusTTL map[int]time.Duration
	// StaleWhileRevalidate and StaleIfError are the windows of RFC 5861 for
	// responses that name none and may be served stale. They apply at the
	// time of use, so a change holds for what is already stored. The first
	// needs a lifetime to extend: a response with a lifetime of 0 gets none.
	StaleWhileRevalidate, StaleIfError time.Duration
	// StaleDespiteSMaxAge lets a response that has both s-maxage and its own
	// stale-while-revalidate or stale-if-error be served stale within those
	// windows. The default forbids it: see Stored.MustRevalidate.
	StaleDespiteSMaxAge bool
	// Targets is the target list of RFC 9213 section 2.2: names of response
	// fields that speak to this cache in particular, the most particular
	// first. The first one that is valid and not empty decides, and
	// Cache-Control and Expires count for nothing then. "Surrogate-Control"
	// among them is read by its own grammar. Names that begin with "Weir-"
	// are not for origins and would not be kept. nil means CDN-Cache-Control
	// and then Surrogate-Control; empty means that only Cache-Control counts.
	Targets []string
	// Languages are the languages that the site has, as in Content-Language,
	// the one to prefer first. Variants by Accept-Language are then told apart
	// by the best of these alone. Whoever sets it must have Negotiate rewrite
	// the requests for fills. Empty: by the whole field, normalised.
	Languages []string
	// Obey says which directives of a request count. The zero value is
	// ObeySafe.
	Obey DirectiveSet
	// ShareSetCookie lets a response with Set-Cookie be stored on the same
	// terms as any other, as RFC 9111 section 7.3 has it. The default is
	// stricter: see RefusedSetCookie.
	ShareSetCookie bool
}

// DefaultStatusTTL gives lifetimes for answers that say "there is nothing" and
// name no lifetime: 10 s each, long enough to take the load of a flood of them
// off an origin. It is not in the zero Policy, where the RFC stands alone.
func DefaultStatusTTL() map[int]time.Duration {
	const short = 10 * time.Second
	return map[int]time.Duration{
		http.StatusNotFound: short, http.StatusMethodNotAllowed: short, http.StatusGone: short,
		http.StatusRequestURITooLong: short, http.StatusNotImplemented: short,
	}
}

// WithDefaults fills what is zero and takes negative durations as zero.
func (p Policy) WithDefaults() Policy {
	p.DefaultTTL = max(p.DefaultTTL, 0)
	p.NegativeTTL = max(p.NegativeTTL, 0)
	p.StaleWhileRevalidate = max(p.StaleWhileRevalidate, 0)
	p.StaleIfError = max(p.StaleIfError, 0)
	if p.HeuristicMax <= 0 {
		p.HeuristicMax = heuristicMaxDefault
	}
	if p.Targets == nil {
		p.Targets = targetsDefault
	}
	p.Obey = p.obeyed()
	return p
}
