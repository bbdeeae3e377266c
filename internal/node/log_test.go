package node

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"weir/internal/config"
	"weir/internal/lab/ca"
)

// TestExternalLog has control and an edge keep the log on a server that is not
// ours: with TLS, a user and a password.
func TestExternalLog(t *testing.T) {
	authority, err := ca.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	external, err := server.NewServer(&server.Options{
		ServerName: "theirs", Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "weir", Password: "00112233445566ff",
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, TLSTimeout: 5,
		MaxPayload: 8 << 20, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		JetStreamMaxStore: 1 << 30, JetStreamMaxMemory: 64 << 20, SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	external.Start()
	t.Cleanup(func() {
		external.Shutdown()
		external.WaitForShutdown()
	})
	if !external.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	var state string
	edge := startPurging(t, func(c *config.Config) {
		state = c.State
		c.Control.NATS.Servers = []string{"tls://" + external.Addr().String()}
		c.Control.NATS.User, c.Control.NATS.CA, c.Control.NATS.BytesMax = "weir", authority.File(), 64<<20
	})
	response, body := send(t, "PURGE", "http://"+edge.HTTPAddr()+"/a", "Fastly-Key: ci-secret")
	if response.StatusCode != 200 || !strings.Contains(body, `"version":1`) {
		t.Fatalf("PURGE: %d %s", response.StatusCode, body)
	}
	wait, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := edge.index.WaitApplied(wait, 1); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(state, "control", "log")); !os.IsNotExist(err) {
		t.Errorf("control keeps a log of its own: %v", err)
	}
}
