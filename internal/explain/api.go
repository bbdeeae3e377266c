package explain

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/cache/httpcache"
	"weir/purge"
	"weir/purge/natslog"
)

// APIOptions configures an API. Sites and Ask are required.
type APIOptions struct {
	// Sites says which site answers for a host, and Hosts what is said of that
	// to who asks for another.
	Sites *httpcache.Sites
	Hosts []string
	// Nodes are those that are asked, in the order in which they are listed.
	Nodes []Node
	// Ask asks a node and waits until ctx ends: natslog.ErrAway if it is known
	// to be away.
	Ask func(ctx context.Context, node string, question []byte) ([]byte, error)
	// CallsMax bounds the calls that wait for nodes at once. Default 16.
	CallsMax int
}

// API answers GET /v1/explain. It checks no token: purge.API does, in front of
// it. Every answer is JSON: 200 with a Result, also where nodes are missing; 400
// with what is wrong with the query and where; 403 where the token is not for the
// site; 404 with the hosts that there are; 429 while too many calls wait.
//
//	GET /v1/explain?url=https://host/path?query&header=Accept-Language:de&pop=fra&timeout=2s
type API struct {
	APIOptions
	calls chan struct{}
}

// NewAPI makes the handler.
func NewAPI(o APIOptions) (*API, error) {
	if o.Sites == nil || o.Ask == nil {
		return nil, errors.New("explain: APIOptions.Sites and Ask are required")
	}
	o.CallsMax = cmp.Or(o.CallsMax, 16)
	return &API{APIOptions: o, calls: make(chan struct{}, o.CallsMax)}, nil
}

// refusal is the body of every answer but 200.
type refusal struct {
	Error string   `json:"error"`
	Field string   `json:"field,omitempty"`
	Hosts []string `json:"hosts,omitempty"`
}

// ServeHTTP answers one call.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, err)
		return
	}
	site := a.Sites.Find(q.Host)
	if site == nil {
		write(w, http.StatusNotFound, refusal{
			Error: fmt.Sprintf("url: no site answers for the host %q: there are %s", q.Host, strings.Join(a.Hosts, ", ")),
			Field: "url", Hosts: a.Hosts,
		})
		return
	}
	if !purge.PermitsSite(r.Context(), site.Name) {
		write(w, http.StatusForbidden, refusal{Error: fmt.Sprintf("the token is not for site %q", site.Name), Field: "url"})
		return
	}
	nodes, err := a.choose(q.pop)
	if err != nil {
		refuse(w, err)
		return
	}
	select {
	case a.calls <- struct{}{}:
		defer func() { <-a.calls }()
	default:
		w.Header().Set("Retry-After", "1")
		write(w, http.StatusTooManyRequests, refusal{Error: fmt.Sprintf("%d calls wait for nodes already: try again", a.CallsMax)})
		return
	}
	result := Result{URL: q.url, Site: site.Name}
	result.Nodes, result.Missing = a.ask(r.Context(), nodes, &q)
	write(w, http.StatusOK, result)
}

// choose gives the nodes to ask: all, or those on the way from one PoP to the
// origin.
func (a *API) choose(pop string) ([]Node, error) {
	if pop == "" {
		return a.Nodes, nil
	}
	isPoP := func(n Node) bool { return n.Role == RoleEdge && n.Name == pop }
	i := slices.IndexFunc(a.Nodes, isPoP)
	if i < 0 {
		var known []string
		for _, n := range a.Nodes {
			if n.Role == RoleEdge {
				known = append(known, n.Name)
			}
		}
		return nil, problem("pop", "no PoP is called %q: there are %s", clip(pop), strings.Join(known, ", "))
	}
	nodes := []Node{a.Nodes[i]}
	for _, n := range a.Nodes {
		if n.Role == RoleShield && slices.Contains(nodes[0].Upstream, n.Name) {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// ask asks the nodes, all at once, and waits for each until the time is up.
func (a *API) ask(ctx context.Context, nodes []Node, q *query) (results []NodeResult, missing []string) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	asked, err := json.Marshal(q.question)
	results = make([]NodeResult, len(nodes))
	silent := make([]error, len(nodes))
	var asking sync.WaitGroup
	for i, n := range nodes {
		results[i] = NodeResult{Node: n.Name, Role: n.Role}
		if silent[i] = err; err == nil { // texts always have a JSON form
			asking.Go(func() { silent[i] = results[i].ask(ctx, a.Ask, asked) })
		}
	}
	asking.Wait()
	for i := range results {
		if silent[i] != nil {
			results[i].Error = away(silent[i], q.timeout)
			missing = append(missing, results[i].Node)
		}
	}
	return results, missing
}

func (r *NodeResult) ask(ctx context.Context, ask func(context.Context, string, []byte) ([]byte, error), asked []byte) error {
	text, err := ask(ctx, r.Node, asked)
	if err != nil {
		return err
	}
	var said reply
	if err := json.Unmarshal(text, &said); err != nil {
		return fmt.Errorf("its answer cannot be read: %w", err)
	}
	r.Error, r.Explanation = said.Error, said.Explanation
	return nil
}

// away says in words why a node has not answered.
func away(err error, timeout time.Duration) string {
	switch {
	case errors.Is(err, natslog.ErrAway):
		return "away: it is not connected to the purge log"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", timeout)
	default:
		return err.Error()
	}
}

func refuse(w http.ResponseWriter, err error) {
	r := refusal{Error: err.Error()}
	if field := new(purge.FieldError); errors.As(err, &field) {
		r.Field = field.Field
	}
	write(w, http.StatusBadRequest, r)
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // a client that is gone is no error of ours
}
