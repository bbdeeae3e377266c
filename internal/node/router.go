package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"weir/geo"
	"weir/internal/config"
	"weir/internal/telemetry"
)

// Router answers which PoP is best for a client.
type Router struct {
	log      *slog.Logger
	db       *geo.DB
	health   *geo.Health
	listener net.Listener
	handler  http.Handler
}

// StartRouter opens the location database, given as bytes or, if there are
// none, by the configured path, and binds the socket.
func StartRouter(c *config.Config, database []byte, env Env) (_ *Router, err error) {
	if c.Router == nil {
		return nil, errors.New("the configuration has no router")
	}
	r := &Router{log: cmp.Or(env.Log, slog.Default()).With("node", c.Router.Name)}
	defer func() {
		if err != nil {
			r.close()
			err = fmt.Errorf("node %s: %w", c.Router.Name, err)
		}
	}()
	switch {
	case database != nil:
		r.db, err = geo.OpenBytes(database)
	case c.Router.MMDB != "":
		r.db, err = geo.Open(c.Router.MMDB)
	}
	if err != nil {
		return nil, err
	}
	pops := routerPoPs(c)
	if r.health, err = geo.NewHealth(pops, geo.HealthOptions{Logger: r.log}); err != nil {
		return nil, err
	}
	router, err := geo.NewRouter(geo.RouterOptions{
		PoPs: pops, DB: r.db, Health: r.health, TrustedProxies: c.Router.TrustedProxies,
	})
	if err != nil {
		return nil, err
	}
	observed := telemetry.New(c.Router.Name, r.log, c.Log.Access)
	admin, answering := observed.Handler(), observed.Internal(router)
	// Not a ServeMux, which would redirect paths that it wants to be cleaner.
	r.handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/healthz" || q.URL.Path == "/metrics" {
			admin.ServeHTTP(w, q)
			return
		}
		answering.ServeHTTP(w, q)
	})
	if r.listener, err = net.Listen("tcp", c.Router.Listen); err != nil {
		return nil, err
	}
	return r, nil
}

func routerPoPs(c *config.Config) []geo.PoP {
	pops := make([]geo.PoP, len(c.PoPs))
	for i, p := range c.PoPs {
		pops[i] = geo.PoP{
			Name: p.Name, Location: geo.Location{Lat: p.Lat, Lon: p.Lon},
			HTTP: p.PublicHTTP, HTTPS: p.PublicHTTPS,
		}
		if p.Admin != "" {
			pops[i].HealthURL = "http://" + p.Admin + "/healthz"
		}
	}
	return pops
}

// Addr is the bound address.
func (r *Router) Addr() string { return r.listener.Addr().String() }

// Run serves until ctx ends and gives everything back.
func (r *Router) Run(ctx context.Context) error {
	defer r.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		r.health.Run(ctx)
		return nil
	})
	group.Go(func() error { return serveHTTP(ctx, r.listener, r.handler, r.log) })
	return group.Wait()
}

func (r *Router) close() {
	if r.listener != nil {
		_ = r.listener.Close() // closed already after Run
	}
	if r.db != nil {
		if err := r.db.Close(); err != nil {
			r.log.Warn("location database", "error", err)
		}
	}
}
