package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/purge"
	"weir/purge/natslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node answers with what it has been asked, as an explainer.
type node struct{ name string }

func (n node) Explain(r *http.Request) (cache.Explanation, error) {
	if r.Host == "else.test" {
		return cache.Explanation{}, &httpcache.Refusal{Status: 421, Text: "no site answers"}
	}
	return cache.Explanation{
		KeyText: r.Host + r.URL.RequestURI() + " " + r.Header.Get("Accept-Language"), Outcome: "miss", Reason: "absent", Trusted: true,
	}, nil
}

// cluster is an API over nodes in memory: iad is away, sin does not answer.
func cluster(t *testing.T) *API {
	t.Helper()
	sites := httpcache.NewSites()
	if err := sites.Add(&cache.Site{Name: "docs"}, "www.test", "else.test", "*.w.test"); err != nil {
		t.Fatal(err)
	}
	a, err := NewAPI(APIOptions{
		Sites: sites, Hosts: []string{"www.test", "else.test", "*.w.test"}, CallsMax: 2,
		Nodes: []Node{
			{"ams", RoleEdge, []string{"s1"}}, {"iad", RoleEdge, []string{"s2"}}, {"sin", RoleEdge, nil}, {"s1", RoleShield, nil}, {"s2", RoleShield, nil},
		},
		Ask: func(ctx context.Context, name string, q []byte) ([]byte, error) {
			switch name {
			case "iad":
				return nil, fmt.Errorf("ask: %w", natslog.ErrAway)
			case "sin":
				<-ctx.Done()
				return nil, ctx.Err()
			case "s2":
				return []byte("gibberish"), nil
			}
			return Answerer(node{name})(q), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func call(a http.Handler, query string) (int, string) {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/explain?"+query, nil))
	return w.Code, w.Body.String()
}

func TestAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := cluster(t)
		began := time.Now()
		status, body := call(a, "url=https://www.test/a?b&header=Accept-Language:de")
		var got Result
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %s; want the default of 2 s, which sin uses up", took)
		}
		if got.URL != "https://www.test/a?b" || got.Site != "docs" || !slices.Equal(got.Missing, []string{"iad", "sin", "s2"}) || len(got.Nodes) != 5 {
			t.Errorf("%s", body)
		}
		for i, want := range []string{
			"ams: miss, nothing is stored: would be fetched", "iad: away: it is not connected to the purge log", "sin: no answer within 2s",
			"s1: miss, nothing is stored: would be fetched", "s2: its answer cannot be read: ",
		} {
			if s := got.Nodes[i].Sentence(); !strings.HasPrefix(s, want) {
				t.Errorf("%q; want %q", s, want)
			}
		}
		if ams := got.Nodes[0]; ams.Role != RoleEdge || ams.KeyText != "www.test/a?b de" {
			t.Errorf("%+v", ams)
		}
		// One PoP is asked with its shield, and a node that does not know the
		// host has answered.
		began = time.Now()
		status, body = call(a, "url=http://else.test/&pop=ams&timeout=1s")
		want := `{"url":"http://else.test/","site":"docs","nodes":[` +
			`{"node":"ams","role":"edge","error":"421: no site answers"},{"node":"s1","role":"shield","error":"421: no site answers"}]}` + "\n"
		if status != 200 || body != want || time.Since(began) > 0 {
			t.Errorf("%d %s, want %s", status, body, want)
		}
	})
}

func TestAPIRefuses(t *testing.T) {
	a := cluster(t)
	for _, row := range []struct {
		query  string
		status int
		want   string
	}{
		{"url=https://other.test/", 404, `{"error":"url: no site answers for the host \"other.test\": there are www.test, else.test, *.w.test","field":"url","hosts":["www.test","else.test","*.w.test"]}`},
		{"url=https://www.test/../a", 400, `{"error":"url: the path has a dot segment (at byte 19)","field":"url"}`},
		{"url=https://www.test/&pop=s1", 400, `{"error":"pop: no PoP is called \"s1\": there are ams, iad, sin","field":"pop"}`},
		{"", 400, `"field":"url"`},
	} {
		if status, body := call(a, row.query); status != row.status || !strings.Contains(body, row.want) {
			t.Errorf("%s: %d %s, want %d %s", row.query, status, body, row.status, row.want)
		}
	}
	if _, err := NewAPI(APIOptions{}); err == nil {
		t.Error("an API without nodes to ask was made")
	}
}

