package origin_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"weir/internal/lab/miniotest"
	"weir/internal/lab/s3server"
	"weir/origin"
)

// store is an S3 server that the suite runs on.
type store struct {
	endpoint, accessKey, secretKey string
}

const bigBytes = 3<<20 + 7

// big is content whose every 8 bytes differ, so that a wrong offset shows.
var big = sync.OnceValue(func() string {
	b := make([]byte, bigBytes+8)
	for i := 0; i < bigBytes; i += 8 {
		copy(b[i:], strconv.Itoa(10_000_000+i/8))
	}
	return string(b[:bigBytes])
})

func TestS3OnTheLabsServer(t *testing.T) {
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
	runS3Suite(t, store{server.Addr(), "lab", "lab-secret"})
}

func TestS3OnMinIO(t *testing.T) {
	server := miniotest.Start(t)
	runS3Suite(t, store{server.Endpoint, server.AccessKey, server.SecretKey})
}

func runS3Suite(t *testing.T, on store) {
	on.fill(t)
	t.Run("objects", on.testObjects)
	t.Run("metadata", on.testMetadata)
	t.Run("conditions", on.testConditions)
	t.Run("ranges", on.testRanges)
	t.Run("missing", on.testMissing)
	t.Run("nasty paths", on.testNastyPaths)
	t.Run("methods", on.testMethods)
	t.Run("what stays with the client", on.testClientFields)
	t.Run("wrong keys", on.testWrongKeys)
	t.Run("streaming", on.testStreaming)
	t.Run("static", on.testStatic)
}

func (on store) options() origin.S3Options {
	return origin.S3Options{Endpoint: on.endpoint, Bucket: "site", AccessKey: on.accessKey, SecretKey: on.secretKey}
}

func (on store) origin(t *testing.T, change func(*origin.S3Options)) *origin.S3 {
	t.Helper()
	opts := on.options()
	if change != nil {
		change(&opts)
	}
	s3, err := origin.NewS3(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s3.Close(); err != nil {
			t.Error(err)
		}
	})
	return s3
}

