package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/internal/config"
	"weir/origin"
	"weir/shield"
)

// Shield is the node of the middle tier.
type Shield struct {
	*tier
	server  *shield.Server
	origins []io.Closer
}

// StartShield opens the files and sockets of the shield named.
func StartShield(ctx context.Context, c *config.Config, name string, env Env) (_ *Shield, err error) {
	conf := c.Shield(name)
	if conf == nil {
		return nil, fmt.Errorf("no shield is named %q in the configuration", name)
	}
	s := &Shield{}
	if s.tier, err = openTier(ctx, c, conf.Name, conf.Memory, conf.Disk, env); err != nil {
		return nil, err
	}
	if err = s.bind(c, conf, env); err != nil {
		s.tier.close()
		return nil, errors.Join(fmt.Errorf("node %s: %w", name, err), s.closeOrigins())
	}
	return s, nil
}

func (s *Shield) bind(c *config.Config, conf *config.Shield, env Env) error {
	sites := httpcache.NewSites()
	for _, site := range c.Sites {
		upstream, err := s.origin(site, env)
		if err != nil {
			return fmt.Errorf("site %s: origin: %w", site.Name, err)
		}
		served := &cache.Site{Name: site.Name, Policy: policyOf(site.Policy), IgnoreQuery: site.Policy.KeyIgnoreQuery, Upstream: upstream}
		if err := sites.Add(served, site.Hosts...); err != nil {
			return err
		}
	}
	handler, err := httpcache.New(httpcache.Options{
		Node: s.name, Engine: s.engine, Sites: sites, Face: httpcache.FaceEdges, Observe: s.telemetry.Observe,
	})
	if err != nil {
		return err
	}
	s.server, err = shield.Listen(conf.Listen, shield.ServerOptions{
		Handler: handler, Token: string(c.Tokens.Tier), Purges: s.index, Admin: s.telemetry.Handler(), Log: s.log,
	})
	return err
}

// origin makes a site's upstream: a bucket or an HTTP server, below the rules
// of a static site if the policy has any.
func (s *Shield) origin(site *config.Site, env Env) (http.RoundTripper, error) {
	var upstream http.RoundTripper
	switch {
	case site.Origin.S3 != nil:
		o := site.Origin.S3
		bucket, err := origin.NewS3(origin.S3Options{
			Endpoint: o.Endpoint, Bucket: o.Bucket, Prefix: o.Prefix, Region: o.Region,
			AccessKey: o.AccessKey, SecretKey: string(o.SecretKey), Secure: o.Secure, Dial: env.DialUpstream, HeaderTimeout: originHeaderTimeout,
		})
		if err != nil {
			return nil, err
		}
		s.origins = append(s.origins, bucket)
		upstream = bucket
	case site.Origin.HTTP != nil:
		server, err := origin.NewHTTP(origin.HTTPOptions{
			URL: site.Origin.HTTP.URL, Host: site.Origin.HTTP.Host, Dial: env.DialUpstream, HeaderTimeout: originHeaderTimeout,
		})
		if err != nil {
			return nil, err
		}
		s.origins = append(s.origins, server)
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

// Addr is the bound address.
func (s *Shield) Addr() string { return s.server.Addr() }

// Run serves until ctx ends and gives everything back.
func (s *Shield) Run(ctx context.Context) error {
	return errors.Join(s.run(ctx, s.server.Run), s.closeOrigins())
}

func (s *Shield) closeOrigins() error {
	var errs []error
	for _, o := range s.origins {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}
