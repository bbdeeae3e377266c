// Package telemetry is how a node tells what it does: one access line a
// request, Prometheus metrics, and /healthz.
package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sort"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/storage"
)

// Telemetry belongs to one node.
type Telemetry struct {
	log      *slog.Logger
	access   bool
	registry *prometheus.Registry

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec

	// mu guards checks and details.
	mu      sync.Mutex
	checks  map[string]func() error
	ready   []string // the checks without which the node is not to be asked
	details map[string]func() any
}

// New makes the telemetry of the node named; access says whether each request
// gets an access line on log.
func New(node string, log *slog.Logger, access bool) *Telemetry {
	labels := prometheus.Labels{"node": node}
	t := &Telemetry{
		log: log, access: access,
		registry: prometheus.NewRegistry(),
		checks:   map[string]func() error{}, details: map[string]func() any{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_requests_total", Help: "Requests answered, by site, HTTP version, outcome and status.",
			ConstLabels: labels,
		}, []string{"site", "proto", "outcome", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_request_seconds", Help: "Time from a request's header to the response's header.",
			ConstLabels: labels,
			Buckets:     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"outcome"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_response_body_bytes_total", Help: "Body bytes sent, by site.", ConstLabels: labels,
		}, []string{"site"}),
	}
	t.registry.MustRegister(t.requests, t.seconds, t.bytes, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, o := range cache.Outcomes {
		t.seconds.WithLabelValues(o.String())
	}
	return t
}

// Gauge publishes a number that is read when metrics are asked for; one whose name
// ends in _total as the counter that it is. labels are pairs of name and value.
func (t *Telemetry) Gauge(node, name, help string, read func() float64, labels ...string) {
	constant := prometheus.Labels{"node": node}
	for i := 0; i+1 < len(labels); i += 2 {
		constant[labels[i]] = labels[i+1]
	}
	if strings.HasSuffix(name, "_total") {
		t.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: constant}, read))
		return
	}
	t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: constant}, read))
}

// Store publishes what a store holds.
func (t *Telemetry) Store(node string, tier storage.Tier, s storage.Store) {
	for _, m := range []struct {
		name, help string
		read       func(storage.Stats) float64
	}{
		{"weir_store_objects", "Objects stored.", func(s storage.Stats) float64 { return float64(s.Objects) }},
		{"weir_store_bytes", "Bytes that they take of the budget.", func(s storage.Stats) float64 { return float64(s.Bytes) }},
		{"weir_store_budget_bytes", "The tier's budget.", func(s storage.Stats) float64 { return float64(s.BudgetBytes) }},
		{"weir_store_evictions_total", "Objects that had to leave for others.", func(s storage.Stats) float64 { return float64(s.Evictions) }},
		{"weir_store_corrupt_total", "Objects dropped because they failed a checksum.", func(s storage.Stats) float64 { return float64(s.Corrupt) }},
	} {
		t.Gauge(node, m.name, m.help, func() float64 { return m.read(s.Stats()) }, "tier", tier.String())
	}
}

// Check adds a condition for /healthz: nil from check means well.
func (t *Telemetry) Check(name string, check func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checks[name] = check
}

// Ready is Check for a condition without which the node is not to be asked:
// /readyz answers for those alone.
func (t *Telemetry) Ready(name string, check func() error) {
	t.Check(name, check)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ready = append(t.ready, name)
}

// Detail adds what /healthz says besides, under a name of its own: what tell gives
// is written as JSON, and changes no status.
func (t *Telemetry) Detail(name string, tell func() any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.details[name] = tell
}

// Observe counts one request and writes its access line.
func (t *Telemetry) Observe(a *httpcache.Access) {
	proto := fmt.Sprintf("%d.%d", a.Request.ProtoMajor, a.Request.ProtoMinor)
	t.requests.WithLabelValues(a.Site, proto, a.Outcome.String(), fmt.Sprint(a.Status)).Inc()
	t.seconds.WithLabelValues(a.Outcome.String()).Observe(a.FirstByte.Seconds())
	t.bytes.WithLabelValues(a.Site).Add(float64(a.Bytes))
	if !t.access {
		return
	}
	line := []slog.Attr{
		slog.String("client", a.Request.RemoteAddr), slog.String("proto", a.Request.Proto),
		slog.String("method", a.Request.Method), slog.String("host", a.Request.Host),
		slog.String("target", a.Request.RequestURI), slog.Int("status", a.Status),
		slog.Int64("bytes", a.Bytes), slog.String("outcome", a.Outcome.String()),
		slog.String("reason", a.Reason.String()), slog.String("tier", a.Tier), slog.String("site", a.Site),
		slog.Duration("first_byte", a.FirstByte), slog.Duration("total", a.Total),
	}
	if a.Upstream != "" {
		line = append(line, slog.String("upstream", a.Upstream))
	}
	if a.Err != nil {
		line = append(line, slog.String("error", a.Err.Error()))
	}
	t.log.LogAttrs(context.Background(), slog.LevelInfo, "access", line...)
}

// Handler answers /healthz, /readyz and /metrics.
func (t *Telemetry) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", t.healthz)
	mux.HandleFunc("GET /readyz", t.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// readyz answers 200 or 503, and why.
func (t *Telemetry) readyz(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	checks := make([]func() error, 0, len(t.ready))
	for _, name := range t.ready {
		checks = append(checks, t.checks[name])
	}
	t.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	for _, check := range checks {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = io.WriteString(w, "ready\n")
}

// healthz answers 200 while every check is well, 503 otherwise, and names each.
func (t *Telemetry) healthz(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	names := make([]string, 0, len(t.checks))
	for name := range t.checks {
		names = append(names, name)
	}
	checks := make(map[string]func() error, len(names))
	for _, name := range names {
		checks[name] = t.checks[name]
	}
	details := maps.Clone(t.details)
	t.mu.Unlock()
	sort.Strings(names)

	status, body := http.StatusOK, map[string]any{"status": "ok"}
	found := map[string]string{}
	for _, name := range names {
		found[name] = "ok"
		if err := checks[name](); err != nil {
			found[name] = err.Error()
			status, body["status"] = http.StatusServiceUnavailable, "failing"
		}
	}
	body["checks"] = found
	for name, tell := range details {
		body[name] = tell()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
