package purge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// RateOptions bound how often one token may purge. Purges that name what they
// cover are narrow; host, site and all are broad, since each sends much load to
// the origins.
type RateOptions struct {
	// NarrowPerSecond is for scopes url, prefix, tag and asset; as many may come
	// at once. Default 4,000.
	NarrowPerSecond float64
	// BroadPerSecond is for scopes host, site and all; ten times as many may come
	// at once. Default 10.
	BroadPerSecond float64
}

func (o RateOptions) withDefaults() RateOptions {
	o.NarrowPerSecond = cmp.Or(o.NarrowPerSecond, 4000)
	o.BroadPerSecond = cmp.Or(o.BroadPerSecond, 10)
	return o
}

// Refusals that are the caller's own.
var (
	errNoToken   = errors.New("a bearer token is needed: Authorization: Bearer TOKEN")
	errBadToken  = errors.New("the bearer token is not known here: Authorization: Bearer TOKEN")
	errExpired   = errors.New("the bearer token has expired")
	errForbidden = errors.New("the token may not do this")
	errReused    = errors.New("the idempotency key was used for another purge")
)

// limitedError says that a token has purged too often.
type limitedError struct {
	class string
	after time.Duration
}

func (e *limitedError) Error() string {
	return fmt.Sprintf("too many purges of %s scopes with this token: nothing was accepted, try again later", e.class)
}

// retryAfter is the wait in whole seconds, RFC 9110 section 10.2.3.
func (e *limitedError) retryAfter() string {
	return fmt.Sprint(max(1, int(math.Ceil(e.after.Seconds()))))
}

// holder is a token and how often it may purge yet.
type holder struct {
	Token
	narrow, broad *rate.Limiter
}

// holdersOf makes a table by hash. That a look-up in it takes more or less time
// tells of the hash of a guess, and not how close the guess was.
func holdersOf(o *APIOptions) (map[TokenHash]*holder, error) {
	all := make(map[TokenHash]*holder, len(o.Tokens)+1)
	names := make(map[string]bool)
	for _, t := range append([]Token{{Name: o.TokenName, Hash: HashToken(o.Token)}}, o.Tokens...) {
		if t.Name == "" || strings.ContainsAny(t.Name, " /") || names[t.Name] || all[t.Hash] != nil {
			return nil, fmt.Errorf("purge: token %q: its name is empty, has a space or slash, or it is there twice", t.Name)
		}
		names[t.Name] = true
		all[t.Hash] = &holder{
			Token:  t,
			narrow: rate.NewLimiter(rate.Limit(o.Rates.NarrowPerSecond), max(1, int(o.Rates.NarrowPerSecond))),
			broad:  rate.NewLimiter(rate.Limit(o.Rates.BroadPerSecond), max(1, int(10*o.Rates.BroadPerSecond))),
		}
	}
	return all, nil
}

// take counts one purge.
func (h *holder) take(s Scope, now time.Time) error {
	class, limiter := "narrow", h.narrow
	if s == ScopeHost || s == ScopeSite || s == ScopeAll {
		class, limiter = "broad", h.broad
	}
	r := limiter.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return &limitedError{class, wait}
	}
	return nil
}

// bearer is the token of a request's Authorization, "" if there is none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// admit finds the holder of a token and makes c its call.
func (a *API) admit(c *call, token string) error {
	if token == "" {
		return errNoToken
	}
	h := a.holders[HashToken(token)]
	switch {
	case h == nil:
		return errBadToken
	case !h.Expires.IsZero() && !time.Now().Before(h.Expires):
		return errExpired
	}
	c.holder = h
	c.who = h.Name + " " + c.who
	c.ctx = context.WithValue(c.ctx, tokenKey{}, &h.Token)
	return nil
}

// permits says whether the call's token may ask for a purge.
func (c *call) permits(scope Scope, site string) error {
	switch {
	case !c.holder.maySite(site):
		if scope == ScopeAll {
			return fmt.Errorf("%w: purge every site", errForbidden)
		}
		return fmt.Errorf("%w: it is not for site %q", errForbidden, clip(site))
	case !c.holder.mayScope(scope):
		return fmt.Errorf("%w: purge by scope %s", errForbidden, scope)
	}
	return nil
}
