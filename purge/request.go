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
//	{"site":"docs","scope":"url","targets":["/a"],"mode":"soft","idempotency_key":"release 17"}
type Request struct {
	// Site is the site's name; absent for all.
	Site  string `json:"site,omitempty"`
	Scope Scope  `json:"scope"`
	// Targets are paths or whole URLs for url, prefix and asset, hosts for
	// host, tags for tag; absent for site and all.
	Targets []string `json:"targets,omitempty"`
	// Mode is hard unless it says soft.
	Mode Mode `json:"mode"`
	// Key makes asking again safe: a later purge of the same key, by the same
	// token, gets the version of the first. The header Idempotency-Key is
	// another place for it.
	Key string `json:"idempotency_key,omitempty"`
}

// ParseRequest makes a Record of an API body; Version, Who and At are left to
// the caller, and Assets are the default. known says which sites exist. What
// has to change in the body is named by a *FieldError.
func ParseRequest(body []byte, known func(site string) bool) (Record, error) {
	r, err := decodeRequest(body)
	if err != nil {
		return Record{}, err
	}
	return r.record(known)
}

// decodeRequest reads a body.
func decodeRequest(body []byte) (Request, error) {
	var r Record
	err := decodeObject(body, func(name string, dec *json.Decoder) error {
		if name == "idempotency_key" {
			return decodeString(name, dec, &r.Key)
		}
		return decodePurgeField(name, dec, &r)
	})
	return Request{Site: r.Site, Scope: r.Scope, Targets: r.Targets, Mode: r.Mode, Key: r.Key}, err
}

// record checks a request and gives the record that it stands for.
func (q *Request) record(known func(site string) bool) (Record, error) {
	r := Record{Site: q.Site, Scope: q.Scope, Targets: q.Targets, Mode: q.Mode, Key: q.Key}
	r.settle()
	switch {
	case r.Scope == 0:
		return r, fieldError("scope", "missing: want %s", scopesText)
	case r.Site == "" && r.Scope != ScopeAll:
		return r, fieldError("site", "missing: which of the sites is meant")
	case r.Scope != ScopeAll && !known(r.Site):
		return r, fieldError("site", "no site is called %q", clip(r.Site))
	case !r.Scope.takesTargets() && len(r.Targets) > 0:
		return r, fieldError("targets", "scope %s takes none: it covers everything", q.Scope)
	case r.Scope.takesTargets() && len(r.Targets) == 0:
		return r, fieldError("targets", "missing: scope %s needs at least one", r.Scope)
	}
	if err := checkKey(r.Key); err != nil {
		return r, fieldError("idempotency_key", "%v", err)
	}
	for i, text := range r.Targets {
		t, err := canonicalTarget(r.Scope, text)
		if err != nil {
			return r, targetError(i, "%v", err)
		}
		r.Targets[i] = t
	}
	if r.Scope == ScopeAsset {
		assets := DefaultAssets()
		r.Assets = &assets
	}
	return r, r.check()
}

func checkKey(key string) error {
	if len(key) > IdempotencyKeyBytesMax {
		return fmt.Errorf("longer than %d bytes", IdempotencyKeyBytesMax)
	}
	if strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return errors.New("must be printable ASCII")
	}
	return nil
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
