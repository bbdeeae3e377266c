package geo

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// roundTrip is a RoundTripper made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func status(code int) *http.Response {
	return &http.Response{StatusCode: code, Body: http.NoBody}
}

func oneChecked() []PoP {
	return []PoP{{Name: "ams", HealthURL: "http://pop.example/healthz"}, {Name: "iad"}}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var polls atomic.Int32
		var failing atomic.Pointer[func() (*http.Response, error)]
		var logged bytes.Buffer
		health, err := NewHealth(oneChecked(), HealthOptions{
			Logger: slog.New(slog.NewTextHandler(&logged, nil)),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				polls.Add(1)
				if f := failing.Load(); f != nil {
					return (*f)()
				}
				return status(http.StatusOK), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { health.Run(ctx); close(ended) }()

		expect := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			if got := health.Healthy("ams"); got != want {
				t.Errorf("%s: healthy %v", when, got)
			}
		}
		sleep := func(d time.Duration) { time.Sleep(d); synctest.Wait() }

		expect("at first", true)
		sleep(time.Second)
		refuse := func() (*http.Response, error) { return nil, errors.New("connection refused") }
		failing.Store(&refuse)
		sleep(2 * time.Second)
		expect("after one failure", true)
		sleep(2 * time.Second)
		expect("after two failures", false)
		sleep(10 * time.Second)
		expect("after seven failures", false)
		failing.Store(nil)
		sleep(2 * time.Second)
		expect("after one success", true)
		redirect := func() (*http.Response, error) { return status(http.StatusFound), nil }
		failing.Store(&redirect)
		sleep(4 * time.Second)
		expect("after two redirects", false)
		if !health.Healthy("iad") || !health.Healthy("nowhere") {
			t.Error("what is not polled counts as down")
		}
		cancel()
		<-ended
		if got := polls.Load(); got != 11 {
			t.Errorf("%d polls in 21 s, want 11", got)
		}
		if down, up := strings.Count(logged.String(), "pop is down"), strings.Count(logged.String(), "healthy again"); down != 2 || up != 1 {
			t.Errorf("logged %d times down, %d times up:\n%s", down, up, &logged)
		}
	})
}

// TestHealthTimeout has a PoP that takes connections and never answers.
func TestHealthTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health, err := NewHealth(oneChecked(), HealthOptions{
			Logger: slog.New(slog.DiscardHandler),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { health.Run(ctx); close(ended) }()
		time.Sleep(3*time.Second - time.Millisecond)
		synctest.Wait()
		if !health.Healthy("ams") {
			t.Error("down before two polls timed out")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if health.Healthy("ams") {
			t.Error("healthy after two polls timed out")
		}
		cancel()
		<-ended
	})
}

// TestHealthOverSocket uses the transport that Run makes for itself.
func TestHealthOverSocket(t *testing.T) {
	var ill atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ill.Load() || r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	health, err := NewHealth([]PoP{{Name: "ams", HealthURL: server.URL + "/healthz"}}, HealthOptions{
		Interval: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { health.Run(ctx); close(ended) }()
	for _, want := range []bool{true, false, true} {
		ill.Store(!want)
		for deadline := time.Now().Add(5 * time.Second); health.Healthy("ams") != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("healthy is not %v", want)
			}
		}
	}
	cancel()
	<-ended
}

func TestNewHealthRefuses(t *testing.T) {
	for _, bad := range []string{"pop.example/healthz", "ftp://pop.example", "http:///healthz", "http://pop.example/\n"} {
		if _, err := NewHealth([]PoP{{Name: "a", HealthURL: bad}}, HealthOptions{}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
