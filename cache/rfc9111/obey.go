package rfc9111

import (
	"fmt"
	"strings"
)

// DirectiveSet says which of a request's directives count (section 5.2.1 makes
// all of them advisory). The zero value leaves the choice to the default,
// ObeySafe.
type DirectiveSet uint16

// The directives of a request, and what comes of obeying them.
const (
	// ObeyNoStore: the response to this request is not stored. A stored one
	// may answer it (section 5.2.1.5).
	ObeyNoStore DirectiveSet = 1 << iota
	// ObeyOnlyIfCached: 504 instead of a fetch.
	ObeyOnlyIfCached
	// ObeyNoCache: validation before use.
	ObeyNoCache
	// ObeyMaxAge: validation of what is older.
	ObeyMaxAge
	// ObeyMinFresh: validation of what will be stale sooner.
	ObeyMinFresh
	// ObeyMaxStale: what is stale may be used.
	ObeyMaxStale
	// ObeyPragma: Pragma: no-cache is no-cache where there is no
	// Cache-Control (section 5.4). Deprecated, and not obeyed without
	// ObeyNoCache.
	ObeyPragma
	// obeyNothing tells an empty choice from none.
	obeyNothing
)

// The sets that have a name of their own.
const (
	// ObeySafe is what lets no client send load past the cache, nor see what
	// the origin did not permit.
	ObeySafe = ObeyNoStore | ObeyOnlyIfCached
	// ObeyAll is every directive.
	ObeyAll = ObeySafe | ObeyNoCache | ObeyMaxAge | ObeyMinFresh | ObeyMaxStale | ObeyPragma
	// ObeyNone is no directive.
	ObeyNone = obeyNothing
)

// directiveNames are the names of the sets for configuration.
var directiveNames = [...]struct {
	name string
	set  DirectiveSet
}{
	{"no-store", ObeyNoStore},
	{"only-if-cached", ObeyOnlyIfCached},
	{"no-cache", ObeyNoCache},
	{"max-age", ObeyMaxAge},
	{"min-fresh", ObeyMinFresh},
	{"max-stale", ObeyMaxStale},
	{"pragma", ObeyPragma},
	{"safe", ObeySafe},
	{"all", ObeyAll},
	{"none", ObeyNone},
}

// ParseDirectiveSet makes a set of names: those of the directives, "pragma",
// "safe", "all" and "none", in any case. Without names it is the zero value. An
// unknown name is an error.
func ParseDirectiveSet(names []string) (DirectiveSet, error) {
	var set DirectiveSet
	for _, name := range names {
		one := DirectiveSet(0)
		for _, known := range directiveNames {
			if strings.EqualFold(known.name, name) {
				one = known.set
			}
		}
		if one == 0 {
			return 0, fmt.Errorf("request directive %q is not known", name)
		}
		set |= one
	}
	return set, nil
}

// String gives the set as names that ParseDirectiveSet reads, between commas.
func (s DirectiveSet) String() string {
	if s == 0 {
		return "safe"
	}
	var names []string
	for _, known := range directiveNames[:7] {
		if s&known.set != 0 {
			names = append(names, known.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// obeyed is the set in force.
func (p *Policy) obeyed() DirectiveSet {
	if p.Obey == 0 {
		return ObeySafe
	}
	return p.Obey
}

// RequestDirectives gives what a request says about caching, as far as p obeys
// it: its Cache-Control, or else its Pragma.
func RequestDirectives(req Fields, p Policy) Directives {
	set := p.obeyed()
	lines := req.Values(cacheControl)
	if len(lines) > 0 {
		d := ParseCacheControl(lines)
		d.limit(set)
		return d
	}
	if set&ObeyPragma == 0 || set&ObeyNoCache == 0 {
		return Directives{}
	}
	// Pragma has the grammar of Cache-Control (RFC 7234 section 5.4).
	pragma := ParseCacheControl(req.Values("Pragma"))
	return Directives{NoCache: pragma.NoCache}
}

// limit drops the directives of a request that are not in set.
func (d *Directives) limit(set DirectiveSet) {
	d.NoStore = d.NoStore && set&ObeyNoStore != 0
	d.OnlyIfCached = d.OnlyIfCached && set&ObeyOnlyIfCached != 0
	d.NoCache = d.NoCache && set&ObeyNoCache != 0
	if set&ObeyMaxAge == 0 {
		d.MaxAge = Delta{}
	}
	if set&ObeyMinFresh == 0 {
		d.MinFresh = Delta{}
	}
	if set&ObeyMaxStale == 0 {
		d.MaxStale = Delta{}
	}
}
