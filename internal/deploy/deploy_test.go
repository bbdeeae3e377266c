package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"weir/internal/lab/bucket"
	"weir/internal/lab/miniotest"
	"weir/internal/sitefiles"
	"weir/origin/release"
	"weir/purge"
)

// onEachStore runs a test on the lab's S3 server and, where it has been built, on
// MinIO.
func onEachStore(t *testing.T, test func(*testing.T, bucket.S3URL)) {
	t.Run("lab", func(t *testing.T) { test(t, labStore(t)) })
	t.Run("MinIO", func(t *testing.T) {
		server := miniotest.Start(t)
		keys := bucket.S3URL{Endpoint: server.Endpoint, Bucket: "site", AccessKey: server.AccessKey, SecretKey: server.SecretKey}
		fillRaw(t, keys)
		test(t, keys)
	})
}

// The life of a site: what is served and what is purged at each step.
func TestReleases(t *testing.T) { onEachStore(t, testReleases) }

func testReleases(t *testing.T, keys bucket.S3URL) {
	w := newWorld(t, keys, "a b/c")
	var out bytes.Buffer
	say := func(o *Options) { out.Reset(); o.Out = &out }
	step := func(name string, files map[string]string, scope purge.Scope, tags ...string) {
		t.Helper()
		before := len(w.requests)
		for _, n := range w.nodes {
			for _, url := range []string{"/", "/docs", "/docs/", "/new.html", "/new.html?q", "/x/y", "/app-0a1b2c3d.js"} {
				n.get(t, url)
			}
		}
		w.mustDeploy(site(t, files), say)
		switch purges := w.requests[before:]; {
		case scope == 0 && (len(purges) != 0 || !strings.Contains(out.String(), "nothing has changed")):
			t.Errorf("%s: %+v, %q; want no purge", name, purges, &out)
		case scope == 0:
		case len(purges) != 1 || purges[0].Scope != scope || !slices.Equal(purges[0].Targets, tags) || purges[0].Mode != purge.ModeHard:
			t.Errorf("%s: %+v; want one, %v %q", name, purges, scope, tags)
		}
		w.settled(name)
	}
	files := map[string]string{"index.html": "home", "docs/index.html": "docs", "app-0a1b2c3d.js": "js"}
	step("first", files, purge.ScopeSite)
	step("nothing new", files, 0)
	files["new.html"] = "new"
	step("a page comes", files, purge.ScopeTag, "path:/new.html")
	files["404.html"] = "lost"
	step("a not-found document comes", files, purge.ScopeTag, "path:/404.html")
	files["404.html"] = "LOST"
	step("it changes", files, purge.ScopeTag, "path:/404.html")
	delete(files, "docs/index.html")
	files["index.html"] = "HOME"
	step("a page goes", files, purge.ScopeTag, "path:/index.html", "path:/docs/index.html")
	delete(files, "app-0a1b2c3d.js")
	files["app-4e5f6a7b.js"] = "js2"
	step("another asset", files, purge.ScopeTag, "path:/app-4e5f6a7b.js")
	if got := w.nodes[0].get(t, "/app-0a1b2c3d.js"); got.body != "js" {
		t.Errorf("an asset of the release before is %d %q", got.status, got.body)
	}
	files["app-4e5f6a7b.js"] = "js3"
	step("an asset changes under its name", files, purge.ScopeTag, "path:/app-4e5f6a7b.js")
	if !strings.Contains(out.String(), "WARNING: /app-4e5f6a7b.js") {
		t.Errorf("no warning: %s", &out)
	}
	rollBack(t, w)
	step("on top of a rollback", map[string]string{"index.html": "eight"}, purge.ScopeTag,
		"path:/index.html", "path:/404.html", "path:/docs/index.html", "path:/new.html")
	if ref := w.pointer().CurrentRef(); ref.Number != 8 || ref.Previous != 3 {
		t.Errorf("%+v", ref)
	}
}

