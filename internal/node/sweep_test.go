package node

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/config"
	"weir/purge"
	"weir/purge/natslog"
)

// A node sweeps both its tiers after a purge of a site, knows its sites' keys, and
// control has for it what the log may forget.
func TestSweepAndSnapshotsAreWired(t *testing.T) {
	edge := startPurging(t, func(c *config.Config) {
		c.PoPs[0].Disk = 4 << 20
		c.Sites[0].Policy.Key = config.Key{Query: "none"}
	})
	for i := range 5 {
		if response, _ := send(t, "GET", fmt.Sprintf("http://%s/%d", edge.HTTPAddr(), i)); response.StatusCode != 200 {
			t.Fatal(response.Status)
		}
	}
	if edge.memory.Stats().Objects != 5 || edge.disk.Stats().Objects != 5 {
		t.Fatalf("stored %+v, %+v", edge.memory.Stats(), edge.disk.Stats())
	}
	log, err := natslog.New(edge.conn, natslog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	version, err := log.Append(ctx, purge.Record{Site: "docs", Scope: purge.ScopeSite, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := edge.index.WaitApplied(ctx, version); err != nil {
		t.Fatal(err)
	}
	for edge.sweeper.Sweeps() == 0 && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	if edge.memory.Stats().Objects != 0 || edge.disk.Stats().Objects != 0 {
		t.Errorf("after %d sweeps: stored %+v, %+v", edge.sweeper.Sweeps(), edge.memory.Stats(), edge.disk.Stats())
	}
	epoch, _ := edge.index.Position()
	page := ""
	for !strings.Contains(page, `"scope":"site"`) && ctx.Err() == nil { // control follows the log as nodes do
		text, err := natslog.SnapshotAsker(edge.conn)(ctx, fmt.Appendf(nil, `{"epoch":%q,"after":0}`, epoch))
		if err != nil {
			t.Fatal(err)
		}
		page = string(text)
	}
	if !strings.Contains(page, `"version":1`) {
		t.Errorf("control answers %q", page)
	}
	if edge.follower.Snapshot == nil || !strings.Contains(edge.follower.Keys["docs"], "Query") {
		t.Errorf("the follower has the keys %q", edge.follower.Keys)
	}
}
