package purge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// APIOptions configures an API. Token, Append and Nodes are required.
type APIOptions struct {
	// Sites are the names of the sites that can be purged.
	Sites []string
	// Token is the bearer token that every call needs.
	Token string
	// TokenName stands for the token in records and logs. Default "api".
	TokenName string
	// Append gives a record to the log: ErrUnavailable when nothing was
	// accepted, ErrUnconfirmed when that is not known.
	Append func(context.Context, Record) (version uint64, err error)
	// Nodes has the receipts.
	Nodes *Nodes
	// Explain answers GET /v1/explain once the token has been checked. Default:
	// there is no such path.
	Explain http.Handler
	// AppendTimeout bounds one call of Append. Default 5 s.
	AppendTimeout time.Duration
	// Log receives one line a call. Default: discard.
	Log *slog.Logger
}

func (o APIOptions) withDefaults() (APIOptions, error) {
	if o.Token == "" || o.Append == nil || o.Nodes == nil {
		return o, errors.New("purge: APIOptions.Token, Append and Nodes are required")
	}
	o.TokenName = cmp.Or(o.TokenName, "api")
	o.AppendTimeout = cmp.Or(o.AppendTimeout, 5*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o, nil
}

// API is control's HTTP interface; every answer is JSON.
//
//	POST /v1/purges            202 {"version":N} once the purge is durable
//	POST /v1/purges?wait=all   200 {"version":N,"nodes":[{"node","version","ms"}…]} once every node
//	    &timeout=2s            has applied it, or 504 with "missing" and "error" besides: the purge
//	                           stays accepted, and nodes that were away apply it when they are back
//	GET  /v1/nodes             200 {"nodes":[{"node","applied","seen"}…]}
//	GET  /v1/explain?url=…     APIOptions.Explain
//
// With "Accept: application/x-ndjson" a waiting POST answers 200 at once and
// writes a line as soon as there is something to say: {"version":N}, then each
// node's receipt as it confirms, and last the object that would have been the
// answer without; whether it has "missing" is then what tells success.
type API struct {
	APIOptions
	token  [sha256.Size]byte
	counts struct {
		accepted, refused, unauthorised, unavailable, incomplete atomic.Uint64
	}
}

// NewAPI makes the handler.
func NewAPI(o APIOptions) (*API, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &API{APIOptions: o, token: sha256.Sum256([]byte(o.Token))}, nil
}

// APIStats counts calls since the start.
type APIStats struct {
	Accepted     uint64 // purges accepted
	Refused      uint64 // calls answered 400, 404, 405 or 413
	Unauthorised uint64 // calls answered 401
	Unavailable  uint64 // purges answered 503: the log was away
	Incomplete   uint64 // waits that ended before every node had confirmed
}

// Stats counts calls since the start.
func (a *API) Stats() APIStats {
	c := &a.counts
	return APIStats{c.accepted.Load(), c.refused.Load(), c.unauthorised.Load(), c.unavailable.Load(), c.incomplete.Load()}
}

// answer is the body of every answer but the list of nodes.
type answer struct {
	Version uint64    `json:"version,omitempty"`
	Nodes   []Receipt `json:"nodes,omitzero"`
	Missing []string  `json:"missing,omitempty"`
	Error   string    `json:"error,omitempty"`
	Field   string    `json:"field,omitempty"`
}

// nodesAnswer is the body of GET /v1/nodes.
type nodesAnswer struct {
	Nodes []NodeStatus `json:"nodes"`
}

// call is one request on its way through the API, and what its audit line says.
type call struct {
	http.ResponseWriter
	request *http.Request
	who     string
	status  int
	record  Record
	wait    wait
	failure error // why the call was refused
}

// ServeHTTP answers one call and logs it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &call{ResponseWriter: w, request: r, who: remote(r)}
	w.Header().Set("Cache-Control", "no-store")
	a.route(c)
	a.count(c.status)
	a.Log.Info("purge call", "method", r.Method, "path", clip(r.URL.Path), "status", c.status, "who", c.who,
		"site", clip(c.record.Site), "scope", c.record.Scope.String(), "targets", len(c.record.Targets),
		"mode", c.record.Mode.String(), "version", c.record.Version, "wait", c.wait.all,
		"ms", time.Since(began).Milliseconds(), "error", c.failure)
}

