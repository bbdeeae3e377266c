package lab_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir"
	"weir/internal/lab"
	"weir/internal/lab/s3server"
	"weir/purge"
)

func TestMain(m *testing.M) {
	var known []goleak.Option
	for _, function := range s3server.Lingering() {
		known = append(known, goleak.IgnoreTopFunction(function), goleak.IgnoreAnyFunction(function))
	}
	goleak.VerifyTestMain(m, known...)
}

// start runs a lab without delays until the test ends.
func start(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	o.NoDelay, o.NoShare = true, true
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: logLevel()}))
	}
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, l) })
	return l
}

// stop ends a lab within five seconds; a second call does nothing.
func stop(t *testing.T, l *lab.Lab) {
	t.Helper()
	begun := time.Now()
	if err := l.Close(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the stop took %v; want 5 s at most", took)
	}
}

// site writes a folder of files for a lab to serve.
func site(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// blob is n bytes that no two seeds share.
func blob(n int, seed uint64) string {
	b := make([]byte, n)
	r := rand.NewChaCha8(sha256.Sum256(strconv.AppendUint(nil, seed, 10)))
	_, _ = r.Read(b)
	return string(b)
}

// Every file of the sample site, over every PoP, over every version of HTTP,
// byte for byte.
func TestEveryFileEverywhere(t *testing.T) {
	l := start(t, lab.Options{})
	checkEveryFile(t, l, weir.SampleSite())
}

func checkEveryFile(t *testing.T, l *lab.Lab, files fs.FS) {
	t.Helper()
	all, served := clients(t, l.Ready), 0
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		path := (&url.URL{Path: "/" + name}).EscapedPath()
		for _, c := range all {
			got := c.do(t, "GET", path)
			if got.StatusCode != 200 || got.ProtoMajor != c.proto || got.body != string(want) {
				t.Errorf("%s: GET %s: %s %s, %d bytes; want %d", c.name, path, got.Proto, got.Status, len(got.body), len(want))
				continue
			}
			for _, field := range []string{"Content-Type", "ETag", "Last-Modified", "Date", "Age", "Via", "Cache-Status"} {
				if got.Header.Get(field) == "" {
					t.Errorf("%s: GET %s: no %s", c.name, path, field)
				}
			}
			served++
		}
		return nil
	})
	if err != nil || served == 0 {
		t.Fatalf("%d files served: %v", served, err)
	}
}

func TestMethodsConditionsRanges(t *testing.T) {
	content := blob(10_000, 1)
	l := start(t, lab.Options{Site: site(t, map[string]string{"a.txt": content, "index.html": "home"})})
	for _, c := range clients(t, l.Ready) {
		full := c.do(t, "GET", "/a.txt")
		etag, modified := full.Header.Get("ETag"), full.Header.Get("Last-Modified")
		for _, test := range []struct {
			method string
			fields []string
			status int
			body   string
			ranged string
		}{
			{"GET", nil, 200, content, ""},
			{"HEAD", nil, 200, "", ""},
			{"GET", []string{"If-None-Match", etag}, 304, "", ""},
			{"GET", []string{"If-None-Match", `"other", W/` + etag}, 304, "", ""},
			{"GET", []string{"If-None-Match", "*"}, 304, "", ""},
			{"HEAD", []string{"If-None-Match", etag}, 304, "", ""},
			{"GET", []string{"If-None-Match", `"other"`}, 200, content, ""},
			{"GET", []string{"If-Modified-Since", modified}, 304, "", ""},
			{"GET", []string{"If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"}, 200, content, ""},
			{"GET", []string{"If-None-Match", `"other"`, "If-Modified-Since", modified}, 200, content, ""},
			{"GET", []string{"If-Match", `"other"`}, 412, "", ""},
			{"GET", []string{"Range", "bytes=0-99"}, 206, content[:100], "bytes 0-99/10000"},
			{"GET", []string{"Range", "bytes=9990-"}, 206, content[9990:], "bytes 9990-9999/10000"},
			{"GET", []string{"Range", "bytes=-5"}, 206, content[9995:], "bytes 9995-9999/10000"},
			{"GET", []string{"Range", "bytes=10000-"}, 416, "", "bytes */10000"},
			{"GET", []string{"Range", "bytes=0-9", "If-Range", etag}, 206, content[:10], "bytes 0-9/10000"},
			{"GET", []string{"Range", "bytes=0-9", "If-Range", `"other"`}, 200, content, ""},
			{"GET", []string{"Range", "lines=1-2"}, 200, content, ""},
			{"POST", nil, 405, "*", ""},
		} {
			got := c.do(t, test.method, "/a.txt", test.fields...)
			if got.StatusCode != test.status || test.body != "*" && got.body != test.body || got.Header.Get("Content-Range") != test.ranged {
				t.Errorf("%s: %s %q: %d, %d bytes, Content-Range %q; want %d, %d bytes, %q", c.name, test.method, test.fields,
					got.StatusCode, len(got.body), got.Header.Get("Content-Range"), test.status, len(test.body), test.ranged)
			}
			if test.method == "HEAD" && test.status == 200 && got.ContentLength != int64(len(content)) {
				t.Errorf("%s: HEAD says %d bytes; want %d", c.name, got.ContentLength, len(content))
			}
			if test.status == 304 && got.Header.Get("ETag") != etag {
				t.Errorf("%s: 304 with ETag %q; want %q", c.name, got.Header.Get("ETag"), etag)
			}
		}
	}
}

