package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// asNode in the environment makes this test program play the part of Node.js:
// it runs the three programs of a suite of three tests.
const asNode = "WEIR_CONFORMANCE_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asNode) != "" {
		if err := playNode(os.Args[1:]); err != nil {
			slog.Error("as Node.js", "error", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func playNode(args []string) error {
	switch last := args[len(args)-1]; {
	case args[0] == "--input-type=module":
		fmt.Println(`[{"id": "stored", "group": "g", "name": "n"}, {"id": "never", "kind": "optimal", "depends_on": ["stored"]}, {"id": "crowded"}]`)
		return nil
	case strings.HasSuffix(last, "server.mjs"):
		return playOrigin()
	case strings.HasSuffix(last, "cli.mjs"):
		return playClient(os.Getenv("npm_config_base"), os.Getenv("npm_config_id"))
	}
	return fmt.Errorf("unknown program %q", args)
}

func playOrigin() error {
	if port := os.Getenv("npm_config_port"); port != "0" {
		return fmt.Errorf("port %q, want a free one", port)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("a line before")
	fmt.Printf("Listening on http://%s/\n", l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "body")
	}))
}

// playClient passes "stored" if the second answer is a hit, "crowded" when it is
// alone, and never "never".
func playClient(base, id string) error {
	var status string
	for range 2 {
		response, err := http.Get(base + "/")
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		status = response.Header.Get("Cache-Status")
	}
	if id != "" {
		symbol := map[string]string{"never": "⛔️ - never passes", "crowded": "✅ - "}[id]
		fmt.Printf("saw %s\n==== Results\n%s\n", status, symbol)
		return nil
	}
	results := map[string]any{
		"never": []string{"Assertion", "never passes"}, "stored": true, "crowded": []string{"AbortError", "late"},
	}
	if !strings.Contains(status, ";hit") {
		results["stored"] = []string{"Assertion", status}
	}
	text, err := json.MarshalIndent(results, "", "  ")
	fmt.Printf("%s\n", text)
	return err
}

