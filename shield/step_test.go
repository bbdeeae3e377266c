package shield

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
)

// An answer from after a purge waits until the purge is applied here, no other
// waits, and after one that has waited in vain none does for a while.
func TestAnswersKeepStep(t *testing.T) {
	for _, row := range []struct {
		name    string
		stamp   string
		comes   bool // the purge
		waits   int64
		applied uint64 // when the answer is given
	}{
		{"as new as this node", cache.Version("log", 3), true, 0, 3},
		{"older", cache.Version("log", 1), true, 0, 3},
		{"without a stamp", "", true, 0, 3},
		{"of another log", cache.Version("other", 9), true, 0, 3},
		{"newer", cache.Version("log", 4), true, 1, 4},
		{"newer, and the purge does not come", cache.Version("log", 4), false, 1, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if row.stamp != "" {
					w.Header().Set(cache.StampField, row.stamp)
				}
			}))
			defer s.Close()
			var applied atomic.Uint64
			applied.Store(3)
			var waits atomic.Int64
			c, err := NewClient(ClientOptions{
				Token: "t", Shields: []Peer{{Name: "s", URL: s.URL}},
				Position: func() (string, uint64) { return "log", applied.Load() },
				WaitPosition: func(ctx context.Context, epoch string, version uint64) error {
					waits.Add(1)
					if epoch != "log" || version != 4 {
						t.Errorf("waits for %s:%d", epoch, version)
					}
					if row.comes {
						applied.Store(version)
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 3 {
				begun := time.Now()
				r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://www.test/", nil)
				response, err := c.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				if took := time.Since(begun); took > stepWaitMax+2*time.Second {
					t.Errorf("took %v", took)
				}
			}
			if waits.Load() != row.waits || applied.Load() != row.applied {
				t.Errorf("waited %d times, applied %d; want %d, %d", waits.Load(), applied.Load(), row.waits, row.applied)
			}
		})
	}
}