func TestStaticSiteRules(t *testing.T) {
	l := start(t, lab.Options{Site: site(t, map[string]string{
		"index.html": "home", "docs/index.html": "docs", "docs/a b/ü.html": "umlaut", "404.html": "lost",
	})})
	for _, c := range clients(t, l.Ready) {
		for _, test := range []struct {
			path     string
			status   int
			body     string
			location string
		}{
			{"/", 200, "home", ""},
			{"/docs/", 200, "docs", ""},
			{"/docs", 301, "*", "/docs/"},
			{"/docs?q=1", 301, "*", "/docs/?q=1"},
			{"/docs/a%20b/%C3%BC.html", 200, "umlaut", ""},
			{"/nothing", 404, "lost", ""},
			{"/nothing/", 404, "lost", ""},
			{"/index.html/", 404, "lost", ""},
		} {
			got := c.do(t, "GET", test.path)
			if got.StatusCode != test.status || test.body != "*" && got.body != test.body || got.Header.Get("Location") != test.location {
				t.Errorf("%s: %s: %d %q Location %q; want %d %q %q", c.name, test.path,
					got.StatusCode, got.body, got.Header.Get("Location"), test.status, test.body, test.location)
			}
		}
		head := c.do(t, "HEAD", "/nothing")
		if head.StatusCode != 404 || head.body != "" {
			t.Errorf("%s: HEAD of what is missing: %d, %q", c.name, head.StatusCode, head.body)
		}
	}
}

// Several shields share the keys, and each PoP finds the same owner.
func TestSeveralShields(t *testing.T) {
	l := start(t, lab.Options{Shields: 2, PoPs: 2, Site: site(t, map[string]string{"index.html": "home"})})
	all := clients(t, l.Ready)
	ams, iad := of(all, "ams")[0], of(all, "iad")[0]
	owned := map[string]int{}
	for i := range 20 {
		path := fmt.Sprintf("/?%d", i)
		first, second := ams.do(t, "GET", path), iad.do(t, "GET", path)
		owner := "shield-1"
		if first.tier(owner) == "" {
			owner = "shield-2"
		}
		owned[owner]++
		wantTier(t, path, first, owner, "fwd=uri-miss", "stored")
		wantTier(t, path, second, owner, "hit")
		if via := second.Header.Get("Via"); via != "1.1 "+owner+", 1.1 iad" {
			t.Errorf("%s: Via: %q", path, via)
		}
	}
	if len(owned) != 2 || len(l.Ready.Shields) != 2 {
		t.Errorf("owners: %v, ready file: %v", owned, l.Ready.Shields)
	}
	if _, err := lab.Start(t.Context(), lab.Options{Shields: 6}); err == nil {
		t.Error("six shields are accepted")
	}
}

