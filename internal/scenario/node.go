package scenario

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
	"weir/origin"
	"weir/purge"
	"weir/purge/memlog"
	"weir/shield"
	"weir/storage"
	"weir/storage/disk"
	"weir/storage/memory"
	"weir/storage/tiered"
)

// Timeouts of the cluster. The shield gives up on the origin before the edge
// gives up on the shield, so that who knows the reason tells it.
const (
	originHeaderTimeout = 10 * time.Second
	shieldHeaderTimeout = 20 * time.Second
	serverHeaderTimeout = 10 * time.Second
	serverIdleTimeout   = time.Minute
)

// node is an edge or the shield: what stays of it when it restarts.
type node struct {
	name    string
	cluster *cluster
	base    string // directory of all nodes
	lives   int    // directories used so far: a crash begins a new one
	link    *memlog.Link
	observe atomic.Pointer[func(purge.Announcement)]
	skew    atomic.Int64 // by how much its clock is wrong, a time.Duration
	running *running
}

// running is what a node is between its start and its stop.
type running struct {
	journal  *purge.Journal
	index    *purge.Index
	store    storage.Store
	tiers    []cache.SweptStore // of store, the lowest first
	sweeper  *purge.Sweeper
	swept    cache.SweepResult // of the last sweep
	engine   *cache.Engine
	handler  *httpcache.Handler
	upstream upstream
	server   *server
	unfollow context.CancelFunc
	follower sync.WaitGroup
}

// upstream is what a node asks.
type upstream interface {
	http.RoundTripper
	close()
}

func (n *node) isShield() bool { return slices.Contains(n.cluster.shields, n.name) }

func (n *node) dir() string { return filepath.Join(n.base, fmt.Sprintf("%s-%d", n.name, n.lives)) }

// setObserver says who hears what the node has applied.
func (n *node) setObserver(observe func(purge.Announcement)) { n.observe.Store(&observe) }

// start brings the node up on what is in its directory.
func (n *node) start() error {
	key := &n.cluster.key
	r := &running{index: purge.NewIndex(purge.IndexOptions{Key: func(string) *rfc9111.KeyPolicy { return key }})}
	n.running = r
	if err := os.MkdirAll(n.dir(), 0o700); err != nil {
		return err
	}
	var err error
	if r.journal, err = purge.OpenJournal(filepath.Join(n.dir(), "purges.db"), purge.JournalOptions{}); err != nil {
		return err
	}
	if r.store, r.tiers, err = n.openStore(); err != nil {
		return err
	}
	r.engine, err = cache.New(cache.Options{
		Node: n.name, Store: r.store, Purges: r.index, BlockBytes: n.cluster.block, FillTimeout: n.cluster.fillTimeout,
		RefuseUntrusted: n.cluster.cutOff == "refuse", Skew: func() time.Duration { return time.Duration(n.skew.Load()) },
	})
	if err != nil {
		return err
	}
	if r.upstream, err = n.openUpstream(); err != nil {
		return err
	}
	if err := n.follow(); err != nil {
		return err
	}
	return n.serve()
}

func (n *node) openStore() (storage.Store, []cache.SweptStore, error) {
	below, err := disk.Open(disk.Options{Dir: filepath.Join(n.dir(), "store"), BudgetBytes: n.cluster.disk})
	if err != nil {
		return nil, nil, err
	}
	above := memory.New(memory.Options{BudgetBytes: n.cluster.memory})
	return tiered.New(above, below, tiered.Options{Log: n.cluster.alarm.logger()}), []cache.SweptStore{below, above}, nil
}

// follow puts what the journal holds in force and goes on with the log.
func (n *node) follow() error {
	r := n.running
	follower, err := purge.NewFollower(purge.FollowerOptions{
		Name: n.name, Source: n.link, Journal: r.journal, Index: r.index,
		Announce: n.link.Announcer(func(a purge.Announcement) { (*n.observe.Load())(a) }),
		Snapshot: n.cluster.kept.asker(n.link),
		Reset:    r.engine.Reset, LagMax: n.cluster.maxLag, Serve: n.cluster.cutOff == "serve",
	})
	if err != nil {
		return err
	}
	var ctx context.Context
	ctx, r.unfollow = context.WithCancel(context.Background())
	r.follower.Go(func() { _ = follower.Run(ctx) })
	return r.newSweeper()
}

