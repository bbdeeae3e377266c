// Package lab runs a whole weir in one process on loopback: an S3 origin, a
// control, a shield, PoPs in several regions and a router, all over real
// sockets, with the regions' round-trip times put on every hop.
package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"weir"
	"weir/internal/config"
	"weir/internal/lab/bucket"
	"weir/internal/lab/ca"
	"weir/internal/lab/regions"
	"weir/internal/lab/s3server"
	"weir/internal/node"
	"weir/internal/ready"
	"weir/purge"
)

// Options is what `weir lab` is given. The zero value is the default lab.
type Options struct {
	// Site is the directory to serve; "" for the sample site.
	Site string
	// Origin is "" for an embedded S3 server, s3://KEY:SECRET@HOST:PORT/BUCKET
	// for another, or http://HOST:PORT for a plain HTTP server.
	Origin string
	// PoPs is how many places there are, 1 to 12. Default 3.
	PoPs int
	// State keeps everything between runs; "" for a temporary directory.
	State string
	// PortBase is the first of the ports; 0 for free ones.
	PortBase int
	// UsualPorts takes the ports from 8400 on, so that what the README says
	// can be copied, unless one of them is taken. Not with PortBase.
	UsualPorts bool
	// NoDelay turns the simulated network off.
	NoDelay bool
	// NoShield makes the PoPs ask the origin themselves.
	NoShield bool
	// Shields is how many shields share the keys, 1 to 5. Default 1.
	Shields int
	// Policy, if set, changes the site's default policy.
	Policy func(*config.Policy)
	// ReadyFile is written once everything answers; "" for none.
	ReadyFile string
	// NoShare keeps the lab out of the place where other commands look for a
	// running one.
	NoShare bool
	// Command is how this program is called, for the table. Default "weir".
	Command string
	// Memory and Disk are each node's budgets. Default 256 MiB and 1 GiB.
	Memory, Disk config.Bytes
	// Access says whether each request gets a line on Log.
	Access bool
	// Log receives the nodes' lines. Default: discard.
	Log *slog.Logger
	// Out receives the table of what listens where. Default: discard.
	Out io.Writer
}

const (
	siteName    = "lab"
	bucketName  = "site"
	shieldName  = "shield"
	controlName = "control"
	// readyName is the ready file that every lab leaves in its state.
	readyName = "ready.json"
	// homeRegion is where origin, shield and control stand.
	homeRegion = "iad"
	popsMax    = 12
	shieldsMax = 5
	// usualPortBase is where the ports begin of a lab that is alone.
	usualPortBase = 8400
	guardOffset   = 9
	// stopTimeout is what edges have, and then the shield, to end requests
	// that run: the whole stop stays below five seconds.
	stopTimeout = time.Second
	// readyTimeout bounds the wait until everything answers.
	readyTimeout = 30 * time.Second
)

func (o Options) withDefaults() (Options, error) {
	o.PoPs = cmp.Or(o.PoPs, 3)
	if o.PoPs < 1 || o.PoPs > popsMax {
		return o, fmt.Errorf("--pops %d: want 1 to %d", o.PoPs, popsMax)
	}
	o.Shields = cmp.Or(o.Shields, 1)
	if o.Shields < 1 || o.Shields > shieldsMax {
		return o, fmt.Errorf("--shields %d: want 1 to %d, or --no-shield", o.Shields, shieldsMax)
	}
	if last := o.PortBase + portsPerLab(o.PoPs); o.PortBase < 0 || o.PortBase > 0 && last > 65535 {
		return o, fmt.Errorf("--port-base %d: ports up to %d would be needed, and they end at 65535", o.PortBase, last)
	}
	o.Command = cmp.Or(o.Command, "weir")
	o.Memory = cmp.Or(o.Memory, 256<<20)
	o.Disk = cmp.Or(o.Disk, 1<<30)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o, nil
}

// Lab is a running weir.
type Lab struct {
	o         Options
	state     string
	temporary bool
	config    *config.Config
	authority *ca.CA
	table     *regions.Table
	network   *network
	s3        *s3server.Server
	// bucketKeys are the site's bucket; nil for another kind of origin.
	bucketKeys *bucket.S3URL
	released   bool         // weir deploy has filled the bucket before
	changed    []string     // paths whose content is not what it was at the last run
	again      bool         // the state directory had been used before
	guard      net.Listener // holds the usual ports for this lab; nil without them
	shared     bool         // other commands find this lab by themselves
	control    *node.Control
	shields    []*node.Shield
	router     *node.Router
	edges      []*node.Edge
	running    *parts
	Ready      ready.File
}

// Run starts a lab, tells where everything is, and keeps it up until ctx ends
// or a part of it fails. It then stops everything in order.
func Run(ctx context.Context, o Options) error {
	l, err := Start(ctx, o)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(l.o.Out, l.Table())
	select {
	case <-ctx.Done():
	case err = <-l.running.failed:
	}
	return errors.Join(err, l.Close())
}

