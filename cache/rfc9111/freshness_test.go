package rfc9111

import (
	"math"
	"net/http"
	"testing"
	"time"
)

var (
	sent     = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) // date1
	received = sent.Add(2 * time.Second)
)

func TestLifetime(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name   string
		status int
		resp   http.Header
		p      Policy
		want   time.Duration
	}{
		{"4.2.1 max-age", 200, header("Cache-Control", "max-age=60"), Policy{}, time.Minute},
		{"4.2.1 s-maxage goes first", 200, header("Cache-Control", "max-age=60, s-maxage=1"), Policy{}, time.Second},
		{"4.2.1 s-maxage goes first, longer", 200, header("Cache-Control", "max-age=0, s-maxage=60", "Expires", date1), Policy{}, time.Minute},
		{"4.2.1 malformed s-maxage goes first", 200, header("Cache-Control", "max-age=60, s-maxage=x"), Policy{}, 0},
		{"4.2.1 max-age before Expires", 200, header("Cache-Control", "max-age=60", "Date", date1, "Expires", "0"), Policy{}, time.Minute},
		{"4.2.1 max-age=0 before Expires", 200, header("Cache-Control", "max-age=0", "Date", date1, "Expires", date2), Policy{}, 0},
		{"4.2.1 explicit before policy", 200, header("Cache-Control", "max-age=1"), Policy{DefaultTTL: time.Hour}, time.Second},
		{"5.3 Expires", 200, header("Date", date1, "Expires", date2), Policy{}, day},
		{"5.3 Expires, invalid Date", 200, header("Date", "foo", "Expires", date2), Policy{}, day - 2*time.Second},
		{"5.3 Expires, no Date", 200, header("Expires", date2), Policy{}, day - 2*time.Second},
		{"5.3 Expires before Date", 200, header("Date", date2, "Expires", date1), Policy{}, 0},
		{"5.3 Expires is Date", 200, header("Date", date1, "Expires", date1), Policy{}, 0},
		{"5.3 Expires: 0", 200, header("Date", date1, "Expires", "0", "Last-Modified", pastLM), Policy{}, 0},
		{"5.3 empty Expires", 200, header("Date", date1, "Expires", ""), Policy{DefaultTTL: time.Hour}, 0},
		{"4.2.1 two Expires", 200, header("Date", date1, "Expires", date2, "Expires", date1), Policy{}, 0},
		{"4.2.1 two Expires, one invalid", 200, header("Date", date1, "Expires", date2, "Expires", "x"), Policy{}, 0},
		{"5.3 Expires, far", 200, header("Date", date1, "Expires", "Sun, 21 Nov 9999 04:46:39 GMT"), Policy{}, deltaMax},
		{"5.3 Expires, RFC 850 form", 200, header("Date", date1, "Expires", "Thursday, 02-Jan-20 00:00:00 GMT"), Policy{}, day},

		{"4.2.2 10 % of the age", 200, header("Date", date1, "Last-Modified", "Tue, 31 Dec 2019 22:20:00 GMT"), Policy{}, 10 * time.Minute},
		{"4.2.2 bounded", 200, header("Date", date1, "Last-Modified", "Tue, 01 Jan 2008 00:00:00 GMT"), Policy{}, day},
		{"4.2.2 bounded by policy", 200, header("Date", date1, "Last-Modified", pastLM), Policy{HeuristicMax: time.Hour}, time.Hour},
		{"4.2.2 modified in the future", 200, header("Date", date1, "Last-Modified", date2), Policy{}, 0},
		{"4.2.2 malformed Last-Modified", 200, header("Date", date1, "Last-Modified", "x"), Policy{}, 0},
		{"4.2.2 other status", 500, header("Date", date1, "Last-Modified", pastLM), Policy{}, 0},
		{"4.2.2 other status, public", 500, header("Date", date1, "Last-Modified", pastLM, "Cache-Control", "public"), Policy{}, day},
		{"4.2.2 404", 404, header("Date", date1, "Last-Modified", pastLM), Policy{}, day},
		{"policy DefaultTTL before heuristic", 200, header("Date", date1, "Last-Modified", pastLM), Policy{DefaultTTL: time.Minute}, time.Minute},
		{"policy DefaultTTL, other status", 500, header(), Policy{DefaultTTL: time.Minute}, 0},
		{"policy NegativeTTL", 404, header(), Policy{NegativeTTL: time.Minute, DefaultTTL: time.Hour}, time.Minute},
		{"policy NegativeTTL yields to the response", 410, header("Cache-Control", "max-age=1"), Policy{NegativeTTL: time.Minute}, time.Second},
		{"policy NegativeTTL, 200", 200, header(), Policy{NegativeTTL: time.Minute}, 0},
		{"policy StatusTTL", 404, header(), Policy{StatusTTL: map[int]time.Duration{404: time.Second}, NegativeTTL: time.Minute}, time.Second},
		{"policy StatusTTL, other status", 410, header(), Policy{StatusTTL: map[int]time.Duration{404: time.Second}, NegativeTTL: time.Minute}, time.Minute},
		{"policy StatusTTL before DefaultTTL", 200, header(), Policy{StatusTTL: map[int]time.Duration{200: time.Second}, DefaultTTL: time.Minute}, time.Second},
		{"policy StatusTTL before heuristic", 200, header("Date", date1, "Last-Modified", pastLM), Policy{StatusTTL: map[int]time.Duration{200: time.Second}}, time.Second},
		{"policy StatusTTL without heuristics", 503, header(), Policy{StatusTTL: map[int]time.Duration{503: time.Second}}, time.Second},
		{"policy StatusTTL yields to the response", 404, header("Cache-Control", "max-age=9"), Policy{StatusTTL: map[int]time.Duration{404: time.Second}}, 9 * time.Second},
		{"policy StatusTTL of zero", 404, header("Date", date1, "Last-Modified", pastLM), Policy{StatusTTL: map[int]time.Duration{404: 0}, NegativeTTL: time.Minute}, 0},
		{"policy StatusTTL below zero", 404, header(), Policy{StatusTTL: map[int]time.Duration{404: -1}}, 0},
		{"policy StatusTTL, the default one", 404, header(), Policy{StatusTTL: DefaultStatusTTL()}, 10 * time.Second},
		{"policy negative durations", 200, header(), Policy{DefaultTTL: -1, NegativeTTL: -1, HeuristicMax: -1}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := NewStored(tt.status, tt.resp, sent, received, tt.p).Lifetime; got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestInitialAge(t *testing.T) {
	tests := []struct {
		name string
		resp http.Header
		want time.Duration
	}{
		{"4.2.3 response delay", header(), 2 * time.Second},
		{"4.2.3 Age and delay", header("Date", date1, "Age", "30"), 32 * time.Second},
		{"4.2.3 apparent age", header("Date", "Tue, 31 Dec 2019 23:59:00 GMT"), 62 * time.Second},
		{"4.2.3 the larger one", header("Date", "Tue, 31 Dec 2019 23:59:00 GMT", "Age", "100"), 102 * time.Second},
		{"4.2.3 Date ahead", header("Date", date2), 2 * time.Second},
		{"4.2.3 Date, year 1", header("Date", "Mon, 01 Jan 0001 00:00:00 GMT"), deltaMax},
		{"5.1 Age, not a number", header("Age", "abc"), 2 * time.Second},
		{"5.1 Age, negative", header("Age", "-7200"), 2 * time.Second},
		{"5.1 Age, decimal", header("Age", "7200.0"), 2 * time.Second},
		{"5.1 Age, parameter", header("Age", "7200;foo=bar"), 7202 * time.Second},
		{"5.1 Age, list", header("Age", "7200, 0"), 7202 * time.Second},
		{"5.1 Age, list the other way", header("Age", "0, 7200"), 2 * time.Second},
		{"5.1 Age, two lines", header("Age", "7200", "Age", "0"), 7202 * time.Second},
		{"5.1 Age, two lines the other way", header("Age", "0", "Age", "7200"), 2 * time.Second},
		{"1.2.2 Age 2^31", header("Age", "2147483648"), deltaMax},
		{"1.2.2 Age above 2^64", header("Age", "99999999999999999999999"), deltaMax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := NewStored(200, tt.resp, sent, received, Policy{}).InitialAge; got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestInitialAgeWithClockSetBack(t *testing.T) {
	if got := NewStored(200, header("Age", "5"), received, sent, Policy{}).InitialAge; got != 5*time.Second {
		t.Errorf("4.2.3: got %v", got)
	}
}

func TestAgeAndTTL(t *testing.T) {
	s := Stored{ResponseTime: received, InitialAge: 5 * time.Second, Lifetime: time.Minute}
	tests := []struct {
		name     string
		after    time.Duration
		age, ttl time.Duration
	}{
		{"4.2.3 on arrival", 0, 5 * time.Second, 55 * time.Second},
		{"4.2.3 resident time", 10 * time.Second, 15 * time.Second, 45 * time.Second},
		{"4.2 as old as it may be", 55 * time.Second, time.Minute, 0},
		{"4.2 stale", 56 * time.Second, 61 * time.Second, -time.Second},
		{"4.2.3 a moment before it arrived", -time.Second, 5 * time.Second, 55 * time.Second},
		{"4.2.3 clock set back: how old it is, nobody knows", -time.Hour, 5 * time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if age, ttl := s.Age(received.Add(tt.after)), s.TTL(received.Add(tt.after)); age != tt.age || ttl != tt.ttl {
				t.Errorf("got %v, %v, want %v, %v", age, ttl, tt.age, tt.ttl)
			}
		})
	}
}

func TestAgeNeverOverflows(t *testing.T) {
	s := Stored{ResponseTime: time.Time{}, InitialAge: deltaMax, Lifetime: deltaMax}
	later := time.Unix(math.MaxInt32*1000, 0)
	if got := s.Age(later); got != deltaMax {
		t.Errorf("1.2.2: got %v", got)
	}
	if got := s.TTL(later); got != 0 {
		t.Errorf("1.2.2: got %v", got)
	}
	if got := (&Stored{ResponseTime: received, InitialAge: time.Second}).Age(sent); got != time.Second {
		t.Errorf("4.2.3, clock set back: got %v", got)
	}
}

func TestStoredProhibitions(t *testing.T) {
	tests := []struct {
		name, cc string
		want     Stored
	}{
		{"4.2.4 plain", "max-age=1", Stored{}},
		{"5.2.2.4 no-cache", "no-cache", Stored{NoCache: true}},
		{"5.2.2.2 must-revalidate", "must-revalidate", Stored{MustRevalidate: true}},
		{"5.2.2.8 proxy-revalidate", "proxy-revalidate", Stored{MustRevalidate: true}},
		{"5.2.2.10 s-maxage", "s-maxage=9", Stored{MustRevalidate: true}},
		{"RFC 5861 windows", "stale-while-revalidate=1, stale-if-error=2", Stored{StaleWhileRevalidate: time.Second, StaleIfError: 2 * time.Second}},
		{"RFC 5861 windows of zero", "stale-while-revalidate=0, stale-if-error=x", Stored{StaleWhileRevalidate: -time.Second, StaleIfError: -time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := NewStored(200, header("Cache-Control", tt.cc), received, received, Policy{StaleIfError: time.Hour})
			got.ResponseTime, got.InitialAge, got.Lifetime = time.Time{}, 0, 0
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestStaleDespiteSMaxAge(t *testing.T) {
	const swr, sie = 30 * time.Second, 40 * time.Second
	tests := []struct {
		name, cc string
		want     Stored
	}{
		{"5.2.2.10 without windows", "s-maxage=9", Stored{MustRevalidate: true}},
		{"5.2.2.10 windows of zero", "s-maxage=9, stale-while-revalidate=0", Stored{MustRevalidate: true, StaleWhileRevalidate: noWindow}},
		{"5.2.2.10 both windows", "s-maxage=9, stale-while-revalidate=30, stale-if-error=40", Stored{StaleWhileRevalidate: swr, StaleIfError: sie}},
		{"5.2.2.10 one window, and none of the policy", "s-maxage=9, stale-while-revalidate=30", Stored{StaleWhileRevalidate: swr, StaleIfError: noWindow}},
		{"5.2.2.10 the other, and none of the policy", "s-maxage=9, stale-if-error=40", Stored{StaleWhileRevalidate: noWindow, StaleIfError: sie}},
		{"5.2.2.8 proxy-revalidate stays", "s-maxage=9, stale-if-error=40, proxy-revalidate", Stored{MustRevalidate: true, StaleIfError: sie}},
		{"5.2.2.2 must-revalidate stays", "s-maxage=9, stale-if-error=40, must-revalidate", Stored{MustRevalidate: true, StaleIfError: sie}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := NewStored(200, header("Cache-Control", tt.cc), received, received, Policy{StaleDespiteSMaxAge: true})
			got.ResponseTime, got.InitialAge, got.Lifetime = time.Time{}, 0, 0
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzNewStored(f *testing.F) {
	f.Add("max-age=60", date1, date2, "5", pastLM, int64(0), int64(2))
	f.Add("s-maxage=9999999999", "x", "0", "-1, 5", "Thu Aug  8 02:01:18 2050", int64(1<<40), int64(-1<<40))
	f.Fuzz(func(t *testing.T, cc, date, expires, age, modified string, from, to int64) {
		h := header("Cache-Control", cc, "Date", date, "Expires", expires, "Age", age, "Last-Modified", modified)
		now := time.Unix(to, 0)
		s := NewStored(200, h, time.Unix(from, 0), now, Policy{})
		if s.Lifetime < 0 || s.Lifetime > deltaMax || s.InitialAge < 0 || s.InitialAge > deltaMax {
			t.Fatalf("%+v", s)
		}
		for _, at := range []time.Time{now, time.Unix(from, 0), time.Unix(math.MaxInt64>>1, 0)} {
			if age := s.Age(at); age < s.InitialAge || age > deltaMax {
				t.Fatalf("age %v at %v of %+v", age, at, s)
			}
			fresh := s.Reuse(at, Directives{}, Policy{}, false) == Fresh
			if fresh && s.TTL(at) <= 0 {
				t.Fatalf("fresh with TTL %v", s.TTL(at))
			}
		}
	})
}