// fill puts the suite's objects into a bucket, and a secret beside them in a
// bucket and under prefixes that must never be reached.
func (on store) fill(t *testing.T) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := minio.New(on.endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(on.accessKey, on.secretKey, ""), Region: "us-east-1", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(bucket, key, body string, opts minio.PutObjectOptions) {
		t.Helper()
		opts.DisableMultipart = true
		if _, err := client.PutObject(t.Context(), bucket, key, strings.NewReader(body), int64(len(body)), opts); err != nil {
			t.Fatalf("put %s/%s: %v", bucket, key, err)
		}
	}
	for _, bucket := range []string{"site", "other"} {
		if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("other", "secret.txt", secret, minio.PutObjectOptions{})
	put("site", "secret.txt", secret, minio.PutObjectOptions{})
	put("site", "www-backup/secret.txt", secret, minio.PutObjectOptions{})
	html := minio.PutObjectOptions{ContentType: "text/html; charset=utf-8"}
	put("site", "www/index.html", "home", html)
	put("site", "www/docs/index.html", "docs", html)
	put("site", "www/404.html", "gone", html)
	put("site", "www/empty", "", minio.PutObjectOptions{})
	put("site", "www/big.bin", big(), minio.PutObjectOptions{ContentType: "application/octet-stream"})
	put("site", "www/tagged.js", "js", minio.PutObjectOptions{
		ContentType: "text/javascript", CacheControl: "max-age=60, s-maxage=120", ContentEncoding: "gzip",
		ContentLanguage: "en", ContentDisposition: `inline; filename="x.js"`, Expires: time.Date(2037, 1, 2, 3, 4, 5, 0, time.UTC),
		UserMetadata: map[string]string{"surrogate-key": "js all", "cache-tag": "js,all", "owner": "me"},
	})
	for _, key := range awkwardKeys {
		put("site", "www/"+key, "at "+key, html)
	}
}

const secret = "not for you"

// awkwardKeys are names that have to be encoded rightly in the path and in the
// signature alike.
var awkwardKeys = []string{
	"a b.txt", "ü/é.txt", "😀.txt", "plus+plus.txt", "what?.txt", "c#.txt", "100%.txt", "a=b&c;d,e.txt",
	"(a)!'*$@~.txt", "[x].txt", "{x}.txt", "a|b^c`d.txt", "\"q\"<>.txt", "...txt", "a..b", ".well-known/x", "_-.",
}

func (on store) site(t *testing.T) *origin.S3 {
	return on.origin(t, func(o *origin.S3Options) { o.Prefix = "www" })
}

func (on store) testObjects(t *testing.T) {
	site := on.site(t)
	for _, key := range append([]string{"index.html", "docs/index.html", "empty", "big.bin"}, awkwardKeys...) {
		want := "at " + key
		switch key {
		case "index.html":
			want = "home"
		case "docs/index.html":
			want = "docs"
		case "empty":
			want = ""
		case "big.bin":
			want = big()
		}
		req := request(t, http.MethodGet, "/", nil)
		req.URL.Path = "/" + key
		resp, body := exchange(t, site, req)
		if resp.StatusCode != http.StatusOK || body != want || resp.ContentLength != int64(len(want)) {
			t.Errorf("%q: %s, %d bytes of %d, Content-Length %d", key, resp.Status, len(body), len(want), resp.ContentLength)
		}
		sum := md5.Sum([]byte(want))
		if got := resp.Header.Get("Etag"); got != `"`+hex.EncodeToString(sum[:])+`"` {
			t.Errorf("%q: ETag %s", key, got)
		}
		if _, err := http.ParseTime(resp.Header.Get("Last-Modified")); err != nil {
			t.Errorf("%q: Last-Modified: %v", key, err)
		}
		req.Method = http.MethodHead
		head, body := exchange(t, site, req)
		if head.StatusCode != http.StatusOK || body != "" || head.ContentLength != int64(len(want)) {
			t.Errorf("HEAD %q: %s, %d bytes, Content-Length %d", key, head.Status, len(body), head.ContentLength)
		}
	}
}

func (on store) testMetadata(t *testing.T) {
	resp, _ := fetch(t, on.site(t), "/tagged.js")
	want := map[string]string{
		"Content-Type": "text/javascript", "Cache-Control": "max-age=60, s-maxage=120", "Content-Encoding": "gzip",
		"Content-Language": "en", "Content-Disposition": `inline; filename="x.js"`, "Expires": "Fri, 02 Jan 2037 03:04:05 GMT",
		"Surrogate-Key": "js all", "Cache-Tag": "js,all", "Content-Length": "2",
	}
	for name, value := range want {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	for name := range resp.Header {
		_, wanted := want[name]
		switch name {
		case "Accept-Ranges", "Date", "Etag", "Last-Modified":
		default:
			if !wanted {
				t.Errorf("the store's field %s came through", name)
			}
		}
	}
}

// RFC 9110 section 13.
func (on store) testConditions(t *testing.T) {
	site := on.site(t)
	first, _ := fetch(t, site, "/tagged.js")
	etag, modified := first.Header.Get("Etag"), first.Header.Get("Last-Modified")
	for _, row := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"13.1.2 same tag", http.Header{"If-None-Match": {etag}}, 304},
		{"13.1.2 other tag", http.Header{"If-None-Match": {`"other"`}}, 200},
		{"13.1.3 not modified", http.Header{"If-Modified-Since": {modified}}, 304},
		{"13.1.3 modified", http.Header{"If-Modified-Since": {"Mon, 01 Jan 2001 00:00:00 GMT"}}, 200},
		{"13.1.1 other tag", http.Header{"If-Match": {`"other"`}}, 412},
		{"13.1.1 same tag", http.Header{"If-Match": {etag}}, 200},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, body := exchange(t, site, request(t, method, "/tagged.js", row.header.Clone()))
			if resp.StatusCode != row.status {
				t.Errorf("%s %s: %s, want %d", method, row.name, resp.Status, row.status)
			}
			if row.status != http.StatusOK && body != "" {
				t.Errorf("%s %s: body %q", method, row.name, body)
			}
			if row.status == http.StatusNotModified && (resp.Header.Get("Content-Type") != "" || resp.Header.Get("Content-Length") != "") {
				t.Errorf("%s %s: fields of an error document: %v", method, row.name, resp.Header)
			}
			if got := resp.Header.Get("Etag"); row.header.Get("If-None-Match") != "" && got != etag {
				t.Errorf("%s %s: 304 with ETag %q, want %q", method, row.name, got, etag)
			}
		}
	}
}