func (a *API) route(c *call) {
	switch c.request.URL.Path {
	case "/v1/purges":
		if a.allowed(c, http.MethodPost) {
			a.purge(c)
		}
	case "/v1/nodes":
		if a.allowed(c, http.MethodGet, http.MethodHead) {
			c.reply(http.StatusOK, nodesAnswer{a.Nodes.List()})
		}
	case "/v1/explain":
		if a.Explain == nil {
			c.noSuchPath()
			return
		}
		if a.allowed(c, http.MethodGet, http.MethodHead) {
			a.Explain.ServeHTTP(c, c.request)
		}
	default:
		c.noSuchPath()
	}
}

func (c *call) noSuchPath() {
	c.reply(http.StatusNotFound, answer{Error: "no such path: the API has /v1/purges, /v1/nodes and /v1/explain"})
}

// WriteHeader keeps the status for the audit line.
func (c *call) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

// allowed checks method and token, and answers if either is wrong.
func (a *API) allowed(c *call, methods ...string) bool {
	if !slices.Contains(methods, c.request.Method) {
		allow := strings.Join(methods, ", ")
		c.Header().Set("Allow", allow)
		c.reply(http.StatusMethodNotAllowed, answer{Error: "method must be " + allow})
		return false
	}
	scheme, token, _ := strings.Cut(c.request.Header.Get("Authorization"), " ")
	// Hashes have one length, so that the comparison takes the same time
	// whatever was sent.
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1 {
		c.who = a.TokenName + " " + c.who
		return true
	}
	// RFC 6750 section 3: no error code when there was no token at all.
	challenge := `Bearer realm="weir"`
	if token != "" {
		challenge += `, error="invalid_token"`
	}
	c.Header().Set("WWW-Authenticate", challenge)
	c.reply(http.StatusUnauthorized, answer{Error: "a bearer token is needed: Authorization: Bearer TOKEN"})
	return false
}

// remote is the client's address without its port.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return clip(r.RemoteAddr)
	}
	return host
}

func (a *API) purge(c *call) {
	var err error
	if c.wait, err = parseWait(c.request); err != nil {
		c.refuse(err)
		return
	}
	if c.record, err = a.read(c); err != nil {
		c.refuse(err)
		return
	}
	given := time.Now()
	version, err := a.append(c)
	if err != nil {
		c.refuse(err)
		return
	}
	c.record.Version = version
	a.counts.accepted.Add(1)
	a.Nodes.Accepted(version, given)
	if c.wait.all {
		a.await(c)
		return
	}
	c.reply(http.StatusAccepted, answer{Version: version})
}

func (a *API) read(c *call) (Record, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.ResponseWriter, c.request.Body, BodyBytesMax))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return Record{}, fmt.Errorf("%w: the body has more than %d bytes", ErrTooLarge, BodyBytesMax)
		}
		return Record{}, fieldError("body", "not received whole: %v", err)
	}
	r, err := ParseRequest(body, func(site string) bool { return slices.Contains(a.Sites, site) })
	r.Who, r.At = c.who, time.Now().UTC()
	return r, err
}

// append gives the record to the log, whether or not the client stays: once it
// is on its way, nobody can take it back.
func (a *API) append(c *call) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.request.Context()), a.AppendTimeout)
	defer cancel()
	return a.Append(ctx, c.record)
}

// refuse answers an error with the status that it stands for.
func (c *call) refuse(err error) {
	c.failure = err
	var field *FieldError
	switch {
	case errors.As(err, &field):
		c.reply(http.StatusBadRequest, answer{Error: field.Error(), Field: field.Field})
	case errors.Is(err, ErrTooLarge):
		c.reply(http.StatusRequestEntityTooLarge, answer{Error: err.Error()})
	case errors.Is(err, ErrUnavailable):
		c.Header().Set("Retry-After", "1")
		c.reply(http.StatusServiceUnavailable, answer{Error: "the purge log is unavailable, nothing was accepted: try again"})
	default:
		c.Header().Set("Retry-After", "1")
		c.reply(http.StatusServiceUnavailable, answer{
			Error: "the purge log did not confirm the purge, which may or may not be accepted: try again, purging twice does no harm"})
	}
}

// reply writes one JSON object.
func (c *call) reply(status int, body any) {
	c.Header().Set("Content-Type", "application/json")
	c.WriteHeader(status)
	c.line(body)
}

// line writes one JSON object and a newline. A client that is gone is no error
// of ours.
func (c *call) line(body any) {
	enc := json.NewEncoder(c.ResponseWriter)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body)
}

func (a *API) count(status int) {
	switch status {
	case http.StatusUnauthorized:
		a.counts.unauthorised.Add(1)
	case http.StatusServiceUnavailable:
		a.counts.unavailable.Add(1)
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
		a.counts.refused.Add(1)
	}
}
