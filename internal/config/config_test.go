package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what the bad files give into them")

const clusterFile = "../../testdata/config/cluster.yaml"

// minimal is the shortest good file; the tests below change it.
const minimal = `tokens: {api: 0123456789abcdef, tier: fedcba9876543210, nats: 00112233445566ff}
shields: [{name: s1, region: eu, listen: 127.0.0.1:7300}]
pops:
  - {name: ams, region: eu, lat: 52, lon: 4.7, http: 127.0.0.1:7080, admin: 127.0.0.1:7090}
sites:
  - {name: www, hosts: ["*"], origin: {s3: {endpoint: s3.test, bucket: b, access_key: k, secret_key: s}}}
`

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), "test.yaml", "/base")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBadFiles holds the exact text of every fault. Each archive has the files
// to read, cluster.yaml first, and what is wrong with it as "want".
func TestBadFiles(t *testing.T) {
	archives, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			checkBadFile(t, path)
		})
	}
}

func checkBadFile(t *testing.T, path string) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Parse(archive.Files[0].Data, "cluster.yaml", dir)
	if err == nil {
		t.Fatal("no error")
	}
	last := &archive.Files[len(archive.Files)-1]
	got := err.Error() + "\n"
	if *update {
		last.Data = []byte(got)
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if last.Name != "want" || string(last.Data) != got {
		t.Errorf("got:\n%swant:\n%s", got, last.Data)
	}
}

