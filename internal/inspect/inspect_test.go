package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/purge"
	"weir/purge/natslog"
	"weir/storage"
	"weir/storage/disk"
	"weir/storage/memory"
	"weir/storage/storagetest"
	"weir/storage/tiered"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// held is a node with stores, behind an API behind a server.
type held struct {
	Client
	memory *memory.Store
	disk   *disk.Store
	both   storage.Store
	dir    string
	asked  int
}

// hold makes one; iad is away.
func hold(t *testing.T) *held {
	t.Helper()
	h := &held{memory: memory.New(memory.Options{BudgetBytes: 16 << 20}), dir: t.TempDir()}
	var err error
	if h.disk, err = disk.Open(disk.Options{Dir: h.dir, BudgetBytes: 64 << 20, AdmitAll: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(h.disk.Close(), h.memory.Close()) })
	h.both = tiered.New(h.memory, h.disk, tiered.Options{})
	node := &Node{Memory: h.memory, Disk: h.disk, Disks: func() []DiskStat { return []DiskStat{{Dir: h.dir, State: "online"}} }}
	answer := node.Answerer(t.Context())
	api, err := NewAPI(APIOptions{Nodes: []string{"ams", "iad"}, Ask: func(_ context.Context, name string, q []byte) ([]byte, error) {
		if name == "iad" {
			return nil, fmt.Errorf("ask: %w", natslog.ErrAway)
		}
		h.asked++
		text := answer(q)
		if len(text) > 1<<20 {
			t.Errorf("an answer of %d bytes", len(text))
		}
		return text, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	h.Client = Client{URL: server.URL, Node: "ams", HTTP: server.Client()}
	return h
}

func put(t *testing.T, s storage.Store, name string, id uint64, n int64) string {
	t.Helper()
	if err := storagetest.Put(s, name, id, n); err != nil {
		t.Fatal(err)
	}
	return storage.KeyOf(name).String()
}

// listed gives the tiers of each key, asked for in pieces of limit.
func (h *held) listed(t *testing.T, limit int) map[string]string {
	t.Helper()
	all := map[string]string{}
	for after := ""; ; {
		p, err := h.List(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Objects) > limit {
			t.Errorf("%d objects", len(p.Objects))
		}
		for _, o := range p.Objects {
			if all[o.Key] != "" {
				t.Errorf("%s is listed twice", o.Key)
			}
			all[o.Key] = strings.Join(o.Tiers, "+")
		}
		if after = p.Next; after == "" {
			return all
		}
	}
}

func TestListHasEachObjectOnce(t *testing.T) {
	h := hold(t)
	want := map[string]string{}
	for i := range 300 {
		name := fmt.Sprint(i)
		switch i % 3 {
		case 0:
			want[put(t, h.both, name, uint64(i), 1000)] = "memory+disk"
		case 1:
			want[put(t, h.disk, name, uint64(i), 1000)] = "disk"
		default:
			want[put(t, h.memory, name, uint64(i), 1000)] = "memory"
		}
	}
	for _, limit := range []int{500, 7} {
		got := h.listed(t, limit)
		for k, tiers := range want {
			if got[k] != tiers {
				t.Errorf("by %d: %s is in %q, want %q", limit, k, got[k], tiers)
			}
		}
		if len(got) != len(want) {
			t.Errorf("by %d: %d objects, want %d", limit, len(got), len(want))
		}
	}
	s, err := h.Stat(t.Context())
	if err != nil || len(s.Tiers) != 2 || s.Tiers[0].Objects != 200 || s.Tiers[1].Objects != 200 || s.Disks[0].State != "online" {
		t.Errorf("stat: %+v, %v", s, err)
	}
}

func TestDumpStreamsInPieces(t *testing.T) {
	h := hold(t)
	const size = 3*pieceBytesMax + 12345
	for _, store := range []storage.Store{h.disk, h.memory} {
		key := put(t, store, "long", 9, size)
		o, err := h.Object(t.Context(), key)
		if err != nil || o.Bytes != size || o.Header != "Content-Type: text/plain\r\n" {
			t.Fatalf("%+v, %v", o, err)
		}
		var b bytes.Buffer
		h.asked = 0
		if err := h.WriteBody(t.Context(), o, &b); err != nil || !bytes.Equal(b.Bytes(), storagetest.Body(9, size)) {
			t.Errorf("%d bytes, %v", b.Len(), err)
		}
		if h.asked != 5 {
			t.Errorf("asked %d times", h.asked)
		}
		o.BodyID++
		if err := h.WriteBody(t.Context(), o, &b); status(err) != http.StatusConflict {
			t.Errorf("another body: %v", err)
		}
		_ = store.Delete(storage.KeyOf("long"))
	}
	empty, err := h.Object(t.Context(), put(t, h.both, "empty", 10, 0))
	if err = errors.Join(err, h.WriteBody(t.Context(), empty, &bytes.Buffer{})); err != nil {
		t.Error(err)
	}
}

func status(err error) int {
	if said := new(purge.RefusedError); errors.As(err, &said) {
		return said.Status
	}
	return 0
}

// verifyAll gives what a whole verification found, and how long it took.
func (h *held) verifyAll(t *testing.T, rate int64) (all Verified, took time.Duration) {
	t.Helper()
	began := time.Now()
	for after := ""; ; {
		v, err := h.Verify(t.Context(), after, rate)
		if err != nil {
			t.Fatal(err)
		}
		all.Good += v.Good
		all.Bytes += v.Bytes
		all.Bad = append(all.Bad, v.Bad...)
		if after = v.Next; after == "" {
			return all, time.Since(began)
		}
	}
}

func TestVerifyFindsDamageAtItsRate(t *testing.T) {
	h := hold(t)
	for i := range 150 {
		put(t, h.disk, fmt.Sprint(i), uint64(i), 20_000)
	}
	long := put(t, h.disk, "long", 1000, 5<<20)
	bad := put(t, h.disk, "bad", 1001, 300_000)
	all, took := h.verifyAll(t, 16<<20)
	const bytesOf = 150*20_000 + 5<<20 + 300_000
	if all.Good != 152 || len(all.Bad) != 0 || all.Bytes < bytesOf {
		t.Errorf("%+v", all)
	}
	if least := time.Duration(bytesOf) * time.Second / (16 << 20); took < least*8/10 {
		t.Errorf("%d bytes in %v: faster than the rate", all.Bytes, took)
	}
	time.Sleep(1500 * time.Millisecond) // it is written
	path := filepath.Join(h.dir, "regions.log")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, storagetest.Body(1001, 300_000)[:1000])
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil || at < 0 {
		t.Fatal(at, err)
	}
	_, err = f.WriteAt([]byte{b[at+200_000] ^ 1}, int64(at+200_000))
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	all, _ = h.verifyAll(t, RateMax)
	if all.Good != 151 || len(all.Bad) != 1 || all.Bad[0].Key != bad || !strings.Contains(all.Bad[0].Error, "checksum") {
		t.Errorf("damaged: %+v", all)
	}
	if all, _ = h.verifyAll(t, RateMax); all.Good != 151 || len(all.Bad) != 0 {
		t.Errorf("it has not been dropped: %+v", all)
	}
	if _, err := h.Object(t.Context(), long); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	h := hold(t)
	key := put(t, h.both, "a", 1, 1000)
	for _, row := range []struct {
		node, path string
		status     int
		want       string
	}{
		{"fra", "stat", 404, "there are ams, iad"},
		{"iad", "stat", 503, "away"},
		{"ams", "nothing", 404, "stat, verify and objects"},
		{"ams", "objects?limit=0", 400, "from 1 to 500"},
		{"ams", "objects?limit=501", 400, "from 1 to 500"},
		{"ams", "objects?after=tape:1", 400, "no place to go on at"},
		{"ams", "objects?after=disk:x", 400, "no place to go on at"},
		{"ams", "objects?after=memory:-1", 400, "no place to go on at"},
		{"ams", "verify?after=x", 400, "no place to go on at"},
		{"ams", "verify?rate=1", 400, "rate"},
		{"ams", "objects/x", 400, "no key"},
		{"ams", "objects/" + strings.Repeat("0", 32), 404, "not found"},
		{"ams", "objects/" + key, 200, `"memory","disk"`},
		{"ams", "objects/" + key + "/body?id=7", 409, "changed"},
		{"ams", "objects/" + key + "/body?%", 400, "query"},
	} {
		response, err := h.HTTP.Get(h.URL + PathPrefix + row.node + "/" + row.path)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		_, err = b.ReadFrom(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != row.status || !strings.Contains(b.String(), row.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", row.node, row.path, response.StatusCode, b.String(), row.status, row.want)
		}
	}
}

// A token that is for some sites sees these, and nothing that is about all of them.
func TestTokensAreAsForTheRestOfTheAPI(t *testing.T) {
	h := hold(t)
	key := put(t, h.both, "a", 1, 1000) // of storagetest's site
	node := (&Node{Memory: h.memory, Disk: h.disk}).Answerer(t.Context())
	caches, err := NewAPI(APIOptions{Nodes: []string{"ams"}, Ask: func(_ context.Context, _ string, q []byte) ([]byte, error) { return node(q), nil }})
	if err != nil {
		t.Fatal(err)
	}
	site := storagetest.Meta("a", 1, 0).Site
	api, err := purge.NewAPI(purge.APIOptions{
		Token: "all-of-the-sites", Append: func(context.Context, purge.Record) (uint64, error) { return 0, nil }, Nodes: purge.NewNodes(purge.NodesOptions{}), Cache: caches,
		Tokens: []purge.Token{
			{Name: "own", Hash: purge.HashToken("own"), Sites: []string{site}}, {Name: "other", Hash: purge.HashToken("other"), Sites: []string{"else"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		token, path string
		status      int
		sees        bool
	}{
		{"all-of-the-sites", "objects", 200, true}, {"own", "objects", 200, true}, {"other", "objects", 200, false},
		{"own", "objects/" + key, 200, true}, {"other", "objects/" + key, 403, false}, {"other", "objects/" + key + "/body", 403, false},
		{"own", "objects/" + key + "/body", 200, false}, {"own", "stat", 403, false}, {"own", "verify", 403, false},
		{"all-of-the-sites", "stat", 200, false}, {"all-of-the-sites", "verify", 200, false}, {"guess", "objects", 401, false},
	} {
		r := httptest.NewRequest("GET", PathPrefix+"ams/"+row.path, nil)
		r.Header.Set("Authorization", "Bearer "+row.token)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != row.status || strings.Contains(w.Body.String(), key) != row.sees {
			t.Errorf("%s %s: %d %.200s, want %d", row.token, row.path, w.Code, w.Body, row.status)
		}
	}
}

func FuzzQuestion(f *testing.F) {
	f.Add([]byte(`{"op":"ls","after":"disk:0.1.2","limit":3}`))
	f.Add([]byte(`{"op":"verify","after":"{\"a\":\"0.1.2\",\"k\":\"00\",\"o\":-5}","rate":9}`))
	f.Add([]byte(`{"op":"read","key":"000102030405060708090a0b0c0d0e0f","offset":-1}`))
	m := memory.New(memory.Options{BudgetBytes: 1 << 20})
	d, err := disk.Open(disk.Options{Dir: f.TempDir(), BudgetBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = errors.Join(d.Close(), m.Close()) })
	if err := errors.Join(storagetest.Put(m, "a", 1, 100), storagetest.Put(d, "b", 2, 100)); err != nil {
		f.Fatal(err)
	}
	answer := (&Node{Memory: m, Disk: d}).Answerer(context.Background())
	f.Fuzz(func(t *testing.T, q []byte) {
		if len(answer(q)) == 0 {
			t.Error("no answer")
		}
	})
}
