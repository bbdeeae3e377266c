package purge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// MethodCall is a request with the method PURGE that a node has received, on its
// way to control; as JSON.
type MethodCall struct {
	// Node is the node that received it, and Client the address that it came
	// from, without port.
	Node   string `json:"node"`
	Client string `json:"client"`
	// Token is the secret that came with it.
	Token string `json:"token"`
	// Site answers for the URL's host on that node. URL is what was to be purged,
	// whole; Tags, if there are any, are to be purged in its place.
	Site string   `json:"site"`
	URL  string   `json:"url"`
	Tags []string `json:"tags,omitempty"`
	Soft bool     `json:"soft,omitempty"`
	// Key is the idempotency key.
	Key string `json:"key,omitempty"`
}

// MethodAnswer is what control makes of a MethodCall; as JSON.
type MethodAnswer struct {
	Status     int    `json:"status"` // of HTTP
	Version    uint64 `json:"version,omitempty"`
	Error      string `json:"error,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"` // in seconds
}

// AnswerMethod takes an encoded MethodCall and gives an encoded MethodAnswer. It
// is the API's for calls that come over the log's connection; whether the
// client's address may call at all, the node has decided.
func (a *API) AnswerMethod(ctx context.Context, question []byte) []byte {
	began := time.Now()
	var m MethodCall
	w := &headerOnly{header: make(http.Header)}
	c := &call{ResponseWriter: w, ctx: ctx}
	var result MethodAnswer
	c.say = func(status int, said answer) {
		c.status = status
		result = MethodAnswer{Status: status, Error: said.Error, RetryAfter: w.header.Get("Retry-After")}
	}
	err := json.Unmarshal(question, &m)
	if err != nil {
		err = fieldError("body", "not a call of PURGE: %v", err)
	}
	c.who = fmt.Sprintf("%s by %s", clip(m.Client), clip(m.Node))
	if err == nil {
		err = a.admit(c, m.Token)
	}
	if err == nil {
		err = a.accept(c, m.request())
	}
	if err != nil {
		c.refuse(err)
	} else {
		c.status = http.StatusOK
		result = MethodAnswer{Status: http.StatusOK, Version: c.record.Version}
	}
	a.audit(c, "PURGE", m.URL, began)
	text, _ := json.Marshal(result) // texts and numbers always have a JSON form
	return text
}

func (m *MethodCall) request() *Request {
	r := &Request{Site: m.Site, Scope: ScopeURL, Targets: []string{m.URL}, Key: m.Key}
	if len(m.Tags) > 0 {
		r.Scope, r.Targets = ScopeTag, m.Tags
	}
	if m.Soft {
		r.Mode = ModeSoft
	}
	return r
}

// headerOnly is the ResponseWriter of a call that is not answered over HTTP.
type headerOnly struct{ header http.Header }

func (w *headerOnly) Header() http.Header         { return w.header }
func (w *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
func (w *headerOnly) WriteHeader(int)             {}
