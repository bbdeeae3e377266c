package purge_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
)

func TestAPIIdempotencyKeys(t *testing.T) {
	c := holders(t, purge.RateOptions{}, "ams")
	const body = `{"site":"docs","scope":"url","targets":["/a"]}`
	for _, row := range []struct {
		rule, body, header, token string
		status                    int
		says                      string
	}{
		{"first", body, "release 17", secret, 202, `{"version":1}`},
		{"again", body, "release 17", secret, 202, `{"version":1,"repeated":true}`},
		{"as a string of RFC 9651", body, `"release 17"`, secret, 202, `{"version":1,"repeated":true}`},
		{"in the body", `{"idempotency_key":"release 17",` + body[1:], "", secret, 202, `{"version":1,"repeated":true}`},
		{"in both", `{"idempotency_key":"release 17",` + body[1:], "release 17", secret, 400, "idempotency_key"},
		{"the same target in other words", `{"site":"docs","scope":"url","targets":["/%61"]}`, "release 17", secret, 202, `"repeated":true`},
		{"another purge", `{"site":"docs","scope":"url","targets":["/b"]}`, "release 17", secret, 422, `another purge: version 1`},
		{"another mode", `{"site":"docs","scope":"url","targets":["/a"],"mode":"soft"}`, "release 17", secret, 422, "another purge"},
		{"another site", `{"site":"blog","scope":"url","targets":["/a"]}`, "release 17", secret, 422, "another purge"},
		{"another token", body, "release 17", "docs-secret", 202, `{"version":2}`},
		{"another key", body, "release 18", secret, 202, `{"version":3}`},
		{"no key", body, "", secret, 202, `{"version":4}`},
		{"no key again", body, "", secret, 202, `{"version":5}`},
		{"empty", body, `""`, secret, 400, "empty"},
		{"too long", body, strings.Repeat("k", purge.IdempotencyKeyBytesMax+1), secret, 400, "longer"},
	} {
		fields := []string{"Authorization: Bearer " + row.token}
		if row.header != "" {
			fields = append(fields, "Idempotency-Key: "+row.header)
		}
		w := c.call("POST", "/v1/purges", row.body, fields...)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s: %d %s, want %d with %s", row.rule, w.Code, w.Body, row.status, row.says)
		}
	}
	if s := c.Stats(); s.Accepted != 5 || s.Repeated != 4 {
		t.Errorf("stats %+v", s)
	}
	// A log that was trimmed has forgotten.
	c.log.Trim(6)
	if w := c.call("POST", "/v1/purges", body, "Idempotency-Key: release 17"); w.Body.String() != "{\"version\":6}\n" {
		t.Errorf("beyond the horizon: %s", w.Body)
	}
}

func TestAPIWaitsForSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t, "ams", "fra", "lax", "nrt")
		version := uint64(0)
		wait := func(whom string) *httptest.ResponseRecorder {
			version++
			for i, name := range []string{"ams", "fra", "lax"} {
				c.confirm(name, version, time.Duration(i+1)*time.Millisecond)
			}
			return c.call("POST", "/v1/purges?timeout=1s&wait="+whom, purgeAll)
		}
		for _, row := range []struct {
			whom   string
			status int
			says   string
		}{
			{"quorum", 200, `{"node":"lax","version":1,"ms":3}],"pending":["nrt"]}`},
			{"fra", 200, `"nodes":[{"node":"fra","version":2,"ms":2}]}`},
			{"ams,lax", 200, `"nodes":[{"node":"ams","version":3,"ms":1},{"node":"lax","version":3,"ms":3}]}`},
			{"ams,nrt,ams", 504, `"missing":["nrt"],"error":"the purge is accepted, and not confirmed within 1s by nrt`},
			{"all", 504, `"missing":["nrt"]`},
			{"ams,mars", 400, `\"mars\" is none of ams, fra, lax, nrt`},
			{"", 400, `"field":"wait"`},
		} {
			if w := wait(row.whom); w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
				t.Errorf("wait=%s: %d %s, want %d with %s", row.whom, w.Code, w.Body, row.status, row.says)
			}
			if row.status == 400 {
				version--
			}
			time.Sleep(time.Second)
		}
	})
}

func TestAPIShowsHowFarAPurgeIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := holders(t, purge.RateOptions{}, "ams", "lax")
		began := time.Now().UTC().Format(time.RFC3339Nano)
		c.call("POST", "/v1/purges", `{"site":"docs","scope":"url","targets":["/a"]}`)
		c.call("POST", "/v1/purges", `{"site":"docs","scope":"tag","targets":["x"],"mode":"soft"}`)
		time.Sleep(40 * time.Millisecond)
		c.nodes.Observe(purge.Announcement{Node: "lax", Applied: 1, Epoch: "e"})
		seen := time.Now().Format(time.RFC3339Nano)
		w := c.call("GET", "/v1/purges/1", "")
		want := `{"version":1,"site":"docs","scope":"url","targets":["/a"],"targets_count":1,"mode":"hard","who":"api 192.0.2.1","at":"` + began + `",` +
			`"nodes":[{"node":"ams","applied":false,"version":0,"lag":2},{"node":"lax","applied":true,"version":1,"ms":40,"lag":1,"seen":"` + seen + `"}]}` + "\n"
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%d %s, want\n%s", w.Code, w.Body, want)
		}
		c.confirm("ams", 2, 10*time.Millisecond)
		w = c.call("GET", "/v1/purges/2?wait=ams&timeout=1s", "")
		if w.Code != 200 || !strings.Contains(w.Body.String(), `{"node":"ams","applied":true,"version":2,"ms":50,"lag":0,`) {
			t.Errorf("wait for one: %d %s", w.Code, w.Body)
		}
		w = c.call("GET", "/v1/purges/2?wait=all&timeout=1s", "")
		if w.Code != 504 || !strings.Contains(w.Body.String(), `"missing":["lax"],"error":"the purge is accepted`) || !strings.Contains(w.Body.String(), `"nodes":[{"node":"ams"`) {
			t.Errorf("wait for all: %d %s", w.Code, w.Body)
		}
		w = c.call("GET", "/v1/purges/2?wait=all&timeout=1s", "", "Accept: application/x-ndjson")
		if lines := strings.Split(w.Body.String(), "\n"); w.Code != 200 || len(lines) != 4 || lines[0] != `{"version":2}` {
			t.Errorf("line by line: %d %s", w.Code, w.Body)
		}
		for path, status := range map[string]int{
			"/v1/purges/0": 404, "/v1/purges/3": 404, "/v1/purges/x": 404, "/v1/purges/1/2": 404, "/v1/purges/1?wait=no": 400, "/v1/purges/1?limit=2": 400,
		} {
			if w := c.call("GET", path, ""); w.Code != status {
				t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, status)
			}
		}
		c.log.SetDown(true)
		if w := c.call("GET", "/v1/purges/1", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "cannot be read") {
			t.Errorf("without its log: %d %s", w.Code, w.Body)
		}
	})
}