func TestExampleIsGood(t *testing.T) {
	c, err := Load(clusterFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.PoP("sin").Shield; got != AllShields {
		t.Errorf("shield of sin = %q", got)
	}
	if got, want := c.NodeDir("iad"), "../../testdata/config/state/iad"; got != want {
		t.Errorf("NodeDir = %q, want %q", got, want)
	}
	if _, err := os.Stat(c.Router.MMDB); err != nil {
		t.Errorf("the example's MMDB: %v", err)
	}
	if !reflect.DeepEqual(c.Sites[0].Policy, DefaultPolicy(Origin{})) {
		t.Errorf("the example's policy is not the default that its comments promise: %+v", c.Sites[0].Policy)
	}
	if c.Limits != Default().Limits || c.Log != Default().Log || c.Control.NATS.Listen != Default().Control.NATS.Listen {
		t.Error("the example's values are not the defaults that its comments promise")
	}
}

func TestDefaultsAndWhatFollows(t *testing.T) {
	c := mustParse(t, minimal)
	pop := c.PoPs[0]
	for _, row := range []struct{ what, got, want string }{
		{"state", c.State, "/base/state"},
		{"control.url", c.Control.URL, "http://127.0.0.1:7400"},
		{"nats.url", c.Control.NATS.URL, "nats://127.0.0.1:7401"},
		{"shield.url", c.Shields[0].URL, "http://127.0.0.1:7300"},
		{"shield.memory", c.Shields[0].Memory.String(), "256MiB"},
		{"shield.memory_eviction", string(c.Shields[0].MemoryEviction), "objects"},
		{"pop.memory_eviction", string(pop.MemoryEviction), "objects"},
		{"pop.disk", pop.Disk.String(), "1GiB"},
		{"pop.public_http", pop.PublicHTTP, "http://127.0.0.1:7080"},
		{"pop.public_https", pop.PublicHTTPS, ""},
		{"pop.shield", pop.Shield, "all"},
		{"s3.region", c.Sites[0].Origin.S3.Region, "us-east-1"},
	} {
		if row.got != row.want {
			t.Errorf("%s = %q, want %q", row.what, row.got, row.want)
		}
	}
	if c.Router != nil || pop.TLS != nil || !c.Sites[0].Origin.S3.Secure || pop.Lat != 52 {
		t.Errorf("router %v, tls %v, secure %v, lat %v", c.Router, pop.TLS, c.Sites[0].Origin.S3.Secure, pop.Lat)
	}
	if c.Shield("nobody") != nil || c.PoP("nobody") != nil {
		t.Error("found a node that is not there")
	}
}

func TestZeroInTheFileBeatsTheDefault(t *testing.T) {
	c := mustParse(t, strings.Replace(minimal, "origin:",
		`policy: {stale_if_error: 0s, default_ttl: 0, index: "", slash_redirect: false}, origin:`, 1)+"log: {access: false}\n")
	want := DefaultPolicy(Origin{})
	want.StaleIfError, want.DefaultTTL, want.Index, want.SlashRedirect = 0, 0, "", false
	if got := c.Sites[0].Policy; !reflect.DeepEqual(got, want) {
		t.Errorf("policy %+v, want %+v", got, want)
	}
	if c.Log.Access {
		t.Error("log.access is true")
	}
}

func TestPathRulesAreForBuckets(t *testing.T) {
	site := func(policy string) Policy {
		text := minimal[:strings.Index(minimal, "sites:")] + "sites: [{name: www, hosts: [a.test], origin: {http: {url: 'http://o.test/x'}}" + policy + "}]\n"
		return mustParse(t, text).Sites[0].Policy
	}
	if p := site(""); p.Index != "" || p.NotFound != "" || p.SlashRedirect {
		t.Errorf("an HTTP origin got the rules of a bucket: %+v", p)
	}
	if p := site(", policy: {index: home.html, slash_redirect: true}"); p.Index != "home.html" || p.NotFound != "" || !p.SlashRedirect {
		t.Errorf("an HTTP origin lost its own rules: %+v", p)
	}
}

func TestKeyAndLifetimes(t *testing.T) {
	policy := func(text string) Policy {
		return mustParse(t, strings.Replace(minimal, "origin:", "policy: {"+text+"}, origin:", 1)).Sites[0].Policy
	}
	p := policy(`key: {query: except, params: ["utm_*"], sort_query: true, headers: [X-Plan], cookies: [lang, Lang], devices: [mobile]}, ` +
		`status_ttl: {404: 1m, 503: 5s}, negative_ttl: 20s, stale_despite_s_maxage: true, cdn_cache_control: []`)
	want := DefaultPolicy(Origin{})
	want.Key = Key{Query: "except", Params: []string{"utm_*"}, SortQuery: true, Headers: []string{"X-Plan"}, Cookies: []string{"lang", "Lang"}, Devices: []string{"mobile"}}
	want.StatusTTL = StatusTTL{404: Duration(time.Minute), 503: Duration(5 * time.Second)}
	want.NegativeTTL, want.StaleDespiteSMaxAge, want.CDNCacheControl = Duration(20*time.Second), true, []string{}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("policy %+v, want %+v", p, want)
	}
	for text, query := range map[string]string{
		"key_ignore_query: true": "none", "key_ignore_query: true, key: {query: none}": "none",
		"key_ignore_query: true, key: {cookies: [lang]}": "none", "key_ignore_query: false": "all", "key: {sort_query: true}": "all",
	} {
		if p := policy(text); p.Key.Query != query {
			t.Errorf("%s: query %s, want %s", text, p.Key.Query, query)
		}
	}
}

func TestNullGivesNothing(t *testing.T) {
	c := mustParse(t, minimal+"log:\nlimits: ~\nrouter:\n")
	if c.Log != Default().Log || c.Limits != Default().Limits || c.Router != nil {
		t.Errorf("log %v, limits %v, router %v", c.Log, c.Limits, c.Router)
	}
}

