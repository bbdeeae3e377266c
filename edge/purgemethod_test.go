package edge_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"weir/edge"
)

// purging is a PurgeMethod that keeps what it forwarded.
type purging struct {
	*edge.PurgeMethod
	forwarded []edge.PurgeCall
	answer    edge.PurgeAnswer
	err       error
	wrapped   int
}

func newPurging(t *testing.T, from ...string) *purging {
	t.Helper()
	p := &purging{answer: edge.PurgeAnswer{Status: 200, Version: 17}}
	o := edge.PurgeOptions{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		Site: func(host string) string {
			if strings.HasSuffix(host, ".test") {
				return "docs"
			}
			return ""
		},
		Forward: func(_ context.Context, c edge.PurgeCall) (edge.PurgeAnswer, error) {
			p.forwarded = append(p.forwarded, c)
			return p.answer, p.err
		},
		Wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p.wrapped++
				h.ServeHTTP(w, r)
			})
		},
	}
	for _, n := range from {
		o.From = append(o.From, netip.MustParsePrefix(n))
	}
	var err error
	if p.PurgeMethod, err = edge.NewPurgeMethod(o); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *purging) call(method, target, remote string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = remote
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestPurgeMethod(t *testing.T) {
	p := newPurging(t, "192.0.2.0/24", "2001:db8::/32")
	const here = "192.0.2.7:1234"
	for _, row := range []struct {
		rule, target, remote string
		fields               []string
		want                 edge.PurgeCall
	}{
		{"a URL", "http://WWW.test:8080/a%2fb?c=d", here, []string{"Fastly-Key: k"},
			edge.PurgeCall{Client: "192.0.2.7", Token: "k", Site: "docs", URL: "http://WWW.test:8080/a%2fb?c=d"}},
		{"soft, with a bearer token", "http://www.test/", here, []string{"Authorization: bearer k", "Fastly-Key: other", "Fastly-Soft-Purge: 1"},
			edge.PurgeCall{Client: "192.0.2.7", Token: "k", Site: "docs", URL: "http://www.test/", Soft: true}},
		{"not soft", "http://www.test/", here, []string{"Fastly-Key: k", "Fastly-Soft-Purge: 0"},
			edge.PurgeCall{Client: "192.0.2.7", Token: "k", Site: "docs", URL: "http://www.test/"}},
		{"tags", "http://www.test/", here, []string{"Fastly-Key: k", "Surrogate-Key: a  b", "Surrogate-Key: c"},
			edge.PurgeCall{Client: "192.0.2.7", Token: "k", Site: "docs", URL: "http://www.test/", Tags: []string{"a", "b", "c"}}},
		{"a key", "http://www.test/", here, []string{"Fastly-Key: k", `Idempotency-Key: "r 17"`},
			edge.PurgeCall{Client: "192.0.2.7", Token: "k", Site: "docs", URL: "http://www.test/", Key: "r 17"}},
		{"IPv6", "http://www.test/", "[2001:db8::7]:1", []string{"Fastly-Key: k"},
			edge.PurgeCall{Client: "2001:db8::7", Token: "k", Site: "docs", URL: "http://www.test/"}},
		{"IPv4 in IPv6", "http://www.test/", "[::ffff:192.0.2.7]:1", []string{"Fastly-Key: k"},
			edge.PurgeCall{Client: "192.0.2.7", Token: "k", Site: "docs", URL: "http://www.test/"}},
	} {
		p.forwarded = nil
		w := p.call("PURGE", row.target, row.remote, row.fields...)
		if w.Code != 200 || w.Body.String() != `{"status":"ok","id":"17","version":17}`+"\n" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", row.rule, w.Code, w.Header(), w.Body)
		}
		if len(p.forwarded) != 1 || !reflect.DeepEqual(p.forwarded[0], row.want) {
			t.Errorf("%s: forwarded %+v, want %+v", row.rule, p.forwarded, row.want)
		}
	}
}

func TestPurgeMethodRefuses(t *testing.T) {
	const key = "Fastly-Key: k"
	for _, row := range []struct {
		rule, target, remote string
		fields               []string
		status               int
		says                 string
	}{
		{"from elsewhere", "http://www.test/", "198.51.100.1:1", []string{key}, 403, "your address"},
		{"from elsewhere, who says otherwise", "http://www.test/", "198.51.100.1:1", []string{key, "X-Forwarded-For: 192.0.2.7"}, 403, "your address"},
		{"from a pipe", "http://www.test/", "@", []string{key}, 403, "your address"},
		{"no token", "http://www.test/", "192.0.2.7:1", nil, 401, "Fastly-Key"},
		{"another scheme", "http://www.test/", "192.0.2.7:1", []string{"Authorization: Basic k"}, 401, "Fastly-Key"},
		{"another host", "http://www.example/", "192.0.2.7:1", []string{key}, 421, "no site"},
		{"many tags", "http://www.test/", "192.0.2.7:1", []string{key, "Surrogate-Key: " + strings.Repeat("a ", 10_001)}, 400, "tags"},
	} {
		p := newPurging(t, "192.0.2.0/24")
		w := p.call("PURGE", row.target, row.remote, row.fields...)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) || len(p.forwarded) > 0 {
			t.Errorf("%s: %d %s, want %d with %s; forwarded %v", row.rule, w.Code, w.Body, row.status, row.says, p.forwarded)
		}
		if (w.Header().Get("WWW-Authenticate") != "") != (row.status == 401) {
			t.Errorf("%s: %v", row.rule, w.Header())
		}
	}
}

func TestPurgeMethodAnswersWhatControlSays(t *testing.T) {
	p := newPurging(t, "192.0.2.0/24")
	p.answer = edge.PurgeAnswer{Status: 429, Error: "too many", RetryAfter: "7"}
	w := p.call("PURGE", "http://www.test/", "192.0.2.7:1", "Fastly-Key: k")
	if w.Code != 429 || w.Header().Get("Retry-After") != "7" || w.Body.String() != `{"error":"too many"}`+"\n" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	p.err = errors.New("away")
	if w := p.call("PURGE", "http://www.test/", "192.0.2.7:1", "Fastly-Key: k"); w.Code != 503 || w.Header().Get("Retry-After") != "1" ||
		!strings.Contains(w.Body.String(), "may or may not be accepted") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestPurgeMethodThatIsNotConfigured(t *testing.T) {
	p := newPurging(t)
	w := p.call("PURGE", "http://www.test/", "127.0.0.1:1", "Fastly-Key: k")
	if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || len(p.forwarded) > 0 || p.wrapped != 1 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, method := range []string{"GET", "POST", "purge"} {
		if w := p.call(method, "http://www.test/", "127.0.0.1:1"); w.Code != 418 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if err := p.CloseTunnels(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := edge.NewPurgeMethod(edge.PurgeOptions{}); err == nil {
		t.Error("one without a handler was made")
	}
}
