// Package rfc9111 holds the rules of HTTP caching as pure functions: RFC 9111
// (caching), RFC 9213 (targeted fields), RFC 5861 (stale-while-revalidate,
// stale-if-error), RFC 8246 (immutable), RFC 9875 (groups), No-Vary-Search, RFC
// 8586 (CDN-Loop), RFC 9110 section 7.6.1 (hop-by-hop fields), and the writers
// of RFC 9211 (Cache-Status) and RFC 9209 (Proxy-Status).
//
// Nothing here locks, logs, sleeps or asks the time: rules take fields and
// `now` and return a named verdict. Life of a response, in their words:
//
//	is asked for  KeyPolicy.Target, KeyPolicy.Extra, TrustOf, Looped, RequestDirectives, Policy.Negotiate
//	arrives       Storable, StorablePart, StorablePost, VaryFields, Policy.Variant, Tags,
//	              CacheGroups, ParseNoVarySearch, NewStored, StoredFields, AppendFields
//	is used       RequestDirectives, Stored.SpareImmutable, Stored.Reuse, EachField, CacheStatus
//	is stale      Refresh after a 304 for which Updates holds, Stored.MayServeStaleOnError
//	is outdated   Invalidates, InvalidationTargets, GroupInvalidation
package rfc9111

import "time"

// Stored is what the rules must know of a stored response to decide on its
// reuse (RFC 9111 section 4). The engine computes it once, when the response
// arrives, and keeps it beside the body.
type Stored struct {
	// ResponseTime is when the response arrived at this node.
	ResponseTime time.Time
	// InitialAge is corrected_initial_age of section 4.2.3.
	InitialAge time.Duration
	// Lifetime is freshness_lifetime of section 4.2.1 or 4.2.2.
	Lifetime time.Duration
	// StaleWhileRevalidate and StaleIfError are the windows of RFC 5861,
	// counted from the moment the response became stale. 0 when the response
	// names none, so that the site's policy decides at the time of use;
	// negative when the response itself asks for a window of zero.
	StaleWhileRevalidate, StaleIfError time.Duration
	// NoCache says that every reuse must be validated first (section 5.2.2.4).
	NoCache bool
	// MustRevalidate says that it must never be served stale: must-revalidate,
	// proxy-revalidate or s-maxage (sections 5.2.2.2, 5.2.2.8, 5.2.2.10).
	//
	// That holds for s-maxage also where the response has
	// stale-while-revalidate or stale-if-error of its own. Section 4.2.4 has
	// two sentences on stale responses. The first forbids them where "an
	// applicable s-maxage" does, without exception; the second demands, where
	// nothing forbids them, a permission as well, and names RFC 5861 as one.
	// A permission does not undo a prohibition, and section 5.2.2.10 says
	// MUST NOT once more. That extensions may modify the directives beside
	// them (section 5.2.3) does not help: RFC 5861 does not say that it
	// modifies s-maxage. An origin that wants both has two ways that every
	// cache reads alike: max-age in place of s-maxage, or a targeted field,
	// CDN-Cache-Control: max-age=60, stale-while-revalidate=600. Since many
	// frameworks send s-maxage with stale-while-revalidate all the same, a
	// site may vouch for that reading: Policy.StaleDespiteSMaxAge.
	MustRevalidate bool
}

// Age is current_age of section 4.2.3 at now. It is never negative and never
// above 2^31 s, the cap of section 1.2.2.
func (s *Stored) Age(now time.Time) time.Duration {
	resident := max(now.Sub(s.ResponseTime), 0)
	return min(min(s.InitialAge, deltaMax)+min(resident, deltaMax), deltaMax)
}

// TTL is how long the response stays fresh after now; zero or negative once
// stale (a response is fresh while its lifetime exceeds its age, section 4.2).
// It is at most zero for a response that came later than now: the clock has been
// set back since, and nobody knows how old the response is.
func (s *Stored) TTL(now time.Time) time.Duration {
	ttl := s.Lifetime - s.Age(now)
	if s.ResponseTime.Sub(now) > setBackMin {
		return min(ttl, 0)
	}
	return ttl
}

// setBackMin is more than what lies between a request's moment and that of a
// response which is stored while it is answered.
const setBackMin = time.Second
