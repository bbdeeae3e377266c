// Package measure is what `weir measure` does: it requests one path as a client
// of each region would, cold and warm, over HTTP/1.1, HTTP/2 and HTTP/3, and
// prints how long that took.
//
//	measure.go   the entry: options, rows, the order of requests
//	route.go     which PoP serves a region: the router says
//	client.go    one request on a connection of its own
//	outcome.go   how the PoP says that it ended (RFC 9211)
//	row.go       samples become percentiles and counts
//	report.go    the table, and the JSON
//
// A region's client is a socket that is bound to an address of the region's
// loopback network. The delay is the listener's work: this package knows of no
// round-trip times and measures what any client with that address would.
package measure

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/lab/regions"
	"weir/internal/ready"
)

// Options say what to measure. Ready and Regions are required.
type Options struct {
	// Ready says where router, PoPs and their CA are.
	Ready ready.File
	// Path is requested from each PoP; it may have a query. Default "/".
	Path string
	// Regions are those whose clients measure.
	Regions []regions.Region
	// Protocols to measure with. Default: all three.
	Protocols []Protocol
	// Cold and Warm are how many samples of either kind each region takes with
	// each protocol; negative for none. Default 3 and 20.
	Cold, Warm int
	// Parallel is how many requests may run at a time. Default 4.
	Parallel int
	// Timeout bounds one request, its handshakes included. Default 30 s.
	Timeout time.Duration
	// JSON prints one JSON object instead of the table.
	JSON bool
	// Progress, if set, is told how many of all samples have ended, from one
	// goroutine at a time.
	Progress func(done, total int)
}

// samplesMax bounds what one row keeps in memory.
const samplesMax = 100_000

func (o Options) withDefaults() (Options, error) {
	o.Path = cmp.Or(o.Path, "/")
	if _, err := url.ParseRequestURI(o.Path); err != nil || !strings.HasPrefix(o.Path, "/") {
		return o, fmt.Errorf("measure: path %q must be like /index.html", o.Path)
	}
	if len(o.Regions) == 0 {
		return o, errors.New("measure: Options.Regions is required")
	}
	if o.Ready.Router == "" || len(o.Ready.PoPs) == 0 {
		return o, errors.New("measure: the ready file names no router or no PoPs")
	}
	if len(o.Protocols) == 0 {
		o.Protocols = []Protocol{HTTP1, HTTP2, HTTP3}
	}
	o.Cold = max(cmp.Or(o.Cold, 3), 0)
	o.Warm = max(cmp.Or(o.Warm, 20), 0)
	o.Parallel = cmp.Or(o.Parallel, 4)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	switch {
	case o.Cold > samplesMax || o.Warm > samplesMax:
		return o, fmt.Errorf("measure: more than %d samples a row", samplesMax)
	case o.Parallel < 0 || o.Timeout < 0:
		return o, errors.New("measure: Options.Parallel and Timeout must not be negative")
	}
	return o, nil
}

// Run measures and prints to w. Requests that fail are counted in the table and
// are no error. When ctx ends, Run prints what it has by then and returns the
// context's cause.
func Run(ctx context.Context, o Options, w io.Writer) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	roots, err := loadRoots(o.Ready.CAFile)
	if err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	r := &run{Options: o, tls: &tls.Config{RootCAs: roots}, unbound: tryBind(o.Regions[0])}
	if err := r.plan(ctx); err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	r.measure(ctx)
	if err := r.print(w); err != nil {
		return fmt.Errorf("measure: print: %w", err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("measure: ended early: %w", context.Cause(ctx))
	}
	return nil
}

// loadRoots reads the lab's CA.
func loadRoots(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read ca_file: %s has no certificate", path)
	}
	return roots, nil
}

// tryBind says why sockets cannot be bound to a region's address. Linux has all
// of 127.0.0.0/8 on loopback; others have 127.0.0.1 alone.
func tryBind(region regions.Region) error {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: region.ClientAddr().AsSlice()})
	if err != nil {
		return err
	}
	return socket.Close()
}

