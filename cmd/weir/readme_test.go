package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/internal/ready"
)

// example command of a page and what it shows of its output: lines in order,
// with "..." for any number of others, or at the end of one for its rest.
type shown struct {
	command string
	output  []string
}

// commandsOf are the commands of a page, in its order.
func commandsOf(t *testing.T, page string) []shown {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []shown
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, line := range strings.Split(strings.TrimSuffix(block[1], "\n"), "\n") {
			if command, found := strings.CutPrefix(line, "$ "); found {
				all = append(all, shown{command: command})
				continue
			}
			last := &all[len(all)-1]
			last.output = append(last.output, line)
		}
	}
	return all
}

// plain is a line without what differs from run to run: numbers, and the
// widths that depend on them.
func plain(line string) string {
	line = regexp.MustCompile(`\d+(\.\d+)?`).ReplaceAllString(line, "N")
	return strings.Join(strings.Fields(line), " ")
}

// The commands of the README, and then those of the other pages, do what is
// shown, on a lab with ports of its own.
func TestReadme(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	cache, folder := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", t.TempDir())
	file := filepath.Join(folder, "ready.json")
	lab := startProcess(t, "lab", "--ready-file", file)
	deadline := time.Now().Add(30 * time.Second)
	found, err := ready.Read(file)
	for ; err != nil; found, err = ready.Read(file) {
		if time.Now().After(deadline) {
			t.Fatal("the lab is not ready")
		}
		time.Sleep(20 * time.Millisecond)
	}
	here := strings.NewReplacer(
		"http://127.0.0.1:8400", found.Router, "http://127.0.0.1:8401", found.Control, "http://127.0.0.1:8410", found.PoPs[0].HTTP,
		"https://127.0.0.1:8421", found.PoPs[1].HTTPS, "~/.cache", cache, "bin/weir", os.Args[0],
		"/tmp/site", filepath.Join(folder, "site"))
	commands := commandsOf(t, "../../README.md")
	if len(commands) < 6 {
		t.Fatalf("%d commands in the README; want six or more", len(commands))
	}
	for _, page := range []string{"operating", "purging", "deploying"} {
		commands = append(commands, commandsOf(t, "../../docs/"+page+".md")...)
	}
	for _, c := range commands {
		run := exec.CommandContext(t.Context(), "sh", "-c", here.Replace(c.command))
		run.Env, run.Dir = append(os.Environ(), asWeir+"=1"), "../.."
		said, err := run.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.command, err, said)
			continue
		}
		checkShown(t, c, string(said))
	}
	lab.stop()
}

// isLike says whether a line is the one shown, or begins so.
func isLike(line, shown string) bool {
	begin, isBegin := strings.CutSuffix(shown, " ...")
	return plain(line) == plain(shown) || isBegin && strings.HasPrefix(plain(line), plain(begin))
}

// checkShown looks for the lines shown, each after the one before.
func checkShown(t *testing.T, c shown, said string) {
	t.Helper()
	rest := strings.Split(strings.ReplaceAll(said, "\r", ""), "\n")
next:
	for _, want := range c.output {
		if want == "..." {
			continue
		}
		for i, line := range rest {
			if isLike(line, want) {
				rest = rest[i+1:]
				continue next
			}
		}
		t.Errorf("%s: no line like %q in\n%s", c.command, want, said)
		return
	}
}
