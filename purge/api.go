package purge

import (
	"cmp"
	"context"
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
	// Assets says what versions in a site's URLs look like. Default: as
	// DefaultAssets has it, for every site.
	Assets func(site string) Assets
	// Token is the bearer token that may everything.
	Token string
	// TokenName stands for it in records and logs. Default "api".
	TokenName string
	// Tokens are those that may less.
	Tokens []Token
	// Rates bound how often one token may purge.
	Rates RateOptions
	// Append gives a record to the log: ErrUnavailable when nothing was
	// accepted, ErrUnconfirmed when that is not known, ErrRepeated with the
	// version of the first record of the same Key.
	Append func(context.Context, Record) (version uint64, err error)
	// Renew gives the log another identity than old, for one that has given out a
	// version a second time, and answers the identity that it has then. Default:
	// logs are taken never to do that.
	Renew func(ctx context.Context, old string) (epoch string, err error)
	// History is the log to read. Default: there is no GET /v1/purges, and
	// nobody notices an idempotency key that is used for two purges.
	History History
	// Nodes has the receipts.
	Nodes *Nodes
	// Explain answers GET /v1/explain once the token has been checked; for which
	// sites, PermitsSite says. Default: there is no such path.
	Explain http.Handler
	// Cache does the same for GET below /v1/cache/.
	Cache http.Handler
	// AppendTimeout bounds one call of Append, and one reading of History.
	// Default 5 s.
	AppendTimeout time.Duration
	// Log receives one line a call. Default: discard.
	Log *slog.Logger
}

func (o APIOptions) withDefaults() (APIOptions, error) {
	if o.Token == "" || o.Append == nil || o.Nodes == nil {
		return o, errors.New("purge: APIOptions.Token, Append and Nodes are required")
	}
	if o.Assets == nil {
		o.Assets = func(string) Assets { return DefaultAssets() }
	}
	o.TokenName = cmp.Or(o.TokenName, "api")
	o.Rates = o.Rates.withDefaults()
	o.AppendTimeout = cmp.Or(o.AppendTimeout, 5*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o, nil
}

// API is control's HTTP interface; every answer is JSON.
//
//	POST /v1/purges            202 {"version":N} once the purge is durable; with "repeated":true
//	                           where its idempotency key has that version already
//	POST /v1/purges?wait=all   200 {"version":N,"nodes":[{"node","version","ms"}…]} once every node
//	    &timeout=2s            has applied it, or 504 with "missing" and "error" besides: the purge
//	                           stays accepted, and nodes that were away apply it when they are back.
//	                           wait=quorum waits for more than half of them and names the rest as
//	                           "pending", wait=ams,fra for those
//	GET  /v1/purges            200 {"purges":[…],"newest":N,"next":N}, see list
//	GET  /v1/purges/N          200 with the purge and what each node has to say, see show; it waits
//	                           like a POST
//	GET  /v1/nodes             200 {"nodes":[{"node","applied","seen"}…]}
//	GET  /v1/explain?url=…     APIOptions.Explain
//	GET  /v1/cache/…           APIOptions.Cache
//
// With "Accept: application/x-ndjson" a call that waits answers 200 at once and
// writes a line as soon as there is something to say: {"version":N}, then each
// node's receipt as it confirms, and last the object that would have been the
// answer without; whether it has "missing" is then what tells success.
//
// Besides, it answers some calls as Fastly and Cloudflare do, for clients that
// were made for these: see fastly and cloudflare.
type API struct {
	APIOptions
	holders map[TokenHash]*holder
	counts  struct {
		accepted, repeated, refused, unauthorised, forbidden, limited, unavailable, incomplete atomic.Uint64
	}
}

// NewAPI makes the handler.
func NewAPI(o APIOptions) (*API, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	holders, err := holdersOf(&o)
	if err != nil {
		return nil, err
	}
	return &API{APIOptions: o, holders: holders}, nil
}

// APIStats counts calls since the start.
type APIStats struct {
	Accepted     uint64 // purges accepted
	Refused      uint64 // calls answered 400, 404, 405, 413 or 422
	Unauthorised uint64 // calls answered 401
	Unavailable  uint64 // purges answered 503: the log was away
	Incomplete   uint64 // waits that ended before every node had confirmed
	Repeated     uint64 // purges whose idempotency key had a version already
	Forbidden    uint64 // calls answered 403
	Limited      uint64 // purges answered 429
}

// Stats counts calls since the start.
func (a *API) Stats() APIStats {
	c := &a.counts
	return APIStats{
		Accepted: c.accepted.Load(), Refused: c.refused.Load(), Unauthorised: c.unauthorised.Load(),
		Unavailable: c.unavailable.Load(), Incomplete: c.incomplete.Load(), Repeated: c.repeated.Load(),
		Forbidden: c.forbidden.Load(), Limited: c.limited.Load(),
	}
}

// answer is the body of most answers.
type answer struct {
	Version  uint64    `json:"version,omitempty"`
	Repeated bool      `json:"repeated,omitempty"`
	Nodes    []Receipt `json:"nodes,omitzero"`
	Pending  []string  `json:"pending,omitempty"`
	Missing  []string  `json:"missing,omitempty"`
	Error    string    `json:"error,omitempty"`
	Field    string    `json:"field,omitempty"`
}

// nodesAnswer is the body of GET /v1/nodes.
type nodesAnswer struct {
	Nodes []NodeStatus `json:"nodes"`
}

// call is one request on its way through the API, and what its audit line says.
type call struct {
	http.ResponseWriter
	ctx     context.Context
	request *http.Request
	// say writes a refusal in the words that the caller knows.
	say      func(status int, a answer)
	holder   *holder // once the token has been checked
	who      string
	status   int
	record   Record
	repeated bool
	wait     wait
	failure  error // why the call was refused
}

// ServeHTTP answers one call and logs it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &call{ResponseWriter: w, ctx: r.Context(), request: r, who: remote(r)}
	c.say = func(status int, a answer) { c.reply(status, a) }
	w.Header().Set("Cache-Control", "no-store")
	a.route(c)
	a.audit(c, r.Method, r.URL.Path, began)
}

