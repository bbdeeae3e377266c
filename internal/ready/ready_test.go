package ready

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func sample() File {
	return File{
		Site: "docs", Origin: "http://127.0.0.1:1", Shield: "http://127.0.0.1:2", Control: "http://127.0.0.1:3",
		Token: "a&b", Router: "http://127.0.0.1:4", CAFile: "/tmp/ca.pem",
		PoPs: []PoP{{"ams", "ams", "http://127.0.0.1:5", "https://127.0.0.1:6", "http://127.0.0.1:7"}},
	}
}

func write(t *testing.T, f File, path string) {
	t.Helper()
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
}

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "lab.json")
	write(t, File{Site: "old", Control: "http://127.0.0.1:3"}, path)
	write(t, sample(), path)
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	want.PID = os.Getpid()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder has %v, %v; want the file alone", entries, err)
	}
}

// TestKeys holds the names that scripts read.
func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lab.json")
	write(t, sample(), path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	var pops []map[string]string
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(top["pops"], &pops); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"site", "origin", "shield", "control", "token", "router", "ca_file", "pops", "pid"} {
		if len(top[key]) == 0 {
			t.Errorf("no key %q in %s", key, text)
		}
	}
	for _, key := range []string{"name", "region", "http", "https", "admin"} {
		if pops[0][key] == "" {
			t.Errorf("no key %q in pops of %s", key, text)
		}
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ name, text, want string }{
		{"cut", `{"site":"docs"`, "not a ready file"},
		{"another file", `{"version":1}`, "site or control is missing"},
		{"no object", `[]`, "not a ready file"},
		{"too large", strings.Repeat(" ", fileBytesMax+1), "more than 1048576 bytes"},
	} {
		path := filepath.Join(dir, test.name)
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want the path and %q", test.name, err, test.want)
		}
	}
}

func TestNoLab(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "lab.json"), ""} {
		_, err := Read(path)
		if !errors.Is(err, ErrNoLab) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "`weir lab`") {
			t.Errorf("Read(%q): %v", path, err)
		}
	}
	if _, err := Read(t.TempDir()); err == nil || errors.Is(err, ErrNoLab) {
		t.Errorf("Read of a folder: %v", err)
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("writing over a folder: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("a failed write left %v", entries)
	}
}

func TestRemoveIfOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lab.json")
	if err := RemoveIfOwn(path); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	other := `{"site":"docs","control":"http://127.0.0.1:3","pid":1}`
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveIfOwn(path); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != other {
		t.Errorf("another lab's file is %q, %v", text, err)
	}
	write(t, sample(), path)
	if err := RemoveIfOwn(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its own file is still there: %v", err)
	}
}

func TestDefaultPath(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", "")
	path := DefaultPath()
	if !strings.HasPrefix(path, home) || !strings.HasSuffix(path, filepath.Join("weir", "lab.json")) {
		t.Errorf("DefaultPath() = %q", path)
	}
	t.Setenv("HOME", "")
	if path := DefaultPath(); path != "" {
		t.Errorf("without a home: %q", path)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"site":"docs","control":"http://127.0.0.1:3","pops":[{"name":"ams"}],"pid":1,"new":true}`))
	f.Add([]byte(`{"site":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := decode(text)
		if err == nil && (file.Site == "" || file.Control == "") {
			t.Errorf("took %q", text)
		}
	})
}

// The file has the bucket's secret, and nothing that prints it does.
func TestSecretIsInTheFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lab.json")
	f := File{Site: "lab", Control: "http://127.0.0.1:1", S3: &S3{Endpoint: "127.0.0.1:2", Bucket: "b", AccessKey: "k", SecretKey: "SECRET"}}
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || *got.S3 != *f.S3 {
		t.Errorf("%+v, %v", got.S3, err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", got.S3.SecretKey)
	for _, text := range []string{fmt.Sprint(*got.S3), fmt.Sprintf("%+v %#v %q %x %s", *got.S3, *got.S3, got.S3.SecretKey, got.S3.SecretKey, got.S3.SecretKey), log.String()} {
		if strings.Contains(text, "SECRET") || strings.Contains(text, "534543524554") {
			t.Errorf("%s", text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
