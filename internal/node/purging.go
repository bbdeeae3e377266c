package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/cache/httpcache"
	"weir/edge"
	"weir/internal/config"
	"weir/purge"
	"weir/purge/natslog"
)

// purgeOptions gives what the configuration says of the API.
func purgeOptions(c *config.Config) (o purge.APIOptions, err error) {
	o = purge.APIOptions{
		Token: string(c.Tokens.API),
		Rates: purge.RateOptions{NarrowPerSecond: c.Control.Rates.Narrow, BroadPerSecond: c.Control.Rates.Broad},
	}
	assets := make(map[string]purge.Assets, len(c.Sites))
	for _, s := range c.Sites {
		o.Sites = append(o.Sites, s.Name)
		a := purge.Assets(s.Policy.Assets)
		if err := a.Check(); err != nil {
			return o, fmt.Errorf("site %s: assets: %w", s.Name, err)
		}
		assets[s.Name] = a
	}
	o.Assets = func(site string) purge.Assets { return assets[site] }
	for _, t := range c.Control.Tokens {
		token, err := tokenOf(t)
		if err != nil {
			return o, fmt.Errorf("token %s: %w", t.Name, err)
		}
		o.Tokens = append(o.Tokens, token)
	}
	return o, nil
}

func tokenOf(t *config.APIToken) (token purge.Token, err error) {
	token = purge.Token{Name: t.Name, Expires: t.Ends()}
	if token.Hash, err = purge.ParseTokenHash(t.Hash); err != nil {
		return token, err
	}
	if !slices.Contains(t.Sites, config.Everything) {
		token.Sites = t.Sites
	}
	if slices.Contains(t.Scopes, config.Everything) {
		return token, nil
	}
	for _, name := range t.Scopes {
		var scope purge.Scope
		if err := scope.UnmarshalText([]byte(name)); err != nil {
			return token, err
		}
		token.Scopes = append(token.Scopes, scope)
	}
	return token, nil
}

// siteNames gives the function that finds a host's site by name.
func siteNames(sites *httpcache.Sites) func(host string) string {
	return func(host string) string {
		if site := sites.Find(host); site != nil {
			return site.Name
		}
		return ""
	}
}

// purgeForwardTimeout bounds the wait for control's answer to a PURGE; control
// itself waits for the log no longer than half of it.
const purgeForwardTimeout = 10 * time.Second

// forwardPurge passes requests of the method PURGE on to control, which checks
// their tokens.
func (e *Edge) forwardPurge(control string) func(context.Context, edge.PurgeCall) (edge.PurgeAnswer, error) {
	ask := natslog.Asker(e.conn)
	return func(ctx context.Context, call edge.PurgeCall) (answer edge.PurgeAnswer, err error) {
		question, err := json.Marshal(purge.MethodCall{
			Node: e.name, Client: call.Client, Token: call.Token, Site: call.Site, URL: call.URL,
			Tags: call.Tags, Soft: call.Soft, Key: call.Key,
		})
		if err != nil {
			return answer, fmt.Errorf("forward PURGE: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, purgeForwardTimeout)
		defer cancel()
		text, err := ask(ctx, control, question)
		if errors.Is(err, natslog.ErrAway) {
			return answer, fmt.Errorf("forward PURGE: control is away: %w", err)
		}
		if err != nil {
			return answer, fmt.Errorf("forward PURGE: %w", err)
		}
		var said purge.MethodAnswer
		if err := json.Unmarshal(text, &said); err != nil {
			return answer, fmt.Errorf("forward PURGE: read control's answer: %w", err)
		}
		return edge.PurgeAnswer(said), nil
	}
}
