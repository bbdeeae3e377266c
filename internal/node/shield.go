package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"weir/cache/httpcache"
	"weir/internal/config"
	"weir/shield"
)

// Shield is the node of the middle tier.
type Shield struct {
	*tier
	server  *shield.Server
	answers func(context.Context) error
	origins origins
}

// StartShield opens the files and sockets of the shield named.
func StartShield(ctx context.Context, c *config.Config, name string, env Env) (_ *Shield, err error) {
	conf := c.Shield(name)
	if conf == nil {
		return nil, fmt.Errorf("no shield is named %q in the configuration", name)
	}
	s := &Shield{}
	b := budgets{conf.Memory, conf.Disk, conf.MemoryEviction, conf.Disks, conf.DiskWriteMax, conf.DiskObjectMax}
	if s.tier, err = openTier(ctx, c, conf.Name, b, env); err != nil {
		return nil, err
	}
	if err = s.bind(c, conf, env); err != nil {
		s.tier.close()
		return nil, errors.Join(fmt.Errorf("node %s: %w", name, err), s.origins.Close())
	}
	return s, nil
}

func (s *Shield) bind(c *config.Config, conf *config.Shield, env Env) error {
	sites, err := sitesOf(c, nil, func(site *config.Site) (http.RoundTripper, error) {
		return s.origins.open(site, env, c.Limits.UpstreamConnectionsMax, s.index.Position)
	})
	if err != nil {
		return err
	}
	options := s.handlerOptions(c, sites)
	options.Face = httpcache.FaceEdges
	handler, err := httpcache.New(options)
	if err != nil {
		return err
	}
	s.answers = s.answering(handler)
	s.server, err = shield.Listen(conf.Listen, shield.ServerOptions{
		Handler: handler, Token: string(c.Tokens.Tier), Purges: s.index, Admin: s.telemetry.Handler(), Log: s.log,
		ConnectionsMax: (len(c.PoPs) + 1) * c.Limits.UpstreamConnectionsMax, ShutdownTimeout: s.stopTimeout,
	})
	return err
}

// Addr is the bound address.
func (s *Shield) Addr() string { return s.server.Addr() }

// Run serves until ctx ends and gives everything back.
func (s *Shield) Run(ctx context.Context) error {
	return errors.Join(s.run(ctx, s.server.Run, s.answers), s.origins.Close())
}