// audit counts a call that has been answered, and writes its line.
func (a *API) audit(c *call, method, path string, began time.Time) {
	a.count(c.status)
	a.Log.Info("purge call", "method", method, "path", clip(path), "status", c.status, "who", c.who,
		"site", clip(c.record.Site), "scope", c.record.Scope.String(), "targets", len(c.record.Targets),
		"mode", c.record.Mode.String(), "version", c.record.Version, "repeated", c.repeated, "wait", clip(c.wait.text),
		"ms", time.Since(began).Milliseconds(), "error", c.failure)
}

func (a *API) route(c *call) {
	path := c.request.URL.Path
	version, isPurge := strings.CutPrefix(path, "/v1/purges/")
	switch {
	case path == "/v1/purges" && c.request.Method == http.MethodPost, path == "/v1/purges" && a.History == nil:
		if a.allowed(c, http.MethodPost) {
			a.purge(c)
		}
	case path == "/v1/purges":
		if a.allowed(c, http.MethodGet, http.MethodHead, http.MethodPost) {
			a.list(c)
		}
	case isPurge && a.History != nil:
		if a.allowed(c, http.MethodGet, http.MethodHead) {
			a.show(c, version)
		}
	case path == "/v1/nodes":
		if a.allowed(c, http.MethodGet, http.MethodHead) {
			c.reply(http.StatusOK, nodesAnswer{a.Nodes.List()})
		}
	case path == "/v1/explain" && a.Explain != nil:
		if a.allowed(c, http.MethodGet, http.MethodHead) {
			a.Explain.ServeHTTP(c, c.request.WithContext(c.ctx))
		}
	case strings.HasPrefix(path, cachePath) && a.Cache != nil:
		if a.allowed(c, http.MethodGet) {
			a.Cache.ServeHTTP(c, c.request.WithContext(c.ctx))
		}
	case strings.HasPrefix(path, fastlyPath):
		a.fastly(c)
	case strings.HasPrefix(path, cloudflarePath):
		a.cloudflare(c)
	default:
		c.reply(http.StatusNotFound, answer{Error: "no such path: the API has /v1/purges, /v1/nodes, /v1/explain and /v1/cache/"})
	}
}

