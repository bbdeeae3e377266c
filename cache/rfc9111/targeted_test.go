package rfc9111

import (
	"net/http"
	"testing"
	"time"
)

func TestParseTargeted(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  Directives
		ok    bool
	}{
		{"RFC 9213 2.1 flags", []string{"no-store, no-cache, private, must-revalidate, proxy-revalidate, no-transform"},
			Directives{NoStore: true, NoCache: true, Private: true, MustRevalidate: true, ProxyRevalidate: true, NoTransform: true}, true},
		{"RFC 9213 2.1 permissions", []string{"public, must-understand, immutable"}, Directives{Public: true, MustUnderstand: true, Immutable: true}, true},
		{"RFC 9213 2.1 seconds", []string{"max-age=1, s-maxage=2, stale-while-revalidate=3,stale-if-error=4"},
			Directives{MaxAge: seconds(1), SMaxAge: seconds(2), StaleWhileRevalidate: seconds(3), StaleIfError: seconds(4)}, true},
		{"RFC 9213 2.1 several lines", []string{"max-age=1", "private"}, Directives{MaxAge: seconds(1), Private: true}, true},
		{"RFC 9213 2.1 parameters are ignored", []string{"max-age=1;foo=bar;q, private;x"}, Directives{MaxAge: seconds(1), Private: true}, true},
		{"RFC 9213 2.1 a string of field names", []string{`no-cache="a, b", private="c"`}, Directives{NoCache: true, Private: true}, true},
		{"RFC 9213 2.1 a field name as token", []string{`no-cache=a`}, Directives{NoCache: true}, true},
		{"RFC 9213 2.1 explicit true", []string{"no-store=?1"}, Directives{NoStore: true}, true},
		{"RFC 9213 2.2 unknown directives", []string{`foobar, max-age=3600, x="y", z=(1 2), none`}, Directives{MaxAge: seconds(3600)}, true},
		{"RFC 9213 2.2 unknown directives alone", []string{"none"}, Directives{}, true},
		{"RFC 9213 2.2 directives of requests", []string{"only-if-cached, max-stale, min-fresh=x"}, Directives{}, true},
		{"RFC 9651 3.2 the last of a name", []string{"max-age=1, max-age=9"}, Directives{MaxAge: seconds(9)}, true},
		{"1.2.2 2^31", []string{"max-age=2147483648"}, Directives{MaxAge: Delta{deltaMax, true}}, true},
		{"1.2.2 above 2^31", []string{"max-age=99999999999"}, Directives{MaxAge: Delta{deltaMax, true}}, true},
		{"RFC 9213 2.1 leading zeros", []string{"max-age=0060"}, Directives{MaxAge: seconds(60)}, true},

		{"RFC 9213 2.1 absent", nil, Directives{}, false},
		{"RFC 9213 2.1 empty", []string{""}, Directives{}, false},
		{"RFC 9213 2.1 blank", []string{"  "}, Directives{}, false},
		{"RFC 9213 2.1 no dictionary", []string{"max-age=10000, &&&&&"}, Directives{}, false},
		{"RFC 9213 2.1 upper case is no key", []string{"MaX-aGe=3600"}, Directives{}, false},
		{"RFC 9213 2.1 comma at the end", []string{"max-age=1,"}, Directives{}, false},
		{"RFC 9213 2.1 space before =", []string{"max-age =100"}, Directives{}, false},
		{"RFC 9213 2.1 space after =", []string{"max-age= 100"}, Directives{}, false},
		{"RFC 9213 2.1 seconds as a string", []string{`max-age="10000"`}, Directives{}, false},
		{"RFC 9213 2.1 seconds as a decimal", []string{"max-age=10.0"}, Directives{}, false},
		{"RFC 9213 2.1 seconds as a token", []string{"max-age=a"}, Directives{}, false},
		{"RFC 9213 2.1 negative", []string{"max-age=-1"}, Directives{}, false},
		{"RFC 9213 2.1 no seconds", []string{"max-age"}, Directives{}, false},
		{"RFC 9213 2.1 seconds as a list", []string{"max-age=(1)"}, Directives{}, false},
		{"RFC 9213 2.1 above 15 digits", []string{"max-age=1234567890123456"}, Directives{}, false},
		{"RFC 9213 2.1 flag with a value", []string{"no-store=1"}, Directives{}, false},
		{"RFC 9213 2.1 flag that is false", []string{"must-revalidate=?0"}, Directives{}, false},
		{"RFC 9213 2.1 flag as a list", []string{`private=("a")`}, Directives{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParseTargeted(tt.lines)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %+v, %v, want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestResponseDirectives(t *testing.T) {
	const cdn, own = "Cdn-Cache-Control", "Example-Cache-Control"
	two := Policy{Targets: []string{"example-cache-control", "CDN-Cache-Control"}}
	tests := []struct {
		name  string
		resp  http.Header
		p     Policy
		want  Directives
		field string
	}{
		{"RFC 9213 2.2 no field", header(), Policy{}, Directives{}, ""},
		{"RFC 9213 2.2 Cache-Control", header(cacheControl, "max-age=1"), Policy{}, Directives{MaxAge: seconds(1)}, cacheControl},
		{"RFC 9213 3 CDN-Cache-Control", header(cacheControl, "no-store", cdn, "max-age=1"), Policy{}, Directives{MaxAge: seconds(1)}, cdn},
		{"RFC 9213 2.2 first of the list", header(cdn, "max-age=1", own, "max-age=2"), two, Directives{MaxAge: seconds(2)}, own},
		{"RFC 9213 2.2 first of the list is absent", header(cdn, "max-age=1"), two, Directives{MaxAge: seconds(1)}, cdn},
		{"RFC 9213 2.2 first of the list is malformed", header(cdn, "max-age=1", own, "&"), two, Directives{MaxAge: seconds(1)}, cdn},
		{"RFC 9213 2.2 first of the list is empty", header(cdn, "max-age=1", own, ""), two, Directives{MaxAge: seconds(1)}, cdn},
		{"RFC 9213 2.2 all are malformed", header(cdn, "max-age=x", own, "&", cacheControl, "private"), two, Directives{Private: true}, cacheControl},
		{"RFC 9213 2.2 not on the list", header(own, "no-store", cacheControl, "public"), Policy{}, Directives{Public: true}, cacheControl},
		{"RFC 9213 2.2 an empty list", header(cdn, "no-store", cacheControl, "public"), Policy{Targets: []string{}}, Directives{Public: true}, cacheControl},
		{"Surrogate-Control above Cache-Control", header(surrogateControl, "max-age=9", cacheControl, "no-store"), Policy{}, Directives{MaxAge: seconds(9)}, surrogateControl},
		{"Surrogate-Control below CDN-Cache-Control", header(surrogateControl, "max-age=9", cdn, "max-age=1"), Policy{}, Directives{MaxAge: seconds(1)}, cdn},
		{"Surrogate-Control, not about caching", header(surrogateControl, `content="ESI/1.0"`, cacheControl, "public"), Policy{}, Directives{Public: true}, cacheControl},
		{"Surrogate-Control, not on the list", header(surrogateControl, "no-store", cacheControl, "public"), two, Directives{Public: true}, cacheControl},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, field := ResponseDirectives(tt.resp, tt.p)
			if got != tt.want || field != tt.field {
				t.Errorf("got %+v from %q, want %+v from %q", got, field, tt.want, tt.field)
			}
		})
	}
}

func TestTargetedDecides(t *testing.T) {
	const cdn = "Cdn-Cache-Control"
	none := header()
	tests := []struct {
		name     string
		req      http.Header
		resp     http.Header
		want     StoreVerdict
		lifetime time.Duration
	}{
		{"RFC 9213 2.2 lifetime", none, header(cdn, "max-age=60"), CanStore, time.Minute},
		{"RFC 9213 2.2 max-age beside", none, header(cdn, "max-age=60", cacheControl, "max-age=1"), CanStore, time.Minute},
		{"RFC 9213 2.2 s-maxage beside", none, header(cdn, "max-age=60", cacheControl, "s-maxage=1"), CanStore, time.Minute},
		{"RFC 9213 2.2 shorter", none, header(cdn, "max-age=1", cacheControl, "max-age=60"), CanStore, time.Second},
		{"RFC 9213 2.2 zero", none, header(cdn, "max-age=0", cacheControl, "max-age=60"), RefusedNoFreshness, 0},
		{"RFC 9213 2.2 past Expires beside", none, header(cdn, "max-age=60", "Date", date2, "Expires", date1), CanStore, time.Minute},
		{"RFC 9213 2.2 Expires does not count", none, header(cdn, "must-revalidate", "Date", date1, "Expires", date2), RefusedNoFreshness, 0},
		{"RFC 9213 2.2 heuristic", none, header(cdn, "must-revalidate", "Date", date1, "Last-Modified", "Tue, 31 Dec 2019 22:20:00 GMT"), CanStore, 10 * time.Minute},
		{"RFC 9213 2.2 no-store", none, header(cdn, "no-store", cacheControl, "max-age=60"), RefusedNoStore, 0},
		{"RFC 9213 2.2 no-store beside", none, header(cdn, "max-age=60", cacheControl, "no-store"), CanStore, time.Minute},
		{"RFC 9213 2.2 private", none, header(cdn, "private", cacheControl, "max-age=60"), RefusedPrivate, 0},
		{"RFC 9213 2.2 private beside", none, header(cdn, "max-age=60", cacheControl, "private"), CanStore, time.Minute},
		{"RFC 9213 2.2 no-cache", none, header(cdn, "no-cache", cacheControl, "max-age=60"), RefusedNoFreshness, 0},
		{"RFC 9213 2.1 malformed", none, header(cdn, "max-age=60, &", cacheControl, "no-store"), RefusedNoStore, 0},
		{"3.5 Authorization", header("Authorization", "x"), header(cdn, "max-age=60", cacheControl, "public"), RefusedAuthorization, time.Minute},
		{"3.5 Authorization, public", header("Authorization", "x"), header(cdn, "max-age=60, public"), CanStore, time.Minute},
		{"7.3 Set-Cookie", none, header(cdn, "max-age=60", cacheControl, "public", "Set-Cookie", "a=b"), RefusedSetCookie, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Storable("GET", tt.req, 200, tt.resp, Policy{}); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := NewStored(200, tt.resp, sent, sent, Policy{}).Lifetime; got != tt.lifetime {
				t.Errorf("got a lifetime of %v, want %v", got, tt.lifetime)
			}
		})
	}
}

