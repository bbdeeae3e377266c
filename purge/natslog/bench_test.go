package natslog_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"weir/internal/lab/netdelay"
	"weir/purge"
	"weir/purge/natslog"
)

const benchNodes = 12

// BenchmarkTwelveNodes purges over control's HTTP API, with a broker that syncs
// every record and twelve nodes that each write to a journal of their own, all
// in this process and over loopback. An operation is one purge: accepted, and in
// force on every node. asked is from before the call, accepted from its answer
// (0 where the nodes were sooner), to when the last node has it in force.
func BenchmarkTwelveNodes(b *testing.B) {
	for _, c := range []struct {
		name             string
		writers, targets int
		pause            time.Duration
		farthest         time.Duration // the delay to the last node, one way
	}{
		{"alone", 1, 1, 5 * time.Millisecond, 0}, // latency: nothing waits for anything else
		{"far", 1, 1, 5 * time.Millisecond, 120 * time.Millisecond},
		{"single", 128, 1, 0, 0},
		{"batch=100", 16, 100, 0, 0},
		{"batch=10000", 2, 10_000, 0, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := startPurging(b, c.farthest)
			p.purge(b, 1, 1, 1) // connections are made, files have their first pages
			b.ResetTimer()
			began := time.Now()
			for done := 0; done < b.N; {
				n := b.N - done
				if c.pause > 0 {
					n = 1
					time.Sleep(c.pause)
				}
				p.purge(b, n, c.writers, c.targets)
				done += n
			}
			if c.pause == 0 {
				seconds := time.Since(began).Seconds()
				b.ReportMetric(float64(b.N)/seconds, "purges/s")
				b.ReportMetric(float64(b.N*c.targets)/seconds, "targets/s")
			}
			b.ReportMetric(0, "ns/op")
			p.report(b)
		})
	}
}

// BenchmarkSync is what one durable write costs on this disk: nothing durable
// can be faster.
func BenchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for i := 0; b.Loop(); i++ {
		if _, err := f.WriteAt(page, int64(i)*int64(len(page))); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// purging is control with its nodes, and when each purge was where.
type purging struct {
	url    string
	client *http.Client
	nodes  []*node
	serial atomic.Int64

	mu    sync.Mutex // guards what follows
	times map[uint64]*purgeTimes
}

type purgeTimes struct{ asked, accepted, everywhere time.Time }

// startPurging gives the nodes delays from a twelfth of farthest to all of it.
func startPurging(b *testing.B, farthest time.Duration) *purging {
	broker := startBroker(b, b.TempDir(), "127.0.0.1:0")
	conn := connect(b, broker.URL(), "control")
	l, state := createLog(b, conn, natslog.Options{})
	p := &purging{times: make(map[uint64]*purgeTimes)}
	var names []string
	dir := b.TempDir()
	for i := range benchNodes {
		names = append(names, fmt.Sprintf("pop%d", i))
		var dialer nats.CustomDialer
		if delay := farthest * time.Duration(i+1) / benchNodes; delay > 0 {
			d := &netdelay.Dialer{RTT: func(string) time.Duration { return 2 * delay }}
			b.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				_ = d.Drain(ctx)
			})
			dialer = d
		}
		p.nodes = append(p.nodes, startNodeOver(b, names[i], broker.URL(), dir, dialer))
	}
	nodes := purge.NewNodes(purge.NodesOptions{Names: names, Epoch: state.Epoch})
	observe(b, conn, nodes)
	api, err := purge.NewAPI(purge.APIOptions{
		Sites: []string{"docs"}, Token: testToken, Append: l.Append, Nodes: nodes, History: l,
		Rates: purge.RateOptions{NarrowPerSecond: 1e6},
	})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(api)
	b.Cleanup(server.Close)
	p.url = server.URL
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	b.Cleanup(p.client.CloseIdleConnections)
	return p
}

// purge makes n purges by so many writers at once, and returns when all are in
// force everywhere.
func (p *purging) purge(b *testing.B, n, writers, targets int) {
	var left atomic.Int64
	left.Store(int64(n))
	asked := make(chan uint64, n)
	var writing sync.WaitGroup
	for range min(n, writers) {
		writing.Go(func() {
			for left.Add(-1) >= 0 {
				if v, err := p.ask(targets); err != nil {
					b.Error(err)
				} else {
					asked <- v
				}
			}
		})
	}
	var awaiting sync.WaitGroup
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	awaiting.Go(func() { p.await(ctx, b, asked) })
	writing.Wait()
	close(asked)
	awaiting.Wait()
}

// ask makes one purge over the API.
func (p *purging) ask(targets int) (version uint64, err error) {
	from := p.serial.Add(int64(targets))
	var body strings.Builder
	body.WriteString(`{"site":"docs","scope":"url","targets":[`)
	for i := range targets {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `"/some/path/of/a/site/page-%d.html"`, from+int64(i))
	}
	body.WriteString(`]}`)
	r, err := http.NewRequest(http.MethodPost, p.url+"/v1/purges", strings.NewReader(body.String()))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	asked := time.Now()
	answer, err := p.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusAccepted {
		return 0, fmt.Errorf("%s: %.200s: %w", answer.Status, text, err)
	}
	accepted := time.Now()
	if _, err := fmt.Sscanf(string(text), `{"version":%d}`, &version); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times[version] = &purgeTimes{asked: asked, accepted: accepted}
	return version, nil
}

// await notes when each version that was asked for is in force on every node.
func (p *purging) await(ctx context.Context, b *testing.B, asked <-chan uint64) {
	for v := range asked {
		for _, n := range p.nodes {
			if err := n.index.WaitApplied(ctx, v); err != nil {
				b.Error(err)
				return
			}
		}
		now := time.Now()
		p.mu.Lock()
		p.times[v].everywhere = now
		p.mu.Unlock()
	}
}

// report gives the latencies. Under load the purges that came in out of order
// are noted late, never early.
func (p *purging) report(b *testing.B) {
	var asked, accepted []time.Duration
	for _, t := range p.times {
		asked = append(asked, t.everywhere.Sub(t.asked))
		accepted = append(accepted, max(0, t.everywhere.Sub(t.accepted)))
	}
	for _, of := range []struct {
		name  string
		times []time.Duration
	}{{"asked", asked}, {"accepted", accepted}} {
		slices.Sort(of.times)
		for _, percent := range []int{50, 99} {
			ms := float64(of.times[(len(of.times)-1)*percent/100].Microseconds()) / 1000
			b.ReportMetric(ms, fmt.Sprintf("%s-p%d-ms", of.name, percent))
		}
	}
}