func TestAPIListsTheLog(t *testing.T) {
	c := holders(t, purge.RateOptions{})
	list := func(query string) (versions []uint64, page purge.Page) {
		t.Helper()
		w := c.call("GET", "/v1/purges"+query, "")
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		for _, p := range page.Purges {
			versions = append(versions, p.Version)
		}
		return versions, page
	}
	if versions, page := list(""); versions != nil || page.Purges == nil || page.Next != 0 {
		t.Errorf("empty log: %+v", page)
	}
	if _, page := list("?after=0"); page.Next != 0 || page.Newest != 0 {
		t.Errorf("empty log, upwards: %+v", page)
	}
	for i := range 7 {
		c.call("POST", "/v1/purges", fmt.Sprintf(`{"site":"docs","scope":"url","targets":["/%d"]}`, i))
	}
	c.log.Trim(3)
	for _, row := range []struct {
		query    string
		versions string
		next     uint64
	}{
		{"", "[7 6 5 4 3]", 0},
		{"?limit=2", "[7 6]", 6},
		{"?limit=2&before=6", "[5 4]", 4},
		{"?limit=2&before=4", "[3]", 0},
		{"?before=3", "[]", 0},
		{"?before=100&limit=1", "[7]", 7},
		{"?after=0&limit=2", "[3 4]", 4},
		{"?after=5&limit=9", "[6 7]", 7},
		{"?after=7", "[]", 7},
		{"?after=9", "[]", 9},
	} {
		if versions, page := list(row.query); fmt.Sprint(versions) != row.versions || page.Next != row.next || page.Newest != 7 || page.Oldest != 3 {
			t.Errorf("%s: %v, %+v, want %s and next %d", row.query, versions, page, row.versions, row.next)
		}
	}
	for _, query := range []string{"?limit=0", "?limit=501", "?limit=x", "?before=1&after=2", "?since=1", "?limit=1&limit=2"} {
		if w := c.call("GET", "/v1/purges"+query, ""); w.Code != 400 {
			t.Errorf("%s: %d", query, w.Code)
		}
	}
	many := strings.TrimSuffix(strings.Repeat(`"/x",`, 12), ",")
	c.call("POST", "/v1/purges", `{"site":"docs","scope":"url","targets":[`+many+`]}`)
	if _, page := list("?limit=1"); len(page.Purges[0].Targets) != 10 || page.Purges[0].TargetsCount != 12 {
		t.Errorf("many targets: %+v", page.Purges[0])
	}
}

func TestClientReadsTheLog(t *testing.T) {
	c := holders(t, purge.RateOptions{}, "ams")
	server := httptest.NewServer(c)
	defer server.Close()
	client := &purge.Client{URL: server.URL, Token: secret, HTTP: server.Client()}
	request := purge.Request{Scope: purge.ScopeAll, Key: "k"}
	for i, repeated := range []bool{false, true} {
		if r, err := client.Purge(t.Context(), request); err != nil || r.Version != 1 || r.Repeated != repeated {
			t.Errorf("purge %d: %+v, %v", i, r, err)
		}
	}
	c.confirm("ams", 1, 0)
	if r, err := client.WatchFor(t.Context(), request, "ams", 5*time.Second, func(purge.Receipt) {}); err != nil || !r.Repeated || len(r.Nodes) != 1 {
		t.Errorf("WatchFor: %+v, %v", r, err)
	}
	if p, err := client.Progress(t.Context(), 1); err != nil || p.Key != "api/k" || len(p.Nodes) != 1 || !p.Nodes[0].Applied {
		t.Errorf("Progress: %+v, %v", p, err)
	}
	if p, err := client.Newest(t.Context(), 0, 5); err != nil || len(p.Purges) != 1 || p.Purges[0].Scope != purge.ScopeAll {
		t.Errorf("Newest: %+v, %v", p, err)
	}
	if p, err := client.After(t.Context(), 1, 0); err != nil || len(p.Purges) != 0 || p.Next != 1 {
		t.Errorf("After: %+v, %v", p, err)
	}
}

// No query makes a page of more than it may have, or fails in another way than
// by 400.
func FuzzAPIQueries(f *testing.F) {
	for _, query := range []string{"limit=2&before=3", "after=1", "wait=quorum&timeout=1ms", "wait=ams,ams", "%zz", "limit=18446744073709551615"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		c := holders(t, purge.RateOptions{}, "ams")
		for range 3 {
			c.call("POST", "/v1/purges", purgeAll)
		}
		c.nodes.Observe(purge.Announcement{Node: "ams", Applied: 3, Epoch: "e"})
		for _, path := range []string{"/v1/purges", "/v1/purges/2"} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL.RawQuery = query
			r.Header.Set("Authorization", "Bearer "+secret)
			w := httptest.NewRecorder()
			c.ServeHTTP(w, r)
			if w.Code != 200 && w.Code != 400 || strings.Count(w.Body.String(), `"scope"`) > 3 {
				t.Fatalf("%s?%s: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}
