package main

import (
	"bytes"
	"context"
	_ "embed" // for definitions.mjs
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clientTimeout bounds one run of the client: the suite takes about a minute.
const clientTimeout = 10 * time.Minute

// outputBytesMax bounds what is kept of a program's output.
const outputBytesMax = 16 << 20

//go:embed definitions.mjs
var definitionsScript string

// suite is one version of the public suite, in a folder.
type suite struct {
	// name is what the record knows it by: the version changes, a checkout
	// and the npm package are two suites.
	name string
	// version says which one exactly.
	version string
	node    string
	dir     string // absolute, links resolved: Node resolves them as well
	client  string // relative to dir
	server  string
}

// layouts are where the two known kinds of folder have their programs.
var layouts = []suite{
	{name: "git", client: "test-engine/cli.mjs", server: "test-engine/server/server.mjs"},
	{name: "npm", client: "cli.mjs", server: "server/server.mjs"},
}

// openSuite recognises the suite in dir.
func openSuite(ctx context.Context, dir, node string) (*suite, error) {
	absolute, err := filepath.Abs(dir)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", dir, err)
	}
	for _, s := range layouts {
		if _, err := os.Stat(filepath.Join(absolute, s.client)); err != nil {
			continue
		}
		s.dir, s.node = absolute, node
		s.version, err = s.readVersion(ctx)
		return &s, err
	}
	return nil, fmt.Errorf("suite %s: no %s and no %s in it", dir, layouts[0].client, layouts[1].client)
}

// readVersion is the package's version, and the commit of a checkout, whose
// package.json has said the same for years.
func (s *suite) readVersion(ctx context.Context) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "package.json"))
	if err != nil {
		return "", fmt.Errorf("suite: %w", err)
	}
	var manifest struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return "", fmt.Errorf("suite: %s/package.json: %w", s.dir, err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, ".git")); err != nil {
		return manifest.Version, nil
	}
	commit, err := s.output(exec.CommandContext(ctx, "git", "-C", s.dir, "rev-parse", "--short=12", "HEAD"))
	if err != nil {
		return "", fmt.Errorf("suite: its commit: %w", err)
	}
	return manifest.Version + " " + strings.TrimSpace(string(commit)), nil
}

// tests asks the suite for its tests.
func (s *suite) tests(ctx context.Context) ([]test, error) {
	out, err := s.output(exec.CommandContext(ctx, s.node, "--input-type=module", "--eval", definitionsScript, s.dir))
	if err != nil {
		return nil, fmt.Errorf("suite: read its tests: %w", err)
	}
	var tests []test
	if err := json.Unmarshal(out, &tests); err != nil {
		return nil, fmt.Errorf("suite: read its tests: %w", err)
	}
	if len(tests) == 0 {
		return nil, errors.New("suite: it has no tests")
	}
	return tests, nil
}

// runClient sends every test to the cache at base and gives the results by id.
func (s *suite) runClient(ctx context.Context, base string) (map[string]result, error) {
	out, err := s.clientOutput(ctx, base, "")
	if err != nil {
		return nil, err
	}
	return parseResults(out)
}

// clientOutput is what the suite's client prints: with an id, of that test
// alone and for people; otherwise of all of them, ending in JSON.
func (s *suite) clientOutput(ctx context.Context, base, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	client := exec.CommandContext(ctx, s.node, "--no-warnings", filepath.Join(s.dir, s.client))
	client.Dir = s.dir
	// The client takes its arguments as npm would give them: the option, or
	// else the package's own setting. With neither it runs nothing; "" is all.
	client.Env = append(os.Environ(),
		"npm_config_base="+strings.TrimSuffix(base, "/"), "npm_config_id="+id, "npm_package_config_id=")
	out, err := s.output(client)
	if err != nil {
		return nil, fmt.Errorf("suite: its client against %s: %w", base, err)
	}
	return out, nil
}

// output runs a program and gives its standard output. An error holds the end
// of what it said on standard error.
func (s *suite) output(program *exec.Cmd) ([]byte, error) {
	stdout, stderr := &bounded{bytesMax: outputBytesMax}, &bounded{bytesMax: outputBytesMax}
	program.Stdout, program.Stderr = stdout, stderr
	program.WaitDelay = time.Second
	err := program.Run()
	if err == nil && stdout.over {
		err = fmt.Errorf("more than %d bytes of output", outputBytesMax)
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s%s", err, tail(stderr.Bytes()), s.hint(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// hint says what to do about the one mistake that everybody makes.
func (s *suite) hint(stderr []byte) string {
	if !bytes.Contains(stderr, []byte("ERR_MODULE_NOT_FOUND")) {
		return ""
	}
	return fmt.Sprintf("\nits dependencies are missing: run `npm i --no-save --ignore-scripts undici@7 liquidjs@10 marked@18` in %s", s.dir)
}

// tail is the last lines of what a program said.
func tail(text []byte) string {
	const linesMax = 12
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(len(lines)-linesMax, 0):], "\n")
}

// bounded is a buffer that takes everything and keeps the first bytesMax.
type bounded struct {
	bytes.Buffer
	bytesMax int
	over     bool
}

func (b *bounded) Write(p []byte) (int, error) {
	kept := min(len(p), b.bytesMax-b.Len())
	b.over = b.over || kept < len(p)
	_, _ = b.Buffer.Write(p[:kept]) // never fails
	return len(p), nil
}

// parseResults reads what the client prints at its end: one JSON object. It may
// have printed warnings before.
func parseResults(out []byte) (map[string]result, error) {
	start := 0
	if !bytes.HasPrefix(out, []byte("{")) {
		if start = bytes.LastIndex(out, []byte("\n{\n")); start < 0 {
			return nil, fmt.Errorf("suite: its client printed no results: %s", tail(out))
		}
	}
	var results map[string]result
	if err := json.Unmarshal(out[start:], &results); err != nil {
		return nil, fmt.Errorf("suite: results of its client: %w", err)
	}
	return results, nil
}