func TestTargetedAfterRefresh(t *testing.T) {
	stored := header("Cdn-Cache-Control", "max-age=60", cacheControl, "max-age=1")
	_, s := Refresh(200, stored, header(cacheControl, "max-age=2"), sent, sent, Policy{})
	if s.Lifetime != time.Minute {
		t.Errorf("RFC 9213 2.2, a 304 without the field: got %v", s.Lifetime)
	}
	h, s := Refresh(200, stored, header("Cdn-Cache-Control", "max-age=5, no-cache"), sent, sent, Policy{})
	if s.Lifetime != 5*time.Second || !s.NoCache {
		t.Errorf("RFC 9213 2.2, a 304 with the field: got %+v", s)
	}
	if got := Storable("GET", header(), 200, h, Policy{}); got != RefusedNoFreshness {
		t.Errorf("got %v", got)
	}
	cookie := header(cacheControl, "max-age=2", "Set-Cookie", "a=b")
	if h, _ := Refresh(200, stored, cookie, sent, sent, Policy{}); h.Get("Set-Cookie") != "" {
		t.Error("7.3: a 304's cookie was taken")
	}
	if h, _ := Refresh(200, stored, cookie, sent, sent, Policy{ShareSetCookie: true}); h.Get("Set-Cookie") != "a=b" {
		t.Error("7.3: the policy shares cookies, but a 304's was not taken")
	}
}

