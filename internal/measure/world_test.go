package measure

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"weir/edge"
	"weir/geo"
	"weir/internal/lab/ca"
	"weir/internal/lab/netdelay"
	"weir/internal/lab/regions"
	"weir/internal/ready"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const regionsFolder = "../../testdata/regions"

// body is what every PoP of the world serves.
const body = "a page of twenty byte"

// world is PoPs with a pretended cache behind the edge's own listeners, and
// the real router in front of them.
type world struct {
	ready   ready.File
	regions []regions.Region
	table   *regions.Table
	// ignoreQuery leaves the query out of the PoPs' keys.
	ignoreQuery bool
	// status, if set, answers instead of 200.
	status int
	// hold, if set, is called with each request before it is answered.
	hold func(*http.Request)

	now, most atomic.Int64 // requests at work, and the most there were

	mu   sync.Mutex
	seen map[string][]*http.Request // by PoP
	keys map[string]bool
}

// newWorld makes PoPs of these names, which are names of regions.
func newWorld(t *testing.T, pops ...string) *world {
	t.Helper()
	return newDistantWorld(t, false, pops...)
}

// newDistantWorld is newWorld whose PoPs may be as far away as the table says.
func newDistantWorld(t *testing.T, distant bool, pops ...string) *world {
	t.Helper()
	table, err := regions.Load(os.DirFS(regionsFolder), "regions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{table: table, regions: table.Regions(), seen: make(map[string][]*http.Request), keys: make(map[string]bool)}
	authority, err := ca.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Server()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Errorf("PoPs: %v", err)
		}
	})
	var places []geo.PoP
	for _, name := range pops {
		options := edge.Options{
			Handler:     w.pop(name),
			HTTPS:       "127.0.0.1:0",
			Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
		}
		if distant {
			w.putAway(t, name, &options)
		}
		server, err := edge.Listen(options)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() error { return server.Run(ctx) })
		region, _ := table.Region(name)
		url := "https://" + server.HTTPSAddr()
		places = append(places, geo.PoP{Name: name, Location: geo.Location{Lat: region.Lat, Lon: region.Lon}, HTTPS: url})
		w.ready.PoPs = append(w.ready.PoPs, ready.PoP{Name: name, Region: name, HTTPS: url})
	}
	w.ready.Router, w.ready.CAFile = startRouter(t, places), authority.File()
	return w
}

// putAway delays what reaches a PoP by the way from the client's region.
func (w *world) putAway(t *testing.T, pop string, o *edge.Options) {
	rtt := func(remote net.Addr) time.Duration {
		addr, err := netip.ParseAddrPort(remote.String())
		if err != nil {
			return 0
		}
		region, _ := w.table.ByAddr(addr.Addr())
		return w.table.RTT(region.Name, pop)
	}
	o.WrapPacketConn = func(inner net.PacketConn) net.PacketConn { return netdelay.PacketConn(inner, rtt) }
	o.WrapListener = func(inner net.Listener) net.Listener {
		l := netdelay.Listener(inner, rtt)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = l.Drain(ctx)
		})
		return l
	}
}

func startRouter(t *testing.T, places []geo.PoP) string {
	t.Helper()
	db, err := geo.Open(regionsFolder + "/lab.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	router, err := geo.NewRouter(geo.RouterOptions{PoPs: places, DB: db})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(router)
	t.Cleanup(func() {
		server.Close()
		_ = db.Close()
	})
	return server.URL
}

// pop answers like a PoP: a miss for a key's first request, hits after.
func (w *world) pop(name string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		now := w.now.Add(1)
		defer w.now.Add(-1)
		for most := w.most.Load(); now > most && !w.most.CompareAndSwap(most, now); most = w.most.Load() {
		}
		if w.hold != nil {
			w.hold(r)
		}
		rw.Header().Set("Cache-Status", w.lookUp(name, r))
		if w.status != 0 {
			rw.WriteHeader(w.status)
		}
		_, _ = io.WriteString(rw, body)
	})
}

func (w *world) lookUp(name string, r *http.Request) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = append(w.seen[name], r)
	key := name + " " + r.URL.Path
	if !w.ignoreQuery {
		key += "?" + r.URL.RawQuery
	}
	hit := w.keys[key]
	w.keys[key] = true
	if hit {
		return name + ";hit;ttl=60;detail=memory"
	}
	return fmt.Sprintf("shield;hit;detail=memory, %s;fwd=uri-miss;fwd-status=200;stored", name)
}

// requests gives what a PoP has seen.
func (w *world) requests(pop string) []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[pop])
}

func (w *world) region(t *testing.T, names ...string) []regions.Region {
	t.Helper()
	var list []regions.Region
	for _, name := range names {
		region, ok := w.table.Region(name)
		if !ok {
			t.Fatalf("no region %s", name)
		}
		list = append(list, region)
	}
	return list
}

// host gives an address without its port.
func host(t *testing.T, addr string) string {
	t.Helper()
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