// Start starts a lab and returns once everything answers.
func Start(ctx context.Context, o Options) (*Lab, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.PortBase > 0 {
		if err := probe(o); err != nil {
			return nil, fmt.Errorf("--port-base %d: %w", o.PortBase, err)
		}
		return start(ctx, o)
	}
	if !o.UsualPorts {
		return start(ctx, o)
	}
	guard := takeUsualPorts(&o)
	l, err := start(ctx, o)
	if err != nil {
		if guard != nil {
			_ = guard.Close()
		}
		return nil, err
	}
	l.guard = guard
	return l, nil
}

// takeUsualPorts sets PortBase to the usual one, unless one of those ports is
// taken. Of several labs that start at once, the one that gets the guard, a
// port on which nobody answers, has them all.
func takeUsualPorts(o *Options) net.Listener {
	guard, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(usualPortBase+guardOffset)))
	if err != nil {
		return nil
	}
	o.PortBase = usualPortBase
	if probe(*o) != nil {
		o.PortBase = 0
		_ = guard.Close()
		return nil
	}
	return guard
}

// probe says which of the lab's ports is taken, if any, before anything is
// started that would have to be stopped again.
func probe(o Options) error {
	for offset := range portsPerLab(o.PoPs) {
		if offset > shieldPort(o.Shields-1) && offset < 10 && offset != 4 || offset >= 10 && offset%10 > 2 {
			continue // not one that anything listens on
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(o.PortBase+offset))
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		_ = tcp.Close()
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		_ = udp.Close()
	}
	return nil
}

func start(ctx context.Context, o Options) (_ *Lab, err error) {
	l := &Lab{o: o, running: newParts()}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"state directory", l.openState}, {"regions", l.openRegions}, {"certificates", l.openCA},
		{"configuration", l.configure}, {"origin", l.startOrigin}, {"control", l.startControl},
		{"shields", l.startShields}, {"PoPs", l.startEdges}, {"router", l.startRouter},
		{"waiting until everything answers", l.awaitReady}, {"purge of what changed", l.purgeChanged},
		{"ready file", l.announce},
	} {
		if err := stage.run(ctx); err != nil {
			return nil, fmt.Errorf("lab: %s: %w", stage.name, err)
		}
	}
	return l, nil
}

// Close stops everything, clients' side first, and removes what is temporary.
func (l *Lab) Close() error {
	var errs []error
	l.unannounce()
	errs = append(errs, l.running.stop())
	if l.s3 != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		errs = append(errs, l.s3.Close(ctx))
		cancel()
	}
	if l.network != nil {
		l.network.close()
	}
	if l.guard != nil {
		errs = append(errs, l.guard.Close())
		l.guard = nil
	}
	if l.temporary {
		errs = append(errs, os.RemoveAll(l.state))
	}
	return errors.Join(errs...)
}

func (l *Lab) openState(context.Context) (err error) {
	if l.o.State == "" {
		l.temporary = true
		l.state, err = os.MkdirTemp("", "weir-lab-")
		return err
	}
	if l.state, err = filepath.Abs(l.o.State); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.state, controlName)); err == nil {
		l.again = true
	}
	return os.MkdirAll(l.state, 0o700)
}

func (l *Lab) openRegions(context.Context) (err error) {
	l.table, err = regions.Load(weir.Regions(), "regions.yaml")
	if err != nil {
		return err
	}
	l.network = newNetwork(l.table, l.o.NoDelay)
	return nil
}

func (l *Lab) openCA(context.Context) (err error) {
	l.authority, err = ca.Open(filepath.Join(l.state, "ca"))
	return err
}

// configure builds the configuration that the nodes share. Ports that are 0
// are replaced as the nodes start and tell which ones they have got.
func (l *Lab) configure(context.Context) error {
	c := config.Default()
	c.State = l.state
	c.Log.Access = l.o.Access
	for _, token := range []*config.Secret{&c.Tokens.API, &c.Tokens.Tier, &c.Tokens.NATS} {
		*token = newToken()
	}
	c.Control.Listen, c.Control.NATS.Listen = l.address(1), l.address(2)
	// Its simulated clients are on loopback, each region in a network of its own.
	c.PurgeMethod.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c.Router = &config.Router{Name: "router", Listen: l.address(0)}
	shield := config.NoShield
	if !l.o.NoShield {
		shield = config.AllShields
		for i := range l.o.Shields {
			name := shieldName
			if l.o.Shields > 1 {
				name = fmt.Sprintf("%s-%d", shieldName, i+1)
			}
			c.Shields = append(c.Shields, &config.Shield{
				Name: name, Region: homeRegion, Listen: l.address(shieldPort(i)), Memory: l.o.Memory, Disk: l.o.Disk,
			})
		}
	}
	for i, r := range l.table.Regions()[:l.o.PoPs] {
		base := portsPerLab(i)
		c.PoPs = append(c.PoPs, &config.PoP{
			Name: r.Name, Region: r.Name, Lat: r.Lat, Lon: r.Lon,
			HTTP: l.address(base), HTTPS: l.address(base + 1), Admin: l.address(base + 2),
			Memory: l.o.Memory, Disk: l.o.Disk, Shield: shield,
		})
	}
	l.config = c
	return nil
}

