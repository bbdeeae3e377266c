package node

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/config"
	"weir/internal/inspect"
	"weir/internal/telemetry"
)

// TestDisksOfANode gives a node a directory, a device, and a device with data of
// somebody else: it serves from two, and says of each how it is.
func TestDisksOfANode(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, data := range map[string]string{"good": strings.Repeat("\x00", 2<<20), "bad": strings.Repeat("data", 1<<19)} {
		if err := os.WriteFile(path(name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	disks := []*config.Disk{{Dir: path("0"), Size: 4 << 20}, {Dir: path("1"), Device: path("good")}, {Dir: path("2"), Device: path("bad")}}
	for _, row := range []struct {
		disks  []*config.Disk
		status int
		budget string
		states []string
	}{
		{disks[:2], 200, "6.291456e+06", []string{"online", "online"}},
		{disks, 503, "6.291456e+06", []string{"online", "online", "offline"}},
		{disks[2:], 503, "", []string{"offline"}},
	} {
		log := slog.New(slog.DiscardHandler)
		n := &tier{name: "ams", log: log, telemetry: telemetry.New("ams", log, false)}
		if err := n.openStores(t.TempDir(), budgets{disks: row.disks, writeMax: 1 << 20, objectMax: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		checkDisks(t, n, row.disks, row.status, row.states)
		metrics := get(n, "/metrics").Body.String()
		if want := `weir_store_budget_bytes{node="ams",tier="disk"} ` + row.budget; row.budget != "" && !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s", want)
		}
		for i, d := range row.disks {
			want := `weir_disk_state{dir="` + d.Dir + `",node="ams"} ` + map[string]string{"online": "0", "offline": "2"}[row.states[i]]
			if !strings.Contains(metrics, want) {
				t.Errorf("metrics have no %s", want)
			}
		}
		n.close()
	}
}

func get(n *tier, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	n.telemetry.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func checkDisks(t *testing.T, n *tier, disks []*config.Disk, status int, states []string) {
	t.Helper()
	w := get(n, "/healthz")
	var said struct {
		Checks map[string]string
		Disks  []inspect.DiskStat
	}
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != status || len(said.Disks) != len(disks) {
		t.Fatalf("%d %s, %v: want %d", w.Code, w.Body, err, status)
	}
	for i, d := range said.Disks {
		if d.Dir != disks[i].Dir || d.Device != disks[i].Device || d.State != states[i] {
			t.Errorf("disk %d: %+v, want %s", i, d, states[i])
		}
		if d.State == "offline" && (!strings.Contains(d.LastError, "weir cache format --erase") || !strings.Contains(said.Checks["disk"], d.Dir)) {
			t.Errorf("does not say what to do: %+v, %s", d, said.Checks["disk"])
		}
	}
}
