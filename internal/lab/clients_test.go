package lab_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"weir/internal/ready"
)

// client asks one PoP over one version of HTTP.
type client struct {
	name  string // "ams HTTP/3.0"
	pop   string
	base  string
	proto int // 1, 2 or 3
	http  *http.Client
}

// clients makes one client for each PoP and each version: HTTP/1.1 in clear and
// under TLS, HTTP/2, HTTP/3.
func clients(t *testing.T, lab ready.File) []client {
	t.Helper()
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(lab.CAFile)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("lab CA: %v", err)
	}
	var all []client
	for _, pop := range lab.PoPs {
		conf := func() *tls.Config { return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12} }
		one, two := new(http.Protocols), new(http.Protocols)
		one.SetHTTP1(true)
		two.SetHTTP2(true)
		dial := (&net.Dialer{Timeout: dialTimeout}).DialContext
		clear := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 1000, DisableCompression: true}
		secure := &http.Transport{DialContext: dial, TLSClientConfig: conf(), Protocols: one, DisableCompression: true}
		second := &http.Transport{DialContext: dial, TLSClientConfig: conf(), Protocols: two, DisableCompression: true}
		third := &http3.Transport{TLSClientConfig: conf(), DisableCompression: true}
		t.Cleanup(func() {
			clear.CloseIdleConnections()
			secure.CloseIdleConnections()
			second.CloseIdleConnections()
			_ = third.Close()
		})
		for _, c := range []client{
			{"HTTP/1.1 clear", pop.Name, pop.HTTP, 1, &http.Client{Transport: clear}},
			{"HTTP/1.1", pop.Name, pop.HTTPS, 1, &http.Client{Transport: secure}},
			{"HTTP/2", pop.Name, pop.HTTPS, 2, &http.Client{Transport: second}},
			{"HTTP/3", pop.Name, pop.HTTPS, 3, &http.Client{Transport: third}},
		} {
			c.name = pop.Name + " " + c.name
			c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			c.http.Timeout = 30 * time.Second
			all = append(all, c)
		}
	}
	return all
}

// of gives the clients of one PoP.
func of(all []client, pop string) []client {
	var some []client
	for _, c := range all {
		if c.pop == pop {
			some = append(some, c)
		}
	}
	return some
}

// answer is a response, read whole.
type answer struct {
	*http.Response
	body string
}

// tier gives the Cache-Status entry of a node, "" if it has none.
func (a answer) tier(node string) string {
	for _, entry := range strings.Split(a.Header.Get("Cache-Status"), ", ") {
		if name, _, _ := strings.Cut(entry, ";"); name == node {
			return entry
		}
	}
	return ""
}

// do sends one request; fields alternate names and values, and a value of Host
// goes where it belongs.
func (c client) do(t *testing.T, method, path string, fields ...string) answer {
	t.Helper()
	a, err := c.try(t.Context(), method, path, fields...)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", c.name, method, path, err)
	}
	return a
}

func (c client) try(ctx context.Context, method, path string, fields ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "Host" {
			request.Host = fields[i+1]
			continue
		}
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return answer{response, string(body)}, err
}
