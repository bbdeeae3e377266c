package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/internal/lab/bucket"
	"weir/internal/lab/s3server"
	"weir/origin"
	"weir/origin/release"
	"weir/purge"
)

func TestMain(m *testing.M) {
	var known []goleak.Option
	for _, name := range s3server.Lingering() {
		known = append(known, goleak.IgnoreAnyFunction(name))
	}
	goleak.VerifyTestMain(m, known...)
}

// labStore starts the lab's S3 server with one bucket.
func labStore(t *testing.T) bucket.S3URL {
	t.Helper()
	server, err := s3server.Start(t.Context(), s3server.Options{Dir: t.TempDir(), AccessKey: "lab", SecretKey: "lab-secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	keys := bucket.S3URL{Endpoint: server.Addr(), Bucket: "site", AccessKey: "lab", SecretKey: "lab-secret"}
	fillRaw(t, keys)
	return keys
}

// fillRaw makes the bucket as it is before there are releases.
func fillRaw(t *testing.T, keys bucket.S3URL) {
	t.Helper()
	if _, err := bucket.Sync(t.Context(), bucket.Options{S3: keys}, site(t, map[string]string{"index.html": "raw", "raw.txt": "raw"})); err != nil {
		t.Fatal(err)
	}
}

func site(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world is a site with a bucket, two nodes that cache what they have asked the
// bucket for until it is purged, and the control that purges it. Everything
// happens in one order: whenever the deploy under test sends a request, and at
// each step of a purge, every node's clients load the site.
type world struct {
	t       *testing.T
	keys    bucket.S3URL
	nodes   []*cachingNode
	control *httptest.Server
	wire    http.Transport

	mu       sync.Mutex
	versions map[string]uint64 // by idempotency key
	requests []purge.Request   // those that got a version
	refuse   int               // status in place of a purge
	silent   bool              // a node never confirms
	unknown  int               // status to who asks for the nodes
	loads    func()            // what clients do; see visit
}

// cachingNode is a node of the world.
type cachingNode struct {
	static  origin.Static
	applied uint64
	stored  map[string]answer
}

type answer struct {
	status int
	body   string
	tags   []string
}

// newWorld makes the site below a prefix of its own.
func newWorld(t *testing.T, keys bucket.S3URL, prefix string) *world {
	t.Helper()
	keys.Prefix = prefix
	w := &world{t: t, keys: keys, versions: map[string]uint64{}}
	fillRaw(t, keys)
	for range 2 {
		n := &cachingNode{stored: map[string]answer{}}
		n.static = origin.Static{Next: w.origin(n), Index: "index.html", NotFound: "/404.html", SlashRedirect: true}
		w.nodes = append(w.nodes, n)
	}
	w.control = httptest.NewServer(http.HandlerFunc(w.purge))
	w.loads = func() {}
	t.Cleanup(func() {
		w.control.Close()
		w.wire.CloseIdleConnections()
	})
	return w
}

// origin is a node's way to the bucket; nil for nobody's, which never reuses a
// pointer.
func (w *world) origin(n *cachingNode) http.RoundTripper {
	w.t.Helper()
	k := w.keys
	s3, err := origin.NewS3(origin.S3Options{Endpoint: k.Endpoint, Bucket: k.Bucket, Prefix: k.Prefix, AccessKey: k.AccessKey, SecretKey: k.SecretKey})
	if err != nil {
		w.t.Fatal(err)
	}
	o := origin.ReleasesOptions{}
	if n != nil {
		o.Position = func() (string, uint64) { return "log", n.applied }
	}
	r := origin.NewReleases(s3, o)
	w.t.Cleanup(func() { _ = r.Close(); _ = s3.Close() })
	return r
}

// get answers a client.
func (n *cachingNode) get(t *testing.T, url string) answer {
	if a, ok := n.stored[url]; ok {
		return a
	}
	a := ask(t, n.static, url)
	n.stored[url] = a
	return a
}

func ask(t *testing.T, via http.RoundTripper, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://www.example.com"+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return answer{}
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Errorf("%s: %v", url, err)
	}
	return answer{resp.StatusCode, string(body), strings.Fields(strings.Join(resp.Header["Surrogate-Key"], " "))}
}

// purge is control: one version for each key, applied by one node after the other.
func (w *world) purge(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.URL.Path == "/v1/nodes" {
		rw.WriteHeader(max(http.StatusOK, w.unknown))
		_, _ = io.WriteString(rw, `{"nodes":[]}`)
		return
	}
	var request purge.Request
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || r.URL.Path != "/v1/purges" {
		w.t.Errorf("%s: %v", r.URL, err)
	}
	if w.refuse != 0 {
		rw.WriteHeader(w.refuse)
		_, _ = io.WriteString(rw, `{"error":"no"}`)
		return
	}
	version, repeated := w.versions[request.Key]
	if !repeated {
		version = uint64(len(w.requests) + 1)
		w.versions[request.Key] = version
		w.requests = append(w.requests, request)
	}
	for _, n := range w.nodes {
		if n.applied < version {
			n.apply(request, version)
		}
		w.loads()
	}
	if w.silent {
		_, _ = fmt.Fprintf(rw, "{\"version\":%d}\n{\"version\":%d,\"nodes\":[],\"missing\":[\"ams\"]}\n", version, version)
		return
	}
	_, _ = fmt.Fprintf(rw, "{\"version\":%d}\n{\"node\":\"ams\",\"version\":%d,\"ms\":1}\n{\"version\":%d,\"nodes\":[{\"node\":\"ams\",\"version\":%d,\"ms\":1}]}\n",
		version, version, version, version)
}

func (n *cachingNode) apply(r purge.Request, version uint64) {
	n.applied = version
	for url, a := range n.stored {
		covered := func(tag string) bool { return slices.Contains(r.Targets, tag) }
		if r.Scope == purge.ScopeSite || slices.ContainsFunc(a.tags, covered) {
			delete(n.stored, url)
		}
	}
}

// options are those of a deploy in the world.
func (w *world) options() Options {
	return Options{
		Site: "lab", Bucket: w.keys, Assets: purge.DefaultAssets(), Parallel: 1, Transport: &w.wire,
		Control: purge.Client{URL: w.control.URL, Token: "t", HTTP: &http.Client{Transport: &w.wire}},
		Out:     w.t.Output(),
	}
}

func (w *world) deploy(dir string, change ...func(*Options)) error {
	o := w.options()
	for _, c := range change {
		c(&o)
	}
	return Run(w.t.Context(), o, dir)
}

func (w *world) mustDeploy(dir string, change ...func(*Options)) {
	w.t.Helper()
	if err := w.deploy(dir, change...); err != nil {
		w.t.Fatal(err)
	}
}

// pointer reads the bucket's pointer past everything.
func (w *world) pointer() *release.Pointer {
	w.t.Helper()
	d, err := open(w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.read(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return d.base
}

// contents lists what the bucket has by hash.
func (w *world) contents() map[release.Sum]object {
	w.t.Helper()
	d, err := open(w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := d.store.list(w.t.Context(), release.ObjectsDir)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// versioned are the files of one release of the site that visit loads: pages that
// name their asset, a page that comes and one that goes, a not-found document.
func versioned(letter string) map[string]string {
	files := map[string]string{
		"index.html":                      "page " + letter,
		"app-" + hexOf[letter] + ".js":    "asset " + letter,
		"style.css":                       "style " + letter,
		"404.html":                        "lost " + letter,
		"same.html":                       "same",
		"only-" + letter + ".html":        "only " + letter,
		"dir-" + letter + "/index.html":   "dir " + letter,
		"dir-" + letter + "/a b/ü,c?.txt": "odd " + letter,
	}
	return files
}

var hexOf = map[string]string{"a": "1a1a1a1a", "b": "2b2b2b2b", "c": "3c3c3c3c"}

// visit loads, at every node, each page that may be there, and then, at every
// node, the asset that the page names.
func (w *world) visit() {
	for _, n := range w.nodes {
		for _, url := range []string{"/", "/index.html", "/?from=x"} {
			page := n.get(w.t, url)
			letter, ok := strings.CutPrefix(page.body, "page ")
			if page.status == 200 && page.body == "raw" {
				continue
			}
			if page.status != 200 || !ok {
				w.t.Errorf("%s: %d %q", url, page.status, page.body)
				continue
			}
			for _, other := range w.nodes {
				if asset := other.get(w.t, "/app-"+hexOf[letter]+".js"); asset.status != 200 || asset.body != "asset "+letter {
					w.t.Errorf("%s is of release %s, and its asset is %d %q", url, letter, asset.status, asset.body)
				}
			}
		}
		for _, url := range otherURLs {
			n.get(w.t, url)
		}
	}
}

var otherURLs = []string{
	"/style.css", "/style.css?v=1", "/same.html", "/none", "/none/", "/only-a.html", "/only-b.html", "/only-b.html?x=1", "/dir-a", "/dir-a/", "/dir-b", "/dir-b/",
	"/dir-a/index.html", "/dir-b/a%20b/%C3%BC,c%3F.txt", "/dir-a/a%20b/%C3%BC%2Cc%3F.txt", "/dir-a?q=1", "/raw.txt",
}

// settled holds that nothing is left to do, and that no node has anything stored
// that the bucket would answer differently.
func (w *world) settled(context string) {
	w.t.Helper()
	if p := w.pointer(); p.Pending != nil || p.Sweep != nil {
		w.t.Errorf("%s: left to do: %+v, %+v", context, p.Pending, p.Sweep)
	}
	truth := origin.Static{Next: w.origin(nil), Index: "index.html", NotFound: "/404.html", SlashRedirect: true}
	for i, n := range w.nodes {
		for url, has := range n.stored {
			if now := ask(w.t, truth, url); now.status != has.status || now.body != has.body {
				w.t.Errorf("%s: node %d has %d %q of %s, and the bucket %d %q", context, i, has.status, has.body, url, now.status, now.body)
			}
		}
	}
}

// wire carries a deploy's requests, and does something before and after each.
type wire struct {
	next   http.RoundTripper
	before func(number int, r *http.Request) error
	after  func(number int, r *http.Request) error
	mu     sync.Mutex
	count  int
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.count++
	number := w.count
	w.mu.Unlock()
	if w.before != nil {
		if err := w.before(number, r); err != nil {
			return nil, err
		}
	}
	resp, err := w.next.RoundTrip(r)
	if err == nil && w.after != nil {
		if err = w.after(number, r); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	return resp, err
}

// over makes a deploy's requests go through a wire.
func over(wire *wire) func(*Options) {
	return func(o *Options) {
		wire.next = o.Transport
		o.Transport, o.Control.HTTP = wire, &http.Client{Transport: wire}
	}
}

var errKilled = errors.New("killed")

var errCut = errors.New("the line is cut")
