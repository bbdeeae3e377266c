package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
	"weir/edge"
	"weir/internal/config"
	"weir/shield"
)

// Edge is one node of a PoP.
type Edge struct {
	*tier
	shield  *shield.Client // nil for an edge that asks the origins itself
	origins origins
	server  *edge.Server
	answers func(context.Context) error
	admin   net.Listener
}

// StartEdge opens the files and sockets of the PoP named.
func StartEdge(ctx context.Context, c *config.Config, name string, env Env) (_ *Edge, err error) {
	pop := c.PoP(name)
	if pop == nil {
		return nil, fmt.Errorf("no PoP is named %q in the configuration", name)
	}
	e := &Edge{}
	b := budgets{pop.Memory, pop.Disk, pop.MemoryEviction, pop.Disks, pop.DiskWriteMax, pop.DiskObjectMax}
	if e.tier, err = openTier(ctx, c, pop.Name, b, env); err != nil {
		return nil, err
	}
	if err = e.bind(c, pop, env); err != nil {
		e.tier.close()
		e.closeUpstream()
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return e, nil
}

// upstream are the PoP's shields, for every site, or else the site's origin.
func (e *Edge) upstream(c *config.Config, pop *config.PoP, site *config.Site, env Env) (_ http.RoundTripper, err error) {
	if pop.Shield == config.NoShield {
		return e.origins.open(site, env, c.Limits.UpstreamConnectionsMax, e.index.Position)
	}
	if e.shield != nil {
		return e.shield, nil
	}
	var peers []shield.Peer
	for _, s := range c.ShieldsOf(pop) {
		peers = append(peers, shield.Peer{Name: s.Name, URL: s.URL})
	}
	e.shield, err = shield.NewClient(shield.ClientOptions{
		Shields: peers, Token: string(c.Tokens.Tier), Position: e.index.Position, WaitPosition: e.index.WaitPosition, Log: e.log,
		Dial: env.DialUpstream, HeaderTimeout: shieldHeaderTimeout, ConnectionsMax: c.Limits.UpstreamConnectionsMax,
	})
	if err != nil {
		return nil, err
	}
	e.publishShields()
	return e.shield, nil
}

// publishShields names the numbers of the shields that this edge asks.
func (e *Edge) publishShields() {
	for i, s := range e.shield.Health() {
		gauge := func(name, help string, read func(shield.Health) float64) {
			e.telemetry.Gauge(e.name, name, help, func() float64 { return read(e.shield.Health()[i]) }, "shield", s.Name)
		}
		gauge("weir_shield_up", "0 while the shield is asked after the others: it is down, or behind in purges.", func(h shield.Health) float64 {
			if h.Down || h.Behind {
				return 0
			}
			return 1
		})
		gauge("weir_shield_answers_total", "Answers to this edge's requests.", func(h shield.Health) float64 { return float64(h.Answers) })
		gauge("weir_shield_failures_total", "How often the shield went down.", func(h shield.Health) float64 { return float64(h.Failures) })
	}
}

// encodingsOf gives what a site's clients are answered in.
func encodingsOf(p config.Policy) *cache.Encodings {
	e := &cache.Encodings{BytesMin: int64(p.CompressMin), BytesMax: int64(p.CompressMax)}
	for _, name := range p.Compress {
		if coding, ok := rfc9111.ParseCoding(name); ok { // the configuration has been checked
			e.Compress = append(e.Compress, coding)
		}
	}
	return e
}

// publishDerivations names the numbers of what is compressed and decoded.
func (e *Edge) publishDerivations() {
	for _, c := range rfc9111.Codings {
		gauge := func(name, help string, read func(cache.DerivationCounts) int64, labels ...string) {
			e.telemetry.Gauge(e.name, name, help, func() float64 { return float64(read(e.engine.Derivations(c))) },
				append(labels, "coding", c.String())...)
		}
		for _, result := range cache.DerivationResults {
			gauge("weir_derivations_total", "Objects put into another content coding, by how it ended.",
				func(n cache.DerivationCounts) int64 { return n.Ended[result] }, "result", result.String())
		}
		gauge("weir_derived_bytes_in_total", "Body bytes read to put objects into another content coding.",
			func(n cache.DerivationCounts) int64 { return n.BytesIn })
		gauge("weir_derived_bytes_out_total", "Body bytes stored of objects put into another content coding.",
			func(n cache.DerivationCounts) int64 { return n.BytesOut })
	}
}

func (e *Edge) closeUpstream() {
	if e.shield != nil {
		e.shield.Close()
	}
	if err := e.origins.Close(); err != nil {
		e.log.Warn("origin", "error", err)
	}
}

func (e *Edge) bind(c *config.Config, pop *config.PoP, env Env) (err error) {
	sites, err := sitesOf(c, encodingsOf, func(site *config.Site) (http.RoundTripper, error) { return e.upstream(c, pop, site, env) })
	if err != nil {
		return err
	}
	handler, err := httpcache.New(e.handlerOptions(c, sites))
	if err != nil {
		return err
	}
	e.publishDerivations()
	e.answers = e.answering(handler)
	e.telemetry.Gauge(e.name, "weir_tunnels", "Connections that have left HTTP for another protocol.",
		func() float64 { return float64(handler.Tunnels()) })
	certificate := env.Certificate
	if certificate == nil && pop.HTTPS != "" {
		if certificate, err = certificateFrom(cmp.Or(pop.TLS, c.TLS)); err != nil {
			return err
		}
	}
	purges, err := edge.NewPurgeMethod(edge.PurgeOptions{
		Handler: handler, From: c.PurgeMethod.From, Site: siteNames(sites), Forward: e.forwardPurge(c.Control.Name),
		Wrap: e.telemetry.Internal, Log: e.log,
	})
	if err != nil {
		return err
	}
	e.server, err = edge.Listen(edge.Options{
		Handler: purges, HTTP: pop.HTTP, HTTPS: pop.HTTPS, Certificate: certificate,
		WrapListener: env.WrapListener, WrapPacketConn: env.WrapPacketConn,
		HeaderTimeout: c.Limits.HeaderTimeout.Std(), IdleTimeout: c.Limits.IdleTimeout.Std(),
		ConnectionsMax: c.Limits.ConnectionsMax, ShutdownTimeout: e.stopTimeout, Log: e.log,
	})
	if err != nil {
		return err
	}
	if pop.Admin != "" {
		if e.admin, err = net.Listen("tcp", pop.Admin); err != nil {
			e.server.Close()
			return fmt.Errorf("listen for admin: %w", err)
		}
	}
	return nil
}

// HTTPAddr, HTTPSAddr and AdminAddr are the bound addresses, "" for none.
func (e *Edge) HTTPAddr() string { return e.server.HTTPAddr() }

// HTTPSAddr is the address of HTTPS on TCP and of HTTP/3 on UDP.
func (e *Edge) HTTPSAddr() string { return e.server.HTTPSAddr() }

// AdminAddr is the address of /healthz and /metrics.
func (e *Edge) AdminAddr() string { return addrOf(e.admin) }

// Run serves until ctx ends and gives everything back.
func (e *Edge) Run(ctx context.Context) error {
	defer e.closeUpstream()
	serve := []func(context.Context) error{e.server.Run, e.answers}
	if e.admin != nil {
		serve = append(serve, func(ctx context.Context) error { return serveHTTP(ctx, e.admin, e.telemetry.Handler(), e.log) })
	}
	return e.run(ctx, serve...)
}

func addrOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

func certificateFrom(files *config.TLS) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	if files == nil {
		return nil, errors.New("https needs tls: name the certificate's files")
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }, nil
}

// serveHTTP serves an internal interface until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminStopTimeout)
		defer cancel()
		if server.Shutdown(stop) != nil {
			_ = server.Close()
		}
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