func (n *node) serve() error {
	r := n.running
	face, encodings := httpcache.FaceClients, n.cluster.encodings
	if n.isShield() {
		face, encodings = httpcache.FaceEdges, nil
	}
	sites, err := n.cluster.sites(r.upstream, encodings)
	if err != nil {
		return err
	}
	handler, err := httpcache.New(httpcache.Options{Node: n.name, Engine: r.engine, Sites: sites, Face: face})
	if err != nil {
		return err
	}
	r.handler = handler
	l := n.cluster.network.listen(n.name)
	if face == httpcache.FaceClients {
		r.server = serve(l, handler, n.cluster.alarm)
		return nil
	}
	tier, err := shield.NewServer(l, shield.ServerOptions{
		Handler: handler, Token: tierToken, Purges: r.index, Admin: n.health(), Log: n.cluster.alarm.logger(),
	})
	if err != nil {
		return err
	}
	r.server = run(l, tier.Run)
	return nil
}

// health answers /readyz as a node does.
func (n *node) health() http.Handler {
	index := n.running.index
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !index.Trusted(time.Now()) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// openUpstream gives a shield the origin, and an edge the shields.
func (n *node) openUpstream() (upstream, error) {
	if n.isShield() {
		o, err := origin.NewHTTP(origin.HTTPOptions{
			URL: "http://" + originHost, Dial: n.cluster.network.dialer(originHost), HeaderTimeout: originHeaderTimeout,
		})
		return originUpstream{o}, err
	}
	var peers []shield.Peer
	for _, name := range n.cluster.shields {
		peers = append(peers, shield.Peer{Name: name, URL: "http://" + name})
	}
	client, err := shield.NewClient(shield.ClientOptions{
		Shields: peers, Token: tierToken, Position: n.running.index.Position,
		Dial: n.cluster.network.dialNamed, HeaderTimeout: shieldHeaderTimeout,
	})
	return shieldUpstream{client}, err
}

type originUpstream struct{ *origin.HTTP }

func (u originUpstream) close() { _ = u.Close() }

type shieldUpstream struct{ *shield.Client }

func (u shieldUpstream) close() { u.Close() }

// stop ends the node in the order in which its parts need each other.
func (n *node) stop() error {
	r := n.running
	if r == nil || r.server == nil {
		return nil
	}
	n.running = nil
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	errs := []error{r.server.stop(ctx), r.engine.Close(ctx)}
	r.unfollow()
	r.follower.Wait()
	r.upstream.close()
	if err := errors.Join(append(errs, r.store.Close(), r.journal.Close())...); err != nil {
		return fmt.Errorf("stop %s: %w", n.name, err)
	}
	return nil
}

// restart stops the node in order and starts it on its directory.
func (n *node) restart() error { return errors.Join(n.stop(), n.start()) }

// crash starts the node on a copy of what is on disk now. The old one is
// stopped only after the copy, so that nothing that it does on its way out,
// and kill -9 would not let it do, is seen by the new one.
func (n *node) crash() error {
	before := n.dir()
	n.lives++
	if err := os.CopyFS(n.dir(), os.DirFS(before)); err != nil {
		return err
	}
	n.running.server.listener.sever()
	// The requests that ran notice before the server is stopped, which would
	// otherwise wait for them a moment that is drawn at random.
	synctest.Wait()
	return n.restart()
}

// server is something that serves until it is stopped.
type server struct {
	listener *listener
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error // once ended is closed
}

// run starts a server whose run returns once its context has ended.
func run(l *listener, serve func(context.Context) error) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{listener: l, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = serve(ctx)
	}()
	return s
}

// serve runs a handler behind an http.Server of the edge's settings.
func serve(l *listener, h http.Handler, a *alarm) *server {
	return run(l, func(ctx context.Context) error {
		s := &http.Server{
			Handler: h, ReadHeaderTimeout: serverHeaderTimeout, IdleTimeout: serverIdleTimeout,
			ErrorLog: slog.NewLogLogger(a.logger().Handler(), slog.LevelDebug),
		}
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			<-ctx.Done()
			grace, cancel := context.WithTimeout(context.Background(), stopTimeout/2)
			defer cancel()
			if s.Shutdown(grace) != nil {
				_ = s.Close()
			}
		}()
		err := s.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			<-stopped
			return nil
		}
		return err
	})
}

// stop lets what runs end, for a while.
func (s *server) stop(ctx context.Context) error {
	s.cancel()
	select {
	case <-s.ended:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
