package cache_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/storage"
	"weir/storage/memory"
)

// A file that lies compressed in a bucket is decoded for who does not take its
// coding: also for the one whose request fetches it.
func TestDecode(t *testing.T) {
	text := prose(200_000)
	for _, coding := range []string{"zstd", "br", "gzip"} {
		for _, length := range []string{"known", "unknown"} {
			t.Run(coding+"/"+length, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					file := encoded(t, coding, text)
					w := newWorld(t, cache.Options{}, func(*http.Request) (*http.Response, error) {
						r := reply(200, file, append(slices.Clone(html), "Content-Encoding", coding)...)
						if length == "unknown" {
							r.ContentLength = -1
						}
						return r, nil
					})
					w.site.Encodings = compressing()
					for i, want := range []struct{ accept, outcome, coding, etag string }{
						{"", "miss", "", `"abc-identity1"`},
						{"", "hit", "", `"abc-identity1"`},
						{"deflate", "hit", "", `"abc-identity1"`},
						{coding, "hit", coding, `"abc"`},
						{"*;q=0.5", "hit", coding, `"abc"`},
						{coding + ";q=0, *", "hit", "", `"abc-identity1"`},
					} {
						var fields []string
						if want.accept != "" {
							fields = []string{"Accept-Encoding", want.accept}
						}
						g := w.ask(fields...)
						if g.outcome.String() != want.outcome || g.coding != want.coding || g.etag != want.etag || !g.vary || decoded(t, g.coding, g.raw) != text {
							t.Errorf("request %d: %s in %q, tag %s, %d bytes", i, g.outcome, g.coding, g.etag, len(g.raw))
						}
					}
					if n := w.derived(cache.DerivationDone); n != 1 || w.up.asked.Load() != 1 {
						t.Errorf("%d derivations, %d fills", n, w.up.asked.Load())
					}
				})
			})
		}
	}
}

// What cannot or may not be decoded goes out as it is stored, and is tried once.
func TestNotDecoded(t *testing.T) {
	whole := encoded(t, "gzip", prose(200_000))
	bomb := encoded(t, "gzip", strings.Repeat("\x00", 2<<20))
	for _, tt := range []struct {
		name, body string
		fields     []string
		result     cache.DerivationResult
		tries      int64
	}{
		{"a bomb", bomb, nil, cache.DerivationBomb, 1},
		{"a bomb in brotli", encoded(t, "br", strings.Repeat("\x00", 2<<20)), []string{"Content-Encoding", "br"}, cache.DerivationBomb, 1},
		{"a bomb in zstd", encoded(t, "zstd", strings.Repeat("\x00", 2<<20)), []string{"Content-Encoding", "zstd"}, cache.DerivationBomb, 1},
		{"truncated", whole[:len(whole)/2], nil, cache.DerivationBroken, 1},
		{"truncated brotli", encoded(t, "br", prose(200_000))[:900], []string{"Content-Encoding", "br"}, cache.DerivationBroken, 1},
		{"truncated zstd", encoded(t, "zstd", prose(200_000))[:900], []string{"Content-Encoding", "zstd"}, cache.DerivationBroken, 1},
		{"another coding than it says", whole, []string{"Content-Encoding", "zstd"}, cache.DerivationBroken, 1},
		{"no coding at all", prose(3000), nil, cache.DerivationBroken, 1},
		{"something behind its end", whole + "garbage", nil, cache.DerivationBroken, 1},
		{"something behind its end, brotli", encoded(t, "br", prose(9000)) + "garbage", []string{"Content-Encoding", "br"}, cache.DerivationBroken, 1},
		{"empty", "", nil, cache.DerivationBroken, 1},
		{"no-transform", whole, []string{"Cache-Control", "max-age=60, no-transform"}, 0, 0},
		{"an archive", whole, []string{"Content-Type", "application/gzip"}, 0, 0},
		{"a file that is no text", whole, []string{"Content-Type", "application/octet-stream"}, 0, 0},
		{"several codings", whole, []string{"Content-Encoding", "br, gzip"}, 0, 0},
		{"the origin negotiates", whole, []string{"Vary", "Accept-Encoding"}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := reply(200, "", append(slices.Clone(html), "Content-Encoding", "gzip")...)
				for i := 0; i < len(tt.fields); i += 2 {
					r.Header.Set(tt.fields[i], tt.fields[i+1])
				}
				var fields []string
				for name := range r.Header {
					fields = append(fields, name, r.Header.Get(name))
				}
				w := newCodingWorld(t, tt.body, fields...)
				for range 3 {
					if g := w.ask(); g.raw != tt.body || g.coding != r.Header.Get("Content-Encoding") || g.etag != `"abc"` {
						t.Errorf("%s: %d bytes in %q, tag %s", g.outcome, len(g.raw), g.coding, g.etag)
					}
				}
				if all := w.derived(cache.DerivationResults[:]...); all != tt.tries || w.derived(tt.result) != tt.tries {
					t.Errorf("%d derivations, %d of them %s; want %d", all, w.derived(tt.result), tt.result, tt.tries)
				}
			})
		})
	}
}