// rollBack goes from release 7 back to the oldest that is kept.
func rollBack(t *testing.T, w *world) {
	t.Helper()
	if err := Rollback(t.Context(), w.options(), 0); err != nil {
		t.Fatal(err)
	}
	w.settled("rolled back")
	if got := w.nodes[0].get(t, "/app-4e5f6a7b.js"); got.body != "js2" {
		t.Errorf("after a rollback: %d %q", got.status, got.body)
	}
	if p := w.pointer(); p.Current != 6 || p.Last != 7 || len(p.Releases) != 5 {
		t.Errorf("%+v", p)
	}
	for range 3 {
		if err := Rollback(t.Context(), w.options(), 0); err != nil {
			t.Fatal(err)
		}
	}
	w.settled("further back")
	if p := w.pointer(); p.Current != 3 {
		t.Errorf("after four rollbacks: %+v", p)
	}
	if err := Rollback(t.Context(), w.options(), 0); !errors.Is(err, errNoRelease) || !strings.Contains(err.Error(), "kept are 7, 6, 5, 4, 3") {
		t.Errorf("back to what is not kept: %v", err)
	}
}

// More changes than one purge may name purge the site, and more than one manifest
// may list are refused before anything is sent.
func TestManyChanges(t *testing.T) {
	many := func(n int) *release.Manifest {
		m := &release.Manifest{Release: 1}
		for i := range n {
			m.Entries = append(m.Entries, release.Entry{Key: fmt.Sprintf("%06d", i)})
		}
		return m
	}
	for n, scope := range map[int]purge.Scope{1: purge.ScopeTag, purge.TargetsMax: purge.ScopeTag, purge.TargetsMax + 1: purge.ScopeSite} {
		d := diffOf(many(n), &release.Manifest{})
		if r := d.request("s", "k"); r.Scope != scope || scope == purge.ScopeTag && len(r.Targets) != n {
			t.Errorf("%d changes: %v, %d targets", n, r.Scope, len(r.Targets))
		}
	}
	if d := diffOf(many(3), many(3)); d.request("s", "k") != nil {
		t.Error("a purge of nothing")
	}
}

func TestDiff(t *testing.T) {
	entry := func(key, content string, kind release.Kind) release.Entry {
		return release.Entry{Key: key, Sum: release.SumOf([]byte(content)), Kind: kind, Type: "t", Cache: "c"}
	}
	retyped := entry("type", "1", 0)
	retyped.Type = "other"
	kept := entry("kept", "1", release.KindAsset)
	kept.Kept = true
	d := diffOf(
		&release.Manifest{Entries: []release.Entry{
			entry("a", "1", 0), entry("asset", "1", release.KindAsset), entry("b", "1", 0), entry("bad", "1", release.KindAsset),
			entry("kept", "1", release.KindAsset), entry("same", "1", 0), entry("type", "1", 0)}},
		&release.Manifest{Entries: []release.Entry{
			entry("0", "1", 0), entry("a", "2", 0), entry("bad", "2", release.KindAsset), kept, entry("same", "1", 0), retyped, entry("z", "1", 0)}})
	for name, lists := range map[string][2][]string{
		"added": {d.added, {"0", "z"}}, "changed": {d.changed, {"a", "bad", "type"}}, "removed": {d.removed, {"b"}},
		"dropped": {d.dropped, {"asset"}}, "broken": {d.broken, {"bad"}},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s: %q, want %q", name, lists[0], lists[1])
		}
	}
}

