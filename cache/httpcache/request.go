package httpcache

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weir/cache"
	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
)

// Refusal is a request that gets an answer without reaching the engine.
type Refusal struct {
	Status int
	Text   string
	// Type is the error type for Proxy-Status (RFC 9209 section 2.3), or "".
	Type string
}

// Error gives the status and what is wrong.
func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Text) }

// read checks a request and says what the engine needs to know of it.
func (h *Handler) read(r *http.Request) (*cache.Request, *Refusal) {
	host, err := rfc9110.CanonicalHost(r.Host)
	if err != nil {
		return nil, &Refusal{Status: http.StatusBadRequest, Text: "Host: " + err.Error()}
	}
	site := h.Sites.Find(host)
	if site == nil {
		return nil, &Refusal{Status: http.StatusMisdirectedRequest, Text: fmt.Sprintf("no site answers for the host %q here", host)}
	}
	if refusal := h.refuses(r); refusal != nil {
		return nil, refusal
	}
	target, err := targetOf(site, r.URL.EscapedPath(), r.URL.RawQuery)
	if err != nil {
		return nil, &Refusal{Status: http.StatusBadRequest, Text: err.Error()}
	}
	fields := forwarded(r.Header)
	over, back := h.loops.check(r.Header[rfc9111.LoopField], site.Name)
	if over {
		return nil, errLoop
	}
	return &cache.Request{
		Site: site, Method: r.Method, Host: host, Target: target, Fields: fields, Bypass: back,
		Extra:     site.Key.Extra(fields, h.class(site, fields)),
		NoStale:   h.Face == FaceEdges && r.Header.Get(cache.FreshField) != "",
		Normalise: normaliser(site),
	}, nil
}

var errQuery = errors.New("query: a byte that is not visible ASCII must be percent-encoded")

// forwarded gives the fields of a request that go beyond this node. Connection
// can name any field (RFC 9110 section 7.6.1): one that upstream does not see
// must not choose under which key, or which variant, its answer is stored.
func forwarded(header http.Header) http.Header {
	for _, line := range header["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			name := http.CanonicalHeaderKey(strings.Trim(option, " \t"))
			if _, there := header[name]; there {
				kept := header.Clone()
				rfc9111.EndToEnd(kept)
				return kept
			}
		}
	}
	return header
}

// class is the device class of a request as it is in the key. Only an edge can
// be believed about it.
func (h *Handler) class(site *cache.Site, fields rfc9111.Fields) string {
	if h.Face == FaceEdges {
		return site.Key.ClassTold(fields)
	}
	return site.Key.Class(fields)
}

// targetOf gives the target in the form that it has in keys. An absolute URL
// without a path means the root (RFC 9110 section 4.2.3).
func targetOf(site *cache.Site, escapedPath, query string) (string, error) {
	path, err := rfc9110.NormalisePath(cmp.Or(escapedPath, "/"))
	if err != nil {
		return "", fmt.Errorf("path: %w", err)
	}
	if query == "" || site.Key.Query == rfc9111.QueryNone {
		return path, nil
	}
	if !visible(query) {
		return "", errQuery
	}
	return site.Key.Target(path + "?" + query), nil
}

// normaliser gives the key's host and target of a reference in a response.
func normaliser(site *cache.Site) rfc9111.Normalise {
	return func(authority, target string) (string, string, bool) {
		host, err := rfc9110.CanonicalHost(authority)
		if err != nil {
			return "", "", false
		}
		path, query := rfc9110.SplitTarget(target)
		key, err := targetOf(site, path, query)
		return host, key, err == nil
	}
}

// refuses says what a node does not do at all, whatever the site.
func (h *Handler) refuses(r *http.Request) *Refusal {
	switch {
	case r.Method == http.MethodConnect && r.ProtoMajor >= 2 && !strings.HasPrefix(r.Proto, "HTTP/"):
		// Extended CONNECT (RFC 8441, RFC 9220 section 3).
		return &Refusal{Status: http.StatusNotImplemented, Text: fmt.Sprintf("protocol %q is not served on HTTP/%d", r.Proto, r.ProtoMajor)}
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace:
		return &Refusal{Status: http.StatusMethodNotAllowed, Text: "method " + r.Method + " is not served"}
	case r.ProtoMajor >= 2 && len(r.Header["Upgrade"]) > 0: // RFC 9113 section 8.2.2, RFC 9114 section 4.2
		return &Refusal{Status: http.StatusBadRequest, Text: "Upgrade does not exist on this version of HTTP"}
	case len(r.Header["Expect"]) > 0 && r.ProtoAtLeast(1, 1) && !expectsContinue(r): // RFC 9110 section 10.1.1
		return &Refusal{Status: http.StatusExpectationFailed, Text: "only 100-continue can be expected"}
	case r.ContentLength > h.RequestBytesMax:
		return tooLarge
	}
	return nil
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