// RFC 9110 section 14.
func (on store) testRanges(t *testing.T) {
	site, all := on.site(t), big()
	for _, row := range []struct {
		name   string
		header http.Header
		status int
		body   string
		span   string
	}{
		{"14.1.2 first bytes", http.Header{"Range": {"bytes=0-9"}}, 206, all[:10], fmt.Sprintf("bytes 0-9/%d", bigBytes)},
		{"14.1.2 last bytes", http.Header{"Range": {"bytes=-5"}}, 206, all[bigBytes-5:], fmt.Sprintf("bytes %d-%d/%d", bigBytes-5, bigBytes-1, bigBytes)},
		{"14.1.2 from the middle", http.Header{"Range": {"bytes=2000000-"}}, 206, all[2000000:], fmt.Sprintf("bytes 2000000-%d/%d", bigBytes-1, bigBytes)},
		{"14.1.2 beyond the end", http.Header{"Range": {"bytes=99999999-"}}, 416, "", ""},
		{"13.1.5 If-Range", http.Header{"Range": {"bytes=0-9"}, "If-Range": {`"other"`}}, 200, all, ""},
	} {
		resp, body := exchange(t, site, request(t, http.MethodGet, "/big.bin", row.header))
		if resp.StatusCode != row.status || body != row.body {
			t.Errorf("%s: %s with %d bytes, want %d with %d", row.name, resp.Status, len(body), row.status, len(row.body))
		}
		if got := resp.Header.Get("Content-Range"); row.span != "" && got != row.span {
			t.Errorf("%s: Content-Range %q, want %q", row.name, got, row.span)
		}
	}
}

func (on store) testMissing(t *testing.T) {
	site := on.site(t)
	for _, target := range []string{"/no", "/docs", "/docs/", "/index.html/", "/index.html/x", "/" + strings.Repeat("n", 300)} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, body := exchange(t, site, request(t, method, target, nil))
			if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Cache-Control") != "" {
				t.Errorf("%s %.20s: %s, Cache-Control %q", method, target, resp.Status, resp.Header.Get("Cache-Control"))
			}
			if strings.Contains(body, "<") || strings.Contains(body, "www/") {
				t.Errorf("%s %.20s: the store's document came through: %q", method, target, body)
			}
		}
	}
	nowhere := on.origin(t, func(o *origin.S3Options) { o.Bucket = "nowhere" })
	if resp, body := fetch(t, nowhere, "/a"); resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "NoSuchBucket") {
		t.Errorf("missing bucket: %s, %q", resp.Status, body)
	}
}

// nastyTargets try to reach the other bucket, the object above the prefix, the
// listing of the bucket, or a file of the machine.
var nastyTargets = []string{
	"/", "//", "///", "/.", "/..", "/./", "/../", "/../secret.txt", "/../../other/secret.txt", "//other/secret.txt",
	"/../www-backup/secret.txt", "/..-backup/secret.txt", "/-backup/secret.txt", "/docs/../../secret.txt", "/docs/./../../secret.txt",
	"/%2e%2e/secret.txt", "/%2E%2E/secret.txt", "/.%2e/secret.txt", "/%2e./secret.txt", "/%2e%2e%2fsecret.txt",
	"/..%2fsecret.txt", "/..%2Fsecret.txt", "/..%2f..%2fother%2fsecret.txt", "/%2fother%2fsecret.txt", "/%2f%2fother/secret.txt",
	"/%252e%252e/secret.txt", "/%252e%252e%252fsecret.txt", "/..%252fsecret.txt", "/%25252e%25252e/secret.txt", "/..%255csecret.txt",
	"/..\\secret.txt", "/..%5csecret.txt", "/..%5C..%5Cother%5Csecret.txt", "/%5c%5cother%5csecret.txt",
	"/..%00/secret.txt", "/%00", "/../secret.txt%00.html", "/..%0a/secret.txt", "/..%0d%0aHost:%20other/secret.txt", "/..%09/secret.txt",
	"/..%c0%af/secret.txt", "/..%c0%afsecret.txt", "/%c0%ae%c0%ae/secret.txt", "/%e0%80%ae%e0%80%ae/secret.txt", "/%f0%80%80%ae/secret.txt",
	"/%ff", "/%ed%a0%80", "/%80secret.txt", "/..;/secret.txt", "/..;x=1/secret.txt", "/%EF%BC%8E%EF%BC%8E/secret.txt", "/%E2%80%A5/secret.txt",
	"/../../../../../../etc/passwd", "/..%2f..%2f..%2f..%2fetc%2fpasswd", "/%2fetc%2fpasswd", "/etc/passwd", "/file:///etc/passwd",
	"/.sgwtmp/", "/.sgwtmp/x", "/../.sgwtmp/", "/../.minio.sys/config", "/.minio.sys/format.json", "/docs/__XLDIR__", "/__XLDIR__", "/xl.meta", "/docs/index.html/xl.meta",
	"/../meta/site/www/index.html/meta/etag", "/docs/index.html/meta/etag", "/docs/meta", "/~root/x", "/$HOME", "/%20", "/*",
	"/?list-type=2", "/?acl", "/?policy", "/?location", "/?versions", "/?uploads", "/docs/?list-type=2&prefix=", "/?prefix=other",
}