// The first request of a PoP is a miss through the shield, the second a hit
// from memory, another PoP's first a shield hit, and after a restart with the
// same state a hit from disk.
func TestTiers(t *testing.T) {
	state, folder := t.TempDir(), site(t, map[string]string{"a.txt": "content", "index.html": "home"})
	l := start(t, lab.Options{Site: folder, State: state})
	all := clients(t, l.Ready)
	ams, iad := of(all, "ams")[0], of(all, "iad")[0]

	first := ams.do(t, "GET", "/a.txt")
	wantTier(t, "first", first, "shield", "fwd=uri-miss", "fwd-status=200", "stored")
	wantTier(t, "first", first, "ams", "fwd=uri-miss", "fwd-status=200", "stored")
	if via := first.Header.Get("Via"); via != "1.1 shield, 1.1 ams" {
		t.Errorf("Via: %q", via)
	}
	second := ams.do(t, "GET", "/a.txt")
	wantTier(t, "second", second, "ams", "hit", "detail=memory")
	if entry := second.tier("shield"); entry != "" {
		t.Errorf("the shield took no part in a hit of the edge, but says %q", entry)
	}
	other := iad.do(t, "GET", "/a.txt")
	wantTier(t, "second PoP", other, "shield", "hit")
	wantTier(t, "second PoP", other, "iad", "fwd=uri-miss", "stored")

	stop(t, l)
	l = start(t, lab.Options{Site: folder, State: state})
	ams = of(clients(t, l.Ready), "ams")[0]
	again := ams.do(t, "GET", "/a.txt")
	wantTier(t, "after the restart", again, "ams", "hit", "detail=disk")
	if again.body != "content" {
		t.Errorf("after the restart: %q", again.body)
	}
	wantTier(t, "then", ams.do(t, "GET", "/a.txt"), "ams", "hit", "detail=memory")
}

func wantTier(t *testing.T, when string, a answer, node string, parts ...string) {
	t.Helper()
	entry := a.tier(node)
	for _, part := range parts {
		if !strings.Contains(entry+";", ";"+part+";") && !strings.Contains(entry+";", "; "+part+";") {
			t.Errorf("%s: %s says %q; want %s (Cache-Status: %s)", when, node, entry, part, a.Header.Get("Cache-Status"))
		}
	}
}

