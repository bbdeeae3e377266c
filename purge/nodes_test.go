package purge_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
)

func TestReceiptsHaveTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := purge.NewNodes(purge.NodesOptions{Names: []string{"ams", "lax"}, Epoch: "e"})
		given := time.Now()
		time.Sleep(2 * time.Millisecond)
		// lax confirms before control's own call to the log has returned.
		n.Observe(purge.Announcement{Node: "lax", Applied: 1, Epoch: "e"})
		n.Accepted(1, given)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var order []string
		go func() {
			time.Sleep(3500 * time.Microsecond)
			n.Observe(purge.Announcement{Node: "ams", Applied: 5, Epoch: "e"})
		}()
		confirmed, missing := n.Watch(ctx, 1, nil, func(r purge.Receipt) {
			order = append(order, fmt.Sprintf("%s %d %.1f", r.Node, r.Version, *r.MS))
		})
		if want := []string{"lax 1 2.0", "ams 5 5.5"}; !slices.Equal(order, want) || len(confirmed) != 2 || missing != nil {
			t.Errorf("order %q, want %q; confirmed %v, missing %v", order, want, confirmed, missing)
		}
	})
}

func TestWaitNamesWhoIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := purge.NewNodes(purge.NodesOptions{Names: []string{"ams", "lax", "nrt"}, Epoch: "new"})
		n.Observe(purge.Announcement{Node: "ams", Applied: 7, Epoch: "new"})
		n.Observe(purge.Announcement{Node: "lax", Applied: 900, Epoch: "old"}) // of another log
		n.Observe(purge.Announcement{Node: "who", Applied: 900, Epoch: "new"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		confirmed, missing := n.Wait(ctx, 7, nil)
		if !slices.Equal(missing, []string{"lax", "nrt"}) || len(confirmed) != 1 || confirmed[0].MS != nil {
			t.Errorf("confirmed %+v, missing %v", confirmed, missing)
		}
		if confirmed, missing := n.Wait(t.Context(), 7, []string{"ams"}); len(confirmed) != 1 || missing != nil {
			t.Errorf("confirmed %+v, missing %v", confirmed, missing)
		}
		if _, missing := n.Wait(ctx, 7, []string{"atlantis"}); len(missing) != 1 {
			t.Errorf("missing = %v, want the unknown node", missing)
		}
		list := n.List()
		if n.Ignored() != 1 || list[0].Applied != 7 || list[1].Applied != 0 || list[1].Seen.IsZero() || !list[2].Seen.IsZero() {
			t.Errorf("ignored %d, list %+v", n.Ignored(), list)
		}
	})
}

// A node that starts from nothing confirms less; what it confirmed stays true.
func TestNodeThatStartsAnew(t *testing.T) {
	n := purge.NewNodes(purge.NodesOptions{Names: []string{"ams"}, Epoch: "e"})
	n.Observe(purge.Announcement{Node: "ams", Applied: 9, Epoch: "e"})
	n.Observe(purge.Announcement{Node: "ams", Applied: 2, Epoch: "e"})
	if list := n.List(); list[0].Applied != 2 {
		t.Errorf("applied %d, want 2", list[0].Applied)
	}
	if _, missing := n.Wait(t.Context(), 9, nil); missing != nil {
		t.Error("a confirmed purge is missing again")
	}
}

func TestReceiptsAreKeptForTheNewestVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := purge.NewNodes(purge.NodesOptions{Names: []string{"ams"}, Epoch: "e", VersionsMax: 10})
		for v := uint64(1); v <= 25; v++ {
			n.Accepted(v, time.Now())
			time.Sleep(time.Millisecond)
		}
		n.Observe(purge.Announcement{Node: "ams", Applied: 25, Epoch: "e"})
		n.Accepted(3, time.Now()) // long gone
		for v, want := range map[uint64]float64{25: 1, 16: 10} {
			if got, _ := n.Wait(t.Context(), v, nil); len(got) != 1 || got[0].MS == nil || *got[0].MS != want {
				t.Errorf("version %d: %+v, want %v ms", v, got, want)
			}
		}
		for _, v := range []uint64{3, 15} {
			if got, _ := n.Wait(t.Context(), v, nil); len(got) != 1 || got[0].MS != nil {
				t.Errorf("version %d: %+v, want no time", v, got)
			}
		}
		n.Observe(purge.Announcement{Node: "ams", Applied: 1 << 60, Epoch: "e"}) // and no long loop
	})
}
