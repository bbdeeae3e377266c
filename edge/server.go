// Package edge is what faces clients: one node of a PoP, with HTTP/1.1 in
// clear and HTTP/1.1, HTTP/2 and HTTP/3 under TLS on one port number. What is
// asked goes to a handler over the cache engine; this package owns the
// listeners and their limits.
package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// Options configures a Server. Handler and at least one address are required.
type Options struct {
	// Handler answers. If it is a TunnelCloser, Run closes its tunnels.
	Handler http.Handler
	// HTTP is the address for HTTP/1.1 in clear, "" for none.
	HTTP string
	// HTTPS is the address for HTTP/1.1, HTTP/2 (TCP) and HTTP/3 (UDP), ""
	// for none. It needs Certificate.
	HTTPS       string
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// WrapListener and WrapPacketConn, if set, put something between the
	// socket and the server: the lab's simulated network.
	WrapListener   func(net.Listener) net.Listener
	WrapPacketConn func(net.PacketConn) net.PacketConn
	// HeaderTimeout bounds the reading of a request's header; default 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout closes a connection without requests; default 60 s.
	IdleTimeout time.Duration
	// ConnectionsMax bounds the TCP connections of each listener; default 10,000.
	ConnectionsMax int
	// ShutdownTimeout bounds how long requests that run may take to end once
	// Run's context has ended; default 3 s.
	ShutdownTimeout time.Duration
	Log             *slog.Logger
}

// TunnelCloser is a handler that takes connections over from the servers for
// other protocols (Upgrade), as httpcache.Handler does: the servers do not know
// when these end.
type TunnelCloser interface {
	// CloseTunnels ends them all and waits until they have ended or ctx has.
	CloseTunnels(ctx context.Context) error
}

// headerBytesMax bounds a request's header.
const headerBytesMax = 64 << 10

// streamsMax bounds the requests at once on one HTTP/2 or HTTP/3 connection.
const streamsMax = 250

func (o Options) withDefaults() (Options, error) {
	if o.Handler == nil || o.HTTP == "" && o.HTTPS == "" {
		return o, errors.New("edge: Options.Handler and an address are required")
	}
	if o.HTTPS != "" && o.Certificate == nil {
		return o, errors.New("edge: Options.HTTPS needs Options.Certificate")
	}
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 10*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.ConnectionsMax = cmp.Or(o.ConnectionsMax, 10_000)
	o.ShutdownTimeout = cmp.Or(o.ShutdownTimeout, 3*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o, nil
}

// Server holds the bound sockets of one node.
type Server struct {
	o      Options
	clear  net.Listener
	secure net.Listener
	packet net.PacketConn
}

// Listen binds the addresses; nothing is served before Run. A port 0 is
// replaced by a free one, the same for TCP and UDP.
func Listen(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{o: o}
	if o.HTTP != "" {
		if s.clear, err = net.Listen("tcp", o.HTTP); err != nil {
			return nil, fmt.Errorf("edge: listen for HTTP: %w", err)
		}
	}
	if o.HTTPS != "" {
		if s.secure, s.packet, err = listenBoth(o.HTTPS); err != nil {
			s.closeSockets()
			return nil, fmt.Errorf("edge: listen for HTTPS: %w", err)
		}
	}
	return s, nil
}

// bothTries is how many free TCP ports are tried until UDP has the same one.
const bothTries = 20

func listenBoth(address string) (net.Listener, net.PacketConn, error) {
	for try := 1; ; try++ {
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			return nil, nil, err
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp, nil
		}
		_ = tcp.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" || try == bothTries {
			return nil, nil, err
		}
	}
}

// HTTPAddr is the bound address for HTTP in clear, "" if there is none.
func (s *Server) HTTPAddr() string { return addr(s.clear) }

// HTTPSAddr is the bound address for HTTPS, "" if there is none.
func (s *Server) HTTPSAddr() string { return addr(s.secure) }

func addr(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// Close gives the sockets of a server back that has not been Run.
func (s *Server) Close() { s.closeSockets() }

func (s *Server) closeSockets() {
	for _, l := range []net.Listener{s.clear, s.secure} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.packet != nil {
		_ = s.packet.Close()
	}
}

// Run serves until ctx ends, then lets running requests end, at most for
// ShutdownTimeout. It returns nil after an orderly stop.
func (s *Server) Run(ctx context.Context) error {
	defer s.closeSockets()
	group, ctx := errgroup.WithContext(ctx)
	if s.clear != nil {
		server := s.httpServer(s.o.Handler)
		s.serve(ctx, group, server, func() error { return server.Serve(s.wrap(s.clear)) })
	}
	if s.secure != nil {
		server := s.httpServer(advertise(s.o.Handler, s.secure.Addr()))
		server.TLSConfig = s.tlsConfig()
		s.serve(ctx, group, server, func() error { return server.ServeTLS(s.wrap(s.secure), "", "") })
		s.serveHTTP3(ctx, group)
	}
	if tunnels, ok := s.o.Handler.(TunnelCloser); ok {
		group.Go(func() error { return s.closeTunnels(ctx, tunnels) })
	}
	return group.Wait()
}

func (s *Server) closeTunnels(ctx context.Context, tunnels TunnelCloser) error {
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.ShutdownTimeout)
	defer cancel()
	if err := tunnels.CloseTunnels(stop); err != nil {
		s.o.Log.Warn("connections with other protocols did not end in time", "error", err)
	}
	return nil
}

func (s *Server) wrap(l net.Listener) net.Listener {
	l = netutil.LimitListener(l, s.o.ConnectionsMax)
	if s.o.WrapListener != nil {
		l = s.o.WrapListener(l)
	}
	return l
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.o.HeaderTimeout,
		IdleTimeout:       s.o.IdleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streamsMax},
	}
}

// tlsConfig names no protocols: net/http and http3 add their own.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.o.Certificate}
}

// serve runs one server and its shutdown in the group.
func (s *Server) serve(ctx context.Context, group *errgroup.Group, server *http.Server, run func() error) {
	group.Go(func() error {
		if err := run(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.ShutdownTimeout)
		defer cancel()
		if err := server.Shutdown(stop); err != nil {
			return ignoreClosed(server.Close())
		}
		return nil
	})
}

func (s *Server) serveHTTP3(ctx context.Context, group *errgroup.Group) {
	packet := s.packet
	if s.o.WrapPacketConn != nil {
		packet = s.o.WrapPacketConn(packet)
	}
	server := &http3.Server{
		Handler:        s.o.Handler,
		TLSConfig:      http3.ConfigureTLSConfig(s.tlsConfig()),
		QUICConfig:     &quic.Config{MaxIncomingStreams: streamsMax, MaxIdleTimeout: s.o.IdleTimeout},
		MaxHeaderBytes: headerBytesMax,
		Logger:         slog.New(slog.DiscardHandler),
	}
	group.Go(func() error {
		if err := server.Serve(packet); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
			return fmt.Errorf("edge: HTTP/3: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.ShutdownTimeout)
		defer cancel()
		_ = server.Shutdown(stop)
		err := server.Close()
		return errors.Join(ignoreClosed(err), ignoreClosed(packet.Close()))
	})
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// advertise says on every response that HTTP/3 is on the same port (RFC 7838).
func advertise(h http.Handler, a net.Addr) http.Handler {
	_, port, err := net.SplitHostPort(a.String())
	if _, bad := strconv.Atoi(port); err != nil || bad != nil {
		return h
	}
	value := fmt.Sprintf(`h3=":%s"; ma=86400`, port)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", value)
		h.ServeHTTP(w, r)
	})
}
