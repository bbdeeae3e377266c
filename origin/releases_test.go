package origin_test

import (
	"crypto/md5" //nolint:gosec // S3's entity tags.
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/origin"
	"weir/origin/release"
)

// countingStore is a bucket in memory that counts what it is asked for. Signatures are
// not looked at: s3_suite_test.go has real stores.
type countingStore struct {
	mu      sync.Mutex
	objects map[string]string
	status  map[string]int                   // in place of an answer
	before  func(key string) (answer string) // in place of the object, if not ""
	asked   map[string]int
}

func (s *countingStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/site/")
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	answer := ""
	if before != nil {
		answer = before(key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[key]++
	if status := s.status[key]; status != 0 {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, "<Error><Code>AccessDenied</Code></Error>")
		return
	}
	body, there := s.objects[key]
	if answer != "" {
		body = answer
	} else if !there {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum([]byte(body)))) //nolint:gosec // as above
	w.Header().Set("Content-Type", "binary/octet-stream")
	w.Header().Set("x-amz-meta-surrogate-key", "stored")
	http.ServeContent(w, r, "", time.Unix(1e9, 0), strings.NewReader(body))
}

func (s *countingStore) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[key]
}

func (s *countingStore) put(key, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = body
}

// release makes files the current release. Their lifetimes are their names.
func (s *countingStore) release(t testing.TB, number uint64, files map[string]string) {
	t.Helper()
	m := &release.Manifest{Release: number}
	for _, key := range sortedKeys(files) {
		sum := release.SumOf([]byte(files[key]))
		s.put(release.ObjectKey(sum), files[key])
		m.Entries = append(m.Entries, release.Entry{Key: key, Sum: sum, Bytes: int64(len(files[key])),
			Type: "text/x-test", Cache: "max-age=7", Edge: "max-age=77"})
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.put(release.ManifestKey(release.SumOf(text)), string(text))
	p := &release.Pointer{Current: number, Last: number, Releases: []release.Ref{{Number: number, Manifest: release.SumOf(text)}}}
	if text, err = p.Encode(); err != nil {
		t.Fatal(err)
	}
	s.put(release.PointerKey, string(text))
}

func sortedKeys(files map[string]string) []string {
	var keys []string
	for key := range files {
		keys = append(keys, key)
	}
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// purgeLog is where a node stands in the purge log.
type purgeLog struct{ applied atomic.Uint64 }

func (l *purgeLog) position() (string, uint64) { return "epoch", l.applied.Load() }

func releases(t *testing.T) (*countingStore, *purgeLog, *origin.Releases) {
	t.Helper()
	return agingReleases(t, 0)
}

func agingReleases(t *testing.T, ageMax time.Duration) (*countingStore, *purgeLog, *origin.Releases) {
	t.Helper()
	s, l, r, _ := bucketOf(t, ageMax)
	return s, l, r
}

// bucketOf gives a store, where its node is in the purge log, and the origins over
// it: with releases, and without.
func bucketOf(t testing.TB, ageMax time.Duration) (*countingStore, *purgeLog, *origin.Releases, *origin.S3) {
	t.Helper()
	s := &countingStore{objects: map[string]string{}, status: map[string]int{}, asked: map[string]int{}}
	server := httptest.NewServer(s)
	bucket, err := origin.NewS3(origin.S3Options{Endpoint: server.Listener.Addr().String(), Bucket: "site", AccessKey: "k", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	l := &purgeLog{}
	r := origin.NewReleases(bucket, origin.ReleasesOptions{Position: l.position, AgeMax: ageMax})
	t.Cleanup(func() {
		_ = r.Close()
		_ = bucket.Close()
		server.Close()
	})
	return s, l, r, bucket
}

func wantBody(t *testing.T, via http.RoundTripper, target string, status int, body string) {
	t.Helper()
	if resp, got := fetch(t, via, target); resp.StatusCode != status || status == 200 && got != body {
		t.Errorf("%s: %s %q; want %d %q", target, resp.Status, got, status, body)
	}
}

func TestReleaseIsServed(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"index.html": "home", "a b/ü.txt": "umlaut", "empty": ""})
	s.put("raw.txt", "raw")
	wantBody(t, r, "/index.html", 200, "home")
	wantBody(t, r, "/a%20b/%C3%BC.txt", 200, "umlaut")
	wantBody(t, r, "/empty", 200, "")
	wantBody(t, r, "/raw.txt", 404, "")
	wantBody(t, r, "/", 404, "")
	wantBody(t, r, "/../x", 400, "")
	resp, _ := fetch(t, r, "/index.html")
	etag := `"` + release.SumOf([]byte("home")).String()[:32] + `"`
	for name, want := range map[string]string{
		"Content-Type": "text/x-test", "Cache-Control": "max-age=7", "Surrogate-Control": "max-age=77", "Etag": etag,
		"Last-Modified": "", "Surrogate-Key": "path:/index.html", "Content-Length": "4", "Accept-Ranges": "bytes",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if resp, _ = fetch(t, r, "/no,such"); resp.Header.Get("Surrogate-Key") != "path:/no%2Csuch" || resp.Header.Get("Cache-Control") != "" {
		t.Errorf("of a path that is not there: %v", resp.Header)
	}
}

func TestReleaseConditionsAndRanges(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"a": "0123456789", "empty": ""})
	etag := `"` + release.SumOf([]byte("0123456789")).String()[:32] + `"`
	object := release.ObjectKey(release.SumOf([]byte("0123456789")))
	for _, row := range []struct {
		name, method, target string
		field, value         string
		status               int
		body                 string
		reads                int // of the content
	}{
		{"RFC 9110 13.1.2", "GET", "/a", "If-None-Match", etag, 304, "", 0},
		{"RFC 9110 13.1.2: weak, in a list", "GET", "/a", "If-None-Match", `"x", W/` + etag, 304, "", 0},
		{"RFC 9110 13.1.2: any", "GET", "/a", "If-None-Match", "*", 304, "", 0},
		{"RFC 9110 13.1.2: another", "GET", "/a", "If-None-Match", `"x"`, 200, "0123456789", 1},
		{"RFC 9110 13.1.1", "GET", "/a", "If-Match", etag, 200, "0123456789", 1},
		{"RFC 9110 13.1.1: strong", "GET", "/a", "If-Match", "W/" + etag, 412, "", 0},
		{"RFC 9110 13.1.1: another", "GET", "/a", "If-Match", `"x"`, 412, "", 0},
		{"RFC 9110 13.1.3: no date to compare with", "GET", "/a", "If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", 200, "0123456789", 1},
		{"RFC 9110 14.2", "GET", "/a", "Range", "bytes=2-4", 206, "234", 1},
		{"RFC 9110 14.2: beyond", "GET", "/a", "Range", "bytes=20-", 416, "", 1},
		{"RFC 9110 14.2: of nothing", "GET", "/empty", "Range", "bytes=0-", 200, "", 0},
		{"HEAD", "HEAD", "/a", "", "", 200, "", 0},
		{"HEAD of what is not there", "HEAD", "/b", "", "", 404, "", 0},
		{"other methods", "POST", "/a", "", "", 405, "this origin answers GET and HEAD only\n", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := s.count(object)
			header := http.Header{}
			if row.field != "" {
				header.Set(row.field, row.value)
			}
			resp, body := exchange(t, r, request(t, row.method, row.target, header))
			if resp.StatusCode != row.status || body != row.body || s.count(object)-before != row.reads {
				t.Errorf("%s %q, %d reads; want %d %q, %d", resp.Status, body, s.count(object)-before, row.status, row.body, row.reads)
			}
			if row.target == "/a" && row.status < 400 && resp.Header.Get("Etag") != etag {
				t.Errorf("ETag %q", resp.Header.Get("Etag"))
			}
			if row.method == "HEAD" && row.status == 200 && resp.ContentLength != 10 {
				t.Errorf("HEAD says %d bytes", resp.ContentLength)
			}
			if row.status == 206 && resp.Header.Get("Content-Range") != "bytes 2-4/10" {
				t.Errorf("Content-Range %q", resp.Header.Get("Content-Range"))
			}
		})
	}
}

