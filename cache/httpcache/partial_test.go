package httpcache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/cache/httpcache"
	"weir/cache/rfc9110"
	"weir/cache/rfc9111"
	"weir/storage"
	"weir/storage/disk"
	"weir/storage/memory"
)

// content is one version of a representation; every byte depends on its place
// and on the version.
func content(version int64, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7+i>>8) ^ byte(version*29)
	}
	return b
}

// versioned is an origin that answers ranges of the version that is current.
type versioned struct {
	current atomic.Int64
	size    int
	asked   atomic.Int64
	bytes   atomic.Int64
}

func (v *versioned) RoundTrip(r *http.Request) (*http.Response, error) {
	v.asked.Add(1)
	version := v.current.Load()
	etag := fmt.Sprintf(`"v%d"`, version)
	if r.Header.Get("If-None-Match") == etag {
		return reply(304, "", "ETag", etag, "Cache-Control", "max-age=60"), nil
	}
	body, header := content(version, v.size), http.Header{"Etag": {etag}}
	ranges, verdict := rfc9110.Select(r.Method, r.Header, header, int64(v.size))
	fields := []string{"ETag", etag, "Cache-Control", "max-age=60", "Content-Type", "video/mp4"}
	switch {
	case verdict == rfc9110.Unsatisfiable:
		return reply(416, "", "Content-Range", rfc9110.UnsatisfiedRange(int64(v.size))), nil
	case verdict == rfc9110.Satisfiable && len(ranges) == 1:
		body = body[ranges[0].Start : ranges[0].Start+ranges[0].Length]
		v.bytes.Add(int64(len(body)))
		return reply(206, string(body), append(fields, "Content-Range", ranges[0].ContentRange(int64(v.size)))...), nil
	}
	v.bytes.Add(int64(len(body)))
	return reply(200, string(body), fields...), nil
}

