// Package httpcache serves HTTP from an engine: the half that an edge and a
// shield's server share. In the order a request meets it: read and check
// (request.go, loop.go), what goes upstream for it (forward.go, body.go), what
// comes back before the answer (interim.go), and the answer: from a stored
// object, a fill or upstream (answer.go, ranges.go, trailers.go), made up here
// (generated.go), or another protocol (upgrade.go).
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
	// ReadTimeout bounds how long a client may take for the next bytes of its
	// request's body. Default 60 s.
	ReadTimeout time.Duration
	// RequestBytesMax bounds the body of a request that is passed. Default 100 MiB.
	RequestBytesMax int64
	// LoopID names this CDN in CDN-Loop (RFC 8586): a name or a host that no
	// other CDN on the way to the origin uses. Default "weir".
	LoopID string
	// TunnelsMax bounds the connections that have switched to another protocol
	// (Upgrade). Default 1,024.
	TunnelsMax int
	// TunnelIdle closes such a connection when no byte has passed it either way
	// for so long. Default 5 min.
	TunnelIdle time.Duration
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
	// Upstream names the node that upstream's answer came from, which an edge
	// with several shields wants to know; "" for an answer from the store.
	Upstream string
	// Err is why the response could not be given or finished.
	Err error
}

// Handler answers requests from an engine.
type Handler struct {
	Options
	loops   *loops
	tunnels *tunnels
}

// New checks o and fills its defaults.
func New(o Options) (*Handler, error) {
	if o.Engine == nil || o.Sites == nil {
		return nil, errors.New("httpcache: Options.Engine and Options.Sites are required")
	}
	o.Node = cmp.Or(o.Node, "weir")
	o.WriteTimeout = cmp.Or(o.WriteTimeout, time.Minute)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, time.Minute)
	o.RequestBytesMax = cmp.Or(o.RequestBytesMax, 100<<20)
	o.LoopID = cmp.Or(o.LoopID, "weir")
	o.TunnelsMax = cmp.Or(o.TunnelsMax, 1024)
	o.TunnelIdle = cmp.Or(o.TunnelIdle, 5*time.Minute)
	loops, err := newLoops(&o)
	if err != nil {
		return nil, err
	}
	return &Handler{Options: o, loops: loops, tunnels: newTunnels(o.TunnelsMax)}, nil
}

// ServeHTTP reads, checks, serves and answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.Serve(w, r, false) }

// Serve is ServeHTTP; with bypass, what is stored is not used.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, bypass bool) {
	access := &Access{Request: r, Start: time.Now()}
	defer h.observe(access)
	out := newWriter(h, w, r, access)
	defer out.end()
	request, refusal := h.read(r)
	if refusal == nil {
		refusal = out.forward(request)
	}
	if refusal != nil {
		access.Err = refusal
		out.refuse(refusal)
		return
	}
	access.Site = request.Site.Name
	request.Bypass = request.Bypass || bypass
	answer := h.Engine.Serve(r.Context(), request)
	defer answer.Close()
	access.Outcome, access.Reason, access.Tier = answer.Outcome, answer.Reason, answer.Tier.String()
	out.interim.stop()
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