// cachePath is what the calls for APIOptions.Cache begin with.
const cachePath = "/v1/cache/"

// Unwrap lets http.ResponseController reach what is below.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader keeps the status for the audit line.
func (c *call) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

// allowed checks method and token, and answers if either is wrong.
func (a *API) allowed(c *call, methods ...string) bool {
	return a.allowedToken(c, bearer(c.request), methods...)
}

func (a *API) allowedToken(c *call, token string, methods ...string) bool {
	if !slices.Contains(methods, c.request.Method) {
		allow := strings.Join(methods, ", ")
		c.Header().Set("Allow", allow)
		c.say(http.StatusMethodNotAllowed, answer{Error: "method must be " + allow})
		return false
	}
	if err := a.admit(c, token); err != nil {
		c.refuse(err)
		return false
	}
	return true
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
	if c.wait, err = a.parseWait(c.request); err != nil {
		c.refuse(err)
		return
	}
	request, err := c.readRequest()
	if err == nil {
		err = a.accept(c, &request)
	}
	switch {
	case err != nil:
		c.refuse(err)
	case c.wait.given():
		a.await(c)
	default:
		c.reply(http.StatusAccepted, answer{Version: c.record.Version, Repeated: c.repeated})
	}
}

// readRequest reads a purge and its idempotency key.
func (c *call) readRequest() (Request, error) {
	body, err := c.readBody()
	if err != nil {
		return Request{}, err
	}
	request, err := decodeRequest(body)
	if err != nil {
		return request, err
	}
	values := c.request.Header.Values("Idempotency-Key")
	switch {
	case len(values) == 0:
		return request, nil
	case len(values) > 1 || request.Key != "":
		return request, fieldError("idempotency_key", "given twice: in one header Idempotency-Key, or in the body")
	}
	// The header's draft makes it a string of RFC 9651; many send it bare.
	request.Key = strings.TrimSpace(values[0])
	if n := len(request.Key); n >= 2 && request.Key[0] == '"' && request.Key[n-1] == '"' {
		request.Key = request.Key[1 : n-1]
	}
	if request.Key == "" {
		return request, fieldError("idempotency_key", "the header Idempotency-Key is empty")
	}
	return request, nil
}

func (c *call) readBody() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.ResponseWriter, c.request.Body, BodyBytesMax))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return nil, fmt.Errorf("%w: the body has more than %d bytes", ErrTooLarge, BodyBytesMax)
		}
		return nil, fieldError("body", "not received whole: %v", err)
	}
	return body, nil
}

// accept checks a purge, whether the token may ask for it, and gives it to the
// log. c.record is then what was accepted, now or under the same key before.
func (a *API) accept(c *call, request *Request) error {
	if request.Site == "" && request.Scope != ScopeAll && len(a.Sites) == 1 {
		request.Site = a.Sites[0] // no other can be meant
	}
	var stranger bool // to the token; what it may not purge need not even exist
	r, err := request.record(func(site string) bool {
		stranger = !c.holder.maySite(site)
		return !stranger && slices.Contains(a.Sites, site)
	})
	c.record = r
	if stranger || err == nil {
		if err := c.permits(r.Scope, r.Site); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	given := time.Now()
	if err := c.holder.take(r.Scope, given); err != nil {
		return err
	}
	r.Who, r.At = c.who, given.UTC()
	if r.Scope == ScopeAsset {
		assets := a.Assets(r.Site)
		r.Assets = &assets
	}
	if r.Key != "" {
		r.Key = c.holder.Name + "/" + r.Key
	}
	return a.append(c, r, given)
}

// append gives the record to the log, whether or not the client stays: once it
// is on its way, nobody can take it back.
func (a *API) append(c *call, r Record, given time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), a.AppendTimeout)
	defer cancel()
	epoch, most := a.Nodes.Most()
	version, err := a.Append(ctx, r)
	if errors.Is(err, ErrRepeated) {
		return a.repeat(ctx, c, version)
	}
	if err == nil && version <= most && a.Renew != nil {
		err = a.renew(ctx, epoch, version, most)
	}
	if err != nil {
		return err
	}
	c.record.Version = version
	a.counts.accepted.Add(1)
	a.Nodes.Accepted(version, given)
	return nil
}

