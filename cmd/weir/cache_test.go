package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/storage"
	"weir/storage/disk"
	"weir/storage/storagetest"
)

func TestCache(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(disk.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(storagetest.Put(s, "a", 1, 100_000), storagetest.Put(s, "b", 2, 10), s.Close()); err != nil {
		t.Fatal(err)
	}
	key := storage.KeyOf("b").String()
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"cache", "ls", dir}, 0, key},
		{[]string{"cache", "ls", dir}, 0, "host.example/b"},
		{[]string{"cache", "ls", dir, "--json"}, 0, `{"key":"` + key + `","tiers":["disk"],"site":"site","host":"host.example","target":"/b"`},
		{[]string{"cache", "stat", dir}, 0, "2 objects"},
		{[]string{"cache", "verify", dir}, 0, "2 objects are good"},
		{[]string{"cache", "dump", dir, key}, 0, "host.example/b 200\nContent-Type: text/plain\r\n\n" + string(storagetest.Body(2, 10))},
		{[]string{"cache", "dump", dir, "abc"}, 1, "is no key"},
		{[]string{"cache", "dump", dir, storage.KeyOf("c").String()}, 1, "not found"},
		{[]string{"cache", "ls", filepath.Join(dir, "none")}, 2, "no such file"},
	} {
		wantRun(t, row.args, row.code, row.want)
	}
	path := filepath.Join(dir, "regions.log")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, storagetest.Body(1, 100_000)[:1000])+70_000] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRun(t, []string{"cache", "verify", dir}, 1, "block 1: object failed its checksum")
	b[bytes.Index(b, storagetest.Body(1, 100_000)[:1000])-10] ^= 1 // and now its front: the object is no more found
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRun(t, []string{"cache", "verify", dir}, 1, "bytes without a record")
	wantRun(t, []string{"cache", "verify", dir}, 1, "1 checksums fail, 1 objects are good")
}

func wantRun(t *testing.T, args []string, code int, want string) {
	t.Helper()
	var out bytes.Buffer
	got := run(&environment{ctx: t.Context(), out: &out, errors: &out}, args)
	if got != code || !strings.Contains(out.String(), want) {
		t.Errorf("weir %s: exit status %d, want %d with %q:\n%s", strings.Join(args, " "), got, code, want, out.String())
	}
}

func TestCacheFormat(t *testing.T) {
	device := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(device, bytes.Repeat([]byte("data"), 1<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRun(t, []string{"cache", "format", device + "none"}, 2, "no such file")
	wantRun(t, []string{"cache", "format", device}, 1, "byte 0: the device has data of somebody else: if it is not needed any more, run: weir cache format --erase "+device)
	wantRun(t, []string{"cache", "format", "--erase", device}, 0, device+" is ready")
	wantRun(t, []string{"cache", "format", device}, 0, device+" is ready")
	dir := t.TempDir()
	s, err := disk.Open(disk.Options{Dir: dir, Device: device})
	if err != nil {
		t.Fatal(err)
	}
	wantRun(t, []string{"cache", "format", "--erase", device}, 1, "locked by another process")
	if err := errors.Join(storagetest.Put(s, "a", 1, 1000), s.Close()); err != nil {
		t.Fatal(err)
	}
	wantRun(t, []string{"cache", "verify", dir}, 0, "1 objects are good")
}
