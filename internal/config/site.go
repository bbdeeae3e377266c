package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Site is hostnames, where their content comes from, and the policy for it.
type Site struct {
	Name string `yaml:"name"`

	// Hosts are the names it answers for, without ports: a name, "*.name" for
	// each name one label or more below it, or "*" for all that no other site
	// has. A host belongs to one site. Load and Parse write them in lower case.
	Hosts []string `yaml:"hosts"`

	Origin Origin `yaml:"origin"`
	Policy Policy `yaml:"policy"`
}

// Policy says how long a site's content is kept where the origin does not say
// (RFC 9111), and how paths become the origin's keys. Default: [DefaultPolicy].
type Policy struct {
	DefaultTTL           Duration `yaml:"default_ttl"`            // lifetime of a success that says nothing at all; S3 10m, HTTP 0s: the heuristic alone
	NegativeTTL          Duration `yaml:"negative_ttl"`           // lifetime of a 404, 405, 410, 414 or 501 that says nothing; S3 10s, HTTP 0s
	HeuristicMax         Duration `yaml:"heuristic_max"`          // most that Last-Modified may give, RFC 9111 4.2.2; 24h
	StaleIfError         Duration `yaml:"stale_if_error"`         // RFC 5861 4; 1h
	StaleWhileRevalidate Duration `yaml:"stale_while_revalidate"` // RFC 5861 3; 0s

	StatusTTL           StatusTTL `yaml:"status_ttl"`             // lifetimes, by status, of what says nothing; before the two above; none
	StaleDespiteSMaxAge bool      `yaml:"stale_despite_s_maxage"` // s-maxage does not forbid what the response's own RFC 5861 windows allow; false
	CDNCacheControl     []string  `yaml:"cdn_cache_control"`      // target list of RFC 9213 2.2; CDN-Cache-Control, Surrogate-Control

	Index         string `yaml:"index"`          // document of a path that ends in a slash; "" for none
	NotFound      string `yaml:"not_found"`      // path of the document that goes with a 404; "" for none
	SlashRedirect bool   `yaml:"slash_redirect"` // redirect /dir to /dir/ where only that exists

	Key            Key  `yaml:"key"`              // what of a request is in its key
	KeyIgnoreQuery bool `yaml:"key_ignore_query"` // short for key: {query: none}; false

	Assets Assets `yaml:"assets"` // what versions in URLs look like, for purges of scope asset

	ShareSetCookie bool     `yaml:"share_set_cookie"` // store what sets a cookie on the terms of anything else, RFC 9111 7.3; false
	Obey           []string `yaml:"obey"`             // which directives of a client count, RFC 9111 5.2.1; no-store, only-if-cached
	Languages      []string `yaml:"languages"`        // what the site has, best first: Accept-Language is reduced to one of them; none

	Compress    []string `yaml:"compress"`     // codings that PoPs compress text in, best first; zstd, br, gzip. [] for none
	CompressMin Bytes    `yaml:"compress_min"` // shortest body that is compressed; 1KiB
	CompressMax Bytes    `yaml:"compress_max"` // longest body that is compressed, or decoded for a client that takes no coding; 10MiB
}

// DefaultPolicy is the policy of a site that says nothing about it. A bucket's
// files come without lifetimes and without rules for paths, so for S3 both have
// defaults: DefaultTTL and NegativeTTL, Index ("index.html"), NotFound
// ("/404.html") and SlashRedirect (true). An HTTP server has its own say about
// both, and where it says nothing the RFC does.
func DefaultPolicy(o Origin) Policy {
	p := Policy{
		HeuristicMax: Duration(24 * time.Hour), StaleIfError: Duration(time.Hour), Key: Key{Query: "all"},
		Compress: slices.Clone(codings), CompressMin: 1 << 10, CompressMax: 10 << 20,
	}
	p.Assets.setDefaults()
	if o.HTTP == nil {
		p.DefaultTTL, p.NegativeTTL = Duration(10*time.Minute), Duration(10*time.Second)
		p.Index, p.NotFound, p.SlashRedirect = "index.html", "/404.html", true
	}
	return p
}

func (p *Policy) setDefaults() { *p = DefaultPolicy(Origin{}) }

func (s *Site) setDefaults() { s.Policy.setDefaults() }

func (s *Site) settle(at spot, baseDir string) {
	for i, h := range s.Hosts {
		s.Hosts[i] = plainHost(h)
	}
	s.Origin.settle(at.field("origin"), baseDir)
	s.Policy.settle(at.field("policy"), s.Origin)
}

