package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/deploy"
	"weir/internal/lab/bucket"
	"weir/internal/ready"
)

const deployConfig = `
tokens: {api: 0123456789abcdef, tier: 0123456789abcdef, nats: 0123456789abcdef}
control: {url: "http://control.example:7400"}
shields: [{name: shield, region: iad, listen: "127.0.0.1:7500"}]
pops: [{name: ams, region: ams, lat: 52.4, lon: 4.9, http: "127.0.0.1:7600", admin: "127.0.0.1:7602"}]
sites:
  - name: docs
    hosts: [docs.example]
    origin: {s3: {endpoint: "127.0.0.1:9000", bucket: docs, prefix: live, access_key: reads, secret_key: HUSH, secure: false}}
    policy: {assets: {fingerprint_min: 6}}
  - name: app
    hosts: [app.example]
    origin: {http: {url: "http://127.0.0.1:3000"}}
`

func TestDeployFindsItsSite(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "weir.yaml")
	if err := os.WriteFile(file, []byte(deployConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	var o deploy.Options
	if err := (siteLookup{Config: file, Site: "docs"}).find(&o); err != nil {
		t.Fatal(err)
	}
	if o.Site != "docs" || o.Control.URL != "http://control.example:7400" || o.Control.Token != "0123456789abcdef" || o.Assets.FingerprintMin != 6 ||
		o.Bucket.Endpoint != "127.0.0.1:9000" || o.Bucket.Bucket != "docs" || o.Bucket.Prefix != "live" || o.Bucket.AccessKey != "reads" || o.Bucket.SecretKey != "HUSH" || o.Bucket.Secure {
		t.Errorf("%+v", o)
	}
	t.Setenv(accessKeyVariable, "writes")
	if err := (siteLookup{Config: file, Site: "docs"}).find(&o); err == nil || !strings.Contains(err.Error(), "only one is set") {
		t.Error(err)
	}
	t.Setenv(secretKeyVariable, "OTHER")
	t.Setenv(tokenVariable, "weir_token")
	if err := (siteLookup{Config: file, Site: "docs"}).find(&o); err != nil || o.Bucket.AccessKey != "writes" || o.Bucket.SecretKey != "OTHER" || o.Control.Token != "weir_token" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestDeployFindsWhatIsNamed(t *testing.T) {
	named := siteLookup{Bucket: "s3s://s3.example/docs/live?region=eu-1", Control: "https://control.example", Site: "docs"}
	var o deploy.Options
	if err := named.find(&o); err == nil || !strings.Contains(err.Error(), accessKeyVariable) {
		t.Errorf("without keys: %v", err)
	}
	t.Setenv(accessKeyVariable, "writes")
	t.Setenv(secretKeyVariable, "HUSH")
	t.Setenv(tokenVariable, "weir_token")
	if err := named.find(&o); err != nil {
		t.Fatal(err)
	}
	want := bucket.S3URL{Endpoint: "s3.example", Bucket: "docs", Prefix: "live", Region: "eu-1", AccessKey: "writes", SecretKey: "HUSH", Secure: true}
	if o.Bucket != want || o.Site != "docs" || o.Control.URL != "https://control.example" || o.Control.Token != "weir_token" || o.Assets.FingerprintMin == 0 {
		t.Errorf("%+v", o)
	}
}

// What cannot be meant is said, with what to do.
func TestDeployErrors(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", folder)
	t.Setenv("HOME", folder)
	file := filepath.Join(folder, "weir.yaml")
	if err := os.WriteFile(file, []byte(deployConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	lab := filepath.Join(folder, "lab.json")
	if err := (ready.File{Site: "lab", Control: "http://127.0.0.1:1", Origin: "http://127.0.0.1:3000"}).Write(lab); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args string
		want string
	}{
		{"deploy DIR", "start one with `weir lab`"},
		{"deploy DIR --config FILE", "--site is needed: FILE has docs, app"},
		{"deploy DIR --bucket s3://h/b", "go together"},
		{"deploy DIR --bucket s3://h/b --control http://c", "--site is needed"},
		{"deploy DIR --bucket s3://h/b --control http://c --site docs --config FILE", "give one"},
		{"deploy DIR --bucket s3://k:HUSH@h/b --control http://c --site docs", "has keys in it"},
		{"deploy DIR --bucket h/b --control http://c --site docs", "want s3s://"},
		{"deploy DIR --config FILE --site other", `no site is named "other"`},
		{"deploy DIR --config FILE --site app", "site app has no bucket"},
		{"deploy DIR --config FILE --ready-file LAB", "give one"},
		{"deploy DIR --ready-file LAB", "is no bucket"},
		{"deploy DIR --ready-file LAB --site docs", `the lab's site is called "lab"`},
		{"deploy DIR --config FILE --site docs --keep 0", "at least 1"},
		{"deploy DIR --config FILE --site docs --timeout 2m", "at most 60s"},
		{"deploy DIR --config FILE --site docs --edge-ttl 0s", "want a second or more"},
		{"deploy DIR --config FILE --site docs --mutable x", `pattern "x"`},
		{"deploy", "expected"},
		{"deploy /nowhere", "/nowhere"},
		{"rollback --config FILE --site docs --to x", "--to"},
		{"releases --config FILE", "--site is needed"},
	} {
		here := strings.NewReplacer("DIR", folder, "FILE", file, "LAB", lab)
		var out, errs bytes.Buffer
		code := run(&environment{ctx: t.Context(), out: &out, errors: &errs}, strings.Fields(here.Replace(row.args)))
		if code == 0 || !strings.Contains(errs.String(), here.Replace(row.want)) || strings.Contains(errs.String(), "HUSH") {
			t.Errorf("%s: %d %s; want %q", row.args, code, &errs, row.want)
		}
	}
}
