package origin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"weir/origin"
)

// fakeStore answers every request alike and remembers it.
type fakeStore struct {
	handler http.HandlerFunc

	lock sync.Mutex // guards seen
	seen []*http.Request
}

func (f *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.lock.Lock()
	f.seen = append(f.seen, r)
	f.lock.Unlock()
	f.handler(w, r)
}

func (f *fakeStore) requests() []*http.Request {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.seen
}

// s3On starts a store that answers with handler, and an origin that reads it.
func s3On(t *testing.T, handler http.HandlerFunc, change func(*origin.S3Options)) (*origin.S3, *fakeStore) {
	t.Helper()
	fake := &fakeStore{handler: handler}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	opts := origin.S3Options{Endpoint: strings.TrimPrefix(server.URL, "http://"), Bucket: "site", AccessKey: "k", SecretKey: "s"}
	if change != nil {
		change(&opts)
	}
	s3, err := origin.NewS3(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s3.Close() })
	return s3, fake
}

// What the store answers, and what becomes of it. One request each: no retry.
func TestS3Statuses(t *testing.T) {
	for _, row := range []struct {
		name    string
		status  int
		code    string
		method  string
		change  func(*origin.S3Options)
		want    int
		noStore bool
	}{
		{"no such key", 404, "NoSuchKey", "GET", nil, 404, false},
		{"no such key", 404, "", "HEAD", nil, 404, false},
		{"no such bucket", 404, "NoSuchBucket", "GET", nil, 502, true},
		{"not a document", 404, "<", "GET", nil, 404, false},
		{"a name that is too long", 400, "KeyTooLongError", "GET", nil, 404, false},
		{"another region", 400, "AuthorizationHeaderMalformed", "GET", nil, 502, true},
		{"no right to list", 403, "AccessDenied", "GET", nil, 502, true},
		{"no right to list, allowed for", 403, "AccessDenied", "GET", hideForbidden, 404, false},
		{"no right to list, allowed for", 403, "", "HEAD", hideForbidden, 404, false},
		{"wrong secret", 403, "SignatureDoesNotMatch", "GET", hideForbidden, 502, true},
		{"wrong clock", 403, "RequestTimeTooSkewed", "GET", nil, 502, true},
		{"slow down", 503, "SlowDown", "GET", nil, 503, true},
		{"too many", 429, "TooManyRequests", "GET", nil, 503, true},
		{"internal", 500, "InternalError", "GET", nil, 502, true},
		{"gateway", 504, "", "GET", nil, 502, true},
		{"a redirect is not followed", 301, "PermanentRedirect", "GET", nil, 502, true},
		{"teapot", 418, "", "GET", nil, 502, true},
	} {
		t.Run(fmt.Sprintf("%s %d %s", row.method, row.status, row.name), func(t *testing.T) {
			s3, fake := s3On(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "http://elsewhere.invalid/")
				w.WriteHeader(row.status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><BucketName>site</BucketName></Error>", row.code)
			}, row.change)
			resp, body := exchange(t, s3, request(t, row.method, "/a", nil))
			if resp.StatusCode != row.want || (resp.Header.Get("Cache-Control") == "no-store") != row.noStore {
				t.Errorf("%s, Cache-Control %q", resp.Status, resp.Header.Get("Cache-Control"))
			}
			if strings.Contains(body, "<") || resp.Header.Get("Location") != "" || (resp.Header.Get("Retry-After") == "7") != (row.want == 503) {
				t.Errorf("what the store said came through: %v, %q", resp.Header, body)
			}
			if row.want == 502 && row.method == "GET" && !strings.Contains(body, row.code) {
				t.Errorf("the text does not name %s: %q", row.code, body)
			}
			if n := len(fake.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func hideForbidden(o *origin.S3Options) { o.ForbiddenIsNotFound = true }

func TestS3SendsOnlyItsOwn(t *testing.T) {
	s3, fake := s3On(t, func(http.ResponseWriter, *http.Request) {}, func(o *origin.S3Options) { o.Prefix = "a b" })
	exchange(t, s3, request(t, http.MethodGet, "/c%20d+%C3%BC?versionId=1&acl", http.Header{
		"Authorization": {"Basic x"}, "Cookie": {"a"}, "X-Amz-Acl": {"public-read"}, "Accept-Encoding": {"br"},
		"Weir-Applied": {"7"}, "X-Anything": {"1"}, "Range": {"bytes=0-1"}, "If-None-Match": {`"a"`, `"b"`},
	}))
	got := fake.requests()[0]
	if got.RequestURI != "/site/a%20b/c%20d%2B%C3%BC" || got.Header.Get("Range") != "bytes=0-1" || got.Header.Get("If-None-Match") != `"a", "b"` {
		t.Errorf("asked for %s with %v", got.RequestURI, got.Header)
	}
	if !strings.HasPrefix(got.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=k/") {
		t.Errorf("Authorization %q", got.Header.Get("Authorization"))
	}
	for name := range got.Header {
		switch name {
		case "Authorization", "If-None-Match", "Range", "User-Agent", "X-Amz-Content-Sha256", "X-Amz-Date":
		default:
			t.Errorf("the store was sent %s", name)
		}
	}
}

func TestS3KeepsTheObjectsFieldsOnly(t *testing.T) {
	s3, _ := s3On(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Server", "Vary", "Set-Cookie", "Weir-Stamp", "X-Amz-Request-Id", "X-Minio-Deployment-Id",
			"X-Amz-Meta-Owner", "Surrogate-Key", "Strict-Transport-Security", "Content-Security-Policy"} {
			w.Header().Set(name, "x")
		}
		w.Header().Set("Content-Encoding", "aws-chunked,gzip")
		w.Header().Set("X-Amz-Meta-Cache-Tag", "t")
		w.Header().Set("Content-Type", "text/css")
	}, nil)
	resp, _ := fetch(t, s3, "/a")
	for name := range resp.Header {
		switch name {
		case "Cache-Tag", "Content-Encoding", "Content-Length", "Content-Type", "Date":
		default:
			t.Errorf("%s came through", name)
		}
	}
	if got := resp.Header.Get("Content-Encoding"); got != "gzip" {
		t.Errorf("Content-Encoding %q", got)
	}
}

func TestS3OptionErrors(t *testing.T) {
	good := origin.S3Options{Endpoint: "127.0.0.1:9000", Bucket: "site", AccessKey: "key", SecretKey: "the-secret"}
	if _, err := origin.NewS3(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*origin.S3Options){
		"no endpoint":       func(o *origin.S3Options) { o.Endpoint = "" },
		"a URL as endpoint": func(o *origin.S3Options) { o.Endpoint = "http://127.0.0.1:9000" },
		"endpoint and path": func(o *origin.S3Options) { o.Endpoint = "127.0.0.1:9000/x" },
		"no bucket":         func(o *origin.S3Options) { o.Bucket = "" },
		"bucket and path":   func(o *origin.S3Options) { o.Bucket = "a/b" },
		"bucket of dots":    func(o *origin.S3Options) { o.Bucket = ".." },
		"no key":            func(o *origin.S3Options) { o.AccessKey = "" },
		"no secret":         func(o *origin.S3Options) { o.SecretKey = "" },
		"prefix above":      func(o *origin.S3Options) { o.Prefix = "../a" },
		"negative limit":    func(o *origin.S3Options) { o.ConnsMax = -1 },
	} {
		opts := good
		change(&opts)
		if _, err := origin.NewS3(opts); err == nil || strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