func TestNoTransform(t *testing.T) {
	tests := []struct {
		name string
		resp http.Header
		want bool
	}{
		{"5.2.2.6 absent", header(cacheControl, "max-age=1"), false},
		{"5.2.2.6 Cache-Control", header(cacheControl, "no-transform"), true},
		{"5.2.2.6 a targeted field", header("Cdn-Cache-Control", "no-transform"), true},
		{"5.2.2.6 beside a targeted field", header(cacheControl, "no-transform", "Cdn-Cache-Control", "max-age=1"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := NoTransform(tt.resp, Policy{}); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func FuzzTargeted(f *testing.F) {
	f.Add("max-age=60, private;x", `no-cache="a"`)
	f.Add("max-age=(1 2);q", "&")
	f.Fuzz(func(t *testing.T, a, b string) {
		d, ok := ParseTargeted([]string{a, b})
		if !ok && d != (Directives{}) {
			t.Fatalf("%q, %q: not valid, but %+v", a, b, d)
		}
		checkDeltas(t, d)
		// A valid field is all that counts, an invalid one does not count.
		resp := http.Header{"Cdn-Cache-Control": {a, b}, cacheControl: {"max-age=7"}}
		got, field := ResponseDirectives(resp, Policy{})
		if ok && (got != d || field != "Cdn-Cache-Control") || !ok && (got != Directives{MaxAge: seconds(7)}) {
			t.Fatalf("%q, %q: %+v from %s", a, b, got, field)
		}
	})
}

func checkDeltas(t *testing.T, d Directives) {
	t.Helper()
	for _, delta := range []Delta{d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError, d.MaxStale, d.MinFresh} {
		if delta.Value < 0 || delta.Value > deltaMax || !delta.Given && delta.Value != 0 {
			t.Fatalf("%+v", d)
		}
	}
}
