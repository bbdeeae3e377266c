package main

import (
	"bytes"
	"strings"
	"testing"
)

// The commands of the document on sizing do what it shows.
func TestSizingDocument(t *testing.T) {
	commands := commandsOf(t, "../../docs/sizing.md")
	if len(commands) < 2 {
		t.Fatalf("%d commands in docs/sizing.md; want two or more", len(commands))
	}
	t.Chdir("../..")
	for _, c := range commands {
		var out, errors bytes.Buffer
		args := strings.Fields(c.command)
		if args[0] != "bin/weir" {
			t.Errorf("%s: not a command of weir", c.command)
			continue
		}
		if path := t.TempDir() + "/curve.svg"; args[len(args)-1] == "--curve" {
			args[len(args)-1] += "=" + path
			c.output[len(c.output)-1] = strings.ReplaceAll(c.output[len(c.output)-1], "curve.svg", path)
		}
		if code := run(&environment{ctx: t.Context(), out: &out, errors: &errors}, args[1:]); code != 0 {
			t.Errorf("%s: exit %d\n%s", c.command, code, errors.String())
		}
		checkShown(t, c, out.String())
	}
}
