package lab_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/internal/explain"
	"weir/internal/lab"
	"weir/purge"
)

// explainGolden is what `weir explain` prints of a file that ams has and a soft
// purge covers, with what differs from run to run as N.
const explainGolden = `http://127.0.0.1/docs/a.txt?x=1, site lab

ams, edge
  key        03e1e6b414cf3a5a0021ce35f2a861f9
  key text   lab 127.0.0.1/docs/a.txt?x=1
  stored in  memory, disk
  response   200, 7 bytes, ETag "9a0364b9e99bb480dd25e1f0284c8555", modified N
  freshness  age N s, lifetime 10 min, stale by the purge, usable if upstream fails
  stamp      0
  covered by soft purge 1
  answer     revalidated, expired
  applied    purge 1, log trusted
  ams: stale by soft purge 1, would be revalidated

iad, edge
  key        03e1e6b414cf3a5a0021ce35f2a861f9
  key text   lab 127.0.0.1/docs/a.txt?x=1
  stored in  none
  answer     miss, absent
  applied    purge 1, log trusted
  iad: miss, nothing is stored: would be fetched

shield, shield
  key        03e1e6b414cf3a5a0021ce35f2a861f9
  key text   lab 127.0.0.1/docs/a.txt?x=1
  stored in  memory, disk
  response   200, 7 bytes, ETag "9a0364b9e99bb480dd25e1f0284c8555", modified N
  freshness  age N s, lifetime 10 min, stale by the purge, usable if upstream fails
  stamp      0
  covered by soft purge 1
  answer     revalidated, expired
  applied    purge 1, log trusted
  shield: stale by soft purge 1, would be revalidated
`

func TestExplain(t *testing.T) {
	l := start(t, lab.Options{PoPs: 2, Site: site(t, map[string]string{"index.html": "home", "docs/a.txt": "content"})})
	ams := of(clients(t, l.Ready), "ams")[0]
	ams.do(t, "GET", "/docs/a.txt?x=1")
	awaitStored(t, l, "http://127.0.0.1/docs/a.txt?x=1")
	control := purge.Client{URL: l.Ready.Control, Token: l.Ready.Token}
	request := purge.Request{Site: "lab", Scope: purge.ScopeURL, Targets: []string{"/docs/a.txt?x=1"}, Mode: purge.ModeSoft}
	if _, err := control.Wait(t.Context(), request, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	said := explained(t, l, explain.Query{URL: "http://127.0.0.1/docs/a.txt?x=1"})
	said = regexp.MustCompile(`modified .*`).ReplaceAllString(said, "modified N")
	said = regexp.MustCompile(`age \S+`).ReplaceAllString(said, "age N")
	if said != explainGolden {
		t.Errorf("printed:\n%s\nwant:\n%s", said, explainGolden)
	}
	if said = explained(t, l, explain.Query{URL: "https://127.0.0.1/docs/%61.txt?x=1", PoP: "iad"}); strings.Contains(said, "ams") ||
		!strings.Contains(said, "iad: miss, nothing is stored") || !strings.Contains(said, "shield: stale by soft purge 1") {
		t.Errorf("of iad and its shield, with another scheme and spelling, printed:\n%s", said)
	}
}

func explained(t *testing.T, l *lab.Lab, q explain.Query) string {
	t.Helper()
	var out strings.Builder
	q.Timeout = 10 * time.Second
	o := explain.Options{Client: explain.Client{URL: l.Ready.Control, Token: l.Ready.Token}, Query: q}
	if err := explain.Run(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// awaitStored waits until ams and the shield have what a client has just read:
// the commit is behind its last byte.
func awaitStored(t *testing.T, l *lab.Lab, url string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for strings.Count(explained(t, l, explain.Query{URL: url, PoP: "ams"}), "hit from memory") < 2 {
		if time.Now().After(deadline) {
			t.Fatal("not stored")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A thousand explanations leave no trace in what the nodes count, and cause no
// fill.
func TestExplainingChangesNothing(t *testing.T) {
	l := start(t, lab.Options{PoPs: 2, Site: site(t, map[string]string{"index.html": "home"})})
	of(clients(t, l.Ready), "ams")[0].do(t, "GET", "/")
	awaitStored(t, l, "http://127.0.0.1/")
	nodes := []string{l.Ready.PoPs[0].Admin, l.Ready.PoPs[1].Admin, l.Ready.Shield}
	// The request is counted, and its fills end, a moment after its last byte.
	before := counted(t, nodes)
	settled := func() bool {
		return strings.Count(before, "weir_requests_total{") == 2 &&
			len(regexp.MustCompile(`weir_fills_running\{.*\} 0\n`).FindAllString(before, -1)) == 3
	}
	for deadline := time.Now().Add(10 * time.Second); !settled(); before = counted(t, nodes) {
		if time.Now().After(deadline) {
			t.Fatalf("not settled:\n%s", before)
		}
		time.Sleep(5 * time.Millisecond)
	}
	client := explain.Client{URL: l.Ready.Control, Token: l.Ready.Token}
	for i := range 1000 {
		result, err := client.Explain(t.Context(), explain.Query{URL: fmt.Sprintf("http://127.0.0.1/%d", i/2*(i%2)), Timeout: 10 * time.Second})
		if err != nil || len(result.Missing) > 0 || len(result.Nodes) != 3 {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	if after := counted(t, nodes); after != before {
		t.Errorf("counted:\n%s\nbefore:\n%s", after, before)
	}
}

// counted are the nodes' metrics about stores, fills and requests of sites.
func counted(t *testing.T, nodes []string) string {
	t.Helper()
	var all strings.Builder
	for _, node := range nodes {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, node+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^weir_(store|fills|requests).*$`).FindAllString(string(text), -1) {
			all.WriteString(line + "\n")
		}
	}
	if !strings.Contains(all.String(), "weir_store_objects") {
		t.Fatalf("no counts in %q", all.String())
	}
	return all.String()
}