func TestIfRangeOfARelease(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"a": "0123456789"})
	etag := `"` + release.SumOf([]byte("0123456789")).String()[:32] + `"`
	for condition, status := range map[string]int{etag: 206, `"x"`: 200, "W/" + etag: 200} {
		header := http.Header{"Range": {"bytes=0-1"}, "If-Range": {condition}}
		if resp, _ := exchange(t, r, request(t, "GET", "/a", header)); resp.StatusCode != status {
			t.Errorf("If-Range %s: %s, want %d", condition, resp.Status, status)
		}
	}
}

// What is kept for releases has no URL, be there a pointer or not.
func TestReleaseFolderIsHidden(t *testing.T) {
	s, _, r := releases(t)
	s.put("deep/.weir/pointer", "other site's")
	for range 2 {
		for _, target := range []string{"/.weir/pointer", "/%2eweir/pointer", "/.WEIR/pointer", "/deep/.weir/pointer", "/.weir/", "/.weir", "/.weir/objects/" + release.SumOf([]byte("home")).String()} {
			wantBody(t, r, target, 404, "")
		}
		s.release(t, 1, map[string]string{"index.html": "home"})
	}
}

// A bucket without a pointer is served as it is, and costs one look for a
// pointer however many requests there are.
func TestBucketWithoutPointer(t *testing.T) {
	for name, status := range map[string]int{"not found": 0, "forbidden": 403} {
		t.Run(name, func(t *testing.T) {
			s, _, r := releases(t)
			s.put("a.txt", "raw")
			s.status[release.PointerKey] = status
			begun := time.Now()
			for range 20 {
				wantBody(t, r, "/a.txt", 200, "raw")
				wantBody(t, r, "/none", 404, "")
			}
			if n := s.count(release.PointerKey); n > 1+int(time.Since(begun)/time.Second) {
				t.Errorf("%d looks for a pointer", n)
			}
			if n := s.count("none"); n > 20+int(time.Since(begun)/time.Second) {
				t.Errorf("20 requests are %d at the bucket", n)
			}
			if resp, _ := fetch(t, r, "/a.txt"); resp.Header.Get("Surrogate-Key") != "stored" || resp.Header.Get("Last-Modified") == "" {
				t.Errorf("%v", resp.Header)
			}
		})
	}
}