// How files are served, by their names.
func TestDescribe(t *testing.T) {
	d := &deployer{Options: Options{Assets: purge.DefaultAssets(), EdgeTTL: time.Hour,
		Immutable: []string{"/_app/immutable/", "/img/*.png"}, Mutable: []string{"/vendor/*"}}}
	const ask, forever = "public, max-age=0, must-revalidate", "public, max-age=31536000, immutable"
	for key, want := range map[string]release.Entry{
		"index.html":           {Kind: release.KindPage, Cache: ask, Edge: "max-age=3600", Type: "text/html; charset=utf-8"},
		"page-0a1b2c3d.html":   {Kind: release.KindPage, Cache: ask, Edge: "max-age=3600", Type: "text/html; charset=utf-8"},
		"app-0a1b2c3d.js":      {Kind: release.KindAsset, Cache: forever, Type: "text/javascript; charset=utf-8"},
		"app.js":               {Cache: ask, Edge: "max-age=3600", Type: "text/javascript; charset=utf-8"},
		"report-2024.pdf":      {Cache: ask, Edge: "max-age=3600", Type: "application/pdf"},
		"_app/immutable/x.css": {Kind: release.KindAsset, Cache: forever, Type: "text/css; charset=utf-8"},
		"img/a.png":            {Kind: release.KindAsset, Cache: forever, Type: "image/png"},
		"img/deep/a.png":       {Cache: ask, Edge: "max-age=3600", Type: "image/png"},
		"vendor/x.0a1b2c3d.js": {Cache: ask, Edge: "max-age=3600", Type: "text/javascript; charset=utf-8"},
		"img/index.html":       {Kind: release.KindPage, Cache: ask, Edge: "max-age=3600", Type: "text/html; charset=utf-8"},
	} {
		want.Key = key
		if got := d.describe(sitefiles.File{Key: key}, release.Sum{}); got != want {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
	d.BrowserTTL = time.Minute
	if got := d.describe(sitefiles.File{Key: "a.txt"}, release.Sum{}); got.Cache != "public, max-age=60" {
		t.Errorf("%q", got.Cache)
	}
	for _, pattern := range []string{"img/*", "/[", ""} {
		if (&Options{Immutable: []string{pattern}}).checkPatterns() == nil {
			t.Errorf("pattern %q is taken", pattern)
		}
	}
}

// What is there already is not sent again: contents of other files and releases,
// and parts of a large file.
func TestUploadsResume(t *testing.T) { onEachStore(t, testUploadsResume) }

func testUploadsResume(t *testing.T, keys bucket.S3URL) {
	w := newWorld(t, keys, "resume")
	large := make([]byte, 3*partBytes+1000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(large)
	dir := site(t, map[string]string{"index.html": "home", "a.txt": "one", "b.txt": "one", "c.txt": "two", "z.bin": string(large)})
	var sent atomic.Int64 // bodies to objects
	var parts atomic.Int64
	count := func(_ int, r *http.Request) error {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/objects/") {
			if r.URL.Query().Has("partNumber") {
				parts.Add(1)
			} else {
				sent.Add(1)
			}
		}
		return nil
	}
	failing := &wire{before: func(number int, r *http.Request) error {
		if r.URL.Query().Get("partNumber") == "3" {
			return errCut
		}
		return count(number, r)
	}}
	if err := w.deploy(dir, over(failing)); err == nil || !strings.Contains(err.Error(), "z.bin") {
		t.Fatal(err)
	}
	if sent.Load() != 2 || parts.Load() != 2 { // Pages come last.
		t.Errorf("before the cut: %d objects and %d parts", sent.Load(), parts.Load())
	}
	if w.pointer() != nil {
		t.Error("it has switched")
	}
	sent.Store(0)
	parts.Store(0)
	w.mustDeploy(dir, over(&wire{before: count}))
	if sent.Load() != 1 || parts.Load() != 2 {
		t.Errorf("after it: %d objects and %d parts", sent.Load(), parts.Load())
	}
	if got := w.nodes[0].get(t, "/z.bin"); got.body != string(large) {
		t.Error("the large file is not what it was")
	}
	if len(w.contents()) != 4 {
		t.Errorf("%d contents", len(w.contents()))
	}
}

// A file that changes between its hashing and its upload ends the deploy, and
// nothing is stored under a hash that it has not.
func TestFilesThatChange(t *testing.T) {
	keys := labStore(t)
	for _, size := range []int{100, partBytes + 100} {
		for name, change := range map[string]func(path string) error{
			"another content": func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("y"), size), 0o600) },
			"shorter":         func(path string) error { return os.Truncate(path, int64(size/2)) },
			"longer": func(path string) error {
				return os.WriteFile(path, bytes.Repeat([]byte("x"), size+1), 0o600)
			},
			"gone": os.Remove,
		} {
			w := newWorld(t, keys, fmt.Sprintf("%s-%d", name, size))
			dir := site(t, map[string]string{"a.bin": strings.Repeat("x", size)})
			changed := false
			line := &wire{before: func(_ int, r *http.Request) error {
				if r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2" && !changed {
					changed = true
					return change(filepath.Join(dir, "a.bin"))
				}
				return nil
			}}
			err := w.deploy(dir, over(line))
			if !changed {
				t.Fatal("nothing was listed")
			}
			if name == "longer" && size > partBytes {
				// What was hashed is what has been sent.
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if !errors.Is(err, ErrChanging) && !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "a.bin") {
				t.Errorf("%s, %d bytes: %v", name, size, err)
			}
			if n := len(w.contents()); n != 0 || w.pointer() != nil {
				t.Errorf("%s, %d bytes: %d contents are stored", name, size, n)
			}
		}
	}
}

