// Package miniotest runs a real MinIO server for a test.
package miniotest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startAttemptsMax = 3
	readyTimeout     = 30 * time.Second
	stopTimeout      = 5 * time.Second
	pollInterval     = 50 * time.Millisecond
)

// Server is a running MinIO.
type Server struct {
	// Endpoint is its "host:port".
	Endpoint string
	// AccessKey and SecretKey are its root account's.
	AccessKey, SecretKey string
}

// Binary is the MinIO to run: the one that the environment variable WEIR_MINIO
// names, else .cache/bin/minio below the repository's root; "" if neither is
// there.
func Binary() string {
	if name := os.Getenv("WEIR_MINIO"); name != "" {
		return existing(name)
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if existing(filepath.Join(dir, "go.mod")) != "" {
			return existing(filepath.Join(dir, ".cache", "bin", "minio"))
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func existing(name string) string {
	if info, err := os.Stat(name); err != nil || info.IsDir() {
		return ""
	}
	return name
}

// Start runs MinIO on free loopback ports with a directory of its own, waits
// until it answers, and stops it when the test ends. Where there is no MinIO it
// skips the test; where WEIR_MINIO names one that is not there, the test fails.
func Start(t testing.TB) Server {
	t.Helper()
	binary := Binary()
	if name := os.Getenv("WEIR_MINIO"); name != "" && binary == "" {
		t.Fatalf("WEIR_MINIO=%s: there is no such file", name)
	}
	if binary == "" {
		t.Skip("MinIO has not been built: run `make minio`")
	}
	var err error
	for range startAttemptsMax { // Another process may take a port that was free.
		var s Server
		if s, err = start(t, binary); err == nil {
			return s
		}
	}
	t.Fatalf("start MinIO: %v", err)
	return Server{}
}

func start(t testing.TB, binary string) (Server, error) {
	dir := t.TempDir()
	ports, err := freePorts(2)
	if err != nil {
		return Server{}, err
	}
	s := Server{Endpoint: ports[0], AccessKey: "weir-test", SecretKey: "weir-test-secret/+"}
	cmd := exec.Command(binary, "server", "--quiet", "--address", ports[0], "--console-address", ports[1], filepath.Join(dir, "data"))
	cmd.Env = append(os.Environ(), "HOME="+dir, "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off", "CI=true")
	output := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return Server{}, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	if err := waitReady(s.Endpoint, exited); err != nil {
		stop(cmd.Process, exited)
		return Server{}, fmt.Errorf("%w; it printed:\n%s", err, output)
	}
	t.Cleanup(func() { stop(cmd.Process, exited) })
	return s, nil
}

func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // Held until all are known, so that they differ.
		ports = append(ports, l.Addr().String())
	}
	return ports, nil
}

// waitReady asks until MinIO says that it can write, or has exited. An exit is
// put back for stop to find.
func waitReady(endpoint string, exited chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	for {
		if isReady(ctx, transport, endpoint) {
			return nil
		}
		select {
		case err := <-exited:
			exited <- err
			return fmt.Errorf("MinIO exited: %w", errors.Join(err, errors.New("before it was ready")))
		case <-ctx.Done():
			return fmt.Errorf("MinIO was not ready after %v", readyTimeout)
		case <-time.After(pollInterval):
		}
	}
}

func isReady(ctx context.Context, transport *http.Transport, endpoint string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint+"/minio/health/cluster", nil)
	if err != nil {
		return false
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// stop ends the process, politely first, and returns when it is gone.
func stop(process *os.Process, exited chan error) {
	_ = process.Signal(syscall.SIGTERM) // It may be gone already, which is what is wanted.
	select {
	case <-exited:
		return
	case <-time.After(stopTimeout):
	}
	_ = process.Kill()
	<-exited
}