// folder makes a suite as npm lays it out, and gives the flags for it.
func folder(t *testing.T) (dir string, args []string) {
	t.Helper()
	t.Setenv(asNode, "1")
	dir = t.TempDir()
	for name, text := range map[string]string{
		"package.json": `{"version": "1.2.3"}`, "cli.mjs": "", "excluded.json": `{"npm": {}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, []string{
		"-suite", dir, "-node", os.Args[0], "-record", filepath.Join(dir, "scores.json"),
		"-excluded", filepath.Join(dir, "excluded.json"), "-details", filepath.Join(dir, "details"),
	}
}

func TestRun(t *testing.T) {
	dir, args := folder(t)
	var out bytes.Buffer
	if err := command(t.Context(), append(args, "-update"), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"edge (suite: npm 1.2.3): required 2/2, optimal 0/1, check 0/0, 1 of these passed only when run again alone",
		"edge-shield (suite: npm 1.2.3): required 2/2, optimal 0/1, check 0/0, 1 of",
		"required alone      crowded: at first error: AbortError: late",
		"optimal  fail       never: never passes",
		filepath.Join(dir, "details", "npm-edge-shield.json"),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	recorded, err := loadRecord(filepath.Join(dir, "scores.json"))
	if err != nil || recorded["npm"]["edge-shield"].Failing[kindOptimal][0] != "never" {
		t.Errorf("recorded %v, %v", recorded, err)
	}
}

// Without a record, and with weir's own defaults or another cache, nothing is
// compared and nothing gets a second chance.
func TestRunsThatCompareNothing(t *testing.T) {
	dir, args := folder(t)
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Status", "other;hit")
	}))
	defer cache.Close()
	printed := filepath.Join(dir, "squid.json")
	if err := os.WriteFile(printed, []byte(`{"stored": true, "never": true, "crowded": ["Setup", "no"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, more := range map[string][]string{
		"edge (suite: npm 1.2.3): required 1/2, optimal 0/1, check 0/0\n":  {"-tiers", "edge", "-defaults"},
		" (suite: npm 1.2.3): required 1/2, optimal 0/1, check 0/0\n":      {"-against", cache.URL, "-origin-port", "0"},
		"squid (suite: npm 1.2.3): required 1/2, optimal 1/1, check 0/0\n": {"-results", printed},
	} {
		var out bytes.Buffer
		if err := command(t.Context(), append(slices.Clone(args), more...), &out); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q: no %q in:\n%s", more, want, out.String())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "details", "npm-squid.json")); err != nil {
		t.Error(err)
	}
}

func TestSettle(t *testing.T) {
	now := score{Version: "2", Counts: map[kind]count{kindOptimal: {1, 2}}, Failing: map[kind][]string{kindOptimal: {"a"}}}
	better := score{Version: "1", Counts: map[kind]count{kindOptimal: {2, 2}}}
	worse := score{Version: "2", Counts: map[kind]count{kindOptimal: {0, 2}}, Failing: map[kind][]string{kindOptimal: {"a", "b"}}}
	for _, row := range []struct {
		name       string
		recorded   record
		update     bool
		out, wrong string
	}{
		{"nothing recorded", record{}, false, "", "has no score for suite npm yet"},
		{"nothing recorded, to be written", record{}, true, "", ""},
		{"the same", record{"npm": {"edge": now}}, false, "", ""},
		{"better than recorded", record{"npm": {"edge": worse}}, false, "better than recorded: b", ""},
		{"worse than recorded", record{"npm": {"edge": better}}, false, "score is of version 1", `failing, and not recorded as such: ["a"]`},
		{"worse than recorded, to be written", record{"npm": {"edge": better}}, true, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out bytes.Buffer
			err := options{out: &out, update: row.update}.settle(&suite{name: "npm"}, "edge", row.recorded, now)
			if (err == nil) != (row.wrong == "") || err != nil && !strings.Contains(err.Error(), row.wrong) {
				t.Errorf("error %v, want %q", err, row.wrong)
			}
			if got := out.String(); (got == "") != (row.out == "") || !strings.Contains(got, row.out) {
				t.Errorf("said %q, want %q", got, row.out)
			}
		})
	}
}

func TestRunOne(t *testing.T) {
	_, args := folder(t)
	var out bytes.Buffer
	if err := command(t.Context(), append(args, "-tiers", "edge", "-id", "stored"), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"edge\n", "a line before\n", "saw ", ";hit"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestBadArguments(t *testing.T) {
	dir, args := folder(t)
	if err := os.WriteFile(filepath.Join(dir, "excluded.json"), []byte(`{"npm": {"gone": "dropped"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	good := filepath.Join(dir, "nothing-excluded.json")
	if err := os.WriteFile(good, []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"-suite is required":         {},
		"no such file":               {"-suite", filepath.Join(empty, "missing")},
		"no test-engine/cli.mjs and": {"-suite", empty},
		"there are no such ones":     {"-suite", empty, "-tiers", "shield"},
		`"gone" is excluded`:         args,
		"want http://HOST:PORT":      {"-suite", dir, "-node", os.Args[0], "-excluded", good, "-against", "localhost"},
		"results: open":              {"-suite", dir, "-node", os.Args[0], "-excluded", good, "-results", filepath.Join(empty, "missing")},
	} {
		if err := command(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", args, err, want)
		}
	}
}

func TestOriginOutput(t *testing.T) {
	var log bytes.Buffer
	o := originOutput{log: &log, listening: make(chan string, 1)}
	for _, part := range []string{"one\nListening", " on http://[::]:1/", "\nListening on http://[::]:2/\n"} {
		if _, err := o.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-o.listening; got != "http://[::]:1/" || strings.Count(log.String(), "\n") != 3 {
		t.Errorf("found %q in %q", got, log.String())
	}
}

func TestLoopbackURL(t *testing.T) {
	for listening, want := range map[string]string{
		"http://[::]:8000/":       "http://127.0.0.1:8000",
		"http://0.0.0.0:41237/":   "http://127.0.0.1:41237",
		"http://127.0.0.1:41237/": "http://127.0.0.1:41237",
		"http://[::]/":            "",
		"nothing":                 "",
	} {
		got, err := loopbackURL(listening)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", listening, got, err, want)
		}
	}
}
