package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// asWeir makes the test binary be weir: tests start it as processes.
const asWeir = "WEIR_TEST_BINARY_IS_WEIR"

func TestMain(m *testing.M) {
	if os.Getenv(asWeir) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is one weir of its own.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  *bytes.Buffer
	done chan error
}

func weirCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asWeir+"=1")
	return cmd
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: strings.Join(args, " "), out: &bytes.Buffer{}, done: make(chan error, 1)}
	p.cmd = weirCommand(context.WithoutCancel(t.Context()), args...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		if p.done != nil {
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, p.out)
		}
	})
	return p
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	p.done = nil
}

// stop asks the process to end, which it does in order within five seconds.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done = nil
		if err != nil {
			p.t.Errorf("%s ended with %v", p.name, err)
		}
	case <-time.After(5 * time.Second):
		p.t.Errorf("%s did not end within 5 s", p.name)
	}
}

// example is the example configuration on free ports, in a folder of the
// test's own, with the origin given.
func example(t *testing.T, origin string) (file string, at func(string) string) {
	t.Helper()
	text, err := os.ReadFile("../../testdata/config/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ports := map[string]string{}
	moved := regexp.MustCompile(`127\.0\.0\.1:7\d\d\d`).ReplaceAllStringFunc(string(text), func(address string) string {
		if ports[address] == "" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ports[address] = l.Addr().String()
			_ = l.Close()
		}
		return ports[address]
	})
	database, err := filepath.Abs("../../testdata/regions/lab.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	moved = strings.ReplaceAll(moved, "http://127.0.0.1:9000", origin)
	moved = strings.ReplaceAll(moved, "../regions/lab.mmdb", database)
	file = filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, func(address string) string { return "http://" + ports[address] }
}

// get asks and gives status, body and the edge's own Cache-Status entry.
func get(t *testing.T, url string) (int, string, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err.Error(), ""
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	entries := strings.Split(response.Header.Get("Cache-Status"), ", ")
	return response.StatusCode, string(body), entries[len(entries)-1]
}

func awaitWell(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		status, body, _ := get(t, url+"/healthz")
		if status == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d %s", url, status, body)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The example configuration, each part a process of its own: a warm restart of
// an edge after kill -9, a purge that survives kill -9 of control, an orderly
// end.
func TestExampleAsProcesses(t *testing.T) {
	var version atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = fmt.Fprintf(w, "%s %d", r.URL.Path, version.Load())
	}))
	defer origin.Close()
	file, at := example(t, origin.URL)

	control := startProcess(t, "control", "--config", file)
	shield := startProcess(t, "shield", "--config", file)
	edges := map[string]*process{}
	for _, name := range []string{"ams", "iad", "sin"} {
		edges[name] = startProcess(t, "edge", "--config", file, "--name", name)
	}
	router := startProcess(t, "router", "--config", file)
	admin := []string{"127.0.0.1:7400", "127.0.0.1:7300", "127.0.0.1:7090", "127.0.0.1:7091", "127.0.0.1:7092", "127.0.0.1:7500"}
	for _, address := range admin {
		awaitWell(t, at(address))
	}

	ams, iad := at("127.0.0.1:7080"), at("127.0.0.1:7081")
	want := func(when, url, body, entry string) {
		t.Helper()
		status, got, said := get(t, url)
		if status != 200 || got != body || !strings.Contains(said, entry) {
			t.Errorf("%s: %d %q, Cache-Status %q; want %q and %s", when, status, got, said, body, entry)
		}
	}
	want("first", ams+"/a", "/a 0", "fwd=uri-miss")
	want("second", ams+"/a", "/a 0", "detail=memory")
	want("another PoP", iad+"/a", "/a 0", "fwd=uri-miss")
	if status, _, _ := get(t, at("127.0.0.1:7500")+"/a"); status != http.StatusTemporaryRedirect {
		t.Errorf("the router answered %d", status)
	}

	time.Sleep(1500 * time.Millisecond) // a kill takes what was stored in the last second
	edges["ams"].kill()
	edges["ams"] = startProcess(t, "edge", "--config", file, "--name", "ams")
	awaitWell(t, at("127.0.0.1:7090"))
	want("after kill -9 of the edge", ams+"/a", "/a 0", "detail=disk")

	version.Store(1)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("EXAMPLE-api-token-change-me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	edges["iad"].kill()
	purge := weirCommand(t.Context(), "purge", "--control", at("127.0.0.1:7400"), "--token-file", token, "--site", siteOf(t, file), "--timeout", "1s", "url", "/a")
	said, err := purge.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(said), "iad") {
		t.Errorf("a purge with iad away: %v\n%s", err, said)
	}
	want("purged", ams+"/a", "/a 1", "fwd=miss")
	wantExplained(t, at("127.0.0.1:7400"), token, ams+"/a")

	control.kill()
	control = startProcess(t, "control", "--config", file)
	awaitWell(t, at("127.0.0.1:7400"))
	edges["iad"] = startProcess(t, "edge", "--config", file, "--name", "iad")
	awaitWell(t, at("127.0.0.1:7091"))
	want("the purge survived kill -9 of control", iad+"/a", "/a 1", "fwd=")

	for _, p := range []*process{router, edges["ams"], edges["iad"], edges["sin"], shield, control} {
		p.stop()
	}
}

// wantExplained explains a URL that ams and the shield have, while iad is away.
func wantExplained(t *testing.T, control, token, url string) {
	t.Helper()
	said, err := weirCommand(t.Context(), "explain", "--control", control, "--token-file", token, url).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Errorf("explained with iad away: %v", err)
	}
	for _, want := range []string{"  ams: hit from ", "  shield-1: hit from ", "  iad: away: it is not connected", "nothing from iad\n"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("no %q in what was explained with iad away:\n%s", want, said)
		}
	}
}

// A damaged file in a node's folder costs what it held, not the node.
func TestDamagedStateDoesNotStopANode(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, "body")
	}))
	defer origin.Close()
	file, at := example(t, origin.URL)
	state := filepath.Join(filepath.Dir(file), "state", "ams")
	startProcess(t, "control", "--config", file)
	startProcess(t, "shield", "--config", file)
	for what, damage := range map[string]func() error{
		"the journal is garbage": func() error {
			return os.WriteFile(filepath.Join(state, "purges.db"), bytes.Repeat([]byte("garbage!"), 4096), 0o600)
		},
		"the journal is cut": func() error { return os.Truncate(filepath.Join(state, "purges.db"), 5000) },
		"the cache is not a folder": func() error {
			folder := filepath.Join(state, "cache")
			return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, []byte("x"), 0o600))
		},
	} {
		edge := startProcess(t, "edge", "--config", file, "--name", "ams")
		awaitUp(t, at("127.0.0.1:7080"))
		edge.kill()
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		edge = startProcess(t, "edge", "--config", file, "--name", "ams")
		awaitUp(t, at("127.0.0.1:7080"))
		edge.stop()
		if err := os.RemoveAll(state); err != nil {
			t.Fatal(err)
		}
		t.Log(what)
	}
}

// awaitUp waits until a PoP answers with the origin's content.
func awaitUp(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		status, body, _ := get(t, url+"/a")
		if status == 200 && body == "body" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d %s", url, status, body)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// siteOf is the name of the one site in a configuration.
func siteOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^sites:\n(?:\s*#.*\n)*\s*- name: (\S+)`).FindSubmatch(text)
	if found == nil {
		t.Fatal("no site in the example")
	}
	return string(found[1])
}
