package node

import (
	"fmt"
	"time"

	"weir/cache/httpcache"
	"weir/cache/rfc9111"
	"weir/internal/config"
)

// policyOf gives the rules' own numbers.
func policyOf(p config.Policy) rfc9111.Policy {
	obey, err := rfc9111.ParseDirectiveSet(p.Obey)
	if err != nil || len(p.Obey) == 0 {
		obey = rfc9111.ObeySafe // the configuration has been checked
	}
	policy := rfc9111.Policy{
		ShareSetCookie: p.ShareSetCookie, Languages: p.Languages, Obey: obey,
		DefaultTTL: p.DefaultTTL.Std(), NegativeTTL: p.NegativeTTL.Std(), HeuristicMax: p.HeuristicMax.Std(),
		StaleIfError: p.StaleIfError.Std(), StaleWhileRevalidate: p.StaleWhileRevalidate.Std(),
		StaleDespiteSMaxAge: p.StaleDespiteSMaxAge, Targets: p.CDNCacheControl,
	}
	if len(p.StatusTTL) > 0 {
		policy.StatusTTL = make(map[int]time.Duration, len(p.StatusTTL))
		for status, ttl := range p.StatusTTL {
			policy.StatusTTL[status] = ttl.Std()
		}
	}
	return policy
}

// keyOf gives the policy of a site's keys.
func keyOf(p config.Policy) (k rfc9111.KeyPolicy, err error) {
	k = rfc9111.KeyPolicy{Params: p.Key.Params, SortQuery: p.Key.SortQuery, Headers: p.Key.Headers, Cookies: p.Key.Cookies}
	switch {
	case p.KeyIgnoreQuery:
		k.Query = rfc9111.QueryNone
	case p.Key.Query != "":
		if k.Query, err = rfc9111.ParseQueryMode(p.Key.Query); err != nil {
			return k, err
		}
	}
	for _, name := range p.Key.Devices {
		device, err := rfc9111.ParseDevice(name)
		if err != nil {
			return k, err
		}
		k.Devices = append(k.Devices, device)
	}
	return k, k.Check()
}

// keysOf gives the key policy of each site, by which its purges are read.
func keysOf(c *config.Config) (map[string]*rfc9111.KeyPolicy, error) {
	keys := make(map[string]*rfc9111.KeyPolicy, len(c.Sites))
	for _, s := range c.Sites {
		key, err := keyOf(s.Policy)
		if err != nil {
			return nil, fmt.Errorf("site %s: %w", s.Name, err)
		}
		keys[s.Name] = &key
	}
	return keys, nil
}

// handlerOptions are what edges and shields have in common.
func (t *tier) handlerOptions(c *config.Config, sites *httpcache.Sites) httpcache.Options {
	return httpcache.Options{
		Node: t.name, Engine: t.engine, Sites: sites, Observe: t.telemetry.Observe, LoopID: c.CDNLoop,
		ReadTimeout: c.Limits.RequestBodyTimeout.Std(), RequestBytesMax: int64(c.Limits.RequestBodyMax),
		TunnelsMax: c.Limits.TunnelsMax, TunnelIdle: c.Limits.TunnelIdle.Std(),
	}
}