// Ports: the shared parts have the first ten, each PoP ten more.
func portsPerLab(pops int) int { return 10 * (pops + 1) }

// shieldPort is the offset of a shield's port: the first has the one that a lone
// shield has, the others those behind the origin's.
func shieldPort(i int) int {
	if i == 0 {
		return 3
	}
	return 4 + i
}

// address is on loopback, with the port at the offset from the base.
func (l *Lab) address(offset int) string {
	port := 0
	if l.o.PortBase > 0 {
		port = l.o.PortBase + offset
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func newToken() config.Secret {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return config.Secret(hex.EncodeToString(b))
}

func (l *Lab) startControl(ctx context.Context) (err error) {
	l.control, err = node.StartControl(ctx, l.config, node.Env{Log: l.o.Log})
	if err != nil {
		return err
	}
	c := &l.config.Control
	c.Listen, c.NATS.Listen = l.control.Addr(), l.control.BrokerAddr()
	c.URL, c.NATS.URL = "http://"+c.Listen, "nats://"+c.NATS.Listen
	l.running.add(rankControl, l.control.Run)
	return nil
}

func (l *Lab) startShields(ctx context.Context) error {
	for _, conf := range l.config.Shields {
		if err := l.startShield(ctx, conf); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) startShield(ctx context.Context, conf *config.Shield) error {
	shield, err := node.StartShield(ctx, l.config, conf.Name, node.Env{
		Log:          l.o.Log,
		DialUpstream: l.network.dialer(conf.Region, homeRegion).DialContext,
		DialControl:  l.network.dialer(conf.Region, homeRegion),
		StopTimeout:  stopTimeout,
	})
	if err != nil {
		return err
	}
	conf.Listen = shield.Addr()
	conf.URL = "http://" + conf.Listen
	l.shields = append(l.shields, shield)
	l.running.add(rankShield, shield.Run)
	return nil
}

func (l *Lab) startEdges(ctx context.Context) error {
	certificate, err := l.authority.Server("localhost", "127.0.0.1", "::1", "lab.test", "*.lab.test")
	if err != nil {
		return err
	}
	// All at once: each waits for round trips to control.
	l.edges = make([]*node.Edge, len(l.config.PoPs))
	starting, ctx := errgroup.WithContext(ctx)
	for i, pop := range l.config.PoPs {
		env := node.Env{
			Log:          l.o.Log,
			DialUpstream: l.network.dialer(pop.Region, homeRegion).DialContext,
			DialControl:  l.network.dialer(pop.Region, homeRegion),
			StopTimeout:  stopTimeout,
			Certificate:  func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
		}
		l.network.face(&env, pop.Region)
		starting.Go(func() (err error) {
			l.edges[i], err = node.StartEdge(ctx, l.config, pop.Name, env)
			return err
		})
	}
	err = starting.Wait()
	for i, pop := range l.config.PoPs {
		edge := l.edges[i]
		if edge == nil {
			continue
		}
		pop.HTTP, pop.HTTPS, pop.Admin = edge.HTTPAddr(), edge.HTTPSAddr(), edge.AdminAddr()
		pop.PublicHTTP, pop.PublicHTTPS = "http://"+pop.HTTP, "https://"+pop.HTTPS
		l.running.add(rankClients, edge.Run) // also after an error: Run gives back what Start took
	}
	return err
}

func (l *Lab) startRouter(context.Context) error {
	database, err := fs.ReadFile(weir.Regions(), "lab.mmdb")
	if err != nil {
		return err
	}
	l.router, err = node.StartRouter(l.config, database, node.Env{Log: l.o.Log})
	if err != nil {
		return err
	}
	l.running.add(rankClients, l.router.Run)
	return nil
}

// purgeChanged drops what the nodes may still have of files that are no longer
// what they were when this state directory was last used.
func (l *Lab) purgeChanged(ctx context.Context) error {
	if !l.again || len(l.changed) == 0 {
		return nil
	}
	client := purge.Client{URL: l.config.Control.URL, Token: string(l.config.Tokens.API)}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	request := purge.Request{Site: siteName, Scope: purge.ScopeURL, Targets: l.changed}
	if len(l.changed) > purge.TargetsMax {
		request.Scope, request.Targets = purge.ScopeSite, nil
	}
	_, err := client.Wait(ctx, request, readyTimeout)
	return err
}
