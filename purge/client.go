package purge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrMissing says that a purge was accepted, and that nodes named in the
// Result have not confirmed it in time.
var ErrMissing = errors.New("purge is accepted, and not yet confirmed by every node")

// Client calls the API of control; `weir purge` is made of it.
type Client struct {
	// URL is control's address, such as https://control.example:8443.
	URL string
	// Token is the bearer token. It is in no error.
	Token string
	// HTTP makes the calls. Default http.DefaultClient; a Timeout in it has to
	// be longer than what is waited for.
	HTTP *http.Client
}

// Result is what became of a purge.
type Result struct {
	Version uint64
	// Repeated says that the idempotency key had this version already.
	Repeated bool
	// Nodes are the receipts, in the order in which they came. Only Watch and
	// Wait have them.
	Nodes []Receipt
	// Pending are the nodes that had not confirmed when enough others had.
	Pending []string
	// Missing are the nodes that did not confirm in time.
	Missing []string
}

// RefusedError is an answer of the API that accepted nothing, or did not know.
type RefusedError struct {
	Status     int    // the HTTP status
	Message    string // what is wrong
	Field      string // which field or parameter, or ""
	RetryAfter string // of a 429 or 503, in seconds, or ""
}

// Error gives status and message.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("control answered %d: %s", e.Status, e.Message)
}

// Purge returns once the purge is durable.
func (c *Client) Purge(ctx context.Context, r Request) (Result, error) {
	resp, err := c.post(ctx, r, "", "application/json")
	if err != nil {
		return Result{}, err
	}
	defer resp.Body.Close()
	var a answer
	if err := decodeAnswer(resp, &a); err != nil {
		return Result{}, err
	}
	return Result{Version: a.Version, Repeated: a.Repeated}, nil
}

// Watch returns once every node has applied the purge, and calls each with
// every receipt as it comes. After timeout, at most 60 s, it returns what there
// is, with ErrMissing.
func (c *Client) Watch(ctx context.Context, r Request, timeout time.Duration, each func(Receipt)) (Result, error) {
	return c.WatchFor(ctx, r, "all", timeout, each)
}

// WatchFor is Watch that waits for "all" nodes, a "quorum" of them, or those
// named, with commas between.
func (c *Client) WatchFor(ctx context.Context, r Request, whom string, timeout time.Duration, each func(Receipt)) (Result, error) {
	query := url.Values{"wait": {whom}, "timeout": {timeout.String()}}.Encode()
	resp, err := c.post(ctx, r, query, ndjson)
	if err != nil {
		return Result{}, err
	}
	defer resp.Body.Close()
	return readLines(resp.Body, each)
}

// Wait is Watch that shows the receipts at the end only.
func (c *Client) Wait(ctx context.Context, r Request, timeout time.Duration) (Result, error) {
	return c.Watch(ctx, r, timeout, func(Receipt) {})
}

// Nodes lists the nodes that control expects.
func (c *Client) Nodes(ctx context.Context) ([]NodeStatus, error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/nodes", nil, "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var a nodesAnswer
	if err := decodeAnswer(resp, &a); err != nil {
		return nil, err
	}
	return a.Nodes, nil
}

// Progress gives a purge and how far each node is with it.
func (c *Client) Progress(ctx context.Context, version uint64) (p Progress, err error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/purges/"+strconv.FormatUint(version, 10), nil, "application/json")
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	return p, decodeAnswer(resp, &p)
}

// Newest gives the page of the log below a version, newest first; before 0 is
// the first page, limit 0 the default.
func (c *Client) Newest(ctx context.Context, before uint64, limit int) (Page, error) {
	values := url.Values{}
	if before > 0 {
		values.Set("before", strconv.FormatUint(before, 10))
	}
	return c.page(ctx, values, limit)
}

// After gives the page of the log above a version, oldest first.
func (c *Client) After(ctx context.Context, version uint64, limit int) (Page, error) {
	return c.page(ctx, url.Values{"after": {strconv.FormatUint(version, 10)}}, limit)
}

func (c *Client) page(ctx context.Context, values url.Values, limit int) (p Page, err error) {
	if limit > 0 {
		values.Set("limit", strconv.Itoa(limit))
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/purges?"+values.Encode(), nil, "application/json")
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	return p, decodeAnswer(resp, &p)
}

func (c *Client) post(ctx context.Context, r Request, query, accept string) (*http.Response, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode purge: %w", err)
	}
	path := "/v1/purges"
	if query != "" {
		path += "?" + query
	}
	return c.do(ctx, http.MethodPost, path, body, accept)
}

// do sends one call. An answer that is no success becomes a *RefusedError.
func (c *Client) do(ctx context.Context, method, path string, body []byte, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call control: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Accept", accept)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := cmp.Or(c.HTTP, http.DefaultClient).Do(req)
	if err != nil {
		return nil, fmt.Errorf("call control: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	refused := &RefusedError{Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After")}
	var a answer
	if err := decodeAnswer(resp, &a); err != nil {
		refused.Message = http.StatusText(resp.StatusCode)
		return nil, refused
	}
	refused.Message, refused.Field = a.Error, a.Field
	return nil, refused
}

// answerBytesMax bounds an answer: receipts of many thousand nodes, or a page of
// purges with ten targets each.
const answerBytesMax = 64 << 20

func decodeAnswer(resp *http.Response, into any) error {
	if err := json.NewDecoder(io.LimitReader(resp.Body, answerBytesMax)).Decode(into); err != nil {
		return fmt.Errorf("read control's answer: %w", err)
	}
	return nil
}

// answerLine is any line of an ndjson answer; see API. A receipt has Node, the
// last line has Nodes.
type answerLine struct {
	answer
	Node string   `json:"node"`
	MS   *float64 `json:"ms"`
}

func readLines(body io.Reader, each func(Receipt)) (Result, error) {
	dec := json.NewDecoder(io.LimitReader(body, answerBytesMax))
	var result Result
	for {
		var line answerLine
		if err := dec.Decode(&line); err != nil {
			return result, fmt.Errorf("purge %d is accepted, control's answer ended early: %w", result.Version, err)
		}
		switch {
		case line.Node != "":
			r := Receipt{Node: line.Node, Version: line.Version, MS: line.MS}
			result.Nodes = append(result.Nodes, r)
			each(r)
		case line.Nodes == nil:
			result.Version, result.Repeated = line.Version, line.Repeated
		case len(line.Missing) > 0:
			result.Missing = line.Missing
			return result, fmt.Errorf("%w: %s", ErrMissing, strings.Join(line.Missing, ", "))
		default:
			result.Pending = line.Pending
			return result, nil
		}
	}
}
