package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/purge"
	"weir/purge/natslog"
)

// PathPrefix is what the API's paths begin with.
const PathPrefix = "/v1/cache/"

// askTimeout bounds the wait for one answer of a node. writeTimeout bounds that
// for a client to take a piece.
const askTimeout, writeTimeout = 10 * time.Second, 30 * time.Second

// APIOptions configures an API. Ask is required.
type APIOptions struct {
	// Nodes are the names of those that can be asked.
	Nodes []string
	// Ask asks a node and waits until ctx ends: natslog.ErrAway if it is known
	// to be away.
	Ask func(ctx context.Context, node string, question []byte) ([]byte, error)
	// CallsMax bounds the calls that are answered at once. Default 8.
	CallsMax int
}

// API answers the calls that look into a node's stores. It checks no token:
// purge.API does, in front of it. Every answer but a body is JSON; errors are 400
// with what is wrong with the query, 403 where the token is not for the site, or
// not for every site where it has to be, 404 for a node or an object that is not there,
// 409 for a body that is another one by now, 429 while too many calls are answered, 503 for
// a node that is away.
//
//	GET /v1/cache/NODE/stat                         Stat; a token for every site
//	GET /v1/cache/NODE/objects?after=…&limit=N      Page; of the token's sites
//	GET /v1/cache/NODE/verify?after=…&rate=BYTES    Verified; a token for every site
//	GET /v1/cache/NODE/objects/KEY                  Object
//	GET /v1/cache/NODE/objects/KEY/body?id=BODYID   the body; one that ends early has failed
type API struct {
	APIOptions
	calls chan struct{}
}

// NewAPI makes the handler.
func NewAPI(o APIOptions) (*API, error) {
	if o.Ask == nil {
		return nil, errors.New("inspect: APIOptions.Ask is required")
	}
	o.CallsMax = cmp.Or(o.CallsMax, 8)
	return &API{APIOptions: o, calls: make(chan struct{}, o.CallsMax)}, nil
}

// refusal is the body of every answer but 200.
type refusal struct {
	status int
	Text   string   `json:"error"`
	Nodes  []string `json:"nodes,omitempty"`
}

func (r *refusal) Error() string { return r.Text }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, Text: fmt.Sprintf(format, args...)}
}

// ServeHTTP answers one call.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case a.calls <- struct{}{}:
		defer func() { <-a.calls }()
	default:
		w.Header().Set("Retry-After", "1")
		write(w, http.StatusTooManyRequests, refuse(0, "%d calls are answered already: try again", a.CallsMax))
		return
	}
	answer, err := a.answer(w, r)
	if said := new(refusal); errors.As(err, &said) {
		write(w, said.status, said)
	} else if answer != nil {
		write(w, http.StatusOK, answer)
	}
}

// answer gives what is to be written as JSON; nil if a body has been.
func (a *API) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, PathPrefix), "/")
	if !slices.Contains(a.Nodes, path[0]) {
		said := refuse(http.StatusNotFound, "no node is called %.64q: there are %s", path[0], strings.Join(a.Nodes, ", "))
		said.Nodes = a.Nodes
		return nil, said
	}
	c := call{API: a, node: path[0], request: r}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	switch path = path[1:]; {
	case len(path) == 1 && path[0] == "stat":
		return c.whole(&question{Op: opStat}, func(r *reply) any { return r.Stat })
	case len(path) == 1 && path[0] == "verify":
		rate, err := number(query, "rate", RateDefault, rateMin, RateMax)
		if err != nil {
			return nil, err
		}
		return c.whole(&question{Op: opVerify, After: query.Get("after"), Rate: rate}, func(r *reply) any { return r.Verified })
	case len(path) == 1 && path[0] == "objects":
		limit, err := number(query, "limit", pageObjectsMax, 1, pageObjectsMax)
		if err != nil {
			return nil, err
		}
		return c.list(&question{Op: opList, After: query.Get("after"), Limit: int(limit)})
	case len(path) == 2 && path[0] == "objects":
		return c.object(path[1])
	case len(path) == 3 && path[0] == "objects" && path[2] == "body":
		return nil, c.body(w, path[1], query.Get("id"))
	}
	return nil, refuse(http.StatusNotFound, "no such path: of a node there are stat, verify and objects")
}

