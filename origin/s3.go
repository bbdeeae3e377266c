package origin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// emptySHA256 is the payload hash of a request without a body, which SigV4
// wants in x-amz-content-sha256.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// S3Options says which bucket an S3 origin reads, and how.
type S3Options struct {
	// Endpoint is the store's "host:port". The port may be left out for 80,
	// or 443 with Secure.
	Endpoint string
	// Bucket is asked for in the path ("path style"), which every
	// S3-compatible store understands.
	Bucket string
	// Prefix is the folder in the bucket that is the site's root, or "".
	Prefix string
	// Region goes into the signature. Default "us-east-1".
	Region string
	// AccessKey and SecretKey sign the requests (AWS Signature Version 4).
	AccessKey, SecretKey string
	// Secure connects with TLS, trusting the system's authorities.
	Secure bool
	// ForbiddenIsNotFound answers 404 where the store says AccessDenied. A
	// store says so instead of NoSuchKey to keys that may not list the
	// bucket. Without it AccessDenied is a 502, like wrong keys.
	ForbiddenIsNotFound bool
	// Dial opens connections. Default net.Dialer.
	Dial DialFunc
	// ConnectTimeout bounds connecting, TLS included. Default 5 s.
	ConnectTimeout time.Duration
	// HeaderTimeout bounds the wait for a response's header once the request
	// has been written. Default 30 s.
	HeaderTimeout time.Duration
	// ConnsMax is the number of connections to the store, busy and idle.
	// Requests beyond it wait for one to be free. Default 64.
	ConnsMax int
}

func (o S3Options) withDefaults() (S3Options, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.AccessKey == "" || o.SecretKey == "" {
		return o, errors.New("access key and secret key are both needed")
	}
	if err := s3utils.CheckValidBucketName(o.Bucket); err != nil {
		return o, fmt.Errorf("bucket %q: %w", o.Bucket, err)
	}
	u, err := url.Parse("http://" + o.Endpoint)
	if err != nil || u.Host != o.Endpoint || u.Hostname() == "" {
		return o, fmt.Errorf("endpoint %q: want host:port", o.Endpoint)
	}
	prefix, err := cleanPrefix(o.Prefix)
	if err != nil {
		return o, fmt.Errorf("prefix %q: %w", o.Prefix, err)
	}
	o.Prefix = prefix
	return o, nil
}

// S3 reads objects from one bucket, each with a single signed GET or HEAD.
//
// A request's path is the key, under the rules of objectKey. Its query never
// reaches the store, nor do any fields but Range and the conditional ones. Of
// the response, the fields that describe the object are kept, and two of the
// object's own: x-amz-meta-surrogate-key becomes Surrogate-Key, and
// x-amz-meta-cache-tag becomes Cache-Tag.
type S3 struct {
	opts      S3Options
	transport *http.Transport
}

// NewS3 checks the options and makes the origin. It connects to nothing yet.
func NewS3(opts S3Options) (*S3, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("origin s3: %w", err)
	}
	p := pool{dial: opts.Dial, connectTimeout: opts.ConnectTimeout, headerTimeout: opts.HeaderTimeout, connsMax: opts.ConnsMax}
	if opts.Secure {
		p.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if p, err = p.withDefaults(); err != nil {
		return nil, fmt.Errorf("origin s3: %w", err)
	}
	return &S3{opts: opts, transport: p.transport()}, nil
}

// Close gives back the idle connections. Requests under way go on: they belong
// to those who sent them.
func (s *S3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// RoundTrip answers a GET or HEAD from the bucket. The error, if any, is
// classified as the package comment says.
func (s *S3) RoundTrip(req *http.Request) (*http.Response, error) {
	closeBody(req) // A body on GET or HEAD means nothing to a store.
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		resp := localResponse(req, http.StatusMethodNotAllowed, noStore, "this origin answers GET and HEAD only")
		resp.Header.Set("Allow", "GET, HEAD")
		return resp, nil
	}
	if asksUpgrade(req.Header) {
		// It could be ignored, but who asks for another protocol has no use
		// for the object (RFC 6455 section 4.2.2), and would get it past the
		// cache.
		return localResponse(req, http.StatusBadRequest, noStore, "this origin speaks no protocol but HTTP"), nil
	}
	key, refused := objectKey(req.URL, s.opts.Prefix)
	if refused != nil {
		return refused.response(req), nil
	}
	resp, err := s.transport.RoundTrip(s.signed(req, key))
	if err != nil {
		return nil, fmt.Errorf("origin s3: %s %q: %w", req.Method, key, err)
	}
	resp.Request = req
	return s.answer(req, resp), nil
}

// response answers a path that no store is asked for. A 400 is nothing to
// remember; a 404 is as good as any other and lives as long as policy says.
func (r *refusal) response(req *http.Request) *http.Response {
	if r.status == http.StatusNotFound {
		return localResponse(req, r.status, "", r.reason)
	}
	return localResponse(req, r.status, noStore, r.reason)
}

// signed makes the one request that the store sees.
func (s *S3) signed(req *http.Request, key string) *http.Request {
	path := "/" + s.opts.Bucket + "/" + key
	u := &url.URL{Scheme: "http", Host: s.opts.Endpoint, Path: path, RawPath: s3utils.EncodePath(path)}
	if s.opts.Secure {
		u.Scheme = "https"
	}
	out := (&http.Request{
		Method: req.Method,
		URL:    u,
		Host:   s.opts.Endpoint,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"User-Agent":           {"weir"},
			"X-Amz-Content-Sha256": {emptySHA256},
		},
	}).WithContext(req.Context())
	copyConditions(out.Header, req.Header)
	return signer.SignV4(*out, s.opts.AccessKey, s.opts.SecretKey, "", s.opts.Region)
}

// copyConditions takes over the fields that a store may act on. Stores do not
// know If-Range (RFC 9110 section 13.1.5): a range under that condition is
// asked for whole, which is always a right answer to it.
func copyConditions(to, from http.Header) {
	for _, name := range [...]string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if values := from[name]; len(values) > 0 {
			to[name] = []string{strings.Join(values, ", ")}
		}
	}
	if values := from["Range"]; len(values) == 1 && len(from["If-Range"]) == 0 {
		to["Range"] = []string{values[0]}
	}
}
