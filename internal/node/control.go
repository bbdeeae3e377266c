package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"weir/internal/config"
	"weir/internal/explain"
	"weir/internal/inspect"
	"weir/internal/telemetry"
	"weir/purge"
	"weir/purge/natslog"
)

// Control keeps the purge log, answers the API and knows the nodes.
type Control struct {
	log       *slog.Logger
	broker    *natslog.Broker // nil: the log is in an external cluster
	conn      *nats.Conn
	nodes     *purge.Nodes
	api       *purge.API
	snapshots *snapshots
	name      string
	listener  net.Listener
	handler   http.Handler
	telemetry *telemetry.Telemetry
}

// controlStartTimeout bounds the making of the log at control's start.
const controlStartTimeout = 10 * time.Second

// StartControl starts the log's broker, unless the log is elsewhere, and binds the API's socket.
func StartControl(ctx context.Context, c *config.Config, env Env) (_ *Control, err error) {
	name := c.Control.Name
	k := &Control{name: name, log: cmp.Or(env.Log, slog.Default()).With("node", name)}
	defer func() {
		if err != nil {
			k.close()
			err = fmt.Errorf("node %s: %w", name, err)
		}
	}()
	url := c.Control.NATS.URL
	if !c.Control.NATS.External() {
		k.broker, err = natslog.StartBroker(natslog.BrokerOptions{
			Listen: c.Control.NATS.Listen, StoreDir: filepath.Join(c.NodeDir(name), "log"),
			Token: string(c.Tokens.NATS), Log: k.log,
			// The log takes its limit and what is being written.
			StoreBytesMax: 2 * int64(c.Control.NATS.BytesMax),
		})
		if err != nil {
			return nil, err
		}
		url = k.broker.URL()
	}
	if k.conn, err = connectLog(ctx, c, url, name, nil, k.log); err != nil {
		return nil, err
	}
	if err = k.openLog(ctx, c); err != nil {
		return nil, err
	}
	if k.listener, err = net.Listen("tcp", c.Control.Listen); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *Control) openLog(ctx context.Context, c *config.Config) error {
	log, err := natslog.New(k.conn, logOptions(&c.Control.NATS))
	if err != nil {
		return err
	}
	making, cancel := context.WithTimeout(ctx, controlStartTimeout)
	defer cancel()
	state, err := log.Create(making)
	if err != nil {
		return err
	}
	if k.snapshots, err = openSnapshots(c, log, k.log); err != nil {
		return err
	}
	if state, err = k.complete(making, log, state); err != nil {
		return err
	}
	k.nodes = purge.NewNodes(purge.NodesOptions{Names: storingNodes(c), Epoch: state.Epoch})
	explains, err := k.explains(c)
	if err != nil {
		return err
	}
	caches, err := inspect.NewAPI(inspect.APIOptions{Nodes: storingNodes(c), Ask: k.askCache()})
	if err != nil {
		return err
	}
	options, err := purgeOptions(c)
	if err != nil {
		return err
	}
	options.Append, options.History, options.Nodes, options.Explain, options.Cache, options.Log =
		log.Append, log, k.nodes, explains, caches, k.log
	options.Renew = func(ctx context.Context, old string) (string, error) {
		state, err := log.Renew(ctx, old)
		return state.Epoch, err
	}
	if k.api, err = purge.NewAPI(options); err != nil {
		return err
	}
	k.publish(c, k.api)
	mux := http.NewServeMux()
	for _, path := range []string{"/v1/", "/service/", "/client/v4/"} {
		mux.Handle(path, k.telemetry.Internal(k.api))
	}
	mux.Handle("/", k.telemetry.Handler())
	k.handler = mux
	return nil
}

// complete gives the log another identity if it has lost purges that control's own
// journal has: see natslog.Log.Renew.
func (k *Control) complete(ctx context.Context, log *natslog.Log, state purge.LogState) (purge.LogState, error) {
	epoch, applied, err := k.snapshots.journal.State()
	if err != nil || epoch != state.Epoch || applied <= state.Last {
		return state, err
	}
	k.log.Error("purge log has lost purges that were accepted: it begins anew, and nodes drop what they store",
		"last", state.Last, "accepted", applied)
	return log.Renew(ctx, state.Epoch)
}

