package rfc9111

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestKeyTarget(t *testing.T) {
	only := KeyPolicy{Query: QueryOnly, Params: []string{"id", "page_*"}}
	except := KeyPolicy{Query: QueryExcept, Params: []string{"utm_*", "fbclid"}}
	sorted := KeyPolicy{SortQuery: true}
	many := "/?" + strings.Repeat("b=1&", sortedParamsMax) + "a=1"
	tests := []struct {
		name         string
		k            KeyPolicy
		target, want string
	}{
		{"all", KeyPolicy{}, "/a?b=1&&a=2&", "/a?b=1&&a=2&"},
		{"all, no query", KeyPolicy{}, "/a", "/a"},
		{"none", KeyPolicy{Query: QueryNone}, "/a?b=1", "/a"},
		{"none, no query", KeyPolicy{Query: QueryNone}, "/a", "/a"},
		{"only", only, "/a?x=1&id=2&y&id=3", "/a?id=2&id=3"},
		{"only, by beginning", only, "/a?page_a=1&page=2", "/a?page_a=1"},
		{"only, none left", only, "/a?x=1", "/a"},
		{"only, an empty query", only, "/a?", "/a"},
		{"only, encoded name", only, "/a?%69d=2", "/a?%69d=2"},
		{"only, values stay as they are", only, "/a?id=%7e+&id=~%20", "/a?id=%7e+&id=~%20"},
		{"except", except, "/a?utm_source=x&b=1&fbclid=y&a=2", "/a?b=1&a=2"},
		{"except, encoded name", except, "/a?%75tm_source=x&b=1&fb%63lid=y", "/a?b=1"},
		{"except, names have a case", except, "/a?UTM_source=x", "/a?UTM_source=x"},
		{"except, empty parameters", except, "/a?&b=1&&", "/a?b=1"},
		{"sorted", sorted, "/a?b=1&a=2&c", "/a?a=2&b=1&c"},
		{"sorted, one name keeps its order", sorted, "/a?b=2&a=1&b=1", "/a?a=1&b=2&b=1"},
		{"sorted and only", KeyPolicy{Query: QueryOnly, Params: []string{"a", "b"}, SortQuery: true}, "/a?b=1&c=3&a=2", "/a?a=2&b=1"},
		{"limits: too many to sort", sorted, many, many},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := tt.k.Target(tt.target)
			if target != tt.want {
				t.Errorf("got %q, want %q", target, tt.want)
			}
			if target != tt.target && !tt.k.RewritesQuery() {
				t.Error("rewritten, though RewritesQuery denies it")
			}
			if again := tt.k.Target(target); again != target {
				t.Errorf("%q becomes %q", target, again)
			}
		})
	}
	h := header("Cookie", "a=b")
	k := KeyPolicy{}
	if n := testing.AllocsPerRun(100, func() { k.Extra(h, k.Class(h)); k.Target("/a?b=1") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestKeyExtra(t *testing.T) {
	long := strings.Repeat("x", keyValueBytesMax+1)
	tests := []struct {
		name string
		k    KeyPolicy
		req  http.Header
		want string
	}{
		{"header", KeyPolicy{Headers: []string{"X-Plan"}}, header("X-Plan", " gold ,b"), "x-plan=6:gold,b;"},
		{"header, absent", KeyPolicy{Headers: []string{"X-Plan"}}, header(), "x-plan-;"},
		{"header, empty", KeyPolicy{Headers: []string{"X-Plan"}}, header("X-Plan", ""), "x-plan=0:;"},
		{"header, normalised by meaning", KeyPolicy{Headers: []string{"Accept-Encoding", "Accept-Language"}},
			header("Accept-Encoding", "gzip, deflate", "Accept-Language", "EN, de"), "accept-encoding=4:gzip;accept-language=5:de,en;"},
		{"cookie", KeyPolicy{Cookies: []string{"ab"}}, header("Cookie", "x=y; ab=1=2; ab=3"), "@ab=3:1=2;"},
		{"cookie, on a second line", KeyPolicy{Cookies: []string{"ab"}}, header("Cookie", "x=y", "Cookie", "ab=1"), "@ab=1:1;"},
		{"cookie, absent", KeyPolicy{Cookies: []string{"ab"}}, header("Cookie", "AB=1; abc=2; ab"), "@ab-;"},
		{"cookie, empty", KeyPolicy{Cookies: []string{"ab"}}, header("Cookie", "ab="), "@ab=0:;"},
		{"header and cookie of one name", KeyPolicy{Headers: []string{"a"}, Cookies: []string{"a"}}, header("A", "1", "Cookie", "a=2"), "a=1:1;@a=1:2;"},
		{"device", KeyPolicy{Devices: []Device{DeviceMobile}}, header("Sec-Ch-Ua-Mobile", "?1"), "~mobile;"},
		{"device, one of the rest", KeyPolicy{Devices: []Device{DeviceMobile}}, header(), "~other;"},
		{"limits: long value", KeyPolicy{Headers: []string{"a"}}, header("A", long),
			"a#c6d8e9905300876046729949cc95c2385221270d389176f7234fe7ac00c4e430;"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			class := tt.k.Class(tt.req)
			if got := tt.k.Extra(tt.req, class); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			sent := header("Cookie", "other=1", "X_Plan", "x", "X-Device-Class", "tablet")
			tt.k.Forward(sent, tt.req, class)
			if got := tt.k.Extra(sent, tt.k.ClassTold(sent)); len(tt.k.Cookies) > 0 || len(tt.k.Devices) > 0 {
				if got != tt.want {
					t.Errorf("the next tier gets %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// A fill says what is in the key, and of cookies, of other spellings of a header
// in the key and of the device class nothing else.
func TestKeyForward(t *testing.T) {
	everything := KeyPolicy{Headers: []string{"x-plan"}, Cookies: []string{"b", "a", "c"}, Devices: []Device{DeviceMobile}}
	asked := header("Cookie", "x=1; a=2; b=3; a=4", "X-Plan", " gold ,b", "X_Plan", "free", "X-Device-Class", "mobile", "X-Other", "1")
	for _, tt := range []struct {
		name string
		k    KeyPolicy
		req  http.Header
		want http.Header
	}{
		{"nothing in the key", KeyPolicy{}, asked, asked},
		{"everything", everything, asked, header("Cookie", "b=3; a=2", "X-Plan", "gold,b", "X-Device-Class", "other", "X-Other", "1")},
		{"nothing there", everything, header("Cookie", "x=1", "X_plan", "free"), header("X-Device-Class", "other")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := tt.req.Clone()
			tt.k.Forward(sent, tt.req, tt.k.Class(tt.req))
			if !maps.EqualFunc(sent, tt.want, slices.Equal) {
				t.Errorf("got %v, want %v", sent, tt.want)
			}
		})
	}
}

func TestKeyCovers(t *testing.T) {
	k := KeyPolicy{Headers: []string{"X-Plan"}, Cookies: []string{"a"}, Devices: []Device{DeviceMobile}}
	none := KeyPolicy{}
	for field, want := range map[string]bool{"x-plan": true, "cookie": true, "x-device-class": true, "user-agent": false, "x-tone": false} {
		if k.Covers(field) != want || none.Covers(field) {
			t.Errorf("%s: got %v and %v", field, k.Covers(field), none.Covers(field))
		}
	}
}

// An edge's word on the device class counts, as far as the policy has the class.
func TestClassTold(t *testing.T) {
	k := KeyPolicy{Devices: []Device{DeviceMobile, DeviceTablet}}
	for _, tt := range []struct {
		name string
		k    KeyPolicy
		req  http.Header
		want string
	}{
		{"told", k, header(DeviceField, "tablet", "Sec-Ch-Ua-Mobile", "?1"), "tablet"},
		{"told: none of them", k, header(DeviceField, "other", "Sec-Ch-Ua-Mobile", "?1"), "other"},
		{"told: not told apart here", k, header(DeviceField, "desktop"), "other"},
		{"told: no class", k, header(DeviceField, "watch"), "other"},
		{"not told", k, header("Sec-Ch-Ua-Mobile", "?1"), "mobile"},
		{"not in the key", KeyPolicy{}, header(DeviceField, "tablet"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.k.ClassTold(tt.req); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKeyPolicyCheck(t *testing.T) {
	tests := []struct {
		name string
		k    KeyPolicy
		ok   bool
	}{
		{"zero", KeyPolicy{}, true},
		{"everything", KeyPolicy{Query: QueryOnly, Params: []string{"a*"}, SortQuery: true, Headers: []string{"X-A"}, Cookies: []string{"b"}, Devices: []Device{DeviceTablet}}, true},
		{"parameters that are not used", KeyPolicy{Params: []string{"a"}}, false},
		{"no parameters", KeyPolicy{Query: QueryExcept}, false},
		{"parameter without name", KeyPolicy{Query: QueryOnly, Params: []string{""}}, false},
		{"no header name", KeyPolicy{Headers: []string{"a b"}}, false},
		{"no cookie name", KeyPolicy{Cookies: []string{"a=b"}}, false},
		{"a header that has its own word", KeyPolicy{Headers: []string{"cookie"}}, false},
		{"a header that a fill has of its own", KeyPolicy{Headers: []string{"if-none-match"}}, false},
		{"a header of one connection", KeyPolicy{Headers: []string{"Te"}}, false},
		{"a header of the tiers", KeyPolicy{Headers: []string{"weir-applied"}}, false},
		{"limits: headers", KeyPolicy{Headers: make([]string, keyNamesMax+1)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.k.Check(); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDeviceOf(t *testing.T) {
	const (
		iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1"
		ipad    = "Mozilla/5.0 (iPad; CPU OS 13_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Mobile/15E148 Safari/604.1"
		pixel   = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36"
		galaxy  = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
		firefox = "Mozilla/5.0 (Android 14; Tablet; rv:120.0) Gecko/120.0 Firefox/120.0"
		desktop = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
	)
	tests := []struct {
		name string
		req  http.Header
		want Device
	}{
		{"nothing", header(), DeviceDesktop},
		{"desktop", header("User-Agent", desktop), DeviceDesktop},
		{"phone", header("User-Agent", iphone), DeviceMobile},
		{"phone, Android", header("User-Agent", pixel), DeviceMobile},
		{"tablet", header("User-Agent", ipad), DeviceTablet},
		{"tablet, Android", header("User-Agent", galaxy), DeviceTablet},
		{"tablet, Firefox", header("User-Agent", firefox), DeviceTablet},
		{"hint: mobile", header("Sec-Ch-Ua-Mobile", "?1", "User-Agent", desktop), DeviceMobile},
		{"hint: not mobile", header("Sec-Ch-Ua-Mobile", "?0", "User-Agent", galaxy), DeviceTablet},
		{"hint: malformed", header("Sec-Ch-Ua-Mobile", "1", "User-Agent", desktop), DeviceDesktop},
		{"limits: far behind", header("User-Agent", strings.Repeat(" ", userAgentBytesMax)+"Mobile"), DeviceDesktop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := DeviceOf(tt.req); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestKeyNames(t *testing.T) {
	for d := DeviceDesktop; d <= DeviceTablet; d++ {
		if got, err := ParseDevice(d.String()); got != d || err != nil {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	for m := QueryAll; m <= QueryExcept; m++ {
		if got, err := ParseQueryMode(m.String()); got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := ParseDevice("watch"); err == nil {
		t.Error("a watch is a device class")
	}
	if _, err := ParseQueryMode(""); err == nil {
		t.Error("the empty query mode is one")
	}
}

// Two requests have the same key only if all that is in it is the same.
func FuzzKey(f *testing.F) {
	f.Add("b=1&a=2", "1", "a=x; b=y", "b=1&a=2", "1", "b=y; a=x")
	f.Add("utm_x=1", "1;@a=1:x", "", "", "1", "a=x")
	k := KeyPolicy{Query: QueryExcept, Params: []string{"utm_*"}, SortQuery: true, Headers: []string{"x"}, Cookies: []string{"a", "b"}}
	f.Fuzz(func(t *testing.T, query1, header1, cookie1, query2, header2, cookie2 string) {
		one := http.Header{"X": {header1}, "Cookie": {cookie1}}
		two := http.Header{"X": {header2}, "Cookie": {cookie2}}
		target1, target2 := k.Target("/?"+query1), k.Target("/?"+query2)
		extra1, extra2 := k.Extra(one, ""), k.Extra(two, "")
		if again := k.Target(target1); again != target1 {
			t.Fatalf("%q becomes %q", target1, again)
		}
		same := new(Policy).Variant(k.Headers, one) == new(Policy).Variant(k.Headers, two) && k.cookieField(one) == k.cookieField(two)
		if (extra1 == extra2) != same {
			t.Fatalf("%q and %q, but the same is %v", extra1, extra2, same)
		}
		sent := one.Clone()
		k.Forward(sent, one, "")
		if again := k.Extra(sent, ""); again != extra1 {
			t.Fatalf("%q becomes %q at the next tier", extra1, again)
		}
		if query1 == query2 && target1 != target2 {
			t.Fatalf("%q and %q", target1, target2)
		}
		if len(extra1) > 3*(keyValueBytesMax+16) {
			t.Fatalf("%d bytes", len(extra1))
		}
	})
}
