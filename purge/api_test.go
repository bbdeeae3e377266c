package purge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
	"weir/purge/memlog"
)

const secret = "s3cret-t0ken"

// control is an API over a log in memory.
type control struct {
	*purge.API
	log   *memlog.Log
	nodes *purge.Nodes
	audit bytes.Buffer
}

func newControl(t *testing.T, names ...string) *control {
	t.Helper()
	c := &control{log: memlog.New("e")}
	c.nodes = purge.NewNodes(purge.NodesOptions{Names: names, Epoch: "e"})
	var err error
	c.API, err = purge.NewAPI(purge.APIOptions{
		Sites: []string{"docs"}, Token: secret, TokenName: "ops", Append: c.log.Append, Nodes: c.nodes,
		Log: slog.New(slog.NewTextHandler(&c.audit, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// confirm makes a node confirm a version some time from now.
func (c *control) confirm(node string, version uint64, after time.Duration) {
	go func() {
		time.Sleep(after)
		c.nodes.Observe(purge.Announcement{Node: node, Applied: version, Epoch: "e"})
	}()
}

// call sends a request with the token, and fields such as "Accept: x".
func (c *control) call(method, target, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+secret)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

const purgeAll = `{"site":"docs","scope":"all"}`

func TestAPIAnswers(t *testing.T) {
	c := newControl(t)
	for _, row := range []struct {
		name, method, target, body, field string
		status                            int
		want                              string
	}{
		{"accepted", "POST", "/v1/purges", purgeAll, "", 202, `{"version":1}`},
		{"nothing to wait for", "POST", "/v1/purges?wait=all", purgeAll, "", 200, `{"version":2,"nodes":[]}`},
		{"field", "POST", "/v1/purges", `{"site":"docs","scope":"url","targets":["/a","b"]}`, "", 400, `"field":"targets[1]"`},
		{"unknown field", "POST", "/v1/purges", `{"site":"docs","scope":"all","soft":true}`, "", 400, `{"error":"soft: unknown field","field":"soft"}`},
		{"no body", "POST", "/v1/purges", ``, "", 400, `"field":"body"`},
		{"wait", "POST", "/v1/purges?wait=most", purgeAll, "", 400, `"field":"wait"`},
		{"timeout 0", "POST", "/v1/purges?wait=all&timeout=0s", purgeAll, "", 400, `"field":"timeout"`},
		{"timeout too long", "POST", "/v1/purges?wait=all&timeout=61s", purgeAll, "", 400, `"field":"timeout"`},
		{"timeout without unit", "POST", "/v1/purges?wait=all&timeout=2", purgeAll, "", 400, `"field":"timeout"`},
		{"timeout twice", "POST", "/v1/purges?timeout=2s&timeout=3s", purgeAll, "", 400, `"field":"timeout"`},
		{"unknown parameter", "POST", "/v1/purges?async=1", purgeAll, "", 400, `"field":"async"`},
		{"too large", "POST", "/v1/purges", strings.Repeat(" ", purge.BodyBytesMax) + purgeAll, "", 413, `4194304`},
		{"RFC 9110 15.5.6", "GET", "/v1/purges", "", "", 405, `POST`},
		{"RFC 9110 15.5.6", "DELETE", "/v1/nodes", "", "", 405, `GET, HEAD`},
		{"no such path", "GET", "/v2/purges", "", "", 404, `/v1/purges`},
		{"RFC 6750 2.1 scheme in any case", "POST", "/v1/purges", purgeAll, "Authorization: bEARER " + secret, 202, `{"version":3}`},
		{"RFC 6750 3 no token", "POST", "/v1/purges", purgeAll, "Authorization: ", 401, `Bearer`},
		{"another scheme", "POST", "/v1/purges", purgeAll, "Authorization: Basic " + secret, 401, `Bearer`},
		{"wrong token", "POST", "/v1/purges", purgeAll, "Authorization: Bearer " + secret[1:], 401, `Bearer`},
		{"token for the nodes too", "GET", "/v1/nodes", "", "Authorization: ", 401, `Bearer`},
		{"no nodes", "GET", "/v1/nodes", "", "", 200, `{"nodes":[]}`},
	} {
		var fields []string
		if row.field != "" {
			fields = append(fields, row.field)
		}
		w := c.call(row.method, row.target, row.body, fields...)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.want) {
			t.Errorf("%s: %d %s, want %d with %s", row.name, w.Code, w.Body, row.status, row.want)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %s", row.name, got)
		}
		if w.Code == 405 && w.Header().Get("Allow") != row.want {
			t.Errorf("%s: Allow %q, want %q", row.name, w.Header().Get("Allow"), row.want)
		}
		if challenge := w.Header().Get("WWW-Authenticate"); (w.Code == 401) != strings.HasPrefix(challenge, "Bearer ") {
			t.Errorf("%s: %d with WWW-Authenticate %q", row.name, w.Code, challenge)
		}
	}
	if s := c.Stats(); s != (purge.APIStats{Accepted: 3, Refused: 13, Unauthorised: 4}) {
		t.Errorf("stats %+v", s)
	}
	audit := c.audit.String()
	if n := strings.Count(audit, "\n"); n != 21 {
		t.Errorf("%d audit lines for 21 calls", n)
	}
	if strings.Contains(audit, secret[1:]) {
		t.Error("the token is in the audit log")
	}
	if !strings.Contains(audit, `who="ops 192.0.2.1" site=docs scope=site targets=0 mode=hard version=3`) {
		t.Errorf("audit log:\n%s", audit)
	}
}

// Where there is one site, it need not be named.
func TestAPITakesTheOnlySite(t *testing.T) {
	c := newControl(t)
	for i, row := range []struct{ body, says string }{
		{`{"scope":"url","targets":["/a"]}`, "site=docs scope=url"},
		{`{"scope":"site"}`, "site=docs scope=site"},
		{`{"scope":"all"}`, `site="" scope=all`},
	} {
		want := fmt.Sprintf("version=%d", i+1)
		if w := c.call("POST", "/v1/purges", row.body); w.Code != 202 {
			t.Errorf("%s: %d %s", row.body, w.Code, w.Body)
		}
		if lines := strings.Split(strings.TrimSpace(c.audit.String()), "\n"); !strings.Contains(lines[i], row.says) || !strings.Contains(lines[i], want) {
			t.Errorf("%s: %s", row.body, lines[i])
		}
	}
}

func TestAPIRecordsWhoAndWhen(t *testing.T) {
	c := newControl(t)
	c.call("POST", "/v1/purges", `{"site":"docs","scope":"tag","targets":["a"],"mode":"soft"}`)
	f, err := c.log.Link().Follow(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := f.Next(t.Context())
	if err != nil || len(batch) != 1 {
		t.Fatal(batch, err)
	}
	if r := batch[0]; r.Who != "ops 192.0.2.1" || time.Since(r.At) > time.Minute || r.Mode != purge.ModeSoft || r.Targets[0] != "a" {
		t.Errorf("record %+v", r)
	}
}

func TestAPIWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t, "ams", "lax")
		c.confirm("ams", 1, 2*time.Millisecond)
		c.confirm("lax", 1, 70*time.Millisecond)
		w := c.call("POST", "/v1/purges?wait=all&timeout=2s", purgeAll)
		want := `{"version":1,"nodes":[{"node":"ams","version":1,"ms":2},{"node":"lax","version":1,"ms":70}]}` + "\n"
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%d %s, want %s", w.Code, w.Body, want)
		}
		c.confirm("ams", 2, time.Millisecond)
		began := time.Now()
		w = c.call("POST", "/v1/purges?timeout=2s&wait=all", purgeAll)
		if w.Code != 504 || time.Since(began) != 2*time.Second ||
			!strings.HasPrefix(w.Body.String(), `{"version":2,"nodes":[{"node":"ams","version":2,"ms":1}],"missing":["lax"],"error":"the purge is accepted`) {
			t.Errorf("%d after %s: %s", w.Code, time.Since(began), w.Body)
		}
		began = time.Now()
		if w = c.call("POST", "/v1/purges?wait=all", purgeAll); w.Code != 504 || time.Since(began) != 5*time.Second {
			t.Errorf("%d after %s, want 504 after the default of 5 s", w.Code, time.Since(began))
		}
		if s := c.Stats(); s.Accepted != 3 || s.Incomplete != 2 {
			t.Errorf("stats %+v", s)
		}
		w = c.call("GET", "/v1/nodes", "")
		if want := `{"nodes":[{"node":"ams","applied":2,"seen":"`; !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("nodes: %s, want %s…", w.Body, want)
		}
	})
}

func TestAPIWritesALineANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t, "ams", "lax")
		c.confirm("lax", 1, 5*time.Millisecond)
		w := c.call("POST", "/v1/purges?wait=all&timeout=1s", purgeAll, "Accept: application/x-ndjson")
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
		want := []string{`{"version":1}`, `{"node":"lax","version":1,"ms":5}`, `{"version":1,"nodes":[{"node":"lax","version":1,"ms":5}],"missing":["ams"],"error":`}
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/x-ndjson" || len(lines) != 3 || !w.Flushed {
			t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		for i := range want {
			if !strings.HasPrefix(lines[i], want[i]) {
				t.Errorf("line %d is %s, want %s", i, lines[i], want[i])
			}
		}
	})
}

func TestAPIWithoutItsLog(t *testing.T) {
	c := newControl(t)
	c.log.SetDown(true)
	w := c.call("POST", "/v1/purges", purgeAll)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "nothing was accepted") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	c.log.SetDown(false)
	if w = c.call("POST", "/v1/purges", purgeAll); w.Body.String() != "{\"version\":1}\n" {
		t.Errorf("%s: the refused purge has taken a version", w.Body)
	}
	for err, says := range map[error]string{
		fmt.Errorf("x: %w", purge.ErrUnconfirmed): "may or may not",
		errors.New("no idea"):                     "may or may not",
	} {
		api, _ := purge.NewAPI(purge.APIOptions{Sites: []string{"docs"}, Token: secret, Nodes: c.nodes,
			Append: func(context.Context, purge.Record) (uint64, error) { return 0, err }})
		c.API = api
		if w := c.call("POST", "/v1/purges", purgeAll); w.Code != 503 || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%v: %d %s, want 503 that says %q", err, w.Code, w.Body, says)
		}
	}
}

