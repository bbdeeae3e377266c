package lab_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/deploy"
	"weir/internal/lab"
)

// late is a control that is far from who deploys.
type late struct{ next http.RoundTripper }

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(300 * time.Millisecond)
	return l.next.RoundTrip(r)
}

// What has no fingerprint in its name switches at a PoP when the purge is applied,
// however long that is after the switch at the origin: a page that is fetched
// fits the style that is stored. The nodes are asked for paths that do not exist
// meanwhile, about which they look at the newest release.
//
// A node that took every release that it sees for its own would mix in a quarter of
// these loads and more; a PoP that did not wait for a purge that the shield has
// applied, in some of a thousand on a busy machine.
func TestNamesWithoutFingerprint(t *testing.T) {
	l := start(t, lab.Options{Shields: 2})
	options := deployOptions(t, l)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	options.Control.HTTP = &http.Client{Transport: late{transport}}
	releases := []string{webSite(t, 1), webSite(t, 2)}
	if err := deploy.Run(t.Context(), options, releases[0]); err != nil {
		t.Fatal(err)
	}
	v := &visitors{t: t, all: clients(t, l.Ready), end: make(chan struct{})}
	var loads, mixed atomic.Int64
	for _, pop := range l.Ready.PoPs {
		v.wait.Go(func() { mixes(v, of(v.all, pop.Name)[0], &loads, &mixed) })
		v.wait.Go(func() { strays(v, of(v.all, pop.Name)[2]) })
	}
	var once sync.Once
	defer once.Do(v.stop)
	for i := range 4 {
		if err := deploy.Run(t.Context(), options, releases[(i+1)%2]); err != nil {
			t.Fatal(err)
		}
	}
	once.Do(v.stop)
	t.Logf("%d of %d loads mixed", mixed.Load(), loads.Load())
	if loads.Load() < 20 || mixed.Load()*5 > loads.Load() { // nodes on a machine with much else to do may be late
		t.Errorf("%d of %d loads mixed", mixed.Load(), loads.Load())
	}
}

// mixes counts the pages, never asked for before, that are of another release
// than the style that the PoP has both before and after them.
func mixes(v *visitors, c client, loads, mixed *atomic.Int64) {
	before := v.get(c, "/style.css")
	for n := 0; ; n++ {
		select {
		case <-v.end:
			return
		default:
		}
		page := releaseOf.FindStringSubmatch(v.get(c, fmt.Sprintf("/?n=%d", n)))
		after := v.get(c, "/style.css")
		if page == nil {
			v.t.Errorf("%s: no page", c.name)
			return
		}
		loads.Add(1)
		if before == after && after != "style "+page[1] {
			mixed.Add(1)
		}
		before = after
	}
}

// strays asks for what is not there.
func strays(v *visitors, c client) {
	for n := 0; ; n++ {
		select {
		case <-v.end:
			return
		case <-time.After(10 * time.Millisecond):
			resp, err := c.http.Get(fmt.Sprintf("%s/none-%d", c.base, n))
			if err != nil {
				v.t.Error(err)
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				v.t.Errorf("%s: %s", c.name, resp.Status)
			}
		}
	}
}