// More calls than CallsMax do not wait for nodes.
func TestAPIBoundsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := cluster(t)
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				if status, body := call(a, "url=https://www.test/"); status != 200 {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		synctest.Wait()
		if status, body := call(a, "url=https://www.test/"); status != 429 || !strings.Contains(body, "2 calls wait") {
			t.Errorf("%d %s; want 429", status, body)
		}
		waiting.Wait()
		if status, _ := call(a, "url=https://www.test/&timeout=1ms"); status != 200 {
			t.Errorf("%d afterwards", status)
		}
	})
}

// The API stands behind the token of the purge API, and the client shows it.
func TestClient(t *testing.T) {
	a := cluster(t)
	front, err := purge.NewAPI(purge.APIOptions{
		Sites: []string{"docs"}, Token: "open sesame", Nodes: purge.NewNodes(purge.NodesOptions{}), Explain: a,
		Append: func(context.Context, purge.Record) (uint64, error) { return 0, purge.ErrUnavailable },
		Tokens: []purge.Token{{Name: "blog", Hash: purge.HashToken("blog-secret"), Sites: []string{"blog"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(front)
	defer server.Close()
	o := Options{
		Client: Client{URL: server.URL + "/", Token: "open sesame", HTTP: server.Client()},
		Query:  Query{URL: "http://www.test/a?b&c", Fields: []string{"Accept-Language: de,en"}, PoP: "ams"},
	}
	var out strings.Builder
	if err := Run(t.Context(), o, &out); err != nil || !strings.Contains(out.String(), "key text   www.test/a?b&c de,en\n") {
		t.Errorf("%v, printed:\n%s", err, out.String())
	}
	out.Reset()
	o.JSON = true
	var got Result
	if err := Run(t.Context(), o, &out); err != nil || json.Unmarshal([]byte(out.String()), &got) != nil || len(got.Nodes) != 2 {
		t.Errorf("%v, printed:\n%s", err, out.String())
	}
	o.JSON, o.Query.PoP = false, "iad"
	if err := Run(t.Context(), o, &out); !errors.Is(err, ErrMissing) || !strings.HasSuffix(err.Error(), "nothing from iad, s2") {
		t.Errorf("with nodes away: %v", err)
	}
	var refused *purge.RefusedError
	o.Query.PoP = "atlantis"
	if err := Run(t.Context(), o, &out); !errors.As(err, &refused) || refused.Status != 400 || refused.Field != "pop" {
		t.Errorf("unknown PoP: %v", err)
	}
	o.Query.PoP, o.Client.Token = "", "blog-secret"
	if err := Run(t.Context(), o, &out); !errors.As(err, &refused) || refused.Status != 403 || !strings.Contains(err.Error(), `not for site "docs"`) {
		t.Errorf("token of another site: %v", err)
	}
	o.Client.Token = "guess"
	if err := Run(t.Context(), o, &out); !errors.As(err, &refused) || refused.Status != 401 || strings.Contains(err.Error(), "guess") {
		t.Errorf("wrong token: %v", err)
	}
	server.Close()
	if err := Run(t.Context(), o, &out); err == nil || !strings.Contains(err.Error(), "call control") {
		t.Errorf("no control: %v", err)
	}
}

// What cannot be a question is answered all the same.
func TestAnswererOfNonsense(t *testing.T) {
	for _, asked := range []string{"", "{", `{"host":"h","target":"no path"}`} {
		var r reply
		if err := json.Unmarshal(Answerer(node{})([]byte(asked)), &r); err != nil || r.Error == "" || r.Explanation != nil {
			t.Errorf("%q: %+v, %v", asked, r, err)
		}
	}
}
