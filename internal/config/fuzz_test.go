package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// FuzzParse holds that no file makes Parse panic, that each fault stands at a
// place in the file, and that what is accepted can be used.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	if data, err := os.ReadFile(clusterFile); err == nil {
		f.Add(data)
	}
	archives, _ := filepath.Glob("testdata/bad/*.txtar")
	for _, path := range archives {
		if archive, err := txtar.ParseFile(path); err == nil {
			f.Add(archive.Files[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 16<<10 { // the parser's time grows with the square
			return
		}
		c, err := Parse(data, "f", "testdata")
		if err == nil {
			checkUsable(t, c)
			return
		}
		all, ok := errors.AsType[Errors](err)
		if !ok || len(all) == 0 {
			t.Fatalf("%T %v", err, err)
		}
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, e := range all {
			if e.Line < 1 || e.Line > lines || e.Column < 1 || e.Problem == "" || e.Fix == "" {
				t.Errorf("%d lines, and a fault at %+v", lines, *e)
			}
		}
	})
}

func checkUsable(t *testing.T, c *Config) {
	for _, p := range c.PoPs {
		if p.Shield != NoShield && len(c.ShieldsOf(p)) == 0 || p.PublicHTTP+p.PublicHTTPS == "" || c.NodeDir(p.Name) == c.State {
			t.Errorf("PoP %+v", p)
		}
		if p.HTTPS != "" && p.TLS == nil {
			t.Errorf("PoP %s has https without a certificate", p.Name)
		}
	}
	for _, s := range c.Sites {
		if (s.Origin.S3 == nil) == (s.Origin.HTTP == nil) || len(s.Hosts) == 0 {
			t.Errorf("site %+v", s)
		}
	}
	if c.Control.URL == "" || c.Control.NATS.URL == "" || len(c.Tokens.API) < tokenCharsMin {
		t.Errorf("control %+v", c.Control)
	}
}
