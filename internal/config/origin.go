package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Origin is the bucket or server that has a site's truth: one of the two.
type Origin struct {
	S3   *S3   `yaml:"s3"`
	HTTP *HTTP `yaml:"http"`
}

// S3 is a bucket of any S3-compatible store.
type S3 struct {
	Endpoint      string `yaml:"endpoint"` // host or host:port, without scheme
	Bucket        string `yaml:"bucket"`
	Prefix        string `yaml:"prefix"` // what stands before each key, without a slash in front; default none
	Region        string `yaml:"region"` // default us-east-1
	AccessKey     string `yaml:"access_key"`
	SecretKey     Secret `yaml:"secret_key"`
	SecretKeyFile string `yaml:"secret_key_file"` // in place of secret_key
	Secure        bool   `yaml:"secure"`          // TLS to the endpoint; default true
}

// HTTP is a plain HTTP server.
type HTTP struct {
	URL  string `yaml:"url"`  // http or https, host, port and a path to put before each request's
	Host string `yaml:"host"` // Host header to send; default: the client's
}

func (s *S3) setDefaults() { *s = S3{Region: "us-east-1", Secure: true} }

func (o *Origin) settle(at spot, baseDir string) {
	if o.S3 != nil {
		settleSecret(at.field("s3").field("secret_key"), &o.S3.SecretKey, &o.S3.SecretKeyFile, baseDir)
	}
}

func (o *Origin) check(at spot) {
	switch {
	case o.S3 != nil && o.HTTP != nil:
		at.bad(fmt.Sprintf("%s has both s3 and http", at), "keep one of the two")
	case o.S3 != nil:
		o.S3.check(at.field("s3"))
	case o.HTTP != nil:
		o.HTTP.check(at.field("http"))
	case at.given():
		at.bad(fmt.Sprintf("%s has neither s3 nor http", at), "give it one of the two")
	default:
		at.needs(false, "write where the content comes from: s3 or http")
	}
}

func (s *S3) check(at spot) {
	endpoint := at.field("endpoint")
	endpoint.needs(s.Endpoint != "", "write the host of the store, such as s3.example.com or 127.0.0.1:9000")
	if !isHostPort(s.Endpoint) {
		endpoint.bad(fmt.Sprintf("endpoint %q is not a host", s.Endpoint), "write host or host:port, without scheme and path")
	}
	at.field("bucket").needs(s.Bucket != "", "write the name of the bucket")
	if strings.ContainsAny(s.Bucket, "/?#") {
		at.field("bucket").bad(fmt.Sprintf("bucket %q is not a bucket's name", s.Bucket), "write the name alone; what comes after it is the prefix")
	}
	if strings.HasPrefix(s.Prefix, "/") {
		at.field("prefix").bad(fmt.Sprintf("prefix %q starts with a slash", s.Prefix), "write it without, as in site/v1/")
	}
	at.field("region").needs(s.Region != "", "write the store's region, such as us-east-1")
	at.field("access_key").needs(s.AccessKey != "", "write the access key of a user who may read the bucket")
	secretSpot(at.field("secret_key")).needs(s.SecretKey != "", "write the secret key, or secret_key_file: PATH")
}

func (h *HTTP) check(at spot) {
	at.field("url").needs(h.URL != "", "write the server's URL, such as http://127.0.0.1:9000")
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		at.field("url").bad(fmt.Sprintf("url %q is not an http or https URL", bare(h.URL)), "write it like http://127.0.0.1:9000")
		return
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || !isHostPort(u.Host) {
		at.field("url").bad(fmt.Sprintf("url %q is more than scheme, host, port and path", bare(h.URL)), "remove user, query and fragment")
	}
	if h.Host != "" && !isHostPort(h.Host) {
		at.field("host").bad(fmt.Sprintf("host %q is not a host", h.Host), "write a name, such as www.example.com")
	}
}

// isHostPort tells whether s is a host, or a host and a port, and no more.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return isHost(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	}
	return isHost(host) && portProblem(port) == ""
}
