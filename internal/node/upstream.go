package node

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/internal/config"
	"weir/origin"
)

// sitesOf makes the sites that a node answers for, each with its upstream.
// encodings gives the content codings that it answers clients in; nil: those
// that upstream answers in.
func sitesOf(c *config.Config, encodings func(config.Policy) *cache.Encodings, upstream func(*config.Site) (http.RoundTripper, error)) (*httpcache.Sites, error) {
	sites := httpcache.NewSites()
	for _, s := range c.Sites {
		next, err := upstream(s)
		if err != nil {
			return nil, fmt.Errorf("site %s: origin: %w", s.Name, err)
		}
		key, err := keyOf(s.Policy)
		if err != nil {
			return nil, fmt.Errorf("site %s: %w", s.Name, err)
		}
		site := &cache.Site{Name: s.Name, Policy: policyOf(s.Policy), Key: key, Upstream: next}
		if encodings != nil {
			site.Encodings = encodings(s.Policy)
		}
		if err := sites.Add(site, s.Hosts...); err != nil {
			return nil, err
		}
	}
	return sites, nil
}

// origins are the connections to the origins of a node that has no tier
// between itself and them.
type origins []io.Closer

// open makes a site's upstream: a bucket, with releases if it has any, or an HTTP
// server, below the rules of a static site if the policy has any.
// position is where the node stands in the purge log.
func (o *origins) open(site *config.Site, env Env, connsMax int, position func() (string, uint64)) (http.RoundTripper, error) {
	var upstream http.RoundTripper
	switch {
	case site.Origin.S3 != nil:
		s3 := site.Origin.S3
		bucket, err := origin.NewS3(origin.S3Options{
			Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: s3.Prefix, Region: s3.Region,
			AccessKey: s3.AccessKey, SecretKey: string(s3.SecretKey), Secure: s3.Secure, Dial: env.DialUpstream, HeaderTimeout: originHeaderTimeout, ConnsMax: connsMax,
		})
		if err != nil {
			return nil, err
		}
		releases := origin.NewReleases(bucket, origin.ReleasesOptions{Position: position})
		*o = append(*o, releases, bucket)
		upstream = releases
	case site.Origin.HTTP != nil:
		server, err := origin.NewHTTP(origin.HTTPOptions{
			URL: site.Origin.HTTP.URL, Host: site.Origin.HTTP.Host, Dial: env.DialUpstream, HeaderTimeout: originHeaderTimeout, ConnsMax: connsMax,
		})
		if err != nil {
			return nil, err
		}
		*o = append(*o, server)
		upstream = server
	default:
		return nil, errors.New("neither s3 nor http is given")
	}
	p := site.Policy
	if p.Index == "" && p.NotFound == "" && !p.SlashRedirect {
		return upstream, nil
	}
	return origin.Static{Next: upstream, Index: p.Index, NotFound: p.NotFound, SlashRedirect: p.SlashRedirect}, nil
}

// Close closes the connections that are idle.
func (o *origins) Close() error {
	var errs []error
	for _, one := range *o {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