// Assets stay for as many releases as are kept; what no kept release names is
// removed once it is old, and not before.
func TestKeepAndSweep(t *testing.T) { onEachStore(t, testKeepAndSweep) }

func testKeepAndSweep(t *testing.T, keys bucket.S3URL) {
	w := newWorld(t, keys, "sweep")
	letters := []string{"a", "b", "c"}
	keep := func(o *Options) { o.Keep = 2 }
	for _, l := range letters {
		w.mustDeploy(site(t, versioned(l)), keep)
	}
	for l, status := range map[string]int{"a": 404, "b": 200, "c": 200} {
		if got := ask(t, w.origin(nil), "/app-"+hexOf[l]+".js"); got.status != status {
			t.Errorf("asset of %s: %d, want %d", l, got.status, status)
		}
	}
	begin(t, w)
	before := len(w.contents())
	later := func(o *Options) { keep(o); o.now = func() time.Time { return time.Now().Add(unusedMin + time.Hour) } }
	w.mustDeploy(site(t, versioned("c")), later) // nothing has changed: no sweep
	if n := len(w.contents()); n != before {
		t.Errorf("%d contents of %d", n, before)
	}
	files := versioned("c")
	files["more.html"] = "more"
	w.mustDeploy(site(t, files), later)
	w.settled("swept")
	if uploads := uploadsOf(t, w, time.Now().Add(time.Hour)); len(uploads) != 0 {
		t.Errorf("uploads that were begun are left: %v", uploads)
	}
	all := w.contents()
	for content, want := range map[string]bool{"page a": false, "page b": false, "asset a": false, "page c": true, "same": true, "more": true} {
		if _, there := all[release.SumOf([]byte(content))]; there != want {
			t.Errorf("%q is there: %v", content, there)
		}
	}
	if err := Rollback(t.Context(), w.options(), 0); err != nil {
		t.Error(err)
	}
	w.settled("rolled back")
	if got := ask(t, w.origin(nil), "/index.html"); got.body != "page c" {
		t.Errorf("%+v", got)
	}
}

// begin leaves an upload in parts that nobody goes on with.
func begin(t *testing.T, w *world) {
	t.Helper()
	d, err := open(w.options())
	if err != nil {
		t.Fatal(err)
	}
	u := &partsUpload{store: d.store, key: d.store.prefix + release.ObjectKey(release.SumOf([]byte("never"))), sent: map[int]minio.ObjectPart{}}
	if err := u.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := u.send(t.Context(), 1, make([]byte, partBytes)); err != nil {
		t.Fatal(err)
	}
}

