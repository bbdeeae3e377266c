package bucket

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3URL names a bucket, the store that has it, and the keys to it. Printing,
// logging or encoding one as text shows "xxxxx" in place of the secret.
type S3URL struct {
	// Endpoint is the store's "host:port"; the port may be left out.
	Endpoint string
	// Bucket is the bucket's name, and Prefix the folder in it, or "".
	Bucket, Prefix string
	// Region is for the signatures; "" means "us-east-1".
	Region string
	// AccessKey and SecretKey are as the store gave them, not encoded.
	AccessKey, SecretKey string
	// Secure says that the store speaks TLS.
	Secure bool
}

// Client makes a client of the store, which tries a request attemptsMax times.
func (u S3URL) Client(transport http.RoundTripper, attemptsMax int) (*minio.Client, error) {
	return minio.New(u.Endpoint, &minio.Options{
		Creds:        credentials.NewStaticV4(u.AccessKey, u.SecretKey, ""),
		Secure:       u.Secure,
		Region:       u.region(),
		BucketLookup: minio.BucketLookupPath,
		Transport:    transport,
		MaxRetries:   attemptsMax,
	})
}

func (u S3URL) region() string { return cmp.Or(u.Region, "us-east-1") }

// KeyPrefix is what keys in the folder begin with: "", or the folder and a slash.
func (u S3URL) KeyPrefix() string {
	if p := strings.Trim(u.Prefix, "/"); p != "" {
		return p + "/"
	}
	return ""
}

// ParseURL reads
//
//	s3://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX][?region=R][&secure=true]
//
// where s3s:// means the same as secure=true. Key, secret, bucket and prefix may
// be percent-encoded; a "%", and in the key a ":", must be. The last "@" ends the
// secret, so that a secret with a slash in it may be given as it is. Errors say
// what is wrong without ever repeating the secret.
func ParseURL(text string) (S3URL, error) {
	u, err := parseURL(text)
	if err != nil {
		return S3URL{}, fmt.Errorf("parse S3 URL: %w (want s3://KEY:SECRET@HOST:PORT/BUCKET)", err)
	}
	return u, nil
}

func parseURL(text string) (u S3URL, err error) {
	// net/url is not used for the whole: its errors quote what they could not
	// read, which may be the secret.
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case !ok:
		return u, errors.New(`there is no "://"`)
	case scheme == "s3s":
		u.Secure = true
	case scheme != "s3":
		return u, errors.New("the scheme is neither s3 nor s3s")
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return u, errors.New("there is no KEY:SECRET@ in front of the host")
	}
	if err := u.parseKeys(rest[:at]); err != nil {
		return u, err
	}
	rest, query, _ := strings.Cut(rest[at+1:], "?")
	if err := u.parsePlace(rest); err != nil {
		return u, err
	}
	return u, u.parseQuery(query)
}

func (u *S3URL) parseKeys(text string) (err error) {
	access, secret, ok := strings.Cut(text, ":")
	if !ok || access == "" || secret == "" {
		return errors.New("the access key or the secret key is missing")
	}
	if u.AccessKey, err = url.PathUnescape(access); err != nil {
		return errors.New("the access key is not percent-encoded rightly")
	}
	if u.SecretKey, err = url.PathUnescape(secret); err != nil {
		return errors.New("the secret key is not percent-encoded rightly")
	}
	return nil
}

func (u *S3URL) parsePlace(text string) (err error) {
	var path string
	u.Endpoint, path, _ = strings.Cut(text, "/")
	if err := checkEndpoint(u.Endpoint); err != nil {
		return err
	}
	if path, err = url.PathUnescape(path); err != nil {
		return errors.New("the bucket or prefix is not percent-encoded rightly")
	}
	u.Bucket, u.Prefix, _ = strings.Cut(path, "/")
	if u.Bucket == "" {
		return errors.New("there is no bucket after the host")
	}
	u.Prefix = strings.TrimSuffix(u.Prefix, "/")
	return nil
}

func checkEndpoint(endpoint string) error {
	host, port := endpoint, ""
	if strings.Contains(strings.TrimPrefix(endpoint[strings.LastIndex(endpoint, "]")+1:], "]"), ":") {
		var err error
		if host, port, err = net.SplitHostPort(endpoint); err != nil {
			return fmt.Errorf("the host %q cannot be read", endpoint)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("the port %q is not a number from 1 to 65535", port)
		}
	}
	if host == "" || strings.ContainsAny(host, " %\\#") {
		return fmt.Errorf("the host %q cannot be read", host)
	}
	return nil
}

func (u *S3URL) parseQuery(text string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("what follows the question mark cannot be read")
	}
	for name, values := range query {
		switch name {
		case "region":
			u.Region = values[0]
		case "secure":
			secure, err := strconv.ParseBool(values[0])
			if err != nil {
				return fmt.Errorf("secure=%q is neither true nor false", values[0])
			}
			u.Secure = u.Secure || secure
		default:
			return fmt.Errorf("unknown parameter %q: there are region and secure", name)
		}
	}
	return nil
}

// String is the URL with the secret left out.
func (u S3URL) String() string {
	out := url.URL{Scheme: "s3", Host: u.Endpoint, Path: "/" + u.Bucket, User: url.UserPassword(u.AccessKey, "xxxxx")}
	if u.Secure {
		out.Scheme = "s3s"
	}
	if u.Prefix != "" {
		out.Path += "/" + u.Prefix
	}
	if u.Region != "" {
		out.RawQuery = "region=" + url.QueryEscape(u.Region)
	}
	return out.String()
}

// GoString keeps the secret out of what "%#v" prints.
func (u S3URL) GoString() string { return "bucket.S3URL(" + u.String() + ")" }

// MarshalText keeps the secret out of JSON and of structured logs.
func (u S3URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
