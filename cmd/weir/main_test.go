package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is said of a command line, and with which exit code.
func TestCommandLine(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("stat: ./state\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	curve := filepath.Join(t.TempDir(), "curve.svg")
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"--help", 0, "lab"},
		{"purge --help", 0, "prefix"},
		{"version", 0, "weir"},
		{"config check ../../testdata/config/cluster.yaml", 0, "ok: 3 pops, 1 shield, 1 site"},
		{"config check " + bad, 1, bad + `:1:1: `},
		{"config check /nowhere.yaml", 1, "/nowhere.yaml"},
		{"edge --config ../../testdata/config/cluster.yaml", 1, "--name is needed"},
		{"edge --config ../../testdata/config/cluster.yaml --name xyz", 1, `"xyz"`},
		{"edge", 2, "--config"},
		{"nonsense", 2, "nonsense"},
		{"lab --pops 13", 1, "--pops 13: want 1 to 12"},
		{"lab --memory lots", 2, "lots"},
		{"lab --help", 0, "--chaos"},
		{"lab --chaos --origin http://127.0.0.1:1", 1, "leave out --site, --origin and --no-shield"},
		{"lab --chaos --shields 6", 1, "--shields 6: want 1 to 5"},
		{"lab --seed 7", 1, "go with --chaos"},
		{"purge url /a", 1, "weir lab"},
		{"purge --control http://127.0.0.1:1 url /a", 1, "--site is needed"},
		{"purge --control http://127.0.0.1:1 --site s url /a", 1, "token"},
		{"purge --control http://127.0.0.1:1 all", 1, "token"},
		{"purge --control http://127.0.0.1:1 --site s --wait url /a", 1, "token"},
		{"purge --control http://127.0.0.1:1 --site s --no-wait url /a", 1, "token"},
		{"purge --site s all", 1, "all is every site"},
		{"purge log -f", 1, "weir lab"},
		{"token create --name ci --site docs --scope url,tag", 0, `scopes: ["url", "tag"]`},
		{"token create --name ci --site docs --scope all", 1, "scope all is every site"},
		{"token create --name ci --site docs", 2, "--scope"},
		{"measure", 1, "weir lab"},
		{"explain /a", 1, "weir lab"},
		{"explain", 2, "<url>"},
		{"explain --control http://127.0.0.1:1 http://h/a", 1, "token"},
		{"simulate --memory 1% ../../testdata/traces/sample.log.zst", 0, "memory"},
		{"simulate ../../testdata/traces/sample.log.zst --json --disk 1GB --policy lru", 0, `"object_hit_ratio"`},
		{"simulate --curve " + curve + " ../../testdata/traces/sample.log.zst", 0, "drawn in " + curve},
		{"simulate ../../testdata/traces/sample.log.zst --curve=" + curve, 0, "drawn in " + curve},
		{"simulate ../../testdata/traces/sample.log.zst", 1, "--memory, --disk or --curve is needed"},
		{"simulate /nowhere.tr --memory 1%", 1, "/nowhere.tr"},
		{"simulate x --memory lots", 2, "lots"},
		{"simulate x --policy mru", 2, "mru"},
	} {
		var out bytes.Buffer
		code := run(&environment{ctx: t.Context(), out: &out, errors: &out}, strings.Fields(test.args))
		if code != test.code || !strings.Contains(out.String(), test.want) {
			t.Errorf("weir %s: exit %d, said:\n%s\nwant exit %d and %q", test.args, code, out.String(), test.code, test.want)
		}
	}
}
