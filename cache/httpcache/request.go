package httpcache

import (
	"fmt"
	"net/http"
	"strings"

	"weir/cache"
	"weir/cache/rfc9110"
)

// Refusal is a request that gets an answer without reaching the engine.
type Refusal struct {
	Status int
	Text   string
}

// Error gives the status and what is wrong.
func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Text) }

// read checks a request and says what the engine needs to know of it.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (*cache.Request, *Refusal) {
	host, err := rfc9110.CanonicalHost(r.Host)
	if err != nil {
		return nil, &Refusal{http.StatusBadRequest, "Host: " + err.Error()}
	}
	site := h.Sites.Find(host)
	if site == nil {
		return nil, &Refusal{http.StatusMisdirectedRequest, fmt.Sprintf("no site answers for the host %q here", host)}
	}
	switch r.Method {
	case http.MethodConnect, http.MethodTrace:
		return nil, &Refusal{http.StatusMethodNotAllowed, "method " + r.Method + " is not served"}
	}
	path, err := rfc9110.NormalisePath(r.URL.EscapedPath())
	if err != nil {
		return nil, &Refusal{http.StatusBadRequest, "path: " + err.Error()}
	}
	target := path
	if r.URL.RawQuery != "" && !site.IgnoreQuery {
		if !visible(r.URL.RawQuery) {
			return nil, &Refusal{http.StatusBadRequest, "query: a byte that is not visible ASCII must be percent-encoded"}
		}
		target += "?" + r.URL.RawQuery
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, h.RequestBytesMax)
	}
	return &cache.Request{
		Site: site, Method: r.Method, Host: host, Target: target,
		Fields: r.Header, Forward: forwarder{r: r, host: host, target: target, face: h.Face},
	}, nil
}

// visible says whether s is visible ASCII only (RFC 3986 appendix A).
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Sites finds the site that answers for a host. Immutable once built.
type Sites struct {
	exact    map[string]*cache.Site
	wildcard map[string]*cache.Site // under "example.com" for "*.example.com"
	every    *cache.Site
}

// NewSites makes an empty set; Add fills it before it is used.
func NewSites() *Sites {
	return &Sites{exact: map[string]*cache.Site{}, wildcard: map[string]*cache.Site{}}
}

// Add lets site answer for the hosts: names, "*.name", or "*" for every host
// that no other site names. A host that is taken is an error.
func (s *Sites) Add(site *cache.Site, hosts ...string) error {
	for _, host := range hosts {
		if host == "*" {
			if s.every != nil {
				return fmt.Errorf("host *: sites %s and %s both want every host", s.every.Name, site.Name)
			}
			s.every = site
			continue
		}
		name, isWildcard := strings.CutPrefix(host, "*.")
		canonical, err := rfc9110.CanonicalHost(name)
		if err != nil {
			return fmt.Errorf("host %q of site %s: %w", host, site.Name, err)
		}
		into := s.exact
		if isWildcard {
			into = s.wildcard
		}
		if other := into[canonical]; other != nil {
			return fmt.Errorf("host %q: sites %s and %s both want it", host, other.Name, site.Name)
		}
		into[canonical] = site
	}
	return nil
}

// Find gives the site for a canonical host: by its name, else by the longest
// wildcard, else the one for every host; nil if there is none.
func (s *Sites) Find(host string) *cache.Site {
	if site := s.exact[host]; site != nil {
		return site
	}
	for rest := host; ; {
		_, after, found := strings.Cut(rest, ".")
		if !found {
			return s.every
		}
		if site := s.wildcard[after]; site != nil {
			return site
		}
		rest = after
	}
}
