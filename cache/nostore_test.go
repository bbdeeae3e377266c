package cache_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
)

// RFC 9111 section 5.2.1.5: a request that says no-store neither owns a fill
// that others join nor joins one, and takes nothing away from the store.
func TestRequestNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noStore := http.Header{"Cache-Control": {"no-store"}}
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if r.Header.Get("If-None-Match") != "" {
				return reply(304, "", "ETag", `"1"`), nil
			}
			return reply(200, "x", "Cache-Control", "max-age=60, stale-while-revalidate=60", "ETag", `"1"`), nil
		})
		began := time.Now()
		var clients sync.WaitGroup
		clients.Go(func() { w.want(noStore, "pass/request-no-store: x") })
		clients.Go(func() { w.want(nil, "miss/absent: x") })
		clients.Go(func() { w.want(noStore, "pass/request-no-store: x") })
		clients.Wait()
		if asked, took := w.up.asked.Load(), time.Since(began); asked != 3 || took != time.Second {
			t.Errorf("asked %d times in %v; want 3 times in 1s", asked, took)
		}
		w.want(noStore, "hit/fresh: x")
		time.Sleep(90 * time.Second)
		w.want(noStore, "pass/request-no-store: x")
		w.want(nil, "stale/stale-while-revalidate: x")
	})
}
