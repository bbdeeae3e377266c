package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/lab/bucket"
	"weir/internal/lab/s3server"
)

// exampleBucket is the example configuration with a bucket for its origin.
func exampleBucket(t *testing.T) (file string, at func(string) string) {
	t.Helper()
	server, err := s3server.Start(t.Context(), s3server.Options{Dir: t.TempDir(), AccessKey: "key", SecretKey: "SECRET"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Close(ctx)
	})
	keys := bucket.S3URL{Endpoint: server.Addr(), Bucket: "example", AccessKey: "key", SecretKey: "SECRET"}
	raw := t.TempDir()
	writeSite(t, raw, map[string]string{"index.html": "raw"})
	if _, err := bucket.Sync(t.Context(), bucket.Options{S3: keys}, raw); err != nil {
		t.Fatal(err)
	}
	file, at = example(t, "http://unused.example")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s3 := fmt.Sprintf("      s3: {endpoint: %q, bucket: example, access_key: key, secret_key: SECRET, secure: false}\n", server.Addr())
	changed := strings.Replace(string(text), "      http:\n        url: http://unused.example\n", s3, 1)
	if changed == string(text) {
		t.Fatal("the example's origin is not where it was")
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, at
}

func writeSite(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A site of the example configuration is deployed while one of its PoPs is away:
// the command names it, and when it is back it serves nothing of before, though
// its disk has it.
func TestDeployToProcesses(t *testing.T) {
	file, at := exampleBucket(t)
	startProcess(t, "control", "--config", file)
	startProcess(t, "shield", "--config", file)
	edges := map[string]*process{}
	for _, name := range []string{"ams", "iad", "sin"} {
		edges[name] = startProcess(t, "edge", "--config", file, "--name", name)
	}
	for _, address := range []string{"127.0.0.1:7400", "127.0.0.1:7300", "127.0.0.1:7090", "127.0.0.1:7091", "127.0.0.1:7092"} {
		awaitWell(t, at(address))
	}
	folder := t.TempDir()
	weir := func(args ...string) (string, error) {
		said, err := weirCommand(t.Context(), append(args, "--config", file, "--timeout", "2s")...).CombinedOutput()
		if strings.Contains(string(said), "SECRET") {
			t.Errorf("the secret is told: %s", said)
		}
		return string(said), err
	}
	want := func(address, path, body string) {
		t.Helper()
		if status, got, _ := get(t, at(address)+path); got != body {
			t.Errorf("%s: %d %q, want %q", path, status, got, body)
		}
	}
	ams, iad := "127.0.0.1:7080", "127.0.0.1:7081"
	want(ams, "/", "raw")
	writeSite(t, folder, map[string]string{"index.html": "one", "404.html": "lost"})
	if said, err := weir("deploy", folder); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	want(ams, "/", "one")
	want(iad, "/?q", "one")
	want(iad, "/new.html", "lost")

	time.Sleep(1500 * time.Millisecond) // a kill takes what was stored in the last second
	edges["iad"].kill()
	writeSite(t, folder, map[string]string{"index.html": "two", "new.html": "new"})
	said, err := weir("deploy", folder)
	if exit := new(exec.ExitError); !errors.As(err, &exit) || !strings.Contains(said, "no answer within 2s from iad") {
		t.Errorf("with iad away: %v\n%s", err, said)
	}
	want(ams, "/", "two")
	edges["iad"] = startProcess(t, "edge", "--config", file, "--name", "iad")
	awaitWell(t, at("127.0.0.1:7091"))
	want(iad, "/?q", "two")
	want(iad, "/new.html", "new")
	if said, err := weir("rollback"); err != nil || !strings.Contains(said, "in force on all 4 nodes") {
		t.Errorf("%v\n%s", err, said)
	}
	want(iad, "/?q", "one")
	want(ams, "/new.html", "lost")
}
