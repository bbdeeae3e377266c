package rfc9111

import (
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

func TestCacheStatus(t *testing.T) {
	tests := []struct {
		name string
		c    CacheStatus
		want string
	}{
		{"RFC 9211 2.1 hit", CacheStatus{Node: "fra", Hit: true, TTL: 376 * time.Second, HasTTL: true}, `fra;hit;ttl=376`},
		{"RFC 9211 2.1 hit goes without fwd", CacheStatus{Node: "fra", Hit: true, Fwd: FwdMiss}, `fra;hit`},
		{"RFC 9211 2.2 fwd", CacheStatus{Node: "fra", Fwd: FwdURIMiss, FwdStatus: 200, Stored: true, Collapsed: true}, `fra;fwd=uri-miss;fwd-status=200;stored;collapsed`},
		{"RFC 9211 2.2 fwd is a token or not there", CacheStatus{Node: "fra", Fwd: "a b"}, `fra`},
		{"RFC 9211 2.4 negative ttl", CacheStatus{Node: "fra", Hit: true, TTL: -1500 * time.Millisecond, HasTTL: true}, `fra;hit;ttl=-2`},
		{"RFC 9211 2.4 ttl rounds down", CacheStatus{Node: "fra", Hit: true, TTL: -time.Nanosecond, HasTTL: true}, `fra;hit;ttl=-1`},
		{"RFC 9211 2.4 ttl of zero", CacheStatus{Node: "fra", Hit: true, TTL: 999 * time.Millisecond, HasTTL: true}, `fra;hit;ttl=0`},
		{"RFC 9211 2.7 key", CacheStatus{Node: "fra", Key: "a\"\\\x00é"}, `fra;key="a\"\\%00%C3%A9"`},
		{"RFC 9211 2.8 detail, a token", CacheStatus{Node: "fra", Detail: "memory"}, `fra;detail=memory`},
		{"RFC 9211 2.8 detail, a string", CacheStatus{Node: "fra", Detail: "two words"}, `fra;detail="two words"`},
		{"RFC 9211 2 node, a string", CacheStatus{Node: "10.0.0.1"}, `"10.0.0.1"`},
		{"RFC 9211 2 node, empty", CacheStatus{}, `""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.c.Append(nil)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestProxyStatus(t *testing.T) {
	tests := []struct {
		name, node, errorType, details, want string
	}{
		{"RFC 9209 2.1.1 error", "fra", ProxyDNSTimeout, "", `fra;error=dns_timeout`},
		{"RFC 9209 2.1.5 details", "fra", ProxyHTTPProtocolError, "bad \"chunk\"", `fra;error=http_protocol_error;details="bad \"chunk\""`},
		{"RFC 9209 2.1.1 not a token", "fra", "a b", "", `fra;error=proxy_internal_error`},
		{"RFC 9209 2 no error", "my node", "", "", `"my node"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendProxyStatus(nil, tt.node, tt.errorType, tt.details)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCacheStatusAllocatesNothing(t *testing.T) {
	c := CacheStatus{Node: "fra", Hit: true, TTL: time.Minute, HasTTL: true, Detail: "memory"}
	room := make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() { c.Append(room) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever goes in, what comes out is a list of one item per RFC 9651.
func FuzzCacheStatus(f *testing.F) {
	f.Add("fra", true, FwdMiss, 200, int64(-1), "GET /", "x y")
	f.Add("1 é\x00", false, "a;b", -1, int64(1<<62), `"\`, "*")
	f.Fuzz(func(t *testing.T, node string, hit bool, fwd string, status int, ttl int64, key, detail string) {
		if status > 999 {
			status = 999 // statuses have three digits
		}
		c := CacheStatus{Node: node, Hit: hit, Fwd: fwd, FwdStatus: status, TTL: time.Duration(ttl), HasTTL: true, Key: key, Detail: detail}
		params := oneItem(t, string(c.Append(nil)))
		if got, ok := params.Get("ttl"); !ok || got != floorSeconds(c.TTL) {
			t.Fatalf("ttl %v, want %d", got, floorSeconds(c.TTL))
		}
		if _, ok := params.Get("hit"); ok != hit {
			t.Fatalf("hit is %v", ok)
		}
		if _, ok := params.Get("key"); ok != (key != "") {
			t.Fatalf("key is %v", ok)
		}
		params = oneItem(t, string(AppendProxyStatus(nil, node, fwd, detail)))
		if got, ok := params.Get("error"); ok != (fwd != "") {
			t.Fatalf("error %v", got)
		}
	})
}

func oneItem(t *testing.T, field string) *httpsfv.Params {
	t.Helper()
	list, err := httpsfv.UnmarshalList([]string{field})
	if err != nil || len(list) != 1 {
		t.Fatalf("%q: %d members, %v", field, len(list), err)
	}
	item, ok := list[0].(httpsfv.Item)
	if !ok {
		t.Fatalf("%q is %T", field, list[0])
	}
	return item.Params
}