// partialHandler serves from an engine with small blocks.
func partialHandler(t *testing.T, store storage.Store, up http.RoundTripper) *httpcache.Handler {
	t.Helper()
	engine, err := cache.New(cache.Options{Node: "edge", Store: store, Purges: purges{}, BlockBytes: 512})
	if err != nil {
		t.Fatal(err)
	}
	sites := httpcache.NewSites()
	if err := sites.Add(&cache.Site{Name: "s", Upstream: up, Policy: rfc9111.Policy{}}, "*"); err != nil {
		t.Fatal(err)
	}
	h, err := httpcache.New(httpcache.Options{Node: "edge", Engine: engine, Sites: sites})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := engine.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// ask gives the response, and false if it broke off.
func ask(h http.Handler, fields ...string) (rec *httptest.ResponseRecorder, whole bool) {
	r := httptest.NewRequest(http.MethodGet, "http://a.test/video", nil)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	rec = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	h.ServeHTTP(rec, r)
	return rec, true
}

// checkParts compares a whole answer with the version that its ETag names.
func checkParts(rec *httptest.ResponseRecorder, size int) error {
	var version int64
	if _, err := fmt.Sscanf(rec.Header().Get("ETag"), `"v%d"`, &version); err != nil {
		return fmt.Errorf("status %d, ETag %q: %w", rec.Code, rec.Header().Get("ETag"), err)
	}
	want := content(version, size)
	same := func(contentRange string, got []byte) error {
		r, whole, ok := rfc9110.ParseContentRange(contentRange)
		if !ok || whole != int64(size) || !bytes.Equal(got, want[r.Start:r.Start+r.Length]) {
			return fmt.Errorf("Content-Range %q: %d bytes that are not version %d's", contentRange, len(got), version)
		}
		return nil
	}
	switch media, params, _ := mime.ParseMediaType(rec.Header().Get("Content-Type")); {
	case rec.Code == 200:
		if !bytes.Equal(rec.Body.Bytes(), want) {
			return fmt.Errorf("a whole of %d bytes that is not version %d", rec.Body.Len(), version)
		}
	case media == "multipart/byteranges":
		for parts := multipart.NewReader(rec.Body, params["boundary"]); ; {
			part, err := parts.NextPart()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			got, err := io.ReadAll(part)
			if err != nil {
				return err
			}
			if err := same(part.Header.Get("Content-Range"), got); err != nil {
				return err
			}
		}
	case rec.Code == 206:
		return same(rec.Header().Get("Content-Range"), rec.Body.Bytes())
	default:
		return fmt.Errorf("status %d", rec.Code)
	}
	return nil
}

func randomRange(size int) string {
	at := func() int { return rand.IntN(size) }
	one := func() string {
		switch a, b := at(), at(); rand.IntN(4) {
		case 0:
			return fmt.Sprintf("%d-", a)
		case 1:
			return fmt.Sprintf("-%d", 1+a)
		default:
			return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
		}
	}
	if rand.IntN(4) == 0 {
		a := rand.IntN(size / 4)
		return fmt.Sprintf("bytes=%d-%d, %d-%d", a, a+9, size/2+a, size/2+a+700)
	}
	return "bytes=" + one()
}

// Whatever ranges clients want, at once, of a representation that changes, from
// a store that has too little room for it: each answer that ends well is of one
// version, byte for byte (RFC 9110 section 15.3.7.3).
func TestPartialNeverMixes(t *testing.T) {
	const size = 20_000
	for name, open := range map[string]func() storage.Store{
		"memory": func() storage.Store { return memory.New(memory.Options{BudgetBytes: 4 << 20}) },
		"little": func() storage.Store {
			return memory.New(memory.Options{BudgetBytes: 40 << 10, ObjectBytesMax: 4 << 10})
		},
		"disk": func() storage.Store {
			s, err := disk.Open(disk.Options{Dir: t.TempDir(), BudgetBytes: 4 << 20})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			origin := &versioned{size: size}
			h := partialHandler(t, open(), origin)
			var group sync.WaitGroup
			var good, broken atomic.Int64
			for range 8 {
				group.Go(func() {
					for i := range 100 {
						if rand.IntN(100) == 0 {
							origin.current.Add(1)
						}
						fields := []string{"Range", randomRange(size)}
						if i%20 == 0 {
							fields = nil
						}
						rec, whole := ask(h, fields...)
						if !whole {
							broken.Add(1)
							continue
						}
						good.Add(1)
						if err := checkParts(rec, size); err != nil {
							t.Errorf("%v: %v", fields, err)
						}
					}
				})
			}
			group.Wait()
			if good.Load() < broken.Load() {
				t.Errorf("%d answers ended well, %d broke off", good.Load(), broken.Load())
			}
		})
	}
}

// A seek costs the blocks that it touches, however large the whole.
func TestPartialCost(t *testing.T) {
	origin := &versioned{size: 1 << 20}
	h := partialHandler(t, memory.New(memory.Options{BudgetBytes: 16 << 20}), origin)
	for _, row := range []struct {
		field       string
		asked, cost int64
	}{
		{"bytes=600000-600009", 1, 512},
		{"bytes=600000-600009", 0, 0},
		{"bytes=600060-600070", 1, 512},
		{"bytes=0-511", 1, 512},
		{"bytes=0-511,600000-600010", 0, 0},
		{"bytes=-10", 1, 512},
	} {
		asked, cost := origin.asked.Load(), origin.bytes.Load()
		rec, whole := ask(h, "Range", row.field)
		if !whole || rec.Code != 206 {
			t.Fatalf("%s: status %d, whole: %t", row.field, rec.Code, whole)
		}
		if asked, cost = origin.asked.Load()-asked, origin.bytes.Load()-cost; asked != row.asked || cost != row.cost {
			t.Errorf("%s: %d requests and %d bytes; want %d and %d", row.field, asked, cost, row.asked, row.cost)
		}
		if !strings.Contains(rec.Header().Get("Cache-Status"), map[bool]string{true: "edge;hit", false: "fwd="}[row.cost == 0]) {
			t.Errorf("%s: Cache-Status: %s", row.field, rec.Header().Get("Cache-Status"))
		}
	}
}