func TestFileForms(t *testing.T) {
	for name, text := range map[string]string{
		"CRLF":                  strings.ReplaceAll(minimal, "\n", "\r\n"),
		"byte order mark":       "\ufeff" + minimal,
		"directive, end marker": "%YAML 1.2\n---\n" + minimal + "...\n",
	} {
		t.Run(name, func(t *testing.T) { mustParse(t, text) })
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "api"), []byte("0123456789abcdef-api\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(minimal, "api: 0123456789abcdef", "api_file: api", 1)
	c, err := Parse([]byte(text), "test.yaml", dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Tokens.API); got != "0123456789abcdef-api" {
		t.Errorf("api = %q", got)
	}
}

func TestHostsAreWrittenOneWay(t *testing.T) {
	c := mustParse(t, strings.Replace(minimal, `"*"`, `WWW.Example.COM., "[::1]", "*.Lab.test", 127.0.0.1`, 1))
	want := []string{"www.example.com", "::1", "*.lab.test", "127.0.0.1"}
	if got := c.Sites[0].Hosts; !reflect.DeepEqual(got, want) {
		t.Errorf("hosts = %q, want %q", got, want)
	}
}

func TestHTTPSTakesTheFilesCertificate(t *testing.T) {
	c := mustParse(t, strings.Replace(minimal, "http:", "https: ':7443', public_https: 'https://ams.test/', http:", 1)+"tls: {cert: c.pem, key: /k.pem}\n")
	pop := c.PoPs[0]
	if *pop.TLS != (TLS{Cert: "/base/c.pem", Key: "/k.pem"}) || pop.PublicHTTPS != "https://ams.test" {
		t.Errorf("tls %+v, public_https %q", pop.TLS, pop.PublicHTTPS)
	}
}

func TestConfigFromCode(t *testing.T) {
	c := Default()
	c.Shields = []*Shield{{Name: "s", Listen: "127.0.0.1:1"}}
	c.PoPs = []*PoP{{Name: "p", HTTP: "127.0.0.1:2", HTTPS: "127.0.0.1:3", PublicHTTP: "http://p.test"}}
	c.Complete()
	if p := c.PoPs[0]; p.Shield != AllShields || len(c.ShieldsOf(p)) != 1 || p.PublicHTTP != "http://p.test" || p.PublicHTTPS != "https://127.0.0.1:3" {
		t.Errorf("%+v", p)
	}
	if c.Limits.FillWait.Std() != 30*time.Second {
		t.Errorf("fill_wait = %v", c.Limits.FillWait)
	}
}

func TestLoadSaysWhyAFileCannotBeRead(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(missing)
	if want := missing + ": cannot be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("the cause is lost")
	}
	folder := t.TempDir()
	if _, err := Load(folder); err == nil || !strings.HasSuffix(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestCheck(t *testing.T) {
	var out strings.Builder
	if !Check(&out, clusterFile) {
		t.Error("the example is not good")
	}
	if want := clusterFile + ": ok: 3 pops, 1 shield, 1 site\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte(minimal+"sitez: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if Check(&out, bad) {
		t.Error("an unknown key is good")
	}
	if want := bad + `:7:1: unknown key "sitez" in the file: did you mean "sites"?` + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestErrorsAreOrderedAndSingle(t *testing.T) {
	_, err := Parse([]byte("log: {level: loud}\nfoo: 1\n"), "f", "")
	all, ok := errors.AsType[Errors](err)
	if !ok {
		t.Fatalf("%T", err)
	}
	for i, e := range all[1:] {
		if e.Line < all[i].Line {
			t.Errorf("line %d after line %d", e.Line, all[i].Line)
		}
	}
	if one, ok := errors.AsType[*Error](err); !ok || one != all[0] {
		t.Errorf("errors.As gives %v", one)
	}
}

// TestEachFieldHasItsKey holds the types to what keysOf relies on.
func TestEachFieldHasItsKey(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(typ.Elem())
		case reflect.Struct:
			if isLeaf(reflect.New(typ).Elem()) {
				return
			}
			for f := range typ.Fields() {
				if !f.IsExported() || f.Tag.Get("yaml") == "" {
					t.Errorf("%s.%s has no key", typ, f.Name)
				}
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}
