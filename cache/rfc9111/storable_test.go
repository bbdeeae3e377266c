package rfc9111

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	date1  = "Wed, 01 Jan 2020 00:00:00 GMT"
	date2  = "Thu, 02 Jan 2020 00:00:00 GMT"
	pastLM = "Sun, 01 Dec 2019 00:00:00 GMT"
)

func TestStorable(t *testing.T) {
	none := header()
	fresh := header("Cache-Control", "max-age=60")
	tests := []struct {
		name   string
		method string
		req    http.Header
		status int
		resp   http.Header
		p      Policy
		want   StoreVerdict
	}{
		{"3 explicit lifetime", "GET", none, 200, fresh, Policy{}, CanStore},
		{"3 HEAD", "HEAD", none, 200, fresh, Policy{}, RefusedMethod},
		{"3 POST", "POST", none, 200, fresh, Policy{}, RefusedMethod},
		{"3 method names have a case", "get", none, 200, fresh, Policy{}, RefusedMethod},

		{"3 any final status with a lifetime", "GET", none, 599, fresh, Policy{}, CanStore},
		{"3 503 with a lifetime", "GET", none, 503, fresh, Policy{}, CanStore},
		{"3 interim", "GET", none, 103, fresh, Policy{}, RefusedStatus},
		{"3 status out of range", "GET", none, 600, fresh, Policy{}, RefusedStatus},
		{"3 304", "GET", none, 304, fresh, Policy{}, RefusedStatus},
		{"3 412 answers fields outside the key", "GET", none, 412, fresh, Policy{}, RefusedStatus},
		{"3 416 answers fields outside the key", "GET", none, 416, fresh, Policy{}, RefusedStatus},
		{"3 101", "GET", none, 101, fresh, Policy{}, RefusedUpgrade},
		{"3 426", "GET", none, 426, fresh, Policy{}, RefusedUpgrade},
		{"3.3 206", "GET", none, 206, fresh, Policy{}, RefusedPartial},

		{"5.2.1.5 request no-store", "GET", header("Cache-Control", "no-store"), 200, fresh, Policy{}, RefusedRequestNoStore},
		{"5.2.1.4 request no-cache", "GET", header("Cache-Control", "no-cache"), 200, fresh, Policy{}, CanStore},
		{"5.2.2.5 no-store", "GET", none, 200, header("Cache-Control", "max-age=60, no-store"), Policy{}, RefusedNoStore},
		{"5.2.2.5 no-store on a second line", "GET", none, 200, header("Cache-Control", "max-age=60", "Cache-Control", "No-Store"), Policy{}, RefusedNoStore},
		{"5.2.2.7 private", "GET", none, 200, header("Cache-Control", "private, max-age=60"), Policy{}, RefusedPrivate},
		{"5.2.2.7 private and public", "GET", none, 200, header("Cache-Control", "public, private, max-age=60"), Policy{}, RefusedPrivate},
		{"5.2.2.7 qualified private", "GET", none, 200, header("Cache-Control", `private="x", max-age=60`), Policy{}, RefusedPrivate},
		{"5.2.2.3 must-understand, understood", "GET", none, 200, header("Cache-Control", "no-store, must-understand, max-age=60"), Policy{}, CanStore},
		{"5.2.2.3 must-understand, not understood", "GET", none, 599, header("Cache-Control", "must-understand, max-age=60"), Policy{}, RefusedStatus},
		{"5.2.2.3 must-understand, neither", "GET", none, 599, header("Cache-Control", "no-store, must-understand, max-age=60"), Policy{}, RefusedStatus},

		{"3.5 Authorization", "GET", header("Authorization", "x"), 200, fresh, Policy{}, RefusedAuthorization},
		{"3.5 Authorization, empty", "GET", header("Authorization", ""), 200, fresh, Policy{}, RefusedAuthorization},
		{"3.5 Authorization, public", "GET", header("Authorization", "x"), 200, header("Cache-Control", "public, max-age=60"), Policy{}, CanStore},
		{"3.5 Authorization, s-maxage", "GET", header("Authorization", "x"), 200, header("Cache-Control", "s-maxage=60"), Policy{}, CanStore},
		{"3.5 Authorization, malformed s-maxage", "GET", header("Authorization", "x"), 200, header("Cache-Control", "s-maxage=x", "Etag", `"a"`), Policy{}, RefusedAuthorization},
		{"3.5 Authorization, must-revalidate", "GET", header("Authorization", "x"), 200, header("Cache-Control", "max-age=60, must-revalidate"), Policy{}, CanStore},
		{"3.5 Authorization, proxy-revalidate", "GET", header("Authorization", "x"), 200, header("Cache-Control", "max-age=60, proxy-revalidate"), Policy{}, RefusedAuthorization},

		{"7.3 Set-Cookie", "GET", none, 200, header("Cache-Control", "max-age=60", "Set-Cookie", "a=b"), Policy{}, RefusedSetCookie},
		{"7.3 Set-Cookie2", "GET", none, 200, header("Cache-Control", "max-age=60", "Set-Cookie2", "a=b"), Policy{}, RefusedSetCookie},
		{"7.3 Set-Cookie, public", "GET", none, 200, header("Cache-Control", "public, max-age=60", "Set-Cookie", "a=b"), Policy{}, CanStore},
		{"7.3 Set-Cookie, s-maxage", "GET", none, 200, header("Cache-Control", "s-maxage=60", "Set-Cookie", "a=b"), Policy{}, CanStore},
		{"7.3 Set-Cookie, policy", "GET", none, 200, header("Cache-Control", "max-age=60", "Set-Cookie", "a=b"), Policy{ShareSetCookie: true}, CanStore},
		{"7.3 Cookie in the request", "GET", header("Cookie", "a=b"), 200, fresh, Policy{}, CanStore},

		{"4.1 Vary: *", "GET", none, 200, header("Cache-Control", "max-age=60", "Vary", "*"), Policy{}, RefusedVaryStar},
		{"4.1 Vary", "GET", none, 200, header("Cache-Control", "max-age=60", "Vary", "Accept-Encoding"), Policy{}, CanStore},

		{"4.1 coding that no variant has", "GET", header("Accept-Encoding", "deflate, gzip"), 200,
			header("Cache-Control", "max-age=60", "Vary", "Accept-Encoding", "Content-Encoding", "Deflate"), Policy{}, RefusedEncoding},
		{"4.1 coding that no variant has, and not by request", "GET", none, 200,
			header("Cache-Control", "max-age=60", "Vary", "Accept-Encoding", "Content-Encoding", "deflate"), Policy{}, CanStore},
		{"4.1 coding that no variant has, without Vary", "GET", header("Accept-Encoding", "deflate"), 200,
			header("Cache-Control", "max-age=60", "Content-Encoding", "deflate"), Policy{}, CanStore},
		{"4.1 coding of a variant", "GET", header("Accept-Encoding", "x-gzip"), 200,
			header("Cache-Control", "max-age=60", "Vary", "accept-encoding", "Content-Encoding", "x-gzip"), Policy{}, CanStore},

		{"3 nothing to go by", "GET", none, 200, header(), Policy{}, RefusedNoFreshness},
		{"3 public alone", "GET", none, 200, header("Cache-Control", "public"), Policy{}, RefusedNoFreshness},
		{"3 max-age=0 without validator", "GET", none, 200, header("Cache-Control", "max-age=0"), Policy{}, RefusedNoFreshness},
		{"3 malformed max-age without validator", "GET", none, 200, header("Cache-Control", "max-age=x"), Policy{}, RefusedNoFreshness},
		{"3 max-age=0 with ETag", "GET", none, 200, header("Cache-Control", "max-age=0", "Etag", `"a"`), Policy{}, CanStore},
		{"3 only ETag", "GET", none, 200, header("Etag", `"a"`), Policy{}, CanStore},
		{"3 only Last-Modified", "GET", none, 200, header("Last-Modified", pastLM), Policy{}, CanStore},
		{"5.2.2.4 no-cache with ETag", "GET", none, 200, header("Cache-Control", "no-cache", "Etag", `"a"`), Policy{}, CanStore},
		{"5.2.2.4 no-cache without validator", "GET", none, 200, header("Cache-Control", "no-cache, max-age=60"), Policy{}, RefusedNoFreshness},
		{"3 ETag on a status without heuristics", "GET", none, 500, header("Etag", `"a"`), Policy{}, RefusedNoFreshness},
		{"4.2.2 Last-Modified on a status without heuristics", "GET", none, 599, header("Last-Modified", pastLM), Policy{}, RefusedNoFreshness},
		{"4.2.2 the same, public", "GET", none, 599, header("Last-Modified", pastLM, "Cache-Control", "public"), Policy{}, CanStore},
		{"5.3 Expires", "GET", none, 200, header("Date", date1, "Expires", date2), Policy{}, CanStore},
		{"5.3 Expires without Date", "GET", none, 200, header("Expires", date2), Policy{}, CanStore},
		{"5.3 Expires past", "GET", none, 200, header("Date", date2, "Expires", date1), Policy{}, RefusedNoFreshness},
		{"5.3 Expires: 0", "GET", none, 200, header("Date", date1, "Expires", "0"), Policy{}, RefusedNoFreshness},
		{"RFC 5861 3 no lifetime but a window", "GET", none, 200, header("Cache-Control", "max-age=0, stale-while-revalidate=9"), Policy{}, CanStore},
		{"RFC 5861 3 a window that is forbidden", "GET", none, 200, header("Cache-Control", "max-age=0, must-revalidate, stale-if-error=9"), Policy{}, RefusedNoFreshness},
		{"policy DefaultTTL", "GET", none, 200, header(), Policy{DefaultTTL: time.Minute}, CanStore},
		{"policy DefaultTTL, other status", "GET", none, 500, header(), Policy{DefaultTTL: time.Minute}, RefusedNoFreshness},
		{"policy DefaultTTL is not for 404", "GET", none, 404, header(), Policy{DefaultTTL: time.Minute}, RefusedNoFreshness},
		{"policy NegativeTTL", "GET", none, 404, header(), Policy{NegativeTTL: time.Minute}, CanStore},
		{"policy StatusTTL", "GET", none, 503, header(), Policy{StatusTTL: map[int]time.Duration{503: time.Second}}, CanStore},
		{"policy StatusTTL of zero", "GET", none, 404, header(), Policy{StatusTTL: map[int]time.Duration{404: 0}, NegativeTTL: time.Minute}, RefusedNoFreshness},
		{"policy StatusTTL cannot store what section 3 rules out", "GET", none, 412, header(), Policy{StatusTTL: map[int]time.Duration{412: time.Minute}}, RefusedStatus},
		{"policy StatusTTL and no-store", "GET", none, 404, header("Cache-Control", "no-store"), Policy{StatusTTL: DefaultStatusTTL()}, RefusedNoStore},
		{"policy NegativeTTL, other status", "GET", none, 403, header(), Policy{NegativeTTL: time.Minute}, RefusedNoFreshness},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Storable(tt.method, tt.req, tt.status, tt.resp, tt.p); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestStorablePart(t *testing.T) {
	none := header()
	fresh := header("Cache-Control", "max-age=60")
	tests := []struct {
		name string
		req  http.Header
		resp http.Header
		p    Policy
		want StoreVerdict
	}{
		{"3.3 explicit lifetime", none, fresh, Policy{}, CanStore},
		{"3.3 validator", none, header("Etag", `"a"`), Policy{}, CanStore},
		{"3.3 heuristic", none, header("Date", date1, "Last-Modified", pastLM), Policy{}, CanStore},
		{"3.3 policy DefaultTTL", none, none, Policy{DefaultTTL: time.Minute}, CanStore},
		{"3.3 nothing to go by", none, none, Policy{}, RefusedNoFreshness},
		{"3.3 no-store", none, header("Cache-Control", "max-age=60, no-store"), Policy{}, RefusedNoStore},
		{"3.3 must-understand", none, header("Cache-Control", "max-age=60, no-store, must-understand"), Policy{}, CanStore},
		{"3.3 private", none, header("Cdn-Cache-Control", "private", "Cache-Control", "max-age=60"), Policy{}, RefusedPrivate},
		{"3.3 Vary: *", none, header("Cache-Control", "max-age=60", "Vary", "*"), Policy{}, RefusedVaryStar},
		{"3.3 Authorization", header("Authorization", "x"), fresh, Policy{}, RefusedAuthorization},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := StorablePart(tt.req, tt.resp, tt.p); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestStorablePost(t *testing.T) {
	none := header()
	fresh := header("Cache-Control", "max-age=60")
	tests := []struct {
		name    string
		req     http.Header
		status  int
		resp    http.Header
		located bool
		p       Policy
		want    StoreVerdict
	}{
		{"RFC 9110 9.3.3 located, with a lifetime", none, 200, fresh, true, Policy{}, CanStore},
		{"RFC 9110 9.3.3 targeted lifetime", none, 200, header("Cdn-Cache-Control", "max-age=60"), true, Policy{}, CanStore},
		{"RFC 9110 9.3.3 Expires", none, 200, header("Date", date1, "Expires", date2), true, Policy{}, CanStore},
		{"RFC 9110 9.3.3 not located", none, 200, fresh, false, Policy{}, RefusedLocation},
		{"RFC 9110 9.3.3 a report", none, 201, fresh, true, Policy{}, RefusedStatus},
		{"RFC 9110 9.3.3 no lifetime", none, 200, header("Etag", `"a"`, "Last-Modified", pastLM), true, Policy{}, RefusedNoFreshness},
		{"RFC 9110 9.3.3 only the policy's lifetime", none, 200, none, true, Policy{DefaultTTL: time.Hour}, RefusedNoFreshness},
		{"RFC 9110 9.3.3 lifetime of zero", none, 200, header("Cache-Control", "max-age=0", "Etag", `"a"`), true, Policy{}, RefusedNoFreshness},
		{"RFC 9110 9.3.3 no-cache", none, 200, header("Cache-Control", "max-age=60, no-cache"), true, Policy{}, RefusedNoFreshness},
		{"RFC 9110 9.3.3 private", none, 200, header("Cache-Control", "max-age=60, private"), true, Policy{}, RefusedPrivate},
		{"RFC 9110 9.3.3 Set-Cookie", none, 200, header("Cache-Control", "max-age=60", "Set-Cookie", "a=b"), true, Policy{}, RefusedSetCookie},
		{"RFC 9110 9.3.3 Authorization", header("Authorization", "x"), 200, fresh, true, Policy{}, RefusedAuthorization},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := StorablePost(tt.req, tt.status, tt.resp, tt.located, tt.p); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for v := CanStore; v <= RefusedNoFreshness; v++ {
		name := v.String()
		if name == "unknown" || seen[name] || strings.ContainsAny(name, " _") {
			t.Errorf("verdict %d is named %q", v, name)
		}
		seen[name] = true
	}
	for r := Revalidate; r <= StaleWhileRevalidate; r++ {
		if r.String() == "unknown" {
			t.Errorf("reuse %d has no name", r)
		}
	}
}