// settle writes out the short form of the key, and turns a bucket's defaults off for another kind of origin, save those
// that the file gives.
func (p *Policy) settle(at spot, o Origin) {
	if p.KeyIgnoreQuery && !at.field("key").field("query").given() {
		p.Key.Query = "none"
	}
	fallback := DefaultPolicy(o)
	if !at.field("default_ttl").given() {
		p.DefaultTTL = fallback.DefaultTTL
	}
	if !at.field("negative_ttl").given() {
		p.NegativeTTL = fallback.NegativeTTL
	}
	if !at.field("index").given() {
		p.Index = fallback.Index
	}
	if !at.field("not_found").given() {
		p.NotFound = fallback.NotFound
	}
	if !at.field("slash_redirect").given() {
		p.SlashRedirect = fallback.SlashRedirect
	}
}

func (s *Site) check(at spot) {
	checkName(at.field("name"), s.Name)
	hosts := at.field("hosts")
	hosts.needs(len(s.Hosts) > 0, `write hosts: ["www.example.com"], or ["*"] for every host`)
	for i, h := range s.Hosts {
		checkHost(hosts.item(i), h)
	}
	s.Origin.check(at.field("origin"))
	s.Policy.check(at.field("policy"))
}

// requestDirectives are what Obey may name, and the short words for sets.
var requestDirectives = []string{
	"no-store", "only-if-cached", "no-cache", "max-age", "min-fresh", "max-stale", "pragma", "safe", "all", "none",
}

// codings are what Compress may name, in the order of its default.
var codings = []string{"zstd", "br", "gzip"}

func (p *Policy) check(at spot) {
	p.checkCompress(at)
	p.Key.check(at.field("key"))
	p.Assets.check(at.field("assets"))
	if query := at.field("key").field("query"); p.KeyIgnoreQuery && query.given() && p.Key.Query != "none" {
		query.bad(fmt.Sprintf("query is %s, and key_ignore_query, which means none, is true on line %d", p.Key.Query, at.field("key_ignore_query").line()),
			"remove one of the two")
	}
	p.StatusTTL.check(at.field("status_ttl"))
	checkTargets(at.field("cdn_cache_control"), p.CDNCacheControl)
	if strings.Contains(p.Index, "/") {
		at.field("index").bad(fmt.Sprintf("index %q has a slash", p.Index), `write a file name, such as index.html, or "" for none`)
	}
	for i, name := range p.Obey {
		if !slices.Contains(requestDirectives, name) {
			at.field("obey").item(i).bad(fmt.Sprintf("%q is no directive of a request", name), "write some of: "+strings.Join(requestDirectives, ", "))
		}
	}
	if p.NotFound != "" && !strings.HasPrefix(p.NotFound, "/") {
		at.field("not_found").bad(fmt.Sprintf("not_found %q does not start with a slash", p.NotFound), `write a path, such as /404.html, or "" for none`)
	}
}

func (p *Policy) checkCompress(at spot) {
	for i, name := range p.Compress {
		item := at.field("compress").item(i)
		if !slices.Contains(codings, name) {
			item.bad(fmt.Sprintf("%q is no content coding", name), "write some of: "+strings.Join(codings, ", ")+"; or [] for none")
		}
		if slices.Index(p.Compress, name) < i {
			item.bad(fmt.Sprintf("%q is given twice", name), "keep one of the two")
		}
	}
	if p.CompressMin < 1 {
		at.field("compress_min").bad("compress_min is 0", "write 1 or more, such as 1KiB")
	}
	if p.CompressMax < p.CompressMin {
		at.field("compress_max").bad(fmt.Sprintf("compress_max %s is less than compress_min %s", p.CompressMax, p.CompressMin), "write a larger size, such as 10MiB")
	}
}

// plainHost writes a host the one way in which it is compared: lower case, no
// final dot, no brackets, addresses as package netip writes them.
func plainHost(host string) string {
	host = strings.ToLower(host)
	if host != "*." { // which is no way to write "*"
		host = strings.TrimSuffix(host, ".")
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(bare); err == nil {
		return addr.Unmap().String()
	}
	return host
}

func checkHost(at spot, host string) {
	name := strings.TrimPrefix(host, "*.")
	_, err := netip.ParseAddr(host)
	if host != "*" && err != nil && !isHostname(name) {
		at.bad(fmt.Sprintf("host %q is not a name", host), `write www.example.com, "*.example.com" or "*", without scheme and port`)
	}
}

// checkHosts sees to it that no host belongs to two sites.
func (c *Config) checkHosts(sites spot) {
	first := map[string]spot{}
	for i, s := range c.Sites {
		for j, h := range s.Hosts {
			at := sites.item(i).field("hosts").item(j)
			if other, twice := first[h]; twice && h != "" {
				at.bad(fmt.Sprintf("host %q is given twice, first on line %d", h, other.line()), "keep one of the two")
				continue
			}
			first[h] = at
		}
	}
}