func uploadsOf(t *testing.T, w *world, before time.Time) []removal {
	t.Helper()
	d, err := open(w.options())
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.store.begun(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// While somebody sweeps, others wait: what they would count on may be removed.
func TestSweepIsWaitedFor(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	w.mustDeploy(site(t, versioned("a")))
	d, err := open(w.options())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	leased := *d.base
	leased.Sweep = &release.Sweep{By: "somebody", Until: time.Now().Add(2500 * time.Millisecond)}
	if err := d.write(t.Context(), &leased); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	w.mustDeploy(site(t, versioned("b")))
	if took := time.Since(begun); took < 2400*time.Millisecond {
		t.Errorf("it went on after %v", took)
	}
	w.settled("after the lease")
}

// A lease of somebody whose clock is years ahead ends when a lease has to.
func TestLeaseOfAnotherClock(t *testing.T) {
	now := time.Unix(1e9, 0)
	d := &deployer{Options: Options{now: func() time.Time { return now }}}
	d.base = &release.Pointer{Sweep: &release.Sweep{By: "a", Until: now.Add(1e6 * time.Hour)}}
	if !d.leased() {
		t.Error("it is not waited for")
	}
	d.waitsFor, d.waitsSince = "a", now
	if now = now.Add(sweepLease - 1); !d.leased() {
		t.Error("it is not waited for long enough")
	}
	if now = now.Add(1); d.leased() {
		t.Error("it is waited for for ever")
	}
	if d.base.Sweep.By = "b"; !d.leased() {
		t.Error("the next one is not waited for")
	}
}

// A sweep does not remove what a deploy that began before it has found there: that
// one loses.
func TestSweepAndDeployAtOnce(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	keep := func(o *Options) { o.Keep = 1 }
	a := site(t, versioned("a"))
	w.mustDeploy(a, keep)
	w.mustDeploy(site(t, versioned("b")), keep)
	done := false
	line := &wire{before: func(_ int, r *http.Request) error {
		if r.Method == http.MethodPut && !done { // a's contents have been found, all of them
			done = true
			w.mustDeploy(site(t, versioned("c")), keep, func(o *Options) { o.now = func() time.Time { return time.Now().Add(unusedMin + time.Hour) } })
		}
		return nil
	}}
	if err := w.deploy(a, keep, over(line)); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
	w.mustDeploy(a, keep)
	w.visit()
	w.settled("in the end")
	if got := w.nodes[0].get(t, "/"); got.body != "page a" {
		t.Errorf("%+v", got)
	}
}

// What has been deleted past weir is put back, though nothing has changed.
func TestContentThatWasDeleted(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	a := site(t, versioned("a"))
	w.mustDeploy(a)
	d, err := open(w.options())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.store.remove(t.Context(), removal{key: release.ObjectKey(release.SumOf([]byte("page a")))}); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, w.origin(nil), "/index.html"); got.status != 502 {
		t.Errorf("without its content: %+v", got)
	}
	w.mustDeploy(a)
	if got := ask(t, w.origin(nil), "/index.html"); got.status != 200 || got.body != "page a" {
		t.Errorf("put back: %+v", got)
	}
	if len(w.requests) != 1 {
		t.Errorf("%d purges", len(w.requests))
	}
}

func TestDryRun(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	w.mustDeploy(site(t, versioned("a")))
	writes := 0
	line := &wire{before: func(_ int, r *http.Request) error {
		if r.Method != http.MethodGet {
			writes++
		}
		return nil
	}}
	var out bytes.Buffer
	w.mustDeploy(site(t, versioned("b")), over(line), func(o *Options) { o.DryRun, o.Out = true, &out })
	for _, line := range []string{"release 2: 4 added, 3 changed, 3 removed", "  + /only-b.html", "  ~ /index.html", "  - /only-a.html"} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no %q in\n%s", line, &out)
		}
	}
	if writes != 0 || w.pointer().Current != 1 {
		t.Errorf("%d writes, release %d", writes, w.pointer().Current)
	}
}