func number(query url.Values, name string, otherwise, from, to int64) (int64, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < from || n > to {
		return 0, refuse(http.StatusBadRequest, "%s: %.32q is no number from %d to %d", name, text, from, to)
	}
	return n, nil
}

// call is one call about one node.
type call struct {
	*API
	node    string
	request *http.Request
}

// ask asks the node once.
func (c *call) ask(q *question) (*reply, error) {
	asked, err := json.Marshal(q)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	ctx, cancel := context.WithTimeout(c.request.Context(), askTimeout)
	defer cancel()
	text, err := c.Ask(ctx, c.node, asked)
	switch {
	case errors.Is(err, natslog.ErrAway):
		return nil, refuse(http.StatusServiceUnavailable, "%s is away: it is not connected to the purge log", c.node)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, refuse(http.StatusServiceUnavailable, "no answer of %s within %s", c.node, askTimeout)
	case err != nil:
		return nil, refuse(http.StatusServiceUnavailable, "%v", err)
	}
	r := new(reply)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, refuse(http.StatusServiceUnavailable, "the answer of %s cannot be read: %v", c.node, err)
	}
	switch {
	case r.NotFound:
		return nil, refuse(http.StatusNotFound, "%s: %s", c.node, r.Error)
	case r.Error == errChanged.Error():
		return nil, refuse(http.StatusConflict, "%s: %s", c.node, r.Error)
	case r.Error != "":
		return nil, refuse(http.StatusBadRequest, "%s: %s", c.node, r.Error)
	}
	return r, nil
}

// whole answers what is about every site.
func (c *call) whole(q *question, of func(*reply) any) (any, error) {
	if !purge.PermitsSite(c.request.Context(), "") {
		return nil, refuse(http.StatusForbidden, "the token is not for every site, and %s is about all of them", q.Op)
	}
	r, err := c.ask(q)
	if err != nil {
		return nil, err
	}
	return of(r), nil
}

// list answers with what the token may read of.
func (c *call) list(q *question) (any, error) {
	r, err := c.ask(q)
	if err != nil {
		return nil, err
	}
	if r.Page == nil {
		return nil, refuse(http.StatusServiceUnavailable, "the answer of %s has no page", c.node)
	}
	r.Page.Objects = slices.DeleteFunc(r.Page.Objects, func(o Object) bool { return !purge.PermitsSite(c.request.Context(), o.Site) })
	return r.Page, nil
}

func (c *call) object(key string) (*Object, error) {
	if _, err := ParseKey(key); err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	r, err := c.ask(&question{Op: opMeta, Key: key})
	if err != nil {
		return nil, err
	}
	if r.Object == nil || !purge.PermitsSite(c.request.Context(), r.Object.Site) {
		return nil, refuse(http.StatusForbidden, "the token is not for the site of this object")
	}
	return r.Object, nil
}

// body writes a body piece by piece. Once it has begun, an error ends it early,
// which its length shows.
func (c *call) body(w http.ResponseWriter, key, id string) error {
	o, err := c.object(key)
	if err != nil {
		return err
	}
	if id != "" && id != strconv.FormatUint(o.BodyID, 10) {
		return refuse(http.StatusConflict, "%s: %v", c.node, errChanged)
	}
	deadline := http.NewResponseController(w)
	for off := int64(0); ; {
		r, err := c.ask(&question{Op: opRead, Key: key, BodyID: o.BodyID, Offset: off})
		switch {
		case err != nil && off == 0:
			return err
		case err != nil || len(r.Body) == 0 && off < o.Bytes:
			return nil
		}
		if off == 0 {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.FormatInt(o.Bytes, 10))
			w.WriteHeader(http.StatusOK)
		}
		_ = deadline.SetWriteDeadline(time.Now().Add(writeTimeout)) // where it cannot be set, the server's holds
		if _, err := w.Write(r.Body); err != nil {
			return nil
		}
		if off += int64(len(r.Body)); off >= o.Bytes {
			return nil
		}
	}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // a client that is gone is no error of ours
}
