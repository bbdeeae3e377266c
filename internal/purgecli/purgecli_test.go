package purgecli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"weir/purge"
	"weir/purge/natslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "open sesame"

// control starts a broker, the purge log in it, the API over it, and a
// follower for each node named in running; the API expects those in expected.
func control(t *testing.T, expected, running []string) purge.Client {
	t.Helper()
	broker, err := natslog.StartBroker(natslog.BrokerOptions{
		Listen: "127.0.0.1:0", StoreDir: t.TempDir(), Token: token,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	nc := connect(t, broker)
	log, err := natslog.New(nc, natslog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	state, err := log.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes := purge.NewNodes(purge.NodesOptions{Names: expected, Epoch: state.Epoch})
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	ready := make(chan struct{})
	group.Go(func() error {
		return natslog.ObserveNodes(ctx, nc, nodes.Observe, func() { close(ready) })
	})
	<-ready
	for _, name := range running {
		follow(ctx, t, &group, name, connect(t, broker))
	}
	api, err := purge.NewAPI(purge.APIOptions{Sites: []string{"docs"}, Token: token, Append: log.Append, Nodes: nodes})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return purge.Client{URL: server.URL, Token: token, HTTP: server.Client()}
}

func connect(t *testing.T, broker *natslog.Broker) *nats.Conn {
	t.Helper()
	nc, err := natslog.Connect(t.Context(), natslog.ConnectOptions{URL: broker.URL(), Token: token, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// follow runs one node's follower.
func follow(ctx context.Context, t *testing.T, group *errgroup.Group, name string, nc *nats.Conn) {
	t.Helper()
	log, err := natslog.New(nc, natslog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	journal, err := purge.OpenJournal(filepath.Join(t.TempDir(), "journal"), purge.JournalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	follower, err := purge.NewFollower(purge.FollowerOptions{
		Name: name, Source: log, Journal: journal, Index: purge.NewIndex(purge.IndexOptions{}),
		Announce: natslog.Announcer(nc),
	})
	if err != nil {
		t.Fatal(err)
	}
	group.Go(func() error {
		err := follower.Run(ctx)
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return errors.Join(err, journal.Close())
	})
	select {
	case <-follower.CaughtUp():
	case <-time.After(20 * time.Second):
		t.Fatalf("%s has not caught up: %+v", name, follower.Status())
	}
}

func TestEveryNodeConfirms(t *testing.T) {
	client := control(t, []string{"ams", "iad", "shield"}, []string{"ams", "iad", "shield"})
	var out bytes.Buffer
	err := Run(t.Context(), Options{
		Client: client, Site: "docs", Scope: purge.ScopeURL, Targets: []string{"/a", "/b"}, Soft: true,
		Wait: true, Timeout: 20 * time.Second,
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 5 || lines[0] != "node               version         ms" {
		t.Fatalf("printed %q", out.String())
	}
	for _, line := range lines[1:4] {
		if !regexp.MustCompile(`^(ams|iad|shield) +1 +\d+\.\d$`).MatchString(line) || len(line) != len(lines[0]) {
			t.Errorf("line %q", line)
		}
	}
	want := `^purge 1 \(docs: url, soft, 2 targets\) is in force on all 3 nodes, on the last after \d+\.\d ms$`
	if !regexp.MustCompile(want).MatchString(lines[4]) {
		t.Errorf("summary %q", lines[4])
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("escape sequences in %q", out.String())
	}
}

func TestOneNodeIsAway(t *testing.T) {
	client := control(t, []string{"ams", "sin"}, []string{"ams"})
	o := Options{Client: client, Site: "docs", Scope: purge.ScopeSite, Wait: true, Timeout: time.Second}
	var out bytes.Buffer
	err := Run(t.Context(), o, &out)
	if !errors.Is(err, purge.ErrMissing) || !strings.Contains(err.Error(), "from sin (") || strings.Contains(err.Error(), "ams") {
		t.Errorf("error %v, want one that names sin", err)
	}
	if !regexp.MustCompile(`(?m)^ams +1 +\d+\.\d$`).Match(out.Bytes()) ||
		!strings.Contains(out.String(), "purge 1 (docs: site, hard) is accepted, and confirmed by 1 of 2 nodes within 1s\n") {
		t.Errorf("printed %q", out.String())
	}

	o.JSON = true
	out.Reset()
	if err := Run(t.Context(), o, &out); !errors.Is(err, purge.ErrMissing) {
		t.Errorf("JSON: error %v", err)
	}
	var got resultJSON
	dec := json.NewDecoder(&out)
	if err := dec.Decode(&got); err != nil || dec.More() {
		t.Fatalf("not one JSON object: %v", err)
	}
	if got.Version != 2 || len(got.Nodes) != 1 || got.Nodes[0].Node != "ams" || got.Nodes[0].MS == nil ||
		len(got.Missing) != 1 || got.Missing[0] != "sin" {
		t.Errorf("JSON %+v", got)
	}
}

func TestWaitingForSome(t *testing.T) {
	client := control(t, []string{"ams", "iad", "sin"}, []string{"ams", "iad"})
	o := Options{Client: client, Scope: purge.ScopeAll, Wait: true, For: "quorum", Key: "k", Timeout: 20 * time.Second}
	var out bytes.Buffer
	if err := Run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	if want := "purge 1 (every site: all, hard) is in force on 2 of 3 nodes, and not yet on sin\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("printed %q, want %q at its end", out.String(), want)
	}
	o.For = "iad,ams"
	out.Reset()
	if err := Run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	if want := "purge 1 (every site: all, hard; accepted before, under its key) is in force on iad,ams\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("printed %q, want %q at its end", out.String(), want)
	}
}

func TestWithoutWaiting(t *testing.T) {
	client := control(t, []string{"sin"}, nil)
	o := Options{Client: client, Site: "docs", Scope: purge.ScopeTag, Targets: []string{"news"}}
	var out bytes.Buffer
	if err := Run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	if want := "purge 1 is accepted (docs: tag, hard, 1 target); nodes apply it as it reaches them\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	out.Reset()
	o.JSON = true
	if err := Run(t.Context(), o, &out); err != nil || out.String() != "{\"version\":2}\n" {
		t.Errorf("JSON %q, %v", out.String(), err)
	}
}

func TestRefusals(t *testing.T) {
	client := control(t, []string{"ams"}, nil)
	stranger := client
	stranger.Token = "guess"
	for _, test := range []struct {
		name string
		o    Options
		want []string
	}{
		{"bad target", Options{Client: client, Site: "docs", Scope: purge.ScopeURL, Targets: []string{"/a", "b"}},
			[]string{"400", "must be a path", `(targets[1] is "b")`}},
		{"no target", Options{Client: client, Site: "docs", Scope: purge.ScopeURL}, []string{"400", "targets: missing"}},
		{"unknown site", Options{Client: client, Site: "blog", Scope: purge.ScopeSite, Wait: true},
			[]string{"purge blog", "400", `site: no site is called "blog"`}},
		{"long wait", Options{Client: client, Site: "docs", Scope: purge.ScopeSite, Wait: true, Timeout: time.Hour},
			[]string{"400", "timeout: must be", "at most 1m"}},
		{"wrong token", Options{Client: stranger, Site: "docs", Scope: purge.ScopeSite, Wait: true}, []string{"401", "bearer token"}},
	} {
		var out bytes.Buffer
		err := Run(t.Context(), test.o, &out)
		var refused *purge.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s: error %v", test.name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q has no %q", test.name, err, want)
			}
		}
		if strings.Contains(err.Error(), token) || out.Len() > 0 {
			t.Errorf("%s: error %q, printed %q", test.name, err, out.String())
		}
	}
}

func TestFieldThatTheMessageDoesNotName(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"too long","field":"site"}`)
	}))
	defer server.Close()
	o := Options{Client: purge.Client{URL: server.URL, HTTP: server.Client()}, Site: "docs", Scope: purge.ScopeSite}
	if err := Run(t.Context(), o, io.Discard); err == nil || !strings.HasSuffix(err.Error(), "too long (field site)") {
		t.Errorf("error %v", err)
	}
}

func TestControlIsAway(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	o := Options{Client: purge.Client{URL: server.URL}, Site: "docs", Scope: purge.ScopeSite, Wait: true}
	if err := Run(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "call control") {
		t.Errorf("error %v", err)
	}
	if err := Run(t.Context(), Options{}, io.Discard); err == nil {
		t.Error("no error without options")
	}
}

func TestLongNamesStayInLine(t *testing.T) {
	var out bytes.Buffer
	ms := 12.34
	lines := receiptLines{w: &out}
	lines.print(purge.Receipt{Node: "a-name-of-twenty-two-b", Version: 7, MS: &ms})
	lines.print(purge.Receipt{Node: "ams", Version: 12})
	want := "node               version         ms\n" +
		"a-name-of-twenty-two-b         7       12.3\n" +
		"ams                           12          -\n"
	if out.String() != want {
		t.Errorf("printed\n%s, want\n%s", out.String(), want)
	}
}
