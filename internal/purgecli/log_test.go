package purgecli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/cache"
	"weir/internal/config"
	"weir/purge"
)

func TestLog(t *testing.T) {
	client, _ := explaining(t, func(bool) *cache.ExplainedObject { return nil })
	for i := range 4 {
		request := purge.Request{Site: "docs", Scope: purge.ScopeURL, Mode: purge.ModeSoft}
		for n := range i + 2 {
			request.Targets = append(request.Targets, fmt.Sprintf("/%d", n))
		}
		if _, err := client.Purge(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Purge(t.Context(), purge.Request{Scope: purge.ScopeAll}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Log(t.Context(), LogOptions{Client: client, Limit: 3}, &out); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(out.String(), "0000-00-00T00:00:00Z")
	want := ` version  at                    who                           site          scope   mode  targets
       3  0000-00-00T00:00:00Z  api 127.0.0.1                 docs          url     soft  /0 /1 /2 and 1 more
       4  0000-00-00T00:00:00Z  api 127.0.0.1                 docs          url     soft  /0 /1 /2 and 2 more
       5  0000-00-00T00:00:00Z  api 127.0.0.1                 *             all     hard  
`
	if text != want {
		t.Errorf("printed\n%s, want\n%s", text, want)
	}
	out.Reset()
	if err := Log(t.Context(), LogOptions{Client: client, Limit: 2, JSON: true}, &out); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	for _, version := range []uint64{4, 5} {
		var entry purge.Entry
		if err := dec.Decode(&entry); err != nil || entry.Version != version || entry.Who != "api 127.0.0.1" {
			t.Errorf("JSON: %+v, %v", entry, err)
		}
	}
	client.Token = "guess"
	var refused *purge.RefusedError
	if err := Log(t.Context(), LogOptions{Client: client, Follow: true}, io.Discard); !errors.As(err, &refused) || refused.Status != 401 {
		t.Errorf("another token: %v", err)
	}
}

func TestLogFollows(t *testing.T) {
	client, _ := explaining(t, func(bool) *cache.ExplainedObject { return nil })
	submit := func() {
		if _, err := client.Purge(t.Context(), purge.Request{Site: "docs", Scope: purge.ScopeSite}); err != nil {
			t.Error(err)
		}
	}
	submit()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Log(ctx, LogOptions{Client: client, Follow: true, Interval: time.Millisecond, JSON: true}, w)
		done <- errors.Join(err, w.Close())
	}()
	dec := json.NewDecoder(r)
	for version := uint64(1); version <= 5; version++ {
		var entry purge.Entry
		if err := dec.Decode(&entry); err != nil || entry.Version != version {
			t.Fatalf("%+v, %v, want version %d", entry, err, version)
		}
		submit()
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// What is printed is a part of a configuration that is good, and the token is
// the one whose hash it has.
func TestCreateToken(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 500, time.UTC)
	for _, row := range []struct {
		o    TokenOptions
		ends string
	}{
		{TokenOptions{Name: "ci", Sites: []string{"www"}, Scopes: []string{"url", "asset"}, Expires: "720h"}, "2026-05-31T12:00:00Z"},
		{TokenOptions{Name: "2nd", Sites: []string{"*"}, Scopes: []string{"*"}}, ""},
		{TokenOptions{Name: "all", Sites: []string{"*"}, Scopes: []string{"all"}, Expires: "2027-01-31"}, "2027-01-31T00:00:00Z"},
		{TokenOptions{Name: "x", Sites: []string{"www"}, Scopes: []string{"site"}, Expires: "2027-01-31T01:00:00+01:00"}, "2027-01-31T00:00:00Z"},
	} {
		var out bytes.Buffer
		if err := CreateToken(row.o, now, &out); err != nil {
			t.Errorf("%+v: %v", row.o, err)
			continue
		}
		secret, rest, _ := strings.Cut(out.String(), "\n")
		_, lines, found := strings.Cut(rest, "control:\n")
		file := `tokens: {api: 0123456789abcdef, tier: fedcba9876543210, nats: 00112233445566ff}
shields: [{name: s1, region: eu, listen: 127.0.0.1:7300}]
pops: [{name: ams, region: eu, lat: 52, lon: 4.7, http: 127.0.0.1:7080, admin: 127.0.0.1:7090}]
sites: [{name: www, hosts: ["*"], origin: {http: {url: "http://127.0.0.1:9000"}}}]
control:
` + lines
		path := filepath.Join(t.TempDir(), "weir.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path)
		if err != nil || !found {
			t.Errorf("%+v: %v in\n%s", row.o, err, file)
			continue
		}
		got := c.Control.Tokens[0]
		if got.Hash != purge.HashToken(secret).String() || got.Name != row.o.Name || got.Expires != row.ends || strings.Contains(rest, secret) {
			t.Errorf("%+v: printed\n%s", row.o, out.String())
		}
	}
	for _, o := range []TokenOptions{
		{}, {Name: "api", Sites: []string{"a"}, Scopes: []string{"url"}}, {Name: "A", Sites: []string{"a"}, Scopes: []string{"url"}},
		{Name: "a", Sites: []string{"a"}}, {Name: "a", Scopes: []string{"url"}},
		{Name: "a", Sites: []string{"a", "*"}, Scopes: []string{"url"}}, {Name: "a", Sites: []string{"a b"}, Scopes: []string{"url"}},
		{Name: "a", Sites: []string{"a"}, Scopes: []string{"urls"}}, {Name: "a", Sites: []string{"a"}, Scopes: []string{"url", "*"}},
		{Name: "a", Sites: []string{"a"}, Scopes: []string{"all"}},
		{Name: "a", Sites: []string{"a"}, Scopes: []string{"url"}, Expires: "soon"},
		{Name: "a", Sites: []string{"a"}, Scopes: []string{"url"}, Expires: "2026-04-30"},
		{Name: "a", Sites: []string{"a"}, Scopes: []string{"url"}, Expires: "-1h"},
	} {
		var out bytes.Buffer
		if err := CreateToken(o, now, &out); err == nil || out.Len() > 0 {
			t.Errorf("%+v: printed %q", o, out.String())
		}
	}
}
