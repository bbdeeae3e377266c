package rfc9111

import (
	"net/http"
	"testing"
	"time"
)

func TestReuse(t *testing.T) {
	obey := Policy{Obey: ObeyAll}
	window := Policy{StaleWhileRevalidate: 30 * time.Second}
	tests := []struct {
		name string
		cc   string
		at   int // seconds since the response
		req  string
		p    Policy
		soft bool
		want Reuse
	}{
		{"4.2 fresh", "max-age=60", 59, "", Policy{}, false, Fresh},
		{"4.2 stale when age is lifetime", "max-age=60", 60, "", Policy{}, false, Revalidate},
		{"4.2 stale", "max-age=60", 61, "", Policy{}, false, Revalidate},
		{"5.2.2.4 no-cache", "max-age=60, no-cache", 0, "", Policy{}, false, Revalidate},
		{"5.2.2.2 must-revalidate, fresh", "max-age=60, must-revalidate", 59, "", Policy{}, false, Fresh},
		{"RFC 8246 immutable, stale", "max-age=60, immutable", 61, "", Policy{}, false, Revalidate},

		{"RFC 5861 3 in the window", "max-age=60, stale-while-revalidate=30", 60, "", Policy{}, false, StaleWhileRevalidate},
		{"RFC 5861 3 its last second", "max-age=60, stale-while-revalidate=30", 89, "", Policy{}, false, StaleWhileRevalidate},
		{"RFC 5861 3 after it", "max-age=60, stale-while-revalidate=30", 90, "", Policy{}, false, Revalidate},
		{"RFC 5861 3 no lifetime", "max-age=0, stale-while-revalidate=30", 1, "", Policy{}, false, StaleWhileRevalidate},
		{"4.2.4 must-revalidate", "max-age=60, stale-while-revalidate=30, must-revalidate", 61, "", Policy{}, false, Revalidate},
		{"4.2.4 proxy-revalidate", "max-age=60, stale-while-revalidate=30, proxy-revalidate", 61, "", Policy{}, false, Revalidate},
		{"4.2.4 s-maxage", "s-maxage=60, stale-while-revalidate=30", 61, "", Policy{}, false, Revalidate},
		{"4.2.4 s-maxage, policy allows", "s-maxage=60, stale-while-revalidate=30", 61, "", Policy{StaleDespiteSMaxAge: true}, false, StaleWhileRevalidate},
		{"4.2.4 s-maxage, policy allows, after the window", "s-maxage=60, stale-while-revalidate=30", 90, "", Policy{StaleDespiteSMaxAge: true}, false, Revalidate},
		{"4.2.4 s-maxage, policy allows, not its own window", "s-maxage=60, stale-if-error=30", 61, "", Policy{StaleDespiteSMaxAge: true, StaleWhileRevalidate: time.Hour}, false, Revalidate},
		{"4.2.4 no-cache", "max-age=60, stale-while-revalidate=30, no-cache", 61, "", Policy{}, false, Revalidate},
		{"policy window", "max-age=60", 61, "", window, false, StaleWhileRevalidate},
		{"policy window is over", "max-age=60", 90, "", window, false, Revalidate},
		{"policy window, response has its own", "max-age=60, stale-while-revalidate=1", 61, "", window, false, Revalidate},
		{"policy window, response has none", "max-age=60, stale-while-revalidate=0", 60, "", window, false, Revalidate},
		{"policy window, no lifetime", "max-age=0", 1, "", window, false, Revalidate},
		{"policy window, forbidden", "max-age=60, must-revalidate", 61, "", window, false, Revalidate},

		{"5.2.1 not obeyed: no-cache", "max-age=60", 1, "no-cache", Policy{}, false, Fresh},
		{"5.2.1 not obeyed: max-age=0", "max-age=60", 1, "max-age=0", Policy{}, false, Fresh},
		{"5.2.1 not obeyed: max-stale", "max-age=60", 61, "max-stale", Policy{}, false, Revalidate},
		{"5.2.1.4 no-cache", "max-age=60", 1, "no-cache", obey, false, Revalidate},
		{"5.2.1.1 max-age=0", "max-age=60", 0, "max-age=0", obey, false, Revalidate},
		{"5.2.1.1 max-age, young enough", "max-age=60", 10, "max-age=10", obey, false, Fresh},
		{"5.2.1.1 max-age, too old", "max-age=60", 11, "max-age=10", obey, false, Revalidate},
		{"5.2.1.1 max-age, malformed", "max-age=60", 1, "max-age=x", obey, false, Revalidate},
		{"5.2.1.1 max-age, inside the window", "max-age=60, stale-while-revalidate=30", 61, "max-age=10", obey, false, Revalidate},
		{"5.2.1.3 min-fresh, enough", "max-age=60", 30, "min-fresh=30", obey, false, Fresh},
		{"5.2.1.3 min-fresh, too little", "max-age=60", 31, "min-fresh=30", obey, false, Revalidate},
		{"5.2.1.2 max-stale", "max-age=60", 70, "max-stale=10", obey, false, StaleWhileRevalidate},
		{"5.2.1.2 max-stale, exceeded", "max-age=60", 71, "max-stale=10", obey, false, Revalidate},
		{"5.2.1.2 max-stale, any", "max-age=60", 99999, "max-stale", obey, false, StaleWhileRevalidate},
		{"5.2.1.2 max-stale and max-age", "max-age=60", 15, "max-age=10, max-stale=5", obey, false, Fresh},
		{"4.2.4 max-stale, forbidden", "max-age=60, must-revalidate", 61, "max-stale", obey, false, Revalidate},

		{"soft purge, in the lifetime", "max-age=60", 1, "", Policy{}, true, Revalidate},
		{"soft purge, in the lifetime before a window", "max-age=60, stale-while-revalidate=30", 1, "", Policy{}, true, StaleWhileRevalidate},
		{"soft purge, in the window", "max-age=60, stale-while-revalidate=30", 61, "", Policy{}, true, StaleWhileRevalidate},
		{"soft purge, after the lifetime", "max-age=60", 60, "", Policy{}, true, Revalidate},
		{"soft purge, a window of zero", "max-age=60, stale-while-revalidate=0", 1, "", Policy{}, true, Revalidate},
		{"soft purge, must-revalidate", "max-age=60, must-revalidate", 1, "", Policy{}, true, Revalidate},
		{"soft purge, no-cache", "max-age=60, no-cache", 1, "", Policy{}, true, Revalidate},
		{"soft purge, max-stale", "max-age=60", 61, "max-stale", obey, true, Revalidate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStored(200, header("Cache-Control", tt.cc), received, received, tt.p)
			now := received.Add(time.Duration(tt.at) * time.Second)
			if got := s.Reuse(now, ParseCacheControl([]string{tt.req}), tt.p, tt.soft); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSpareImmutable(t *testing.T) {
	obey := Policy{Obey: ObeyAll}
	tests := []struct {
		name, cc string
		at       int // seconds since the response
		req      string
		want     Reuse
	}{
		{"RFC 8246 2.1 max-age=0", "max-age=60, immutable", 10, "max-age=0", Fresh},
		{"RFC 8246 2.1 max-age=0, mutable", "max-age=60", 10, "max-age=0", Revalidate},
		{"RFC 8246 2.1 max-age=0, stale", "max-age=60, immutable, stale-while-revalidate=60", 61, "max-age=0", Revalidate},
		{"RFC 8246 2.1 no-cache", "max-age=60, immutable", 10, "no-cache, max-age=0", Revalidate},
		{"RFC 8246 2.1 min-fresh", "max-age=60, immutable", 10, "min-fresh=55", Revalidate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := header(cacheControl, tt.cc)
			s := NewStored(200, resp, received, received, obey)
			now := received.Add(time.Duration(tt.at) * time.Second)
			req := s.SpareImmutable(now, ParseCacheControl([]string{tt.req}), func() http.Header { return resp }, obey)
			if got := s.Reuse(now, req, obey, false); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMayServeStaleOnError(t *testing.T) {
	day := Policy{StaleIfError: 24 * time.Hour}
	tests := []struct {
		name string
		cc   string
		at   int // seconds since the response
		p    Policy
		want bool
	}{
		{"RFC 5861 4 no window", "max-age=60", 60, Policy{}, false},
		{"RFC 5861 4 in the window", "max-age=60, stale-if-error=30", 89, Policy{}, true},
		{"RFC 5861 4 after it", "max-age=60, stale-if-error=30", 90, Policy{}, false},
		{"RFC 5861 4 still fresh", "max-age=60", 59, Policy{}, true},
		{"policy window", "max-age=60", 61, day, true},
		{"policy window, no lifetime", "max-age=0", 1, day, true},
		{"policy window is over", "max-age=60", 60 + 86400, day, false},
		{"policy window, response has its own", "max-age=60, stale-if-error=1", 61, day, false},
		{"policy window, response has none", "max-age=60, stale-if-error=0", 60, day, false},
		{"4.2.4 must-revalidate", "max-age=60, must-revalidate, stale-if-error=30", 61, day, false},
		{"4.2.4 proxy-revalidate", "max-age=60, proxy-revalidate, stale-if-error=30", 61, day, false},
		{"4.2.4 s-maxage", "s-maxage=60, stale-if-error=30", 61, day, false},
		{"4.2.4 no-cache", "max-age=60, no-cache, stale-if-error=30", 1, day, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStored(200, header("Cache-Control", tt.cc), received, received, Policy{})
			now := received.Add(time.Duration(tt.at) * time.Second)
			if got := s.MayServeStaleOnError(now, tt.p, false); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A soft purge makes the response stale at once: without a window, or with one
// that the response sets to nothing, it answers for no failing origin.
func TestSoftPurgedOnError(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    Stored
		p    Policy
		want bool
	}{
		{"no window", Stored{Lifetime: time.Minute}, Policy{}, false},
		{"the policy's window", Stored{Lifetime: time.Minute}, Policy{StaleIfError: time.Hour}, true},
		{"the response's window", Stored{Lifetime: time.Minute, StaleIfError: time.Hour}, Policy{}, true},
		{"the response wants none", Stored{Lifetime: time.Minute, StaleIfError: -time.Second}, Policy{StaleIfError: time.Hour}, false},
		{"must-revalidate", Stored{Lifetime: time.Minute, MustRevalidate: true}, Policy{StaleIfError: time.Hour}, false},
	} {
		now := time.Unix(1_000_000, 0)
		tt.s.ResponseTime = now
		if got := tt.s.MayServeStaleOnError(now, tt.p, true); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
