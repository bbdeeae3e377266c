package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9111"
	"weir/purge"
	"weir/purge/memlog"
)

// Names and hosts of every cluster. The site answers for two hosts; any other
// is unknown to it.
const (
	siteName    = "docs"
	siteHost    = "www.test"
	siteAlias   = "static.test"
	originHost  = "origin"
	shieldName  = "shield"
	tierToken   = "tier-token"
	apiToken    = "api-token"
	stopTimeout = 10 * time.Second
)

// options are what a script can say of its cluster.
type options struct {
	pops    []string
	shields []string
	policy  rfc9111.Policy
	key     rfc9111.KeyPolicy
	maxLag  time.Duration
	// snapshots says that control keeps what the log forgets.
	snapshots bool
	cutOff    string // what a node does after max_lag: revalidate, serve or refuse
	// fillTimeout is that of cache.Options.
	fillTimeout time.Duration
	memory      int64 // budget of each node's memory tier, in bytes
	disk        int64 // likewise
	block       int64 // size of a partial object's blocks, in bytes; 0 for the engine's own

	encodings *cache.Encodings // the edges'; nil for none
}

// Budgets of a node's store when the script does not say.
const (
	memoryBytesDefault = 8 << 20
	diskBytesDefault   = 64 << 20
)

func clusterOptions(a *args) options {
	o := options{
		pops: a.list("pops"), maxLag: a.duration("max_lag"), key: keyPolicy(a),
		fillTimeout: a.duration("fill_timeout"), cutOff: a.text("when_lagging", "revalidate"),
		memory: cmp.Or(int64(a.bytes("memory")), memoryBytesDefault),
		disk:   cmp.Or(int64(a.bytes("disk")), diskBytesDefault),
		block:  int64(a.bytes("block")), snapshots: a.flag("snapshots"),
	}
	if o.shields = a.list("shields"); o.shields == nil {
		o.shields = []string{shieldName}
	}
	if o.pops == nil {
		o.pops = []string{"ams", "iad"}
	}
	o.policy = rfc9111.Policy{
		DefaultTTL:           a.duration("default_ttl"),
		NegativeTTL:          a.duration("negative_ttl"),
		StaleWhileRevalidate: a.duration("swr"),
		StaleIfError:         a.duration("sie"),
	}
	if a.flag("obey_client") {
		o.policy.Obey = rfc9111.ObeyAll
	}
	if a.flag("compress") {
		o.encodings = &cache.Encodings{Compress: []rfc9111.Coding{rfc9111.CodingZstd, rfc9111.CodingBrotli, rfc9111.CodingGzip}}
	}
	return o
}

func keyPolicy(a *args) rfc9111.KeyPolicy {
	k := rfc9111.KeyPolicy{
		Params: a.list("key_params"), SortQuery: a.flag("key_sort"),
		Headers: a.list("key_headers"), Cookies: a.list("key_cookies"),
	}
	var err error
	k.Query, err = rfc9111.ParseQueryMode(a.text("key_query", "all"))
	a.fail("key_query", err)
	for _, name := range a.list("key_devices") {
		device, err := rfc9111.ParseDevice(name)
		a.fail("key_devices", err)
		k.Devices = append(k.Devices, device)
	}
	a.fail("key", k.Check())
	return k
}

// cluster is all that runs: one origin, shields, edges, and control's part
// in purges.
type cluster struct {
	options
	alarm   *alarm
	network *network
	origin  *scriptedOrigin
	server  *server // the origin's
	order   []*node // the shields first
	nodes   map[string]*node
	clients map[string]*http.Transport // by node
	epochs  int                        // logs so far
	purges  *memlog.Log
	control *purge.API
	kept    *snapshots // nil: none
	used    bool
}

func startCluster(dir string, o options) (*cluster, error) {
	c := &cluster{
		options: o, alarm: &alarm{}, network: newNetwork(), origin: &scriptedOrigin{},
		nodes: make(map[string]*node), clients: make(map[string]*http.Transport),
		purges: memlog.New(""),
	}
	c.server = serve(c.network.listen(originHost), c.origin, c.alarm)
	for _, name := range slices.Concat(o.shields, o.pops) {
		n := &node{name: name, cluster: c, base: dir, link: c.purges.Link()}
		c.order = append(c.order, n)
		c.nodes[name] = n
	}
	if err := c.newEpoch(); err != nil {
		return c, err
	}
	if o.snapshots {
		var err error
		if c.kept, err = startSnapshots(dir, c.purges); err != nil {
			return c, err
		}
	}
	for _, n := range c.order {
		if err := n.start(); err != nil {
			return c, err
		}
		c.clients[n.name] = &http.Transport{DialContext: c.network.dialer(n.name), DisableCompression: true}
	}
	return c, nil
}

// newEpoch puts an empty log in place of the one there is, as if control had
// lost it, and a control that expects every node to follow it.
func (c *cluster) newEpoch() error {
	c.epochs++
	epoch := fmt.Sprintf("log-%d", c.epochs)
	c.purges.Replace(epoch)
	names := make([]string, 0, len(c.order))
	for _, n := range c.order {
		names = append(names, n.name)
	}
	receipts := purge.NewNodes(purge.NodesOptions{Names: names, Epoch: epoch, VersionsMax: 100})
	for _, n := range c.order {
		n.setObserver(receipts.Observe)
	}
	var err error
	c.control, err = purge.NewAPI(purge.APIOptions{
		Sites: []string{siteName}, Token: apiToken, Append: c.purges.Append, History: c.purges, Nodes: receipts,
	})
	return err
}

// sites are what edges and shield know of the one site; they differ in
// upstream, and edges alone have encodings.
func (c *cluster) sites(upstream http.RoundTripper, encodings *cache.Encodings) (*httpcache.Sites, error) {
	sites := httpcache.NewSites()
	site := &cache.Site{Name: siteName, Policy: c.policy, Key: c.key, Upstream: upstream, Encodings: encodings}
	return sites, sites.Add(site, siteHost, siteAlias)
}

// applied gives a line for each node.
func (c *cluster) applied() string {
	var b strings.Builder
	for _, n := range c.order {
		fmt.Fprintf(&b, "%s %d", n.name, n.running.index.Applied())
		if !n.running.index.Trusted(time.Now()) {
			b.WriteString(", not trusted")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// stored gives a line for each node.
func (c *cluster) stored() string {
	var b strings.Builder
	for _, n := range c.order {
		fmt.Fprintf(&b, "%s %d\n", n.name, n.running.store.Stats().Objects)
	}
	return b.String()
}

// close stops everything, those who ask before those who answer.
func (c *cluster) close() error {
	var errs []error
	for _, client := range c.clients {
		client.CloseIdleConnections()
	}
	for i := len(c.order) - 1; i >= 0; i-- {
		errs = append(errs, c.order[i].stop())
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	errs = append(errs, c.kept.close(), c.server.stop(ctx), c.alarm.raised())
	return errors.Join(errs...)
}
