package s3server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"weir/internal/lab/s3server"
)

func TestMain(m *testing.M) {
	var options []goleak.Option
	for _, name := range s3server.Lingering() {
		options = append(options, goleak.IgnoreAnyFunction(name))
	}
	goleak.VerifyTestMain(m, options...)
}

const (
	accessKey = "lab"
	secretKey = "lab-secret/+="
)

func start(t *testing.T, dir string) *s3server.Server {
	t.Helper()
	s, err := s3server.Start(t.Context(), s3server.Options{Dir: dir, AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeServer(t, s) })
	return s
}

func closeServer(t *testing.T, s *s3server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// client talks to a server; its connections are gone when the test ends.
func client(t *testing.T, addr, secret string) *minio.Core {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	core, err := minio.NewCore(addr, &minio.Options{
		Creds: credentials.NewStaticV4(accessKey, secret, ""), Region: "us-east-1", Transport: transport, MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func put(t *testing.T, c *minio.Core, key string, body []byte) {
	t.Helper()
	_, err := c.Client.PutObject(t.Context(), "site", key, bytes.NewReader(body), int64(len(body)),
		minio.PutObjectOptions{ContentType: "text/plain", UserMetadata: map[string]string{"Cache-Tag": "a,b"}})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func get(t *testing.T, c *minio.Core, key string) []byte {
	t.Helper()
	body, info, _, err := c.GetObject(t.Context(), "site", key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer body.Close()
	if got := info.UserMetadata["Cache-Tag"]; got != "a,b" {
		t.Errorf("get %q: metadata %q, want a,b", key, got)
	}
	all, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return all
}

func TestStoreAndRestart(t *testing.T) {
	for _, mode := range []string{"as the file system allows", "sidecar"} {
		t.Run(mode, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "store")
			if mode == "sidecar" {
				if err := os.MkdirAll(filepath.Join(dir, "meta"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			first := start(t, dir)
			c := client(t, first.Addr(), secretKey)
			if err := c.MakeBucket(t.Context(), "site", minio.MakeBucketOptions{}); err != nil {
				t.Fatal(err)
			}
			put(t, c, "docs/a b/ü.txt", []byte("hello"))
			put(t, c, "empty", nil)
			big := make([]byte, 20<<20) // In parts: minio-go's are of 16 MiB.
			if _, err := rand.Read(big); err != nil {
				t.Fatal(err)
			}
			put(t, c, "big", big)
			closeServer(t, first)

			moved := filepath.Join(parent, "moved")
			if err := os.Rename(dir, moved); err != nil {
				t.Fatal(err)
			}
			c = client(t, start(t, moved).Addr(), secretKey)
			if got := get(t, c, "docs/a b/ü.txt"); string(got) != "hello" {
				t.Errorf("got %q", got)
			}
			if got := get(t, c, "big"); !bytes.Equal(got, big) {
				t.Error("the object in parts came back different")
			}
			checkListing(t, c)
			checkDeletes(t, c)
		})
	}
}

func checkListing(t *testing.T, c *minio.Core) {
	t.Helper()
	list, err := c.ListObjectsV2("site", "", "", "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, object := range list.Contents {
		keys = append(keys, object.Key)
	}
	if got := strings.Join(keys, " "); got != "big docs/a b/ü.txt empty" || list.Name != "site" {
		t.Errorf("bucket %q lists %q", list.Name, got)
	}
}

func checkDeletes(t *testing.T, c *minio.Core) {
	t.Helper()
	for _, key := range []string{"big", "empty", "docs/a b/ü.txt"} {
		if err := c.RemoveObject(t.Context(), "site", key, minio.RemoveObjectOptions{}); err != nil {
			t.Errorf("remove %q: %v", key, err)
		}
	}
	if err := c.RemoveBucket(t.Context(), "site"); err != nil {
		t.Error(err)
	}
	if exists, err := c.BucketExists(t.Context(), "site"); err != nil || exists {
		t.Errorf("bucket is there after its removal: %v, %v", exists, err)
	}
}

func TestSignaturesAreChecked(t *testing.T) {
	s := start(t, t.TempDir())
	good := client(t, s.Addr(), secretKey)
	if err := good.MakeBucket(t.Context(), "site", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, good, "a", []byte("a"))
	bad := client(t, s.Addr(), "not-the-secret")
	_, _, _, err := bad.GetObject(t.Context(), "site", "a", minio.GetObjectOptions{})
	if got := minio.ToErrorResponse(err); got.StatusCode != http.StatusForbidden || got.Code != "SignatureDoesNotMatch" {
		t.Errorf("a wrong secret got %d %s (%v)", got.StatusCode, got.Code, err)
	}
	if _, err := bad.Client.PutObject(t.Context(), "site", "b", strings.NewReader("b"), 1, minio.PutObjectOptions{}); err == nil {
		t.Error("a wrong secret may write")
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(mustRequest(t, "http://"+s.Addr()+"/site/a"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("an unsigned request got %s", resp.Status)
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestTheBackendsOwnDirectoryIsHidden(t *testing.T) {
	dir := t.TempDir()
	c := client(t, start(t, dir).Addr(), secretKey)
	if err := c.MakeBucket(t.Context(), "site", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "buckets", "site", ".sgwtmp")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(inner, "part"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := c.GetObject(t.Context(), "site", ".sgwtmp/part", minio.GetObjectOptions{}); minio.ToErrorResponse(err).Code != "NoSuchKey" {
		t.Errorf("got %v, want NoSuchKey", err)
	}
	if _, err := c.StatObject(t.Context(), "elsewhere", "x", minio.StatObjectOptions{}); minio.ToErrorResponse(err).StatusCode != http.StatusNotFound {
		t.Errorf("a missing bucket: %v, want 404", err)
	}
}

// Several servers run in one process, none prints, and the working directory
// stays what it was.
func TestManyServersLeaveTheProcessAlone(t *testing.T) {
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	printed := captureStdout(t, func() {
		for range 2 {
			s, err := s3server.Start(t.Context(), s3server.Options{Dir: t.TempDir(), AccessKey: accessKey, SecretKey: secretKey})
			if err != nil {
				t.Error(err)
				return
			}
			defer closeServer(t, s)
			c := client(t, s.Addr(), secretKey)
			if err := c.MakeBucket(t.Context(), "site", minio.MakeBucketOptions{}); err != nil {
				t.Error(err)
			}
			put(t, c, "a", []byte("a"))
		}
	})
	if printed != "" {
		t.Errorf("printed %q", printed)
	}
	if after, err := os.Getwd(); err != nil || after != before {
		t.Errorf("working directory is %q, was %q (%v)", after, before, err)
	}
}

func captureStdout(t *testing.T, do func()) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = file
	defer func() { os.Stdout = stdout }()
	do()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(printed)
}

// Close does not wait for connections that are open and idle, and frees the port.
func TestCloseIsCleanAndQuick(t *testing.T) {
	s, err := s3server.Start(t.Context(), s3server.Options{Dir: t.TempDir(), AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, s.Addr(), secretKey)
	if _, err := c.BucketExists(t.Context(), "site"); err != nil { // Leaves an idle connection.
		t.Fatal(err)
	}
	began := time.Now()
	closeServer(t, s)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]s3server.Options{
		"no directory":          {AccessKey: "a", SecretKey: "s"},
		"no keys":               {Dir: t.TempDir()},
		"a file as directory":   {Dir: file, AccessKey: "a", SecretKey: "s"},
		"a port that is taken":  {Dir: t.TempDir(), Listen: taken.Addr().String(), AccessKey: "a", SecretKey: "s"},
		"an address that is no": {Dir: t.TempDir(), Listen: "nonsense", AccessKey: "a", SecretKey: "s"},
	} {
		if s, err := s3server.Start(t.Context(), opts); err == nil {
			t.Errorf("%s: no error", name)
			closeServer(t, s)
		}
	}
}
