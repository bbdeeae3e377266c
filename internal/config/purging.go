package config

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// APIToken is a token of control's API that may less than tokens.api, as
// `weir token create` prints it.
type APIToken struct {
	Name    string   `yaml:"name"`    // stands for it in logs and records
	Hash    string   `yaml:"hash"`    // sha256: and 64 hexadecimal digits, of the token
	Sites   []string `yaml:"sites"`   // the sites that it may purge, or ["*"]
	Scopes  []string `yaml:"scopes"`  // the scopes that it may purge by, or ["*"]
	Expires string   `yaml:"expires"` // RFC 3339, such as "2027-01-31T00:00:00Z"; "" for never
}

// Everything in place of names stands for all of them.
const Everything = "*"

// tokenNames are names that are taken: "api" is what tokens.api goes by.
var tokenNames = []string{"api"}

// scopes are what Scopes may name; purge.Scopes is the same.
var scopes = []string{"url", "prefix", "host", "tag", "asset", "site", "all"}

// apiTokensMax bounds the tokens of a file.
const apiTokensMax = 1000

const hashPrefix, hashDigits = "sha256:", 64

// Ends is when the token expires; zero for never. The configuration has been
// checked.
func (t *APIToken) Ends() time.Time {
	at, _ := time.Parse(time.RFC3339, t.Expires)
	return at
}

func (t *APIToken) check(at spot, sites []string) {
	name := at.field("name")
	checkName(name, t.Name)
	if slices.Contains(tokenNames, t.Name) {
		name.bad(fmt.Sprintf("name %q is that of tokens.api", t.Name), "choose another")
	}
	hash := at.field("hash")
	fix := "write what weir token create has printed: " + hashPrefix + " and 64 hexadecimal digits"
	hash.needs(t.Hash != "", fix)
	digits, found := strings.CutPrefix(t.Hash, hashPrefix)
	if _, err := hex.DecodeString(digits); t.Hash != "" && (!found || err != nil || len(digits) != hashDigits) {
		// The text may be the token itself, put into the wrong place.
		hash.bad("hash is not the hash of a token", fix)
	}
	at.field("sites").needs(len(t.Sites) > 0, `write the sites that it may purge, or ["*"] for every one`)
	checkChoice(at.field("sites"), t.Sites, sites, "site")
	at.field("scopes").needs(len(t.Scopes) > 0, `write the scopes that it may purge by, or ["*"] for every one`)
	checkChoice(at.field("scopes"), t.Scopes, scopes, "scope")
	if slices.Contains(t.Scopes, "all") && !slices.Contains(t.Sites, Everything) {
		at.field("scopes").bad("scope all is every site, and the token is not for every site", `write sites: ["*"], or scope site in place of all`)
	}
	if _, err := time.Parse(time.RFC3339, t.Expires); t.Expires != "" && err != nil {
		at.field("expires").bad(fmt.Sprintf("expires %q is no time", t.Expires), `write it in quotes, such as "2027-01-31T00:00:00Z"`)
	}
}

// checkChoice wants names that there are, each once, or Everything alone.
func checkChoice(at spot, names, known []string, what string) {
	for i, name := range names {
		switch item := at.item(i); {
		case name == Everything && len(names) > 1:
			item.bad(`"*" is given besides others`, `keep "*" alone, or remove it`)
		case name != Everything && !slices.Contains(known, name):
			item.bad(fmt.Sprintf("there is no %s %q", what, name), suggestion(name, known))
		case slices.Contains(names[:i], name):
			item.bad(fmt.Sprintf("%q is given twice", name), "keep one of the two")
		}
	}
}

// PurgeRates bound how often one token may purge; see purge.RateOptions.
type PurgeRates struct {
	Narrow float64 `yaml:"narrow"` // by url, prefix, tag, asset: a second, and at once; default 4000
	Broad  float64 `yaml:"broad"`  // by host, site, all: a second, and ten times as many at once; default 10
}

func (r *PurgeRates) setDefaults() { *r = PurgeRates{Narrow: 4000, Broad: 10} }

func (r *PurgeRates) check(at spot) {
	for _, one := range []struct {
		name  string
		value float64
	}{{"narrow", r.Narrow}, {"broad", r.Broad}} {
		if one.value <= 0 || one.value > 1e6 {
			at.field(one.name).bad(fmt.Sprintf("%s %v lets no purge pass, or every one", one.name, one.value),
				"write purges a second, above 0 and at most 1000000; 0.1 is one in ten seconds")
		}
	}
}

// PurgeMethod lets clients of PoPs purge with requests of the method PURGE.
type PurgeMethod struct {
	// From are the networks that such requests may come from; each needs a token
	// of the API besides. Default: none, and PURGE is answered 405.
	From []netip.Prefix `yaml:"from"`
}

// Assets says what versions in a site's URLs look like, for purges of scope
// asset; purge.Assets has the same meaning.
type Assets struct {
	FingerprintMin int      `yaml:"fingerprint_min"` // least hexadecimal digits of a fingerprint in a name, 4 to 64; 0: names have none; 4
	Segments       []string `yaml:"segments"`        // path segments: a text, then # for a number or * for anything; "v#"
	Params         []string `yaml:"params"`          // parameters of the query; v, ver, version
}

// Limits of Assets. purge.Assets.Check has the same.
const (
	assetPatternsMax     = 16
	assetPatternBytesMax = 64
	fingerprintMinLeast  = 4
	fingerprintMinMost   = 64
)

func (a *Assets) setDefaults() {
	*a = Assets{FingerprintMin: 4, Segments: []string{"v#"}, Params: []string{"v", "ver", "version"}}
}

func (a *Assets) check(at spot) {
	if n := a.FingerprintMin; n != 0 && (n < fingerprintMinLeast || n > fingerprintMinMost) {
		at.field("fingerprint_min").bad(fmt.Sprintf("fingerprint_min is %d", n), "write 4 to 64 hexadecimal digits, or 0 for names without fingerprints")
	}
	checkPatterns(at.field("segments"), a.Segments)
	checkPatterns(at.field("params"), a.Params)
	for i, s := range a.Segments {
		if fix := unfitSegment(s); fix != "" {
			at.field("segments").item(i).bad(fmt.Sprintf("%q is no pattern of a segment", s), fix)
		}
	}
	for i, p := range a.Params {
		if p == "" || len(p) > assetPatternBytesMax || strings.ContainsFunc(p, notInParam) {
			at.field("params").item(i).bad(fmt.Sprintf("%q is no parameter's name", p), "write it as it stands in URLs, of 64 bytes at most")
		}
	}
}

func checkPatterns(at spot, list []string) {
	if len(list) > assetPatternsMax {
		at.bad(fmt.Sprintf("%d %s are given", len(list), at.name()), fmt.Sprintf("write %d at most", assetPatternsMax))
	}
}

// unfitSegment says what to write in place of a pattern, or "".
func unfitSegment(s string) string {
	const plain = "write plain characters of a path, then # for a number or * for anything"
	if s == "" || len(s) > assetPatternBytesMax {
		return plain + ", of 64 bytes at most"
	}
	text, kind := s[:len(s)-1], s[len(s)-1]
	switch {
	case kind != '#' && kind != '*':
		return `end it in # for a number, as in "v#", or in * for anything, as in "release-*"`
	case kind == '*' && text == "":
		return `write what such segments begin with, as in "release-*": "*" would be every one`
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/?#*%", r) }):
		return plain
	}
	return ""
}

func notInParam(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("&=#?", r) }