// A file that changed while the lab was down is served as it is now.
func TestChangedFileAfterRestart(t *testing.T) {
	state, folder := t.TempDir(), site(t, map[string]string{"a.txt": "old", "docs/index.html": "old", "index.html": "home"})
	l := start(t, lab.Options{Site: folder, State: state})
	for _, c := range clients(t, l.Ready) {
		c.do(t, "GET", "/a.txt")
		c.do(t, "GET", "/docs/")
	}
	stop(t, l)
	for _, name := range []string{"a.txt", "docs/index.html"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("new!"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l = start(t, lab.Options{Site: folder, State: state})
	for _, c := range clients(t, l.Ready) {
		for _, path := range []string{"/a.txt", "/docs/"} {
			if got := c.do(t, "GET", path); got.body != "new!" {
				t.Errorf("%s: %s: %q; want the new content", c.name, path, got.body)
			}
		}
	}
}

// Purges of each scope reach every PoP before the call returns.
func TestPurges(t *testing.T) {
	l := start(t, lab.Options{Site: site(t, map[string]string{
		"index.html": "home", "a.txt": "a", "b.txt": "b", "img/1.png": "1", "img/2.png": "2",
	})})
	all := clients(t, l.Ready)
	control := purge.Client{URL: l.Ready.Control, Token: l.Ready.Token}
	const other = "other.lab.test"
	for _, test := range []struct {
		scope   purge.Scope
		targets []string
		gone    []string // "path" or "host path"
		kept    []string
	}{
		{purge.ScopeURL, []string{"/a.txt"}, []string{"/a.txt", other + " /a.txt"}, []string{"/b.txt", "/img/1.png", "/a.txt?v=1"}},
		{purge.ScopeURL, []string{"http://" + other + "/a.txt"}, []string{other + " /a.txt"}, []string{"/a.txt"}},
		{purge.ScopePrefix, []string{"/img/"}, []string{"/img/1.png", "/img/2.png"}, []string{"/a.txt"}},
		{purge.ScopeHost, []string{other}, []string{other + " /a.txt"}, []string{"/a.txt"}},
		{purge.ScopeSite, nil, []string{"/a.txt", "/b.txt", "/img/1.png", other + " /a.txt"}, nil},
	} {
		warm := append(append([]string{}, test.gone...), test.kept...)
		for _, c := range all {
			for _, what := range warm {
				ask(t, c, what)
			}
		}
		result, err := control.Wait(t.Context(), purge.Request{Site: "lab", Scope: test.scope, Targets: test.targets}, 10*time.Second)
		if err != nil || len(result.Nodes) != 4 {
			t.Fatalf("purge %v %q: %+v, %v", test.scope, test.targets, result, err)
		}
		for _, pop := range l.Ready.PoPs {
			c := of(all, pop.Name)[0]
			for _, what := range test.kept {
				if got := ask(t, c, what); !strings.Contains(got.tier(c.pop), ";hit") {
					t.Errorf("purge %v %q: %s at %s: %s; want a hit", test.scope, test.targets, what, c.pop, got.tier(c.pop))
				}
			}
			for _, what := range test.gone {
				if got := ask(t, c, what); strings.Contains(got.tier(c.pop), ";hit") {
					t.Errorf("purge %v %q: %s at %s: %s; want no hit", test.scope, test.targets, what, c.pop, got.tier(c.pop))
				}
			}
		}
	}
}

func ask(t *testing.T, c client, what string) answer {
	t.Helper()
	if host, path, found := strings.Cut(what, " "); found {
		return c.do(t, "GET", path, "Host", host)
	}
	return c.do(t, "GET", what)
}

// Whatever the path says, no other bucket, prefix or file is reached.
func TestPathsStayInTheBucket(t *testing.T) {
	l := start(t, lab.Options{Site: site(t, map[string]string{"index.html": "home", "a/secret.txt": "secret", "404.html": "lost"})})
	base := l.Ready.PoPs[0].HTTP
	for _, path := range []string{
		"/../site/a/secret.txt", "/a/../a/secret.txt", "/a/%2e%2e/a/secret.txt", "/%2e%2e/%2e%2e/etc/passwd", "/a%2Fsecret.txt", "/a%2fsecret.txt",
		"/a//secret.txt", "//a/secret.txt", "/a/./secret.txt", "/a/%2e/secret.txt", "/a/secret.txt%00", "/a/secret.txt%00.png", "/a/%ff", "/a%5csecret.txt",
		"/a/secret.txt/", "/a/secret.txt/x", "/.sgwtmp/", "/%252e%252e/a/secret.txt",
	} {
		got := raw(t, base, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		status, body, _ := strings.Cut(got, "\r\n\r\n")
		if !strings.HasPrefix(status, "HTTP/1.1 4") || strings.Contains(body, "secret") || strings.Contains(body, "root:") {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// The table names everything and the commands in it.
func TestTableAndReadyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready.json")
	l := start(t, lab.Options{ReadyFile: file, PoPs: 4})
	table := l.Table()
	for _, want := range []string{l.Ready.Router, l.Ready.Shield, l.Ready.Control, l.Ready.Origin, l.Ready.CAFile, "curl", "weir purge"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not name %s:\n%s", want, table)
		}
	}
	if strings.Contains(table, l.Ready.Token) {
		t.Error("the table shows the token")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"site"`, `"origin"`, `"shield"`, `"control"`, `"token"`, `"router"`, `"ca_file"`, `"pops"`, `"admin"`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the ready file has no %s: %s", want, text)
		}
	}
	if len(l.Ready.PoPs) != 4 {
		t.Errorf("%d PoPs; want 4", len(l.Ready.PoPs))
	}
}

// Nothing is left of a lab that has been stopped.
func TestNothingIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	l := start(t, lab.Options{})
	for _, c := range clients(t, l.Ready) {
		c.do(t, "GET", "/")
	}
	address := strings.TrimPrefix(l.Ready.PoPs[0].HTTP, "http://")
	stop(t, l)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if conn, err := dial(address); err == nil {
		_ = conn.Close()
		t.Errorf("%s still answers", address)
	}
}

func TestBadOptions(t *testing.T) {
	for _, test := range []struct {
		o    lab.Options
		want string
	}{
		{lab.Options{PoPs: 13}, "--pops 13: want 1 to 12"},
		{lab.Options{PortBase: 65530}, "--port-base 65530"},
		{lab.Options{Origin: "ftp://x"}, "origin"},
		{lab.Options{Origin: "s3://key:topsecret@127.0.0.1:1"}, "bucket"},
		{lab.Options{Site: filepath.Join(t.TempDir(), "missing")}, "missing"},
	} {
		test.o.NoShare = true
		l, err := lab.Start(t.Context(), test.o)
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(fmt.Sprint(err), "topsecret") {
			t.Errorf("%+v: %v; want an error with %q and no secret", test.o, err, test.want)
		}
	}
}

// logLevel is debug where WEIR_TEST_DEBUG is set.
func logLevel() slog.Level {
	if os.Getenv("WEIR_TEST_DEBUG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
