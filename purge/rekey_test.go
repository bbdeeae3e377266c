package purge_test

import (
	"context"
	"testing"

	"weir/purge"
	"weir/purge/memlog"
)

// What a site has stored counts as purged when its key policy changes, but only if
// purges were forgotten that could not be read again under the new one.
func TestChangedKeyOfAForgottenPurge(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		n := newNode(t, "n", memlog.New("e"), nil)
		n.options.Keys = map[string]string{"docs": "one", "blog": "one"}
		n.open()
		if err := n.journal.Reset("e"); err != nil {
			t.Fatal(err)
		}
		n.index.Reset("e")
		for v := uint64(1); v <= 5; v++ {
			r := rec(v, purge.ScopeURL, purge.ModeHard, "/a?utm=1")
			mustAppend(t, n.journal, r)
			n.index.Apply([]purge.Record{r})
		}
		if forgotten {
			s, err := purge.NewSweeper(purge.SweeperOptions{
				Index: n.index, Journal: n.journal, TargetsMin: 1,
				Sweep: func(context.Context, func() bool) (purge.Swept, error) {
					return purge.Swept{Epoch: "e", Version: 6, Noted: 6}, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			// Below 6, a sweep before this start could have noted something.
			for v := uint64(6); v <= 7; v++ {
				r := rec(v, purge.ScopeURL, purge.ModeHard, "/b")
				mustAppend(t, n.journal, r)
				n.index.Apply([]purge.Record{r})
			}
			if err := s.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		swept := n.index.Stats().Swept
		if forgotten != (swept == 6) {
			t.Fatalf("forgotten up to %d", swept)
		}
		applied := n.index.Applied()
		for start, keys := range []string{"one", "two", "two"} {
			if err := n.journal.Close(); err != nil {
				t.Fatal(err)
			}
			n.options.Keys = map[string]string{"docs": keys, "blog": "one", "new": "one"}
			n.open()
			for site, want := range map[string]uint64{"docs": applied, "blog": swept, "new": swept} {
				if start == 0 || !forgotten {
					want = swept
				}
				if hard, _ := n.index.Covering(site, "h", "/other", nil); hard != want {
					t.Errorf("forgotten %v, start %d: what is stored of %s is covered by %d, want %d", forgotten, start, site, hard, want)
				}
			}
		}
		if err := n.journal.Reset("another"); err != nil {
			t.Fatal(err)
		}
		if err := n.journal.Close(); err != nil {
			t.Fatal(err)
		}
		n.open()
		if hard, _ := n.index.Covering("docs", "h", "/other", nil); hard != 0 {
			t.Errorf("in another log it is covered by %d", hard)
		}
		if err := n.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
