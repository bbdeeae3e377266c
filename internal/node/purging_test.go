package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/config"
	"weir/purge"
)

// The configuration and the purges mean the same by assets, scopes and tokens.
func TestPurgeOptions(t *testing.T) {
	if got := purge.Assets(config.DefaultPolicy(config.Origin{}).Assets); !reflect.DeepEqual(got, purge.DefaultAssets()) {
		t.Errorf("the configuration's default is %+v, that of purges %+v", got, purge.DefaultAssets())
	}
	hash := purge.HashToken("x")
	c := &config.Config{Sites: []*config.Site{{Name: "docs", Policy: config.Policy{Assets: config.Assets{Segments: []string{"r#"}}}}}}
	c.Tokens.API = "0123456789abcdef"
	c.Control.Tokens = []*config.APIToken{
		{Name: "ci", Hash: hash.String(), Sites: []string{"docs"}, Scopes: []string{"url", "asset"}, Expires: "2027-01-31T00:00:00Z"},
		{Name: "ops", Hash: hash.String(), Sites: []string{"*"}, Scopes: []string{"*"}},
	}
	o, err := purgeOptions(c)
	if err != nil {
		t.Fatal(err)
	}
	want := []purge.Token{
		{Name: "ci", Hash: hash, Sites: []string{"docs"}, Scopes: []purge.Scope{purge.ScopeURL, purge.ScopeAsset}, Expires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
		{Name: "ops", Hash: hash},
	}
	if !reflect.DeepEqual(o.Tokens, want) || o.Token != "0123456789abcdef" || !reflect.DeepEqual(o.Assets("docs"), purge.Assets{Segments: []string{"r#"}}) {
		t.Errorf("options %+v", o)
	}
	for i, name := range purge.Scopes {
		c.Control.Tokens[0].Scopes = []string{name.String()}
		if o, err := purgeOptions(c); err != nil || o.Tokens[0].Scopes[0] != purge.Scopes[i] {
			t.Errorf("scope %s: %v", name, err)
		}
	}
}

// What the check of a configuration takes for a pattern is one, and the other
// way round.
func TestAssetPatternsOfTheConfiguration(t *testing.T) {
	const file = `tokens: {api: 0123456789abcdef, tier: fedcba9876543210, nats: 00112233445566ff}
shields: [{name: s1, region: eu, listen: 127.0.0.1:7300}]
pops: [{name: ams, region: eu, lat: 52, lon: 4.7, http: 127.0.0.1:7080, admin: 127.0.0.1:7090}]
sites: [{name: www, hosts: ["*"], origin: {http: {url: "http://127.0.0.1:9000"}}, policy: {assets: ASSETS}}]
`
	for _, a := range []config.Assets{
		{}, {FingerprintMin: 4}, {FingerprintMin: 3}, {FingerprintMin: 64}, {FingerprintMin: 65}, {FingerprintMin: -1},
		{Segments: []string{"v#"}}, {Segments: []string{"#"}}, {Segments: []string{"*"}}, {Segments: []string{"a*"}}, {Segments: []string{"a"}},
		{Segments: []string{"a/#"}}, {Segments: []string{"a?#"}}, {Segments: []string{"a%#"}}, {Segments: []string{"a #"}}, {Segments: []string{"é#"}},
		{Segments: []string{strings.Repeat("a", 63) + "#"}}, {Segments: []string{strings.Repeat("a", 64) + "#"}},
		{Params: []string{"v"}}, {Params: []string{"a="}}, {Params: []string{"a&"}}, {Params: []string{"a b"}}, {Params: []string{"é"}},
		{Params: []string{strings.Repeat("a", 64)}}, {Params: []string{strings.Repeat("a", 65)}},
		{Params: strings.Split(strings.Repeat("a,", 16), ",")[:16]}, {Params: strings.Split(strings.Repeat("a,", 17), ",")[:17]},
	} {
		text, err := json.Marshal(map[string]any{
			"fingerprint_min": a.FingerprintMin, "segments": append([]string{}, a.Segments...), "params": append([]string{}, a.Params...),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, faults := config.Parse([]byte(strings.Replace(file, "ASSETS", string(text), 1)), "test.yaml", "/")
		rules := purge.Assets(a)
		if err := rules.Check(); (err == nil) != (faults == nil) {
			t.Errorf("%s: the configuration says %v, the purges %v", text, faults, err)
		}
	}
}

// startPurging runs a control and an edge in front of an origin whose responses
// are tagged red.
func startPurging(t *testing.T, change func(*config.Config)) *Edge {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Surrogate-Key", "red")
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(origin.Close)
	c := config.Default()
	c.State = t.TempDir()
	c.Tokens = config.Tokens{API: "0123456789abcdef", Tier: "fedcba9876543210", NATS: "00112233445566ff"}
	c.Control.Listen, c.Control.NATS.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Control.Tokens = []*config.APIToken{{Name: "ci", Hash: purge.HashToken("ci-secret").String(), Sites: []string{"docs"}, Scopes: []string{"url", "tag"}}}
	c.PoPs = []*config.PoP{{Name: "ams", HTTP: "127.0.0.1:0", Memory: 1 << 20, Shield: config.NoShield}}
	c.Sites = []*config.Site{{Name: "docs", Hosts: []string{"*"}, Origin: config.Origin{HTTP: &config.HTTP{URL: origin.URL}}}}
	c.Sites[0].Policy = config.DefaultPolicy(c.Sites[0].Origin)
	c.PurgeMethod.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	change(c)
	c.Complete()

	ctx, stop := context.WithCancel(context.Background())
	var group errgroup.Group
	t.Cleanup(func() {
		stop()
		if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	env := Env{Log: slog.New(slog.DiscardHandler)}
	control, err := StartControl(ctx, c, env)
	if err != nil {
		t.Fatal(err)
	}
	group.Go(func() error { return control.Run(ctx) })
	if !c.Control.NATS.External() {
		c.Control.NATS.URL = "nats://" + control.BrokerAddr()
	}
	edge, err := StartEdge(ctx, c, "ams", env)
	if err != nil {
		t.Fatal(err)
	}
	group.Go(func() error { return edge.Run(ctx) })
	select {
	case <-edge.follower.CaughtUp():
	case <-time.After(20 * time.Second):
		t.Fatal("the edge has not caught up")
	}
	return edge
}

// send makes a request on a connection of its own.
func send(t *testing.T, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	response, err := new(http.Transport).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// A request with the method PURGE to an edge reaches control over the log's
// connection, and is in force on the edge.
func TestPurgeMethodReachesControl(t *testing.T) {
	edge := startPurging(t, func(*config.Config) {})
	url := "http://" + edge.HTTPAddr() + "/a"
	send(t, "GET", url)
	if response, _ := send(t, "GET", url); !strings.Contains(response.Header.Get("Cache-Status"), "hit") {
		t.Errorf("not stored: %v", response.Header)
	}
	for i, fields := range [][]string{{"Fastly-Key: ci-secret"}, {"Authorization: Bearer ci-secret", "Surrogate-Key: red blue"}} {
		response, body := send(t, "PURGE", url, fields...)
		if want := []string{`"version":1`, `"version":2`}[i]; response.StatusCode != 200 || !strings.Contains(body, want) {
			t.Fatalf("PURGE: %d %s, want %s", response.StatusCode, body, want)
		}
		wait, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := edge.index.WaitApplied(wait, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if response, _ := send(t, "GET", url); !strings.Contains(response.Header.Get("Cache-Status"), "detail=purged") {
			t.Errorf("not purged: %v", response.Header)
		}
	}
	if response, body := send(t, "PURGE", url, "Fastly-Key: guess"); response.StatusCode != 401 || !strings.Contains(body, "not known") {
		t.Errorf("another token: %d %s", response.StatusCode, body)
	}
}
