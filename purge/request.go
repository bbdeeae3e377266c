package purge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"weir/cache/rfc9110"
)

// Request is the body of POST /v1/purges:
//
//	{"site":"docs","scope":"url","targets":["/a"],"mode":"soft"}
type Request struct {
	Site  string `json:"site"`
	Scope Scope  `json:"scope"`
	// Targets are paths or whole URLs for url and prefix, hosts for host,
	// tags for tag; absent for all.
	Targets []string `json:"targets,omitempty"`
	// Mode is hard unless it says soft.
	Mode Mode `json:"mode"`
}

// ParseRequest makes a Record of an API body; Version, Who and At are left to
// the caller. known says which sites exist. What has to change in the body is
// named by a *FieldError.
func ParseRequest(body []byte, known func(site string) bool) (Record, error) {
	var r Record
	err := decodeObject(body, func(name string, dec *json.Decoder) error {
		return decodePurgeField(name, dec, &r)
	})
	if err != nil {
		return r, err
	}
	switch {
	case r.Site == "":
		return r, fieldError("site", "missing")
	case !known(r.Site):
		return r, fieldError("site", "no site is called %q", clip(r.Site))
	case r.Scope == 0:
		return r, fieldError("scope", "missing: want url, prefix, host, tag or all")
	case r.Scope == ScopeAll && len(r.Targets) > 0:
		return r, fieldError("targets", "scope all takes none: it covers the whole site")
	case r.Scope != ScopeAll && len(r.Targets) == 0:
		return r, fieldError("targets", "missing: scope %s needs at least one", r.Scope)
	}
	for i, text := range r.Targets {
		t, err := canonicalTarget(r.Scope, text)
		if err != nil {
			return r, targetError(i, "%v", err)
		}
		r.Targets[i] = t
	}
	return r, r.check()
}

// canonicalTarget gives the form in which a target is stored and compared: the
// same normalisation that the engine's keys have gone through.
func canonicalTarget(s Scope, text string) (string, error) {
	switch {
	case text == "":
		return "", errors.New("empty")
	case len(text) > TargetBytesMax:
		return "", fmt.Errorf("longer than %d bytes", TargetBytesMax)
	case s != ScopeTag && strings.Contains(text, "*"):
		return "", errors.New(`wildcards are not supported: use scope "prefix" with the part before the *, or write %2A for the character itself`)
	}
	switch s {
	case ScopeHost:
		return canonicalHost(text)
	case ScopeTag:
		return text, checkTag(text)
	case ScopePrefix:
		return canonicalPrefix(text)
	default:
		return canonicalURL(text)
	}
}

func canonicalHost(text string) (string, error) {
	if strings.Contains(text, "/") {
		return "", errors.New("must be a host name alone, such as www.example.com")
	}
	host, err := rfc9110.CanonicalHost(text)
	if err != nil {
		return "", fmt.Errorf("not a host: %w", err)
	}
	return host, nil
}

// checkTag allows what can stand as one tag in Surrogate-Key (separated by
// spaces) and in Cache-Tag (separated by commas).
func checkTag(text string) error {
	if len(text) > TagBytesMax {
		return fmt.Errorf("longer than %d bytes", TagBytesMax)
	}
	for _, c := range text {
		if c == ',' || unicode.IsSpace(c) || !unicode.IsPrint(c) {
			return fmt.Errorf("a tag is visible text without spaces and commas; found %q", c)
		}
	}
	return nil
}

func canonicalURL(text string) (string, error) {
	u, err := parseTarget(text)
	if err != nil {
		return "", err
	}
	// A "?" with nothing behind it is no query: keys have none there.
	if u.query != "" {
		return u.base + "?" + u.query, nil
	}
	return u.base, nil
}

// canonicalPrefix keeps a "?" at the end: "/search?" is every query of /search,
// and not /search/help.
func canonicalPrefix(text string) (string, error) {
	u, err := parseTarget(text)
	if err != nil {
		return "", err
	}
	if u.hasQuery {
		return u.base + "?" + u.query, nil
	}
	return u.base, nil
}

// target is a url or prefix target taken apart.
type target struct {
	base     string // "/path" or "//host/path", normalised
	query    string
	hasQuery bool // there is a "?", be it the last byte
}

var errTwoSlashes = errors.New("a path that starts with two slashes reads like a host: write the whole URL, https://host//…")

func parseTarget(text string) (target, error) {
	scheme, rest, whole := strings.Cut(text, "://")
	switch {
	case whole && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")):
		return parseWhole(rest)
	case !strings.HasPrefix(text, "/"):
		return target{}, errors.New("must be a path that starts with /, or a whole http or https URL")
	case strings.HasPrefix(text, "//"):
		return target{}, errTwoSlashes
	}
	return normaliseTarget("", text)
}

// parseWhole takes what follows "https://".
func parseWhole(rest string) (target, error) {
	authority, end := rest, strings.IndexAny(rest, "/?#")
	if end >= 0 {
		authority = rest[:end]
	}
	if strings.Contains(authority, "@") {
		return target{}, errors.New("a user name has no place in a URL to purge")
	}
	host, err := canonicalHost(authority)
	if err != nil {
		return target{}, err
	}
	path := rest[len(authority):]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // RFC 9110 section 4.2.3: empty is the same as "/"
	}
	return normaliseTarget(host, path)
}

func normaliseTarget(host, text string) (target, error) {
	if strings.Contains(text, "#") {
		return target{}, errors.New("a fragment never reaches a server: leave out # and what follows")
	}
	path, query, hasQuery := strings.Cut(text, "?")
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c > '~' {
			return target{}, errors.New("the query holds a space, control or non-ASCII byte: percent-encode it as clients do")
		}
	}
	base, err := rfc9110.NormalisePath(path)
	if err != nil {
		return target{}, fmt.Errorf("not a path that can be cached: %w", err)
	}
	if host != "" {
		base = "//" + host + base
	}
	if len(base)+len(query)+1 > TargetBytesMax {
		return target{}, fmt.Errorf("longer than %d bytes once it is percent-encoded", TargetBytesMax)
	}
	return target{base: base, query: query, hasQuery: hasQuery}, nil
}
