package origin_test

import (
	"io"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"weir/internal/lab/s3server"
)

func TestMain(m *testing.M) {
	var options []goleak.Option
	for _, name := range s3server.Lingering() {
		options = append(options, goleak.IgnoreAnyFunction(name))
	}
	goleak.VerifyTestMain(m, options...)
}

// request is what the cache engine sends: a target on the client's host.
func request(t *testing.T, method, target string, header http.Header) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://www.example.com"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	return req
}

// exchange sends a request and reads the whole response.
func exchange(t *testing.T, via http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := via.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.RequestURI(), err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read body: %v", req.Method, req.URL.RequestURI(), err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp, string(body)
}

func fetch(t *testing.T, via http.RoundTripper, target string) (*http.Response, string) {
	t.Helper()
	return exchange(t, via, request(t, http.MethodGet, target, nil))
}
