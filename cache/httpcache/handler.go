// Package httpcache serves HTTP from an engine: the half that an edge and a
// shield's server share. In the order a request meets it: read and check
// (request.go), what goes upstream for it (forward.go), and the answer
// (answer.go).
package httpcache

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"weir/cache"
)

// Options configures a Handler. Engine and Sites are required.
type Options struct {
	// Node is this node's name in Via, Cache-Status and Proxy-Status.
	Node   string
	Engine *cache.Engine
	Sites  *Sites
	// Face says who the handler talks to. Default: clients.
	Face Face
	// WriteTimeout bounds how long a client may take for the next 64 KiB of
	// a body. Default 60 s.
	WriteTimeout time.Duration
	// RequestBytesMax bounds the body of a request that is passed. Default 100 MiB.
	RequestBytesMax int64
	// Observe, if set, is told of every request once it has been answered.
	Observe func(*Access)
}

// Face says who the handler talks to.
type Face uint8

// The faces.
const (
	FaceClients Face = iota // anybody: internal fields are neither believed nor shown
	FaceEdges               // edges that have shown the tier token
)

// Access is what is known of a request once it has been answered: the access
// line and the metrics are made of it.
type Access struct {
	Request *http.Request
	Start   time.Time
	// FirstByte is the time from Start until the header was written.
	FirstByte time.Duration
	Total     time.Duration
	Site      string
	Status    int
	// Bytes counts body bytes written.
	Bytes   int64
	Outcome cache.Outcome
	Reason  cache.Reason
	Tier    string
	// Err is why the response could not be given or finished.
	Err error
}

// Handler answers requests from an engine.
type Handler struct{ Options }

// New checks o and fills its defaults.
func New(o Options) (*Handler, error) {
	if o.Engine == nil || o.Sites == nil {
		return nil, errors.New("httpcache: Options.Engine and Options.Sites are required")
	}
	o.Node = cmp.Or(o.Node, "weir")
	o.WriteTimeout = cmp.Or(o.WriteTimeout, time.Minute)
	o.RequestBytesMax = cmp.Or(o.RequestBytesMax, 100<<20)
	return &Handler{o}, nil
}

// ServeHTTP reads, checks, serves and answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.Serve(w, r, false) }

// Serve is ServeHTTP; with bypass, what is stored is not used.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, bypass bool) {
	access := &Access{Request: r, Start: time.Now()}
	defer h.observe(access)
	out := &writer{h: h, w: w, r: r, access: access, control: http.NewResponseController(w)}
	request, refusal := h.read(w, r)
	if refusal != nil {
		access.Err = refusal
		out.refuse(refusal)
		return
	}
	access.Site = request.Site.Name
	request.Bypass = bypass
	answer := h.Engine.Serve(r.Context(), request)
	defer answer.Close()
	access.Outcome, access.Reason, access.Tier = answer.Outcome, answer.Reason, answer.Tier.String()
	out.answer(answer)
	if out.broken {
		// The only honest end is a broken one.
		panic(http.ErrAbortHandler)
	}
}

func (h *Handler) observe(a *Access) {
	a.Total = time.Since(a.Start)
	if h.Observe != nil {
		h.Observe(a)
	}
}
