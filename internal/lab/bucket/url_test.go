package bucket

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const redacted = "xxxxx"

func TestParseURL(t *testing.T) {
	for _, row := range []struct {
		text string
		want S3URL
		out  string
	}{
		{"s3://key:s3cret@127.0.0.1:9000/site", S3URL{Endpoint: "127.0.0.1:9000", Bucket: "site", AccessKey: "key", SecretKey: "s3cret"},
			"s3://key:xxxxx@127.0.0.1:9000/site"},
		{"s3s://key:s3cret@s3.example.com/site/a%20b/", S3URL{Endpoint: "s3.example.com", Bucket: "site", Prefix: "a b", AccessKey: "key", SecretKey: "s3cret", Secure: true},
			"s3s://key:xxxxx@s3.example.com/site/a%20b"},
		{"s3://key:s3cret@[::1]:9000/site?secure=true&region=eu-central-1", S3URL{Endpoint: "[::1]:9000", Bucket: "site", AccessKey: "key", SecretKey: "s3cret", Secure: true, Region: "eu-central-1"},
			"s3s://key:xxxxx@[::1]:9000/site?region=eu-central-1"},
		{"s3://key:s3cret@[::1]/site?secure=false", S3URL{Endpoint: "[::1]", Bucket: "site", AccessKey: "key", SecretKey: "s3cret"},
			"s3://key:xxxxx@[::1]/site"},
		{"s3://k%3Ay:s3%2Fcr%40et%25@host:1/site", S3URL{Endpoint: "host:1", Bucket: "site", AccessKey: "k:y", SecretKey: "s3/cr@et%"},
			"s3://k%3Ay:xxxxx@host:1/site"},
		{"s3://key:wJal/rXUtn+FEMI=?@#:x@host:1/site", S3URL{Endpoint: "host:1", Bucket: "site", AccessKey: "key", SecretKey: "wJal/rXUtn+FEMI=?@#:x"},
			"s3://key:xxxxx@host:1/site"},
	} {
		got, err := ParseURL(row.text)
		if err != nil || got != row.want {
			t.Errorf("%s\n is %#v, %v\nwant %#v", row.text, got, err, row.want)
		}
		if got.String() != row.out {
			t.Errorf("prints as %s, want %s", got, row.out)
		}
	}
}

func TestParseURLErrors(t *testing.T) {
	for _, text := range []string{
		"", "S3CRET", "s3:", "s3://", "s3://host/site", "http://key:S3CRET@host/site", "S3://key:S3CRET@host/site",
		"s3://key@host/site", "s3://key:@host/site", "s3://:S3CRET@host/site", "s3://key:S3CRET@host", "s3://key:S3CRET@host/",
		"s3://key:S3CRET@/site", "s3://key:S3CRET@:9000/site", "s3://key:S3CRET@host:port/site", "s3://key:S3CRET@host:0/site",
		"s3://key:S3CRET@host:70000/site", "s3://key:S3CRET%zz@host/site", "s3://k%zz:S3CRET@host/site", "s3://key:S3CRET@ho st/site",
		"s3://key:S3CRET@host/%zz", "s3://key:S3CRET@host/site?secure=perhaps", "s3://key:S3CRET@host/site?nonsense=1", "s3://key:S3CRET@a:b:c/site",
		"s3://key:S3CRET@host/site?%zz", "s3://key:S3CRET@host/site?a;b", "s3://key:S3CRET@[::1/site",
	} {
		u, err := ParseURL(text)
		if err == nil {
			t.Errorf("%q is taken, as %#v", text, u)
		} else if strings.Contains(err.Error(), "S3CRET") || u != (S3URL{}) {
			t.Errorf("%q: %v, %v", text, u, err)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	u := S3URL{Endpoint: "host:1", Bucket: "site", AccessKey: "key", SecretKey: "S3CRET"}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "url", u, "pointer", &u)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "url", u, "pointer", &u, "options", Options{S3: u})
	encoded, err := json.Marshal(struct{ U S3URL }{u})
	if err != nil {
		t.Fatal(err)
	}
	all := logged.String() + string(encoded) + fmt.Sprintf("%v %+v %#v %s %q %v %+v %#v", u, u, u, u, u, &u, Options{S3: u}, Options{S3: u})
	if strings.Contains(all, "S3CRET") || !strings.Contains(all, redacted) {
		t.Error(all)
	}
}

// FuzzParseURL looks for a URL that makes the parser panic, and for an error or
// a print that has the secret in it.
func FuzzParseURL(f *testing.F) {
	f.Add("s3://key:", "@127.0.0.1:9000/site?region=x")
	f.Add("s3s://", "@[::1]/site/prefix?secure=true")
	f.Add("key:", "/@")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "TOPSECRET"
		if strings.Contains(before+after, "@") && !strings.HasPrefix(after, "@") || strings.LastIndex(after, "@") > 0 {
			t.Skip() // The secret is then not where the secret is.
		}
		u, err := ParseURL(before + secret + after)
		switch {
		case err != nil:
			if strings.HasPrefix(after, "@") && strings.Contains(err.Error(), secret) {
				t.Fatalf("%q: %v", before+secret+after, err)
			}
		case strings.HasPrefix(before, "s3") && strings.Contains(u.SecretKey, secret) && strings.Contains(u.String(), secret):
			t.Fatalf("%q prints as %s", before+secret+after, u)
		}
	})
}