// Until a purge is applied the node goes on with the release that it knows; from
// then on with no older one than is current by then (promises P1 and P3).
func TestSwitchIsSeenWithThePurge(t *testing.T) {
	s, l, r := releases(t)
	s.put("a", "raw")
	s.put("b", "raw")
	wantBody(t, r, "/a", 200, "raw")
	s.release(t, 1, map[string]string{"a": "one", "b": "one"})
	wantBody(t, r, "/a", 200, "raw")
	l.applied.Add(1)
	wantBody(t, r, "/a", 200, "one")
	s.release(t, 2, map[string]string{"a": "two", "b": "two"})
	before := s.count(release.PointerKey)
	wantBody(t, r, "/b", 200, "one")
	if n := s.count(release.PointerKey); n != before {
		t.Errorf("%d more looks at a pointer that was known", n-before)
	}
	l.applied.Add(1)
	wantBody(t, r, "/b", 200, "two")
	wantBody(t, r, "/a", 200, "two")
	if n := s.count(release.PointerKey); n != before+1 {
		t.Errorf("%d looks after one purge", n-before)
	}
}

// A page of the new release may have come by another node: what it names is found
// before the purge is here. From a bucket without pointer, too.
func TestMissingPathIsLookedForInTheNewestRelease(t *testing.T) {
	s, _, r := releases(t)
	s.put("a", "raw")
	wantBody(t, r, "/a", 200, "raw")
	s.release(t, 1, map[string]string{"app.1.js": "one"})
	time.Sleep(1100 * time.Millisecond) // for so long it is believed that there is no pointer
	wantBody(t, r, "/app.1.js", 200, "one")
	s.release(t, 2, map[string]string{"app.2.js": "two"})
	wantBody(t, r, "/app.2.js", 200, "two")
	wantBody(t, r, "/app.1.js", 404, "")
}