// A fill that takes longer than a client waits goes out as it arrives, and so
// does one that the store does not keep.
func TestDecodeDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := encoded(t, "gzip", prose(200_000))
		body, writer := io.Pipe()
		w := newWorld(t, cache.Options{FillWait: 5 * time.Second}, func(*http.Request) (*http.Response, error) {
			r := reply(200, "", append(slices.Clone(html), "Content-Encoding", "gzip")...)
			r.Body, r.ContentLength = body, int64(len(file))
			return r, nil
		})
		w.site.Encodings = compressing()
		go func() {
			_, _ = io.WriteString(writer, file[:100])
			time.Sleep(20 * time.Second)
			_, _ = io.WriteString(writer, file[100:])
			_ = writer.Close()
		}()
		began := time.Now()
		a := w.engine.Serve(t.Context(), w.request(http.MethodGet, nil))
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("waited %v for what does not land, want 5 s", waited)
		}
		var b bytes.Buffer
		if _, err := a.WriteRange(t.Context(), &b, 0, -1); err != nil || b.String() != file {
			t.Errorf("%d bytes, %v", b.Len(), err)
		}
		a.Close()
		if g := w.ask(); g.coding != "" || g.raw != prose(200_000) {
			t.Errorf("then %s in %q", g.outcome, g.coding)
		}
	})
}

// A part of what lies compressed is of no use to who does not take it: the whole
// is fetched, and the part is one of the text.
func TestDecodeWhatIsStoredInParts(t *testing.T) {
	text := prose(200_000)
	file := encoded(t, "gzip", text)
	for name, fields := range map[string][]string{"a part": {"Range", "bytes=1000-1099"}, "the whole": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := partWorld(t, file, append(slices.Clone(html), "Content-Encoding", "gzip")...)
				w.ask("Accept-Encoding", "gzip", "Range", "bytes=1000-1099")
				for range 2 {
					if g := w.ask(fields...); g.coding != "" || g.etag != `"abc-identity1"` || g.raw != text {
						t.Errorf("%s in %q, tag %s, %d bytes", g.outcome, g.coding, g.etag, len(g.raw))
					}
				}
				if n := w.derived(cache.DerivationDone); n != 1 {
					t.Errorf("%d derivations, want 1", n)
				}
			})
		})
	}
}

// created keeps the keys of what is put into a store.
type created struct {
	storage.Store
	keys []storage.Key
}

func (c *created) Create(k storage.Key, m *storage.Meta) (storage.Writer, error) {
	c.keys = append(c.keys, k)
	return c.Store.Create(k, m)
}

// What was decoded for a client who cannot read the coded file, and has been
// evicted, is decoded again for the next one; what is merely smaller has time.
func TestEvictedDerivation(t *testing.T) {
	for _, tt := range []struct {
		name, stored, accept, want string
		again                      int64
	}{
		{"needed", "gzip", "identity", "", 2},
		{"of use", "", "gzip", "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &created{Store: memory.New(memory.Options{BudgetBytes: 64 << 20, ObjectBytesMax: 32 << 20})}
				body, fields := prose(20_000), html
				if tt.stored != "" {
					body, fields = encoded(t, tt.stored, body), append(slices.Clone(html), "Content-Encoding", tt.stored)
				}
				w := newWorld(t, cache.Options{Store: store}, func(*http.Request) (*http.Response, error) { return reply(200, body, fields...), nil })
				w.site.Encodings = compressing()
				w.ask("Accept-Encoding", "gzip, identity") // stored as it is
				w.ask("Accept-Encoding", tt.accept)
				synctest.Wait()
				if err := store.Delete(store.keys[len(store.keys)-1]); err != nil { // the derived object
					t.Error(err)
				}
				if g := w.ask("Accept-Encoding", tt.accept); g.coding != tt.want {
					t.Errorf("%s in %q, want %q", g.outcome, g.coding, tt.want)
				}
				synctest.Wait()
				if n := w.derived(cache.DerivationDone); n != tt.again {
					t.Errorf("%d derivations, want %d", n, tt.again)
				}
			})
		})
	}
}