// run is one measurement on its way.
type run struct {
	Options
	tls *tls.Config
	// unbound says why sockets are not bound to the regions' addresses; nil
	// where they are.
	unbound error
	jobs    []*job
	ended   bool // early, with its context
}

// job is the work for two rows: one client of one region with one protocol.
type job struct {
	client   client
	url      *url.URL
	cold     row
	warm     row
	coldLeft int
	warmLeft int
}

// plan asks the router for each region's PoP and lays out the rows.
func (r *run) plan(ctx context.Context) error {
	for _, region := range r.Regions {
		pop, err := r.route(ctx, region)
		if err != nil {
			return err
		}
		base, err := url.Parse(pop.HTTPS)
		if err != nil || base.Scheme != "https" || base.Host == "" {
			return fmt.Errorf("PoP %s: %q is no https URL", pop.Name, pop.HTTPS)
		}
		for _, protocol := range r.Protocols {
			place := row{Region: region.Name, PoP: pop.Name, Protocol: protocol}
			j := &job{
				client: client{protocol: protocol, tls: r.tls, timeout: r.Timeout},
				url:    resolve(base, r.Path), cold: place, warm: place, coldLeft: r.Cold, warmLeft: r.Warm,
			}
			if r.unbound == nil {
				j.client.source = region.ClientAddr()
			}
			j.cold.State, j.warm.State = "cold", "warm"
			r.jobs = append(r.jobs, j)
		}
	}
	return nil
}

// resolve gives the URL of the path at a PoP.
func resolve(base *url.URL, path string) *url.URL {
	u, _ := url.ParseRequestURI(path) // withDefaults has parsed it
	u.Scheme, u.Host = base.Scheme, base.Host
	return u
}

// measure runs the jobs, at most Parallel at a time: within one, requests
// follow each other.
func (r *run) measure(ctx context.Context) {
	progress := newProgress(len(r.jobs)*(r.Cold+r.Warm), r.Progress)
	var group errgroup.Group
	group.SetLimit(r.Parallel)
	for _, j := range r.jobs {
		group.Go(func() error {
			j.run(ctx, progress)
			return nil
		})
	}
	_ = group.Wait() // jobs keep their errors in their rows
	r.ended = ctx.Err() != nil
}

// failuresMax is after how many failures in a row a client gives up: each may
// have cost a whole Timeout.
const failuresMax = 3

// run takes the samples of both rows: the cold ones, then one that does not
// count and leaves the path in the PoP's store, then the warm ones.
func (j *job) run(ctx context.Context, p *progress) {
	failures := 0
	for j.coldLeft > 0 && failures < failuresMax && ctx.Err() == nil {
		j.sample(ctx, &j.cold, unseen(j.url), &failures)
		j.coldLeft--
		p.step()
	}
	if j.warmLeft > 0 && failures < failuresMax && ctx.Err() == nil {
		// The first warm sample says whether this one was in vain.
		_, _ = j.client.get(ctx, j.url)
	}
	for j.warmLeft > 0 && failures < failuresMax && ctx.Err() == nil {
		j.sample(ctx, &j.warm, j.url, &failures)
		j.warmLeft--
		p.step()
	}
}

// sample adds one request to a row, unless ctx has cut it short.
func (j *job) sample(ctx context.Context, into *row, u *url.URL, failures *int) {
	s, err := j.client.get(ctx, u)
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		into.fail(err)
		*failures++
	default:
		into.add(s)
		*failures = 0
	}
}

// unseen gives the URL with a query that nobody has asked for: no tier has its
// key, unless the site leaves queries out of its keys.
func unseen(u *url.URL) *url.URL {
	fresh := *u
	fresh.RawQuery = strings.TrimPrefix(fresh.RawQuery+"&weir-measure="+rand.Text(), "&")
	return &fresh
}

// rows gives all rows that have samples, in the order of the options: cold
// above warm.
func (r *run) rows() []*row {
	var all []*row
	for _, j := range r.jobs {
		all = append(all, &j.cold, &j.warm)
	}
	return slices.DeleteFunc(all, func(row *row) bool { return row.empty() })
}
