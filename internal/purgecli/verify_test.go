package purgecli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/internal/explain"
	"weir/purge"
	"weir/purge/memlog"
)

func node(name, applied string, stored *cache.ExplainedObject) explain.NodeResult {
	return explain.NodeResult{Node: name, Explanation: &cache.Explanation{Applied: applied, Stored: stored}}
}

func TestProof(t *testing.T) {
	object := func(stamp string, hard, soft uint64) *cache.ExplainedObject {
		return &cache.ExplainedObject{ETag: `"a"`, Stamp: stamp, HardPurge: hard, SoftPurge: soft}
	}
	for _, row := range []struct {
		rule   string
		node   explain.NodeResult
		text   string
		proven bool
	}{
		{"nothing", node("ams", "e:7", nil), "has nothing now", true},
		{"covered", node("ams", "e:7", object("e:3", 7, 0)), "which hard purge 7 covers: it would be fetched", true},
		{"covered by a later one", node("ams", "e:8", object("e:3", 8, 0)), "which hard purge 8 covers: it would be fetched", true},
		{"stale", node("ams", "e:7", object("e:3", 0, 7)), "which soft purge 7 makes stale", true},
		{"new", node("ams", "e:7", object("e:7", 0, 0)), `has fetched "a" of stamp 7 since`, true},
		{"still there", node("ams", "e:7", object("e:3", 0, 0)), `AND STILL HAS "a" of stamp 3`, false},
		{"covered by an older one alone", node("ams", "e:7", object("e:3", 6, 0)), `AND STILL HAS "a" of stamp 3`, false},
		{"of another log", node("ams", "e:7", object("f:9", 0, 0)), `AND STILL HAS "a" of stamp 9`, false},
		{"away", explain.NodeResult{Node: "ams", Error: "away"}, "and cannot be asked: away", false},
	} {
		if text, proven := proof(&row.node, 7); text != row.text || proven != row.proven {
			t.Errorf("%s: %q, %t, want %q, %t", row.rule, text, proven, row.text, row.proven)
		}
	}
	hostile := node("ams", "e:7", &cache.ExplainedObject{ETag: "\"\x1b[2J\"", Stamp: "e:1"})
	if text, _ := proof(&hostile, 7); strings.Contains(text, "\x1b") {
		t.Errorf("an escape sequence in %q", text)
	}
}

// explaining is control with nodes of whose store it says what forget makes of
// it.
func explaining(t *testing.T, forget func(purged bool) *cache.ExplainedObject) (purge.Client, *purge.API) {
	t.Helper()
	log := memlog.New("e")
	nodes := purge.NewNodes(purge.NodesOptions{Names: []string{"ams"}, Epoch: "e"})
	var asked atomic.Int32
	api, err := purge.NewAPI(purge.APIOptions{
		Sites: []string{"docs"}, Token: token, Nodes: nodes, History: log,
		Append: func(ctx context.Context, r purge.Record) (uint64, error) {
			v, err := log.Append(ctx, r)
			nodes.Observe(purge.Announcement{Node: "ams", Applied: v, Epoch: "e"})
			return v, err
		},
		Explain: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stored := forget(asked.Add(1) > 1)
			_ = json.NewEncoder(w).Encode(explain.Result{
				URL: r.URL.Query().Get("url"), Nodes: []explain.NodeResult{node("ams", "e:1", stored)},
			})
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return purge.Client{URL: server.URL, Token: token, HTTP: server.Client()}, api
}

func TestVerify(t *testing.T) {
	old := &cache.ExplainedObject{ETag: `"old"`, Stamp: "e:0"}
	client, _ := explaining(t, func(purged bool) *cache.ExplainedObject {
		if purged {
			return nil
		}
		return old
	})
	o := Options{
		Client: client, Site: "docs", Scope: purge.ScopeURL, Targets: []string{"/a"}, Wait: true, Verify: true,
		Base: "http://www.test/", Timeout: 10 * time.Second,
	}
	var out bytes.Buffer
	if err := Run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	want := "\nhttp://www.test/a\nams               had \"old\" of stamp 0, has nothing now\n\nproven: no node answers from before purge 1\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("printed\n%s, want at its end\n%s", out.String(), want)
	}

	o.Client, _ = explaining(t, func(bool) *cache.ExplainedObject { return old })
	out.Reset()
	if err := Run(t.Context(), o, &out); !errors.Is(err, ErrUnproven) || !strings.Contains(err.Error(), "on ams") || strings.Contains(out.String(), "proven:") {
		t.Errorf("what is still there: %v, printed\n%s", err, out.String())
	}
	for says, change := range map[string]func(*Options){
		"scope site names none": func(o *Options) { o.Scope, o.Targets = purge.ScopeSite, nil },
		"has no host":           func(o *Options) { o.Base = "" },
		"needs to wait":         func(o *Options) { o.Wait = false },
		"at most 100":           func(o *Options) { o.Targets = make([]string, 101) },
		"prints lines":          func(o *Options) { o.JSON = true },
	} {
		bad := o
		change(&bad)
		if err := Run(t.Context(), bad, &out); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