// What one request learns of a release whose purge has not come is not for others:
// it would stand beside what is stored of the release before.
func TestNewsIsNotForOthers(t *testing.T) {
	s, l, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	wantBody(t, r, "/a", 200, "one")
	s.release(t, 2, map[string]string{"a": "two", "new": "two"})
	wantBody(t, r, "/new", 200, "two")
	wantBody(t, r, "/none", 404, "")
	wantBody(t, r, "/a", 200, "one")
	manifests := 0
	for key := range s.asked {
		if strings.HasPrefix(key, release.ManifestsDir) {
			manifests += s.asked[key]
		}
	}
	if manifests != 2 {
		t.Errorf("%d manifests read of two", manifests)
	}
	l.applied.Add(1)
	wantBody(t, r, "/a", 200, "two")
}

// A content that has been swept sends the node to the newest release.
func TestContentThatIsGone(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	wantBody(t, r, "/a", 200, "one")
	s.release(t, 2, map[string]string{"a": "two"})
	s.mu.Lock()
	delete(s.objects, release.ObjectKey(release.SumOf([]byte("one"))))
	s.mu.Unlock()
	wantBody(t, r, "/a", 200, "two")
	s.mu.Lock()
	delete(s.objects, release.ObjectKey(release.SumOf([]byte("two"))))
	s.mu.Unlock()
	wantBody(t, r, "/a", 502, "")
}

func TestFreshRequestSeesTheNewestRelease(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	wantBody(t, r, "/a", 200, "one")
	s.release(t, 2, map[string]string{"a": "two"})
	if _, body := exchange(t, r, request(t, "GET", "/a", http.Header{cache.FreshField: {"1"}})); body != "two" {
		t.Errorf("%q", body)
	}
}

// A reading that began before a purge was applied is not for a request that came
// after it:
//
//	A's reading of the pointer begins, at version 0
//	  the switch
//	  the purge is applied here: version 1
//	B arrives: its fill has stamp 1
//	A's reading ends, with the old release
//
// B must wait for a reading of its own.
func TestReadingThatBeganBeforeIsNotShared(t *testing.T) {
	s, l, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	reading, end := make(chan struct{}), make(chan struct{})
	old := s.objects[release.PointerKey]
	var first atomic.Bool
	s.before = func(key string) string {
		if key != release.PointerKey || !first.CompareAndSwap(false, true) {
			return ""
		}
		close(reading)
		<-end
		return old // it is read before the switch, and the answer is slow
	}
	answers := make(chan string, 2)
	ask := func() {
		resp, err := r.RoundTrip(request(t, "GET", "/a", nil))
		if err != nil {
			answers <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answers <- string(body)
	}
	go ask()
	<-reading
	s.release(t, 2, map[string]string{"a": "two"})
	l.applied.Add(1)
	done := make(chan struct{})
	go func() { ask(); close(done) }()
	time.Sleep(20 * time.Millisecond) // B waits, or, if the code is wrong, joins
	close(end)
	if got := <-answers; got != "one" {
		t.Fatalf("A got %q", got)
	}
	<-done
	if got := <-answers; got != "two" {
		t.Errorf("B got %q", got)
	}
}

// However many ask at once, one reading runs at a time.
func TestReadingsAreShared(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	var runs, most atomic.Int64
	s.before = func(key string) string {
		if key == release.PointerKey {
			most.Store(max(most.Load(), runs.Add(1)))
			time.Sleep(10 * time.Millisecond)
			runs.Add(-1)
		}
		return ""
	}
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			_, _ = exchange(t, r, request(t, "GET", "/a", http.Header{cache.FreshField: {"1"}}))
		})
	}
	wait.Wait()
	if n := s.count(release.PointerKey); most.Load() != 1 || n > 5 {
		t.Errorf("%d readings, %d at once", n, most.Load())
	}
}