func TestList(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	list := func(asJSON bool) string {
		t.Helper()
		var out bytes.Buffer
		o := w.options()
		o.Out = &out
		if err := List(t.Context(), o, asJSON); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := list(false); got != "lab has no releases: its bucket is served as it is\n" {
		t.Errorf("%q", got)
	}
	if err := Rollback(t.Context(), w.options(), 0); err == nil || !strings.Contains(err.Error(), "has no releases") {
		t.Error(err)
	}
	w.mustDeploy(site(t, versioned("a")), func(o *Options) { o.Note = "first\x1b[2J" })
	if err := Rollback(t.Context(), w.options(), 0); err == nil || !strings.Contains(err.Error(), "is the first") {
		t.Error(err)
	}
	w.mustDeploy(site(t, versioned("b")))
	got := list(false)
	if !strings.Contains(got, `first\x1b[2J`) || !strings.Contains(got, "current") || strings.Count(got, "\n") != 3 {
		t.Errorf("%s", got)
	}
	if got := list(true); !strings.Contains(got, `"current":2`) {
		t.Errorf("%s", got)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	dir := site(t, versioned("a"))
	for want, change := range map[string]func(*Options){
		"--keep 101": func(o *Options) { o.Keep = 101 }, "--parallel 65": func(o *Options) { o.Parallel = 65 },
		"negative": func(o *Options) { o.EdgeTTL = -1 }, "note": func(o *Options) { o.Note = strings.Repeat("x", 201) },
		"required": func(o *Options) { o.Site = "" }, "pattern": func(o *Options) { o.Mutable = []string{"x"} },
		"does not exist": func(o *Options) { o.Bucket.Bucket = "elsewhere" },
	} {
		if err := w.deploy(dir, change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	secret := func(o *Options) { o.Bucket.SecretKey = "WRONG-SECRET" }
	if err := w.deploy(dir, secret); err == nil || strings.Contains(err.Error(), "WRONG-SECRET") {
		t.Errorf("a wrong secret: %v", err)
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := startProgress(Options{Progress: &out, Terminal: true}, 2, 3<<20)
	p.bytes(1 << 20)
	p.file()
	p.stop()
	if got := out.String(); !strings.HasPrefix(got, "\r[") || !strings.HasSuffix(got, "[##########                    ]  33 %  1 of 2 files, 1.0 MiB of 3.0 MiB\x1b[K\n") {
		t.Errorf("%q", got)
	}
	out.Reset()
	p = startProgress(Options{Progress: &out}, 2, 3<<20)
	p.draw("")
	p.stop()
	if got := out.String(); got != "uploading: 0 of 2 files, 0 B of 3.0 MiB\n" {
		t.Errorf("%q", got)
	}
	startProgress(Options{Progress: &out, Terminal: true}, 0, 0).stop()
}

// Of fingerprints in hexadecimal digits, a few in a hundred look like a word and a
// number, or like a number. What has one is no asset for browsers to keep, and
// stays for the pages that name it nevertheless.
func TestFingerprintsThatLookLikeWordsAreKept(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	kept := []string{"app-a1171559.js", "app.abc12345.css", "app-41171559.js", "img/x-deadbeef.png", "x.decade12.woff2", "app-deadbeef.min.js"}
	gone := []string{"app.js", "photo-20240131.jpg", "report-a1171559.pdf", "vendor/app-b1171559.js", "my-page.css", "x-a117155.js"}
	files := map[string]string{"index.html": "old"}
	for _, name := range slices.Concat(kept, gone) {
		files[name] = name
	}
	mutable := func(o *Options) { o.Mutable = []string{"/vendor/*"} }
	w.mustDeploy(site(t, files), mutable)
	for number := 2; number <= 3; number++ {
		w.mustDeploy(site(t, map[string]string{"index.html": fmt.Sprint("page ", number)}), mutable)
		for _, name := range kept {
			if got := ask(t, w.origin(nil), "/"+name); got.status != 200 || got.body != name {
				t.Errorf("release %d: %s: %d %q", number, name, got.status, got.body)
			}
		}
		for _, name := range gone {
			if got := ask(t, w.origin(nil), "/"+name); got.status != 404 {
				t.Errorf("release %d: %s: %d, want 404", number, name, got.status)
			}
		}
	}
}

// An empty file leaves nothing on its connection that the server would take for
// another request, and answer.
func TestEmptyFile(t *testing.T) {
	w := newWorld(t, labStore(t), "")
	var said bytes.Buffer
	log.SetOutput(&said) // where package net/http says so
	defer log.SetOutput(os.Stderr)
	files := map[string]string{"index.html": "home"}
	for i := range 5 {
		files[fmt.Sprint(i, ".txt")] = fmt.Sprint(i)
	}
	files["empty.txt"] = ""
	w.mustDeploy(site(t, files), func(o *Options) { o.Parallel = 1 })
	w.mustDeploy(site(t, map[string]string{"index.html": "HOME", "empty.txt": ""}))
	if said.Len() > 0 {
		t.Errorf("logged %q", &said)
	}
	if got := w.nodes[0].get(t, "/empty.txt"); got.status != 200 || got.body != "" {
		t.Errorf("the empty file is %+v", got)
	}
}