// What explains stands behind the same token, and its calls are in the audit log.
func TestAPIExplains(t *testing.T) {
	c := newControl(t)
	if w := c.call("GET", "/v1/explain?url=x", ""); w.Code != 404 || !strings.Contains(w.Body.String(), "no such path") {
		t.Errorf("without Explain: %d %s", w.Code, w.Body)
	}
	c.API.Explain = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, r.URL.Query().Get("url"))
	})
	if w := c.call("GET", "/v1/explain?url=x", ""); w.Code != 418 || w.Body.String() != "x" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := c.call("GET", "/v1/explain?url=x", "", "Authorization: Bearer guess"); w.Code != 401 || w.Body.String() == "x" {
		t.Errorf("another token: %d %s", w.Code, w.Body)
	}
	if w := c.call("POST", "/v1/explain?url=x", ""); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	if audit := c.audit.String(); !strings.Contains(audit, `path=/v1/explain status=418`) {
		t.Errorf("audit log:\n%s", audit)
	}
}

func TestAPINeedsAToken(t *testing.T) {
	if _, err := purge.NewAPI(purge.APIOptions{Append: memlog.New("e").Append, Nodes: purge.NewNodes(purge.NodesOptions{})}); err == nil {
		t.Error("an API that anybody may call was made")
	}
}

func TestClient(t *testing.T) {
	c := newControl(t, "ams")
	server := httptest.NewServer(c)
	defer server.Close()
	client := &purge.Client{URL: server.URL + "/", Token: secret, HTTP: server.Client()}
	request := purge.Request{Site: "docs", Scope: purge.ScopeURL, Targets: []string{"/a?b=1&c"}, Mode: purge.ModeSoft}

	if r, err := client.Purge(t.Context(), request); err != nil || r.Version != 1 {
		t.Errorf("Purge: %+v, %v", r, err)
	}
	c.confirm("ams", 2, 10*time.Millisecond)
	seen := 0
	r, err := client.Watch(t.Context(), request, 5*time.Second, func(r purge.Receipt) {
		if seen++; r.Node != "ams" || r.Version != 2 || r.MS == nil {
			t.Errorf("receipt %+v", r)
		}
	})
	if err != nil || r.Version != 2 || len(r.Nodes) != 1 || seen != 1 || r.Missing != nil {
		t.Errorf("Watch: %+v, %v, %d seen", r, err, seen)
	}
	r, err = client.Wait(t.Context(), request, 20*time.Millisecond)
	if !errors.Is(err, purge.ErrMissing) || r.Version != 3 || len(r.Missing) != 1 {
		t.Errorf("Wait: %+v, %v", r, err)
	}
	if nodes, err := client.Nodes(t.Context()); err != nil || len(nodes) != 1 || nodes[0].Applied != 2 {
		t.Errorf("Nodes: %+v, %v", nodes, err)
	}

	request.Targets[0] = "a"
	var refused *purge.RefusedError
	if _, err := client.Purge(t.Context(), request); !errors.As(err, &refused) || refused.Status != 400 || refused.Field != "targets[0]" {
		t.Errorf("a bad target: %v", err)
	}
	client.Token = "another-t0ken"
	if _, err := client.Nodes(t.Context()); !errors.As(err, &refused) || refused.Status != 401 || strings.Contains(err.Error(), client.Token) {
		t.Errorf("a bad token: %v", err)
	}
}

func TestClientOfAnAnswerThatBreaksOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"version":7}`)
	}))
	defer server.Close()
	client := &purge.Client{URL: server.URL, HTTP: server.Client()}
	r, err := client.Wait(t.Context(), purge.Request{Site: "docs", Scope: purge.ScopeSite}, time.Second)
	if err == nil || r.Version != 7 {
		t.Errorf("%+v, %v; want version 7 and an error", r, err)
	}
	bad := httptest.NewServer(http.NotFoundHandler())
	defer bad.Close()
	client = &purge.Client{URL: bad.URL, HTTP: bad.Client()}
	var refused *purge.RefusedError
	if _, err := client.Nodes(t.Context()); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("something else than control: %v", err)
	}
}
