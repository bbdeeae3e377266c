package cache_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
)

// RFC 9111 section 3.5: what is refused because of a request's credentials says
// nothing about requests without any. The former do not wait for one another any
// more, and the latter still share one fetch.
func TestAuthorizationDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return good("for " + r.Header.Get("Authorization"))()
		})
		began := time.Now()
		var clients sync.WaitGroup
		as := func(who, want string) {
			clients.Go(func() { w.want(http.Header{"Authorization": {who}}, want) })
			synctest.Wait()
		}
		as("a", "pass/uncacheable: for a")
		clients.Go(func() { w.want(nil, "miss/absent: for ") })
		clients.Go(func() { w.want(nil, "miss/absent: for ") })
		clients.Wait()
		if asked, took := w.up.asked.Load(), time.Since(began); asked != 2 || took != 2*time.Second {
			t.Errorf("asked %d times in %v; want 2 times in 2s", asked, took)
		}
		time.Sleep(2 * time.Minute)
		as("a", "pass/uncacheable: for a")
		clients.Wait()
		began = time.Now()
		as("a", "pass/uncacheable: for a")
		as("b", "pass/uncacheable: for b")
		clients.Go(func() { w.want(nil, "miss/expired: for ") })
		clients.Go(func() { w.want(nil, "miss/expired: for ") })
		clients.Wait()
		if asked, took := w.up.asked.Load(), time.Since(began); asked != 6 || took != time.Second {
			t.Errorf("asked %d times in %v; want 6 times in 1s", asked, took)
		}
		w.want(http.Header{"Authorization": {"a"}}, "hit/fresh: for ")
	})
}

// What one client has said to the origin, and been told, takes nothing away from
// the others: the object is validated as ever afterwards.
func TestStoredOutlivesOneClient(t *testing.T) {
	for _, c := range []struct {
		name, field, got string
		status           int
	}{
		{"RFC 9111 3.5 a 304", "Authorization", "revalidated/expired: body", 304},
		{"RFC 9111 3.5 a 200", "Authorization", "pass/uncacheable: other", 200},
		{"RFC 9110 15.5.1 its request was bad", "X-Bad", "pass/uncacheable: other", 400},
		{"RFC 6585 4 it asks too often", "X-Bad", "pass/uncacheable: other", 429},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				w := newWorld(t, cache.Options{}, func(r *http.Request) (*http.Response, error) {
					asked.Add(1)
					fields := []string{"Cache-Control", "max-age=60", "ETag", `"1"`}
					switch {
					case r.Header.Get(c.field) != "" && c.status > 304:
						return reply(c.status, "other"), nil
					case r.Header.Get(c.field) != "" && c.status == 200:
						return reply(200, "other", "Cache-Control", "max-age=60"), nil
					case strings.Contains(r.Header.Get("If-None-Match"), `"1"`):
						return reply(304, "", fields...), nil
					}
					return reply(200, "body", fields...), nil
				})
				w.want(nil, "miss/absent: body")
				time.Sleep(2 * time.Minute)
				w.want(http.Header{c.field: {"x"}}, c.got)
				w.want(nil, "revalidated/expired: body")
				w.want(nil, "hit/fresh: body")
			})
		})
	}
}

// The same for a partial object, of which another block was wanted.
func TestPartOutlivesOneClient(t *testing.T) {
	for _, c := range []struct {
		name, field string
		status      int
	}{
		{"RFC 9110 15.5.2 its credentials are wrong", "Authorization", 401},
		{"RFC 6585 5 its header is too large", "X-Bad", 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, cache.Options{BlockBytes: 8}, func(r *http.Request) (*http.Response, error) {
				if r.Header.Get(c.field) != "" {
					return reply(c.status, "other"), nil
				}
				response := reply(206, "01234567", "Cache-Control", "max-age=60", "ETag", `"1"`,
					"Content-Range", strings.Replace(r.Header.Get("Range"), "=", " ", 1)+"/32")
				return response, nil
			})
			first := func() string {
				a := w.engine.Serve(t.Context(), w.request(http.MethodGet, http.Header{"Range": {"bytes=0-7"}}))
				defer a.Close()
				var b strings.Builder
				if _, err := a.WriteRange(t.Context(), &b, 0, 8); err != nil {
					t.Error(err)
				}
				return a.Outcome.String() + " " + b.String()
			}
			if got := first(); got != "miss 01234567" {
				t.Error(got)
			}
			w.want(http.Header{"Range": {"bytes=8-15"}, c.field: {"x"}}, "pass/uncacheable: other")
			if got := first(); got != "hit 01234567" {
				t.Error(got)
			}
		})
	}
}
