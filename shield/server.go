package shield

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/netutil"

	"weir/cache"
	"weir/cache/httpcache"
)

// Purges is what a shield must know of the log to keep promise P2.
type Purges interface {
	// Position is the log that this node follows and the newest version in
	// force.
	Position() (epoch string, applied uint64)
	// WaitPosition returns nil once the node follows that log and has v in
	// force.
	WaitPosition(ctx context.Context, epoch string, v uint64) error
}

// ServerOptions configures a Server. Handler, Token and Purges are required.
type ServerOptions struct {
	// Handler answers edges; its Face is httpcache.FaceEdges.
	Handler *httpcache.Handler
	// Token is the tiers' shared secret.
	Token  string
	Purges Purges
	// Admin answers whoever shows no token: /healthz and /metrics, and /readyz, by
	// which edges know whether this node can answer them.
	Admin http.Handler
	// CatchUp bounds how long edges that are ahead wait for this node to catch up
	// before they are answered past the store, counted from the first that asks for
	// what it lacks. Default 2 s.
	CatchUp time.Duration
	// ConnectionsMax bounds the connections; default 4,096.
	ConnectionsMax int
	// ShutdownTimeout bounds how long running requests may take to end. Default 3 s.
	ShutdownTimeout time.Duration
	Log             *slog.Logger
}

// Server answers edges from the shield's engine.
type Server struct {
	o    ServerOptions
	l    net.Listener
	late lateness
}

// Listen binds address; nothing is served before Run.
func Listen(address string, o ServerOptions) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return NewServer(l, o)
}

// NewServer serves on a listener that is open already.
func NewServer(l net.Listener, o ServerOptions) (*Server, error) {
	if o.Handler == nil || o.Token == "" || o.Purges == nil {
		return nil, errors.Join(l.Close(), errors.New("shield: Handler, Token and Purges are required"))
	}
	o.CatchUp = cmp.Or(o.CatchUp, 2*time.Second)
	o.ConnectionsMax = cmp.Or(o.ConnectionsMax, 4096)
	o.ShutdownTimeout = cmp.Or(o.ShutdownTimeout, 3*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Server{o: o, l: l}, nil
}

// Addr is the bound address.
func (s *Server) Addr() string { return s.l.Addr().String() }

// Run serves until ctx ends and running requests have ended.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute, // longer than the client's, so that the client closes first
		MaxHeaderBytes:    128 << 10,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.ShutdownTimeout)
		defer cancel()
		if err := s.o.Handler.CloseTunnels(stop); err != nil {
			s.o.Log.Warn("connections with other protocols did not end in time", "error", err)
		}
		if server.Shutdown(stop) != nil {
			_ = server.Close()
		}
	}()
	err := server.Serve(netutil.LimitListener(s.l, s.o.ConnectionsMax))
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// adminPaths are what a stranger may see.
var adminPaths = []string{"/healthz", "/readyz", "/metrics"}

// ServeHTTP answers an edge, or lets a stranger see the node's health only.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get(tokenField)
	switch {
	case token == "" && s.o.Admin != nil && slices.Contains(adminPaths, r.URL.Path):
		s.o.Admin.ServeHTTP(w, r)
	case subtle.ConstantTimeCompare([]byte(token), []byte(s.o.Token)) != 1:
		http.Error(w, "This is a shield: it answers edges that show the tier token.", http.StatusForbidden)
	default:
		behind := s.behind(r)
		if behind {
			w.Header().Set(behindField, cache.Version(s.o.Purges.Position()))
		}
		s.o.Handler.Serve(w, r, behind)
	}
}