// renew is for a log that has given out a version although a node had announced
// it, or a later one, before it was asked: it has lost what it had accepted.
// Nodes would take the purge for one that they have applied, and so would the
// receipts. Under another identity they drop what they store, and read it anew.
func (a *API) renew(ctx context.Context, epoch string, version, most uint64) error {
	a.Log.Error("purge log has lost purges that nodes have applied: it begins anew, and nodes drop what they store",
		"version", version, "applied", most)
	renewed, err := a.Renew(ctx, epoch)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	a.Nodes.Begin(renewed)
	return nil
}

// repeat answers a purge whose key has a version: with that, if it is the same
// purge. It counts as no other.
func (a *API) repeat(ctx context.Context, c *call, version uint64) error {
	if a.History != nil {
		first, err := a.find(ctx, version)
		if err != nil {
			return err
		}
		if r := &c.record; first.Site != r.Site || first.Scope != r.Scope || first.Mode != r.Mode || !slices.Equal(first.Targets, r.Targets) {
			return fmt.Errorf("%w: version %d", errReused, version)
		}
	}
	c.record.Version, c.repeated = version, true
	a.counts.repeated.Add(1)
	return nil
}

// refuse answers an error with the status that it stands for.
func (c *call) refuse(err error) {
	c.failure = err
	var field *FieldError
	var limited *limitedError
	switch {
	case errors.As(err, &field):
		c.say(http.StatusBadRequest, answer{Error: field.Error(), Field: field.Field})
	case errors.Is(err, errNoToken), errors.Is(err, errBadToken), errors.Is(err, errExpired):
		// RFC 6750 section 3: no error code when there was no token at all.
		challenge := `Bearer realm="weir"`
		if !errors.Is(err, errNoToken) {
			challenge += `, error="invalid_token"`
		}
		c.Header().Set("WWW-Authenticate", challenge)
		c.say(http.StatusUnauthorized, answer{Error: err.Error()})
	case errors.Is(err, errForbidden):
		c.Header().Set("WWW-Authenticate", `Bearer realm="weir", error="insufficient_scope"`)
		c.say(http.StatusForbidden, answer{Error: err.Error()})
	case errors.As(err, &limited):
		c.Header().Set("Retry-After", limited.retryAfter())
		c.say(http.StatusTooManyRequests, answer{Error: err.Error()})
	case errors.Is(err, errReused):
		c.say(http.StatusUnprocessableEntity, answer{Error: err.Error(), Field: "idempotency_key"})
	case errors.Is(err, errNoPurge):
		c.say(http.StatusNotFound, answer{Error: err.Error()})
	case errors.Is(err, ErrTooLarge):
		c.say(http.StatusRequestEntityTooLarge, answer{Error: err.Error()})
	case errors.Is(err, errUnread):
		c.Header().Set("Retry-After", "1")
		c.say(http.StatusServiceUnavailable, answer{Error: "the purge log cannot be read: try again"})
	case errors.Is(err, ErrUnavailable):
		c.Header().Set("Retry-After", "1")
		c.say(http.StatusServiceUnavailable, answer{Error: "the purge log is unavailable, nothing was accepted: try again"})
	default:
		c.Header().Set("Retry-After", "1")
		c.say(http.StatusServiceUnavailable, answer{
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
	case http.StatusForbidden:
		a.counts.forbidden.Add(1)
	case http.StatusTooManyRequests:
		a.counts.limited.Add(1)
	case http.StatusServiceUnavailable:
		a.counts.unavailable.Add(1)
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
		http.StatusUnprocessableEntity:
		a.counts.refused.Add(1)
	}
}
