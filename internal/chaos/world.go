package chaos

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weir"
	"weir/internal/history"
	"weir/internal/lab/ca"
	"weir/internal/lab/regions"
	"weir/purge"
)

const controlName = "control"

// world is all that a run has.
type world struct {
	o     Options
	state string

	authority *ca.CA
	roots     *x509.CertPool
	spawner   *spawner
	origin    *origin
	control   *child
	shields   []*child
	pops      []*pop
	nodes     map[string]*child // all of the above, by name
	// logLinks are the nodes' ways to the purge log, by node; wayLinks those of
	// PoPs to shields.
	logLinks map[string]*link
	wayLinks map[way]*link

	lagging string // when_lagging of all nodes
	swr     time.Duration
	tokens  struct{ api, tier, nats string }
	client  purge.Client
	ledger  *ledger
	history *history.History
	report  *report
	// confirmed rings when a node confirms a purge.
	confirmed bell
}

// way is from a PoP to a shield.
type way struct{ pop, shield string }

// pop is a PoP and where clients reach it.
type pop struct {
	*child
	region      regions.Region
	http, https string
}

// newWorld lays everything out and starts what runs in this process: origin and
// links. What it opened before an error is closed again.
func newWorld(o Options) (_ *world, err error) {
	w := &world{
		o: o, nodes: make(map[string]*child), logLinks: make(map[string]*link), wayLinks: make(map[way]*link),
		ledger: newLedger(), spawner: newSpawner(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(false))
		}
	}()
	if w.state, err = stateFolder(o); err != nil {
		return nil, err
	}
	drawn := w.random(worldStream)
	w.lagging = o.WhenLagging
	if w.lagging == "" {
		w.lagging = []string{"revalidate", "revalidate", "serve", "refuse"}[drawn.IntN(4)]
	}
	w.swr = []time.Duration{0, 5 * time.Second}[drawn.IntN(2)]
	w.tokens.api, w.tokens.tier, w.tokens.nats = newToken(), newToken(), newToken()
	if w.origin, err = startOrigin(w.random(originStream)); err != nil {
		return nil, err
	}
	if err := w.layOut(); err != nil {
		return nil, err
	}
	w.client = purge.Client{
		URL: w.control.url, Token: w.tokens.api, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: writersCount + 1}},
	}
	names := make([]string, 0, len(w.pops))
	for _, p := range w.pops {
		names = append(names, p.name)
	}
	seen := history.Options{Nodes: names, Newest: w.origin.newest}
	if w.lagging != "serve" {
		seen.LagMax = lagMax
	}
	w.history = history.New(seen)
	w.report = newReport(w)
	return w, w.configure()
}

// layOut gives every node its name, its ports and its links.
func (w *world) layOut() error {
	table, err := regions.Load(weir.Regions(), "regions.yaml")
	if err != nil {
		return err
	}
	ports, err := freePorts(2 + w.o.Shields + 3*w.o.PoPs)
	if err != nil {
		return err
	}
	next := func() string {
		port := ports[0]
		ports = ports[1:]
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	add := func(name, role, address string) *child {
		c := newChild(w, name, role, address)
		w.nodes[name] = c
		return c
	}
	w.control = add(controlName, "control", next())
	w.control.log = next()
	for i := range w.o.Shields {
		w.shields = append(w.shields, add(fmt.Sprintf("shield-%d", i+1), "shield", next()))
	}
	for _, r := range table.Regions()[:w.o.PoPs] {
		p := &pop{child: add(r.Name, "edge", next()), region: r}
		p.http, p.https = next(), next()
		w.pops = append(w.pops, p)
	}
	return w.linkAll()
}

func (w *world) linkAll() (err error) {
	for name := range w.nodes {
		if name == controlName {
			continue
		}
		if w.logLinks[name], err = openLink(w.control.log); err != nil {
			return err
		}
	}
	for _, p := range w.pops {
		for _, s := range w.shields {
			if w.wayLinks[way{p.name, s.name}], err = openLink(s.address); err != nil {
				return err
			}
		}
	}
	return nil
}

func newToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// Nodes come back on the port that they had. So that nobody takes it meanwhile
// for a connection of his own, ports are below those that systems give to such
// connections.
const (
	portsFrom  = 20000
	portsBelow = 32000
)

// freePorts gives a row of ports that nobody listens on.
func freePorts(count int) ([]int, error) {
	for first := portsFrom + os.Getpid()%(portsBelow-portsFrom); ; first = portsFrom {
		var free []int
		for port := first; port < portsBelow && len(free) < count; port++ {
			if isFree(port) {
				free = append(free, port)
			}
		}
		if len(free) == count {
			return free, nil
		}
		if first == portsFrom {
			return nil, fmt.Errorf("fewer than %d ports are free from %d to %d", count, portsFrom, portsBelow)
		}
	}
}

func isFree(port int) bool {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	_ = tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}

// startAll starts every node and waits until all are well.
func (w *world) startAll(ctx context.Context) error {
	for _, c := range w.nodes {
		if err := c.start(); err != nil {
			return err
		}
	}
	return w.awaitWell(ctx)
}

// awaitWell waits until every node says that it is well.
func (w *world) awaitWell(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range w.nodes {
		group.Go(func() error {
			if err := c.await(ctx, http.StatusOK); err != nil {
				return fmt.Errorf("%w; its log ends:\n%s", err, c.lastLines())
			}
			return nil
		})
	}
	return group.Wait()
}

// close ends everything. The state stays if it was to be kept, or is worth a
// look.
func (w *world) close(look bool) error {
	var ending sync.WaitGroup
	for _, c := range w.nodes {
		ending.Go(c.end)
	}
	ending.Wait()
	w.spawner.close()
	for _, l := range w.logLinks {
		l.close()
	}
	for _, l := range w.wayLinks {
		l.close()
	}
	if w.origin != nil {
		w.origin.close()
	}
	if w.client.HTTP != nil {
		w.client.HTTP.CloseIdleConnections()
	}
	switch {
	case w.state == "":
		return nil
	case w.o.State != "" || look:
		_, err := fmt.Fprintf(w.o.Live, "the nodes' logs and files are in %s\n", w.state)
		return err
	}
	return os.RemoveAll(w.state)
}

func (w *world) path(name string) string { return filepath.Join(w.state, name) }
