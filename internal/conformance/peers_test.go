package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPeers(t *testing.T) {
	dir, args := folder(t)
	args = append(args, "-peers")
	if err := command(t.Context(), args, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "weir's last run") {
		t.Errorf("without a run of weir: %v", err)
	}
	files := map[string]string{"details/npm-edge.json": `[
		{"id": "stored", "group": "partial", "name": "n", "kind": "required", "verdict": "pass"},
		{"id": "never", "group": "", "name": "", "kind": "optimal", "verdict": "pass"},
		{"id": "crowded", "group": "", "name": "", "kind": "required", "verdict": "pass"}]`}
	for _, p := range peers {
		files["results/"+p.file+".json"] = `{"stored": ["Assertion", "no"], "never": true, "crowded": true}`
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := command(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| required | 2 | 1 | 1 | 1 | 1 | 1 | 1 | 1 |\n",
		"| optimal | 1 | 0 | 0 |", // it depends on the one that they fail
		"\nrequired, weir alone: stored\n",
		"\noptimal, weir alone: never\n",
		"| `stored` (required) | pass | – | – |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