func (on store) testNastyPaths(t *testing.T) {
	site := on.site(t)
	for _, target := range nastyTargets {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, body := exchange(t, site, request(t, method, target, nil))
			if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s %q: %s, %q", method, target, resp.Status, body)
			}
			if strings.Contains(body, secret) || strings.Contains(body, "root:") || strings.Contains(body, "<") {
				t.Errorf("%s %q: %q", method, target, body)
			}
		}
	}
}

func (on store) testMethods(t *testing.T) {
	site := on.site(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "PROPFIND"} {
		req := request(t, method, "/index.html", nil)
		req.Body = io.NopCloser(strings.NewReader("x"))
		resp, _ := exchange(t, site, req)
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s, Allow %q", method, resp.Status, resp.Header.Get("Allow"))
		}
	}
	if _, body := fetch(t, site, "/index.html"); body != "home" {
		t.Errorf("after that the object is %q", body)
	}
}

// Neither a client's query nor its fields change what is asked of the store.
func (on store) testClientFields(t *testing.T) {
	site := on.site(t)
	header := http.Header{
		"Authorization": {"AWS4-HMAC-SHA256 Credential=x"}, "Cookie": {"a=b"}, "X-Amz-Date": {"20200101T000000Z"},
		"X-Amz-Security-Token": {"t"}, "X-Amz-Content-Sha256": {"0"}, "X-Amz-Server-Side-Encryption-Customer-Key": {"k"},
		"Connection": {"close"}, "Host": {"other"}, "X-Forwarded-Host": {"other"}, "Weir-Stamp": {"1"},
	}
	for _, query := range []string{"", "?acl", "?versionId=x", "?X-Amz-Signature=1&X-Amz-Expires=9", "?response-content-type=text/evil", "?partNumber=2", "?torrent"} {
		resp, body := exchange(t, site, request(t, http.MethodGet, "/index.html"+query, header.Clone()))
		if resp.StatusCode != http.StatusOK || body != "home" || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("query %q: %s, %q, %q", query, resp.Status, body, resp.Header.Get("Content-Type"))
		}
	}
}

func (on store) testWrongKeys(t *testing.T) {
	wrong := on.origin(t, func(o *origin.S3Options) { o.SecretKey = "wrong"; o.ForbiddenIsNotFound = true })
	resp, body := fetch(t, wrong, "/www/index.html")
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "SignatureDoesNotMatch") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s, %q, %v", resp.Status, body, resp.Header)
	}
}

// The first bytes are there before the last have been asked for, and leaving
// early ends the exchange.
func (on store) testStreaming(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := on.site(t).RoundTrip(request(t, http.MethodGet, "/big.bin", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 8)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "10000000" {
		t.Errorf("first bytes %q, %v", first, err)
	}
	cancel()
	time.Sleep(100 * time.Millisecond) // the transport ends it in a goroutine of its own
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the body came to its end after its context had")
	}
	_ = resp.Body.Close() // The context has ended it already.
}

func (on store) testStatic(t *testing.T) {
	site := origin.Static{Next: on.site(t), Index: origin.DefaultIndex, NotFound: origin.DefaultNotFound, SlashRedirect: true}
	for _, row := range []struct {
		target   string
		status   int
		body     string
		location string
	}{
		{"/", 200, "home", ""},
		{"/docs/", 200, "docs", ""},
		{"/docs?a=b", 301, "", "/docs/?a=b"},
		{"/no", 404, "gone", ""},
		{"/no/", 404, "gone", ""},
		{"/a//b", 404, "gone", ""},
		{"/..", 400, "", ""},
	} {
		resp, body := fetch(t, site, row.target)
		if resp.StatusCode != row.status || row.body != "" && body != row.body || resp.Header.Get("Location") != row.location {
			t.Errorf("%s: %s, %q, Location %q", row.target, resp.Status, body, resp.Header.Get("Location"))
		}
	}
}
