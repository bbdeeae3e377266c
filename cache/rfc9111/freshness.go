package rfc9111

import (
	"cmp"
	"net/http"
	"strings"
	"time"
)

// NewStored works out what decides on the reuse of a response that may be
// stored: its lifetime (sections 4.2.1, 4.2.2), its age on arrival (section
// 4.2.3) and what forbids or permits serving it stale (section 4.2.4, RFC
// 5861). requestTime is when the request for it was sent, responseTime when its
// header arrived. A response without a valid Date counts as made at
// responseTime (RFC 9110 section 6.6.1). Pragma in a response means nothing.
func NewStored(status int, resp http.Header, requestTime, responseTime time.Time, p Policy) Stored {
	p = p.WithDefaults()
	cc := controlOf(resp, p)
	date, ok := dateOf(resp, responseTime)
	if !ok {
		date = responseTime
	}
	lifetime, _ := lifetimeOf(status, resp, &cc, date, p)
	s := Stored{
		ResponseTime:         responseTime,
		InitialAge:           initialAge(resp, date, requestTime, responseTime),
		Lifetime:             lifetime,
		StaleWhileRevalidate: windowOf(cc.StaleWhileRevalidate),
		StaleIfError:         windowOf(cc.StaleIfError),
		NoCache:              cc.NoCache,
		MustRevalidate:       mustRevalidate(&cc.Directives, p),
	}
	if cc.SMaxAge.Given && !s.MustRevalidate {
		// The response's own windows have lifted the prohibition of its
		// s-maxage. The policy's must not follow them through the gap.
		s.StaleWhileRevalidate = cmp.Or(s.StaleWhileRevalidate, noWindow)
		s.StaleIfError = cmp.Or(s.StaleIfError, noWindow)
	}
	return s
}

// mustRevalidate tells what forbids serving stale, save no-cache (section
// 4.2.4); s-maxage does so by section 5.2.2.10. See Stored.MustRevalidate.
func mustRevalidate(cc *Directives, p Policy) bool {
	if cc.MustRevalidate || cc.ProxyRevalidate {
		return true
	}
	lifted := p.StaleDespiteSMaxAge && max(cc.StaleWhileRevalidate.Value, cc.StaleIfError.Value) > 0
	return cc.SMaxAge.Given && !lifted
}

// noWindow is a window that the response itself has shut; see Stored. It is a
// whole second so that no encoding rounds it away.
const noWindow = -time.Second

// windowOf keeps the difference between a window of zero and none named.
func windowOf(d Delta) time.Duration {
	if d.Given && d.Value == 0 {
		return noWindow
	}
	return d.Value
}

// initialAge is corrected_initial_age (section 4.2.3).
func initialAge(resp http.Header, date, requestTime, responseTime time.Time) time.Duration {
	apparent := max(responseTime.Sub(date), 0)
	delay := max(responseTime.Sub(requestTime), 0)
	corrected := ageValue(resp) + min(delay, deltaMax)
	return min(max(apparent, corrected), deltaMax)
}

// ageValue is the Age field (section 5.1): the first member of the first line,
// whatever follows it, and nothing if that is no delta-seconds. Parameters,
// which the field does not have, are left out: of a number and nonsense the
// number is the safer reading, since it makes the response older.
func ageValue(resp http.Header) time.Duration {
	first, _, _ := strings.Cut(resp.Get("Age"), ",")
	first, _, _ = strings.Cut(first, ";")
	age, _ := deltaSeconds(strings.Trim(first, " \t"))
	return age
}

// lifetimeOf is freshness_lifetime for a shared cache. explicit says that the
// response itself names it, if only as a malformed value, which counts as 0.
// p has its defaults filled. A targeted field takes Expires out of the count
// (RFC 9213 section 2.2).
func lifetimeOf(status int, resp http.Header, cc *control, date time.Time, p Policy) (lifetime time.Duration, explicit bool) {
	ttl, named := p.StatusTTL[status]
	switch expires := resp.Values("Expires"); {
	case cc.SMaxAge.Given:
		return cc.SMaxAge.Value, true
	case cc.MaxAge.Given:
		return cc.MaxAge.Value, true
	case len(expires) > 0 && !cc.targeted():
		return expiresLifetime(expires, date), true
	case named:
		return min(max(ttl, 0), deltaMax), false
	case negativeStatus(status) && p.NegativeTTL > 0:
		return min(p.NegativeTTL, deltaMax), false
	case heuristicStatus(status) && !negativeStatus(status) && p.DefaultTTL > 0:
		return min(p.DefaultTTL, deltaMax), false
	case heuristicStatus(status) || cc.Public:
		return min(heuristicLifetime(resp, date), p.HeuristicMax), false
	}
	return 0, false
}

// expiresLifetime is Expires minus Date (section 5.3). Of several lines the
// earliest counts, and one that is no HTTP-date makes the response stale.
func expiresLifetime(lines []string, date time.Time) time.Duration {
	lifetime := time.Duration(deltaMax)
	for _, line := range lines {
		expires, ok := parseDate(line, date)
		if !ok {
			return 0
		}
		lifetime = min(lifetime, max(expires.Sub(date), 0))
	}
	return lifetime
}

// heuristicLifetime is 10 % of the time since Last-Modified (section 4.2.2).
func heuristicLifetime(resp http.Header, date time.Time) time.Duration {
	modified, ok := parseDate(resp.Get("Last-Modified"), date)
	if !ok {
		return 0
	}
	return min(max(date.Sub(modified), 0)/10, deltaMax)
}

// dateOf reads the Date field; near as in parseDate.
func dateOf(resp http.Header, near time.Time) (time.Time, bool) {
	return parseDate(resp.Get("Date"), near)
}

// heuristicStatus is the list of RFC 9110 section 15.1. That it has 206 matters
// to StorablePart alone.
func heuristicStatus(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusPartialContent, http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect:
		return true
	}
	return negativeStatus(status)
}

// negativeStatus is the part of that list that reports an error.
func negativeStatus(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone,
		http.StatusRequestURITooLong, http.StatusNotImplemented:
		return true
	}
	return false
}
