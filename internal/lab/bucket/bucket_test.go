package bucket_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"weir/internal/lab/bucket"
	"weir/internal/lab/miniotest"
	"weir/internal/lab/s3server"
)

func TestMain(m *testing.M) {
	var options []goleak.Option
	for _, name := range s3server.Lingering() {
		options = append(options, goleak.IgnoreAnyFunction(name))
	}
	goleak.VerifyTestMain(m, options...)
}

func TestSyncToTheLabsServer(t *testing.T) { runSuite(t, labServer(t)) }

func labServer(t *testing.T) bucket.S3URL {
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
	return bucket.S3URL{Endpoint: server.Addr(), Bucket: "site", AccessKey: "lab", SecretKey: "lab-secret"}
}

func TestSyncToMinIO(t *testing.T) {
	server := miniotest.Start(t)
	runSuite(t, bucket.S3URL{Endpoint: server.Endpoint, Bucket: "site", AccessKey: server.AccessKey, SecretKey: server.SecretKey})
}

func runSuite(t *testing.T, s3 bucket.S3URL) {
	t.Run("life of a directory", func(t *testing.T) { testLife(t, s3) })
	s3.Bucket, s3.Prefix = "prefixed", "a b/c"
	t.Run("life below a prefix", func(t *testing.T) { testLife(t, s3) })
	s3.Prefix = ""
	t.Run("sample site", func(t *testing.T) { testSampleSite(t, s3) })
	t.Run("wrong secret", func(t *testing.T) { testWrongSecret(t, s3) })
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func synced(t *testing.T, opts bucket.Options, dir string, want ...string) {
	t.Helper()
	changed, err := bucket.Sync(t.Context(), opts, dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(changed, want) {
		t.Errorf("changed %q, want %q", changed, want)
	}
}

// client looks at a bucket past Sync.
func client(t *testing.T, s3 bucket.S3URL) *minio.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := minio.New(s3.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(s3.AccessKey, s3.SecretKey, ""), Region: "us-east-1", Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testLife(t *testing.T, s3 bucket.S3URL) {
	prefix := ""
	if s3.Prefix != "" {
		prefix = s3.Prefix + "/"
	}
	dir, opts, c := t.TempDir(), bucket.Options{S3: s3}, client(t, s3)
	write(t, dir, map[string]string{
		"index.html": "home", "css/site.css": "css", "a b/ü?.txt": "odd", "empty": "", ".well-known/x": "x",
		".git/config": "no", "index.html~": "no", ".index.html.swp": "no", "#index.html#": "no", ".DS_Store": "no",
	})
	synced(t, opts, dir, "/.well-known/x", "/a%20b/%C3%BC%3F.txt", "/css/site.css", "/empty", "/index.html")
	synced(t, opts, dir)

	write(t, dir, map[string]string{"css/site.css": "CSS", "empty": "no more", "new.js": "js"})
	synced(t, opts, dir, "/css/site.css", "/empty", "/new.js")
	checkObject(t, c, s3.Bucket, prefix+"css/site.css", "CSS", "text/css; charset=utf-8")

	foreign := []string{"foreign.txt", prefix + "foreign.txt"}
	for _, key := range foreign {
		if _, err := c.PutObject(t.Context(), s3.Bucket, key, strings.NewReader("f"), 1, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "new.js")); err != nil {
		t.Fatal(err)
	}
	synced(t, opts, dir)
	opts.Delete = true
	synced(t, opts, dir, "/new.js")
	synced(t, opts, dir)
	if _, err := c.StatObject(t.Context(), s3.Bucket, prefix+"new.js", minio.StatObjectOptions{}); minio.ToErrorResponse(err).StatusCode != http.StatusNotFound {
		t.Errorf("the removed object: %v", err)
	}
	for _, key := range foreign {
		checkObject(t, c, s3.Bucket, key, "f", "application/octet-stream")
	}
}

func checkObject(t *testing.T, c *minio.Client, bucketName, key, want, contentType string) {
	t.Helper()
	object, err := c.GetObject(t.Context(), bucketName, key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	body, err := io.ReadAll(object)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	info, err := object.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != want || info.ContentType != contentType || info.Metadata.Get("Content-Encoding") != "" {
		t.Errorf("%s: %.40q, %q, encoding %q", key, body, info.ContentType, info.Metadata.Get("Content-Encoding"))
	}
}

func testSampleSite(t *testing.T, s3 bucket.S3URL) {
	const site = "../../../testdata/site"
	s3.Bucket = "sample"
	changed, err := bucket.Sync(t.Context(), bucket.Options{S3: s3}, site)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/index.html", "/404.html", "/docs/index.html", "/docs/gr%C3%B6%C3%9Fe.html", "/downloads/read%20me%20first.txt", "/js/app.3f9a.js", "/data/traffic.json"} {
		if !slices.Contains(changed, path) {
			t.Errorf("%s is not among %q", path, changed)
		}
	}
	want, err := os.ReadFile(filepath.Join(site, "data", "traffic.json"))
	if err != nil {
		t.Fatal(err)
	}
	checkObject(t, client(t, s3), "sample", "data/traffic.json", string(want), "application/json")
}

func testWrongSecret(t *testing.T, s3 bucket.S3URL) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "a"})
	s3.SecretKey = "WRONG-SECRET"
	if _, err := bucket.Sync(t.Context(), bucket.Options{S3: s3}, dir); err == nil || strings.Contains(err.Error(), s3.SecretKey) {
		t.Errorf("%v", err)
	}
}

