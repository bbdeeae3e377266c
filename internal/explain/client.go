package explain

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/purge"
)

// Client calls control's API.
type Client struct {
	// URL is control's address, such as https://control.example:8443.
	URL string
	// Token is the bearer token. It is in no error.
	Token string
	// HTTP makes the calls. Default http.DefaultClient.
	HTTP *http.Client
}

// Query is what to ask. URL is required.
type Query struct {
	// URL is the whole URL to explain.
	URL string
	// Fields are header fields of the request to explain, "Name: value" each.
	// Without Accept-Encoding among them it has that of a browser.
	Fields []string
	// PoP asks this one and its shields only. Default: all nodes.
	PoP string
	// Timeout bounds the wait for the nodes: default 2 s, at most 10 s.
	Timeout time.Duration
}

// resultBytesMax bounds an answer: replies of some hundred nodes.
const resultBytesMax = 64 << 20

// Explain asks. What control has refused is a *purge.RefusedError; nodes that
// are away are no error.
func (c *Client) Explain(ctx context.Context, q Query) (Result, error) {
	values := url.Values{"url": {q.URL}, "header": q.Fields, "timeout": {cmp.Or(q.Timeout, timeoutDefault).String()}}
	if q.PoP != "" {
		values.Set("pop", q.PoP)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+"/v1/explain?"+values.Encode(), nil)
	if err != nil {
		return Result{}, fmt.Errorf("call control: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	response, err := cmp.Or(c.HTTP, http.DefaultClient).Do(r)
	if err != nil {
		return Result{}, fmt.Errorf("call control: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Result{}, refused(response)
	}
	var result Result
	if err := json.NewDecoder(io.LimitReader(response.Body, resultBytesMax)).Decode(&result); err != nil {
		return Result{}, fmt.Errorf("read control's answer: %w", err)
	}
	return result, nil
}

func refused(response *http.Response) error {
	said := refusal{Error: http.StatusText(response.StatusCode)}
	_ = json.NewDecoder(io.LimitReader(response.Body, resultBytesMax)).Decode(&said) // the status says enough
	return &purge.RefusedError{
		Status: response.StatusCode, Message: said.Error, Field: said.Field, RetryAfter: response.Header.Get("Retry-After"),
	}
}
