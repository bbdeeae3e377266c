package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"weir/purge"
)

// Client asks control about one node.
type Client struct {
	// URL is control's address, such as https://control.example:8443.
	URL string
	// Token is the bearer token. It is in no error.
	Token string
	// Node is the name of the node.
	Node string
	// HTTP makes the calls. Default http.DefaultClient.
	HTTP *http.Client
}

// answerBytesMax bounds an answer but a body.
const answerBytesMax = 4 << 20

// List gives a piece of what the node has, from a place on that the piece before
// gave; at most limit objects, 0 for as many as fit.
func (c *Client) List(ctx context.Context, after string, limit int) (p Page, err error) {
	query := url.Values{"after": {after}}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(min(limit, pageObjectsMax)))
	}
	return p, c.get(ctx, "objects", query, &p)
}

// Stat says how much the node has.
func (c *Client) Stat(ctx context.Context) (s Stat, err error) {
	return s, c.get(ctx, "stat", nil, &s)
}

// Verify verifies a piece of the node's disk tier, from a place on that the piece
// before gave, at most rate bytes a second.
func (c *Client) Verify(ctx context.Context, after string, rate int64) (v Verified, err error) {
	return v, c.get(ctx, "verify", url.Values{"after": {after}, "rate": {strconv.FormatInt(rate, 10)}}, &v)
}

// Object gives what is stored under a key.
func (c *Client) Object(ctx context.Context, key string) (o Object, err error) {
	return o, c.get(ctx, "objects/"+url.PathEscape(key), nil, &o)
}

// WriteBody writes an object's body to w; an error that it ends early.
func (c *Client) WriteBody(ctx context.Context, o Object, w io.Writer) error {
	response, err := c.call(ctx, "objects/"+o.Key+"/body", url.Values{"id": {strconv.FormatUint(o.BodyID, 10)}})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("read the body of %s: %w", o.Key, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	response, err := c.call(ctx, path, query)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, answerBytesMax)).Decode(into); err != nil {
		return fmt.Errorf("read control's answer: %w", err)
	}
	return nil
}

// call gives an answer 200. What control has refused is a *purge.RefusedError.
func (c *Client) call(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	where := strings.TrimSuffix(c.URL, "/") + PathPrefix + url.PathEscape(c.Node) + "/" + path + "?" + query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("call control: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	response, err := cmp.Or(c.HTTP, http.DefaultClient).Do(r)
	if err != nil {
		return nil, fmt.Errorf("call control: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	said := refusal{Text: http.StatusText(response.StatusCode)}
	_ = json.NewDecoder(io.LimitReader(response.Body, answerBytesMax)).Decode(&said) // the status says enough
	return nil, &purge.RefusedError{
		Status: response.StatusCode, Message: said.Text, RetryAfter: response.Header.Get("Retry-After"),
	}
}
