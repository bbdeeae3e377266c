package rfc9111

import (
	"net/http"
	"time"
)

// Reuse says how a stored response may answer a request (section 4).
type Reuse uint8

// The answers of Stored.Reuse.
const (
	// Revalidate: it must be validated with the origin before it is used.
	Revalidate Reuse = iota
	// Fresh: it may be used as it is.
	Fresh
	// StaleWhileRevalidate: it may be used now, while it is validated behind
	// (RFC 5861 section 3, or a max-stale that is obeyed).
	StaleWhileRevalidate
)

// String gives the answer's one name.
func (r Reuse) String() string {
	switch r {
	case Revalidate:
		return "revalidate"
	case Fresh:
		return "fresh"
	case StaleWhileRevalidate:
		return "stale-while-revalidate"
	default:
		return "unknown"
	}
}

// Reuse decides on a request that arrives at now. req are the request's
// directives; they count as far as p obeys them. A soft-purged response
// is never Fresh: it may be used while it is revalidated only if it has a
// window for that at all, and no longer than that would have been open.
func (s *Stored) Reuse(now time.Time, req Directives, p Policy, softPurged bool) Reuse {
	if s.NoCache {
		return Revalidate
	}
	req.limit(p.obeyed())
	excess := s.clientExcess(now, &req)
	if req.NoCache || excess > 0 && !req.MaxStale.Given || excess > req.MaxStale.Value {
		return Revalidate
	}
	ttl := s.TTL(now)
	switch {
	case ttl > 0 && !softPurged:
		return Fresh
	case s.MustRevalidate:
		return Revalidate
	case s.revalidateWindow(p) > 0 && -ttl < s.revalidateWindow(p):
		return StaleWhileRevalidate
	case !softPurged && req.MaxStale.Given && -ttl <= req.MaxStale.Value:
		// max-stale does not reach over a purge.
		return StaleWhileRevalidate
	}
	return Revalidate
}

// SpareImmutable gives a request's directives for Reuse without max-age, if the
// response is immutable and fresh at now (RFC 8246 section 2.1): a reload sends
// max-age=0, and to spare that validation is what immutable is for. no-cache
// still asks for it. header is the response's; it is asked for, and read, only
// if the request has max-age.
func (s *Stored) SpareImmutable(now time.Time, req Directives, header func() http.Header, p Policy) Directives {
	if !req.MaxAge.Given || s.TTL(now) <= 0 {
		return req
	}
	if d, _ := ResponseDirectives(header(), p); d.Immutable {
		req.MaxAge = Delta{}
	}
	return req
}

// clientExcess is by how much the response is older than the request's max-age
// and min-fresh want it (sections 5.2.1.1, 5.2.1.3); not positive if it is not.
// max-stale (5.2.1.2) forgives as much. max-age=0 is what a reload sends and
// means validation, however new the response.
func (s *Stored) clientExcess(now time.Time, req *Directives) time.Duration {
	excess := time.Duration(0)
	if req.MaxAge.Given {
		excess = s.Age(now) - req.MaxAge.Value
		if req.MaxAge.Value == 0 {
			excess = max(excess, 1)
		}
	}
	if req.MinFresh.Given {
		excess = max(excess, req.MinFresh.Value-s.TTL(now))
	}
	return excess
}

// revalidateWindow is the response's own window, or else the policy's. It is
// never negative, so that a response inside its lifetime is inside its window.
func (s *Stored) revalidateWindow(p Policy) time.Duration {
	if s.StaleWhileRevalidate == 0 && s.Lifetime > 0 {
		return max(p.StaleWhileRevalidate, 0)
	}
	return max(s.StaleWhileRevalidate, 0)
}

// MayServeStaleOnError says whether the response may answer at now although the
// origin failed: unreachable, or with a status of 500, 502, 503 or 504 (RFC 5861
// section 4). It never may where section 4.2.4 forbids it. True as well while it
// is fresh, unless it was soft-purged and has no window for being stale.
func (s *Stored) MayServeStaleOnError(now time.Time, p Policy, softPurged bool) bool {
	if s.NoCache || s.MustRevalidate {
		return false
	}
	window := s.StaleIfError
	if window == 0 {
		window = p.StaleIfError
	}
	if softPurged && window <= 0 {
		return false
	}
	ttl := s.TTL(now)
	return ttl > 0 || -ttl < window
}
