package memlog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"weir/purge"
	"weir/purge/memlog"
)

func TestLinkDelaysDropsAndCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("e")
		link := log.Link()
		feed, err := link.Follow(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer feed.Close()
		add := func() {
			if _, err := log.Append(t.Context(), purge.Record{Site: "docs", Scope: purge.ScopeSite, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		next := func(want uint64, after time.Duration) {
			t.Helper()
			began := time.Now()
			batch, err := feed.Next(t.Context())
			if err != nil || len(batch) != 1 || batch[0].Version != want || time.Since(began) != after {
				t.Errorf("got %+v, %v after %s; want version %d after %s", batch, err, time.Since(began), want, after)
			}
		}
		add()
		next(1, 0)
		link.Delay(70 * time.Millisecond)
		add()
		next(2, 70*time.Millisecond)
		link.Delay(0)
		link.Drop(1)
		add()
		add()
		next(4, 0)

		link.Partition(true)
		add()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := feed.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a cut link delivers: %v", err)
		}
		if _, err := link.State(t.Context()); !errors.Is(err, memlog.ErrPartitioned) {
			t.Errorf("State over a cut link: %v", err)
		}
		if s, err := log.Link().State(t.Context()); err != nil || s != (purge.LogState{Epoch: "e", First: 1, Last: 5}) {
			t.Errorf("State over another: %+v, %v", s, err)
		}
		link.Partition(false)
		next(5, 0)
		log.Replace("f")
		if _, err := feed.Next(t.Context()); !errors.Is(err, memlog.ErrReplaced) {
			t.Errorf("feed of a replaced log: %v", err)
		}
	})
}
