package rfc9111

import "time"

// heuristicMaxDefault bounds heuristic lifetimes. Section 4.2.2 allows more but
// asks for a warning above 24 hours.
const heuristicMaxDefault = 24 * time.Hour

// Policy holds a site's own numbers for caching. The zero value is the RFC as
// it stands: heuristics for what names no lifetime, nothing served stale that
// the response did not permit, client directives not obeyed.
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
	// StaleWhileRevalidate and StaleIfError are the windows of RFC 5861 for
	// responses that name none and may be served stale. They apply at the
	// time of use, so a change holds for what is already stored. The first
	// needs a lifetime to extend: a response with a lifetime of 0 gets none.
	StaleWhileRevalidate, StaleIfError time.Duration
	// ObeyClient makes a request's no-cache, max-age, min-fresh and max-stale
	// count. The default ignores them, as CDNs do, so that no client can send
	// load past the cache. no-store (nothing is stored for this request) and
	// only-if-cached (504 instead of a fetch) are honoured either way; the
	// engine reads the latter from Directives.
	ObeyClient bool
	// ShareSetCookie lets a response with Set-Cookie be stored on the same
	// terms as any other, as RFC 9111 section 7.3 has it. The default is
	// stricter: see RefusedSetCookie.
	ShareSetCookie bool
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
	return p
}