func TestPointerThatCannotBeRead(t *testing.T) {
	s, l, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	wantBody(t, r, "/a", 200, "one")
	for name, damage := range map[string]func(){
		"unavailable": func() { s.status[release.PointerKey] = 503 },
		"forbidden":   func() { s.status[release.PointerKey] = 403 },
		"no JSON":     func() { s.objects[release.PointerKey] = "{" },
	} {
		s.mu.Lock()
		delete(s.status, release.PointerKey)
		damage()
		s.mu.Unlock()
		wantBody(t, r, "/a", 200, "one") // what is known still holds
		l.applied.Add(1)
		if resp, err := r.RoundTrip(request(t, "GET", "/a", nil)); err == nil || !strings.Contains(err.Error(), "pointer") {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
		s.mu.Lock()
		delete(s.status, release.PointerKey)
		s.mu.Unlock()
		s.release(t, 1, map[string]string{"a": "one"})
		wantBody(t, r, "/a", 200, "one")
	}
}

// A pointer that is old is read again; as long as that fails, it still holds,
// until something has been purged.
func TestPointerThatIsOld(t *testing.T) {
	s, l, r := agingReleases(t, time.Nanosecond)
	s.release(t, 1, map[string]string{"a": "one"})
	wantBody(t, r, "/a", 200, "one")
	s.release(t, 2, map[string]string{"a": "two"})
	wantBody(t, r, "/a", 200, "two")
	s.mu.Lock()
	s.status[release.PointerKey] = 503
	s.mu.Unlock()
	wantBody(t, r, "/a", 200, "two")
	if _, err := r.RoundTrip(request(t, "GET", "/none", nil)); err == nil {
		t.Error("a path is missing, as far as a pointer says that is old")
	}
	l.applied.Add(1)
	if _, err := r.RoundTrip(request(t, "GET", "/a", nil)); err == nil {
		t.Error("an old pointer holds after a purge")
	}
}

// A manifest that is not what its name says is not used.
func TestManifestOfAnotherContent(t *testing.T) {
	s, l, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	s.mu.Lock()
	for key, body := range s.objects {
		if strings.HasPrefix(key, release.ManifestsDir) {
			s.objects[key] = strings.Replace(body, "max-age=7\"", "max-age=8\"", 1)
		}
	}
	s.mu.Unlock()
	l.applied.Add(1)
	if _, err := r.RoundTrip(request(t, "GET", "/a", nil)); err == nil || !strings.Contains(err.Error(), "another hash") {
		t.Error(err)
	}
}

// Redirects and 404s carry the tags of what they depend on.
func TestTagsOfStaticRules(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"index.html": "home", "docs/index.html": "docs", "404.html": "lost"})
	site := origin.Static{Next: r, Index: "index.html", NotFound: "/404.html", SlashRedirect: true}
	for _, row := range []struct {
		target string
		status int
		tags   string
	}{
		{"/", 200, "path:/index.html"},
		{"/docs/", 200, "path:/docs/index.html"},
		{"/docs", 301, "path:/docs path:/docs/index.html"},
		{"/none", 404, "path:/none path:/none/index.html path:/404.html"},
		{"/none/", 404, "path:/none/index.html path:/404.html"},
	} {
		resp, body := fetch(t, site, row.target)
		if got := strings.Join(resp.Header["Surrogate-Key"], " "); resp.StatusCode != row.status || got != row.tags {
			t.Errorf("%s: %s, tags %q; want %d, %q", row.target, resp.Status, got, row.status, row.tags)
		}
		if row.status == 404 && (body != "lost" || resp.Header.Get("Surrogate-Control")+resp.Header.Get("Cache-Control") != "") {
			t.Errorf("%s: %q, %v", row.target, body, resp.Header)
		}
	}
}

func TestReleasesStop(t *testing.T) {
	s, _, r := releases(t)
	s.release(t, 1, map[string]string{"a": "one"})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RoundTrip(request(t, "GET", "/a", nil)); err == nil {
		t.Error("a closed origin reads")
	}
}
