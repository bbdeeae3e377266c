package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/storage"
	"weir/storage/memory"
)

// Every check is named, and one that fails makes the node unwell.
func TestHealthz(t *testing.T) {
	n := New("n", slog.New(slog.DiscardHandler), true)
	var failing error
	n.Check("disk", func() error { return failing })
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		n.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		return w
	}
	if w := ask(); w.Code != 200 || w.Body.String() != `{"checks":{"disk":"ok"},"status":"ok"}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	failing = errors.New("no space")
	if w := ask(); w.Code != 503 || !strings.Contains(w.Body.String(), `"disk":"no space"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A node can be asked although something of it is out of order: /readyz has its own
// conditions.
func TestReadyz(t *testing.T) {
	n := New("n", slog.New(slog.DiscardHandler), true)
	var behind error
	n.Check("disk", func() error { return errors.New("no space") })
	n.Ready("purges", func() error { return behind })
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		n.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	if well, ready := ask("/healthz"), ask("/readyz"); well.Code != 503 || ready.Code != 200 {
		t.Errorf("a bad disk: /healthz %d, /readyz %d; want 503, 200", well.Code, ready.Code)
	}
	behind = errors.New("catching up")
	if well, ready := ask("/healthz"), ask("/readyz"); !strings.Contains(well.Body.String(), "catching up") || ready.Code != 503 || !strings.Contains(ready.Body.String(), "catching up") {
		t.Errorf("behind: /healthz %s, /readyz %d %s", well.Body, ready.Code, ready.Body)
	}
}

// What a store counts up is a counter, what it has a gauge, and each says what it is.
func TestStoreMetrics(t *testing.T) {
	n := New("n", slog.New(slog.DiscardHandler), true)
	store := memory.New(memory.Options{BudgetBytes: 1 << 20})
	defer store.Close()
	n.Store("n", storage.TierMemory, store)
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		"# TYPE weir_store_evictions_total counter", "# TYPE weir_store_corrupt_total counter", "# TYPE weir_store_bytes gauge",
		"# HELP weir_store_corrupt_total Objects dropped because they failed a checksum.",
		`weir_store_budget_bytes{node="n",tier="memory"} 1.048576e+06`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

// An internal interface has access lines and counts, and can still be flushed.
func TestInternal(t *testing.T) {
	var lines bytes.Buffer
	n := New("n", slog.New(slog.NewTextHandler(&lines, nil)), true)
	h := n.Internal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("yes"))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/purges", nil))
	for _, want := range []string{"msg=access", "method=POST", "target=/v1/purges", "status=202", "bytes=3"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("no %s in %s", want, lines.String())
		}
	}
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if want := `weir_requests_total{node="n",outcome="internal",proto="1.1",site="",status="202"} 1`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("no %s", want)
	}
}
