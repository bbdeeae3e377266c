package purge_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
	"weir/purge/memlog"
)

// inProcess answers calls without sockets.
type inProcess struct{ http.Handler }

// RoundTrip answers one call.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.RemoteAddr = "192.0.2.1:1"
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// lostControl is an API over a log that goes by "e" and may lose what it has; renewed
// counts how often it was given another name.
func lostControl(t *testing.T, log *memlog.Log, nodes *purge.Nodes, renewed *int) purge.Client {
	t.Helper()
	api, err := purge.NewAPI(purge.APIOptions{
		Sites: []string{"docs"}, Token: secret, Append: log.Append, Nodes: nodes,
		Renew: func(_ context.Context, old string) (string, error) {
			if *renewed++; old != "e" {
				t.Errorf("log %q is renewed, which is not the one that lost purges", old)
			}
			log.Rename("e2")
			return "e2", nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return purge.Client{URL: "http://control", Token: secret, HTTP: &http.Client{Transport: inProcess{api}}}
}

// A log that was put back from a copy gives out versions that a node has applied. The
// node is away, so that it cannot notice: nothing that it confirmed before may
// count for what is purged now, and when it is back, with the log longer than it
// was, it must not take the new purges for the old ones.
func TestVersionsThatAreGivenOutTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		nodes := purge.NewNodes(purge.NodesOptions{Names: []string{"ams"}, Epoch: "e"})
		renewed := 0
		client := lostControl(t, log, nodes, &renewed)
		n := newNode(t, "ams", log, nodes.Observe)
		n.start()
		appendTo(t, log, "/1", "/2", "/3")
		sleep(time.Second)
		n.link.Partition(true)
		log.Replace("e") // the same name, and shorter

		url := func(target string) purge.Request {
			return purge.Request{Site: "docs", Scope: purge.ScopeURL, Targets: []string{target}}
		}
		result, err := client.Wait(t.Context(), url("/a"), 2*time.Second)
		if err == nil || result.Version != 1 || len(result.Nodes) > 0 {
			t.Errorf("a node that is away has confirmed: %+v, %v", result, err)
		}
		for _, target := range []string{"/b", "/c", "/d"} {
			if _, err := client.Purge(t.Context(), url(target)); err != nil {
				t.Error(err)
			}
		}
		n.link.Partition(false)
		if _, err := client.Wait(t.Context(), url("/e"), 20*time.Second); err != nil {
			t.Error(err)
		}
		n.wantCovered("/a", 1)
		n.wantCovered("/c", 3)
		n.wantCovered("/e", 5)
		if s := n.Status(); s.Epoch != "e2" || renewed != 1 {
			t.Errorf("the log was renewed %d times, the node follows %+v", renewed, s)
		}
		n.stop()
	})
}

// A node that finds out first tells control what it had applied, before it drops it.
func TestANodeTellsWhatALogHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		nodes := purge.NewNodes(purge.NodesOptions{Names: []string{"ams"}, Epoch: "e"})
		n := newNode(t, "ams", log, nodes.Observe)
		n.start()
		appendTo(t, log, "/1", "/2", "/3")
		sleep(time.Second)
		n.stop()

		log.Replace("e")
		nodes.Begin("e") // as a control that is started with the log
		n.start()
		synctest.Wait()
		if _, most := nodes.Most(); most != 3 || n.index.Applied() != 0 {
			t.Errorf("control has heard of %d, the node has applied %d; want 3 and 0", most, n.index.Applied())
		}
		renewed := 0
		client := lostControl(t, log, nodes, &renewed)
		if _, err := client.Wait(t.Context(), purge.Request{Site: "docs", Scope: purge.ScopeSite}, 20*time.Second); err != nil || renewed != 1 {
			t.Errorf("%v, the log was renewed %d times", err, renewed)
		}
		n.stop()
	})
}