// explains makes the part of the API that asks the nodes what they know of a URL.
func (k *Control) explains(c *config.Config) (http.Handler, error) {
	// Control sends nothing to any origin: it only wants to know whose a host is.
	sites, err := sitesOf(c, nil, func(*config.Site) (http.RoundTripper, error) { return nil, nil })
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, s := range c.Sites {
		hosts = append(hosts, s.Hosts...)
	}
	var nodes []explain.Node
	for _, p := range c.PoPs {
		edge := explain.Node{Name: p.Name, Role: explain.RoleEdge}
		for _, s := range c.ShieldsOf(p) {
			edge.Upstream = append(edge.Upstream, s.Name)
		}
		nodes = append(nodes, edge)
	}
	for _, s := range c.Shields {
		nodes = append(nodes, explain.Node{Name: s.Name, Role: explain.RoleShield})
	}
	return explain.NewAPI(explain.APIOptions{Sites: sites, Hosts: hosts, Nodes: nodes, Ask: natslog.Asker(k.conn)})
}

// askCache asks a node what its stores have.
func (k *Control) askCache() func(ctx context.Context, node string, question []byte) ([]byte, error) {
	ask := natslog.Asker(k.conn)
	return func(ctx context.Context, node string, question []byte) ([]byte, error) {
		return ask(ctx, cacheAnswerer(node), question)
	}
}

// storingNodes are those that a purge has to reach.
func storingNodes(c *config.Config) []string {
	var names []string
	for _, s := range c.Shields {
		names = append(names, s.Name)
	}
	for _, p := range c.PoPs {
		names = append(names, p.Name)
	}
	return names
}

func (k *Control) publish(c *config.Config, api *purge.API) {
	name := c.Control.Name
	k.telemetry = telemetry.New(name, k.log, c.Log.Access)
	count := func(metric, help string, read func(purge.APIStats) uint64) {
		k.telemetry.Gauge(name, metric, help, func() float64 { return float64(read(api.Stats())) })
	}
	count("weir_purges_accepted_total", "Purges accepted.", func(s purge.APIStats) uint64 { return s.Accepted })
	count("weir_purges_repeated_total", "Purges whose idempotency key had a version already.", func(s purge.APIStats) uint64 { return s.Repeated })
	count("weir_purge_calls_forbidden_total", "API calls answered 403.", func(s purge.APIStats) uint64 { return s.Forbidden })
	count("weir_purge_calls_limited_total", "Purges answered 429.", func(s purge.APIStats) uint64 { return s.Limited })
	count("weir_purge_calls_refused_total", "API calls answered 400, 404, 405, 413 or 422.", func(s purge.APIStats) uint64 { return s.Refused })
	count("weir_purge_calls_unauthorised_total", "API calls answered 401.", func(s purge.APIStats) uint64 { return s.Unauthorised })
	count("weir_purge_calls_unavailable_total", "Purges answered 503: the log could not be reached.", func(s purge.APIStats) uint64 { return s.Unavailable })
	count("weir_purge_waits_incomplete_total", "Waits that ended before every node had confirmed.", func(s purge.APIStats) uint64 { return s.Incomplete })
	k.telemetry.Check("log", func() error {
		if !k.conn.IsConnected() {
			return errors.New("the purge log cannot be reached")
		}
		return nil
	})
}

// Addr is the API's bound address, BrokerAddr the log's.
func (k *Control) Addr() string { return k.listener.Addr().String() }

// BrokerAddr is the bound address of the purge log; "" where it is in an external
// cluster.
func (k *Control) BrokerAddr() string {
	if k.broker == nil {
		return ""
	}
	return k.broker.Addr()
}

// Run serves until ctx ends and gives everything back.
func (k *Control) Run(ctx context.Context) error {
	defer k.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return natslog.ObserveNodes(ctx, k.conn, k.nodes.Observe, nil) })
	group.Go(func() error {
		return natslog.AnswerCalls(ctx, k.conn, k.name, func(question []byte) []byte { return k.api.AnswerMethod(ctx, question) }, nil)
	})
	group.Go(func() error { return k.snapshots.run(ctx, k.conn) })
	group.Go(func() error { return serveHTTP(ctx, k.listener, k.handler, k.log) })
	return group.Wait()
}

func (k *Control) close() {
	if k.listener != nil {
		_ = k.listener.Close() // closed already after Run
	}
	k.snapshots.close(k.log)
	if k.conn != nil {
		k.conn.Close()
	}
	if k.broker != nil {
		if err := k.broker.Close(); err != nil {
			k.log.Warn("purge log", "error", err)
		}
	}
}
