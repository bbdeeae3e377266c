package node

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"weir/cache/rfc9111"
	"weir/internal/config"
)

// What a bucket's site says of nothing to be found is what DefaultStatusTTL
// says, and status_ttl goes before negative_ttl.
func TestStatusTTL(t *testing.T) {
	lifetime := func(p rfc9111.Policy, status int) time.Duration {
		now := time.Unix(1e9, 0)
		return rfc9111.NewStored(status, http.Header{}, now, now, p).Lifetime
	}
	bucket := policyOf(config.DefaultPolicy(config.Origin{}))
	server := policyOf(config.DefaultPolicy(config.Origin{HTTP: &config.HTTP{}}))
	for status := 200; status < 600; status++ {
		want := rfc9111.DefaultStatusTTL()[status]
		if got := lifetime(bucket, status); status >= 400 && got != want {
			t.Errorf("bucket: status %d: %v, want %v", status, got, want)
		}
		if got := lifetime(server, status); got != 0 {
			t.Errorf("server: status %d: %v, want none", status, got)
		}
	}
	p := config.DefaultPolicy(config.Origin{})
	p.StatusTTL = config.StatusTTL{404: config.Duration(time.Minute), 503: config.Duration(5 * time.Second), 410: 0}
	for status, want := range map[int]time.Duration{404: time.Minute, 503: 5 * time.Second, 410: 0, 405: 10 * time.Second, 500: 0, 200: 10 * time.Minute} {
		if got := lifetime(policyOf(p), status); got != want {
			t.Errorf("status %d: %v, want %v", status, got, want)
		}
	}
}

// A header that the configuration lets into a key is one that the rules let in,
// and the other way round.
func TestKeyedHeaders(t *testing.T) {
	for _, name := range []string{
		"X-Plan", "Accept", "Accept-Language", "User-Agent", "X-Forwarded-Host", "Origin", "Authorization", "Cookie2",
		"Cookie", "Host", "X-Device-Class", "Range", "If-Range", "if-none-match", "Cache-Control", "Pragma", "Expect", "Content-Length",
		"Via", "CDN-Loop", "Weir-Stamp", "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info",
		"Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
	} {
		p := config.DefaultPolicy(config.Origin{})
		p.Key.Headers = []string{name}
		_, err := keyOf(p)
		if fit := config.FitsKey(name); fit != (err == nil) {
			t.Errorf("%s: the configuration says %v, the rules %v", name, fit, err)
		}
	}
}

func TestKeyOf(t *testing.T) {
	p := config.DefaultPolicy(config.Origin{})
	p.KeyIgnoreQuery = true
	if k, err := keyOf(p); err != nil || k.Query != rfc9111.QueryNone {
		t.Errorf("%v, %v", k, err)
	}
	if k, err := keyOf(config.Policy{}); err != nil || k.RewritesQuery() {
		t.Errorf("%v, %v", k, err)
	}
	for _, bad := range []config.Key{{Query: "some"}, {Devices: []string{"watch"}}, {Params: []string{"a"}}} {
		if _, err := keyOf(config.Policy{Key: bad}); err == nil {
			t.Errorf("%v is good", bad)
		}
	}
}

// What the file says of keys reaches the sites that a node answers for, and the
// purges that it reads.
func TestKeysAreWired(t *testing.T) {
	c := config.Default()
	c.Sites = []*config.Site{
		{Name: "plain", Hosts: []string{"plain.test"}},
		{Name: "keyed", Hosts: []string{"keyed.test"}, Policy: config.Policy{Key: config.Key{
			Query: "except", Params: []string{"utm_*"}, SortQuery: true, Headers: []string{"X-Plan"}, Cookies: []string{"lang"}, Devices: []string{"tablet"},
		}}},
	}
	sites, err := sitesOf(c, nil, func(*config.Site) (http.RoundTripper, error) { return http.DefaultTransport, nil })
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keysOf(c)
	if err != nil {
		t.Fatal(err)
	}
	want := rfc9111.KeyPolicy{
		Query: rfc9111.QueryExcept, Params: []string{"utm_*"}, SortQuery: true,
		Headers: []string{"X-Plan"}, Cookies: []string{"lang"}, Devices: []rfc9111.Device{rfc9111.DeviceTablet},
	}
	if got := sites.Find("keyed.test").Key; !reflect.DeepEqual(got, want) || !reflect.DeepEqual(*keys["keyed"], want) {
		t.Errorf("got %+v and %+v, want %+v", got, *keys["keyed"], want)
	}
	if got := sites.Find("plain.test").Key; got.RewritesQuery() || got.Extra(http.Header{}, "") != "" || keys["plain"].RewritesQuery() {
		t.Errorf("a site without a key policy has %+v", got)
	}
	c.Sites[1].Policy.Key.Params = nil
	if _, err := keysOf(c); err == nil {
		t.Error("a key policy that contradicts itself is wired")
	}
}