func TestUnreachableStoreFailsSoon(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "a"})
	began := time.Now()
	_, err := bucket.Sync(t.Context(), bucket.Options{S3: bucket.S3URL{Endpoint: "127.0.0.1:1", Bucket: "site", AccessKey: "k", SecretKey: "s"}}, dir)
	if took := time.Since(began); err == nil || took > 5*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

func TestDirectoryErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": "", "junk/.git/x": "", "outside/x": "x", "out/y": "y", "broken/y": "y", "loop/y": "y", "latin/caf\xe9": "", "slash/a\\b": ""})
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("../outside/x", "out/link")
	link("nowhere", "broken/link")
	link("..", "loop/link")
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"missing": "does not exist", "file": "is not a directory", "empty": "has no files", "junk": "has no files",
		"out": "leads out of the directory", "broken": "leads nowhere", "loop": "leads", "latin": "not UTF-8", "slash": "backslash",
	} {
		_, err := bucket.Sync(t.Context(), bucket.Options{}, filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "loop", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "loop", "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	link("..", "loop/in/back")
	if _, err := bucket.Sync(t.Context(), bucket.Options{FollowLinks: true}, filepath.Join(dir, "loop")); err == nil || !strings.Contains(err.Error(), "leads back") {
		t.Errorf("a loop: %v", err)
	}
}

func TestLinksAreFollowed(t *testing.T) {
	s3, dir := labServer(t), t.TempDir()
	write(t, dir, map[string]string{"site/docs/a.html": "a", "shared/x.js": "x", "shared/deep/y.js": "y"})
	if err := os.Symlink("nowhere", filepath.Join(dir, "shared", "broken")); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"inside.html": "docs/a.html", "more": "docs"} {
		if err := os.Symlink(target, filepath.Join(dir, "site", name)); err != nil {
			t.Fatal(err)
		}
	}
	site := filepath.Join(dir, "site")
	synced(t, bucket.Options{S3: s3}, site, "/docs/a.html", "/inside.html", "/more/a.html")
	if err := os.Symlink(filepath.Join(dir, "shared"), filepath.Join(site, "lib")); err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Sync(t.Context(), bucket.Options{S3: s3}, site); err == nil {
		t.Error("a link out of the directory is followed unasked")
	}
	synced(t, bucket.Options{S3: s3, FollowLinks: true}, site, "/lib/deep/y.js", "/lib/x.js")
}
