package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weir/cache/rfc9110"
)

// PurgeOptions configures a PurgeMethod. Handler is required.
type PurgeOptions struct {
	// Handler answers every other method.
	Handler http.Handler
	// From are the networks that PURGE may come from. Without any, it is
	// answered 405.
	From []netip.Prefix
	// Site says which site answers for a canonical host, "" for none. Required
	// with From.
	Site func(host string) string
	// Forward gives a purge to control and waits for its answer. Required with
	// From.
	Forward func(context.Context, PurgeCall) (PurgeAnswer, error)
	// Wrap, if set, puts something around what answers PURGE: who counts it.
	Wrap func(http.Handler) http.Handler
	// Log receives what goes wrong on the way to control. Default: discard.
	Log *slog.Logger
}

// PurgeCall is a request of the method PURGE.
type PurgeCall struct {
	Client string // address that it came from, without port
	Token  string
	Site   string
	URL    string   // whole
	Tags   []string // in place of the URL
	Soft   bool
	Key    string // idempotency key
}

// PurgeAnswer is what control makes of it.
type PurgeAnswer struct {
	Status     int // of HTTP
	Version    uint64
	Error      string
	RetryAfter string // in seconds
}

// PurgeMethod answers requests of the method PURGE, as users of other caches are
// used to, and leaves every other request to a handler. One purges its own URL
// on every node, or what has the tags of its Surrogate-Key fields; with
// Fastly-Soft-Purge it makes that stale. Its token is a bearer token, or in
// Fastly-Key. The answer is JSON: 200 {"status":"ok","id":"17","version":17}
// once the purge is durable.
//
// Addresses are those of connections: no X-Forwarded-For is believed.
type PurgeMethod struct {
	PurgeOptions
	answers http.Handler
}

// NewPurgeMethod makes the handler.
func NewPurgeMethod(o PurgeOptions) (*PurgeMethod, error) {
	if o.Handler == nil || len(o.From) > 0 && (o.Site == nil || o.Forward == nil) {
		return nil, errors.New("edge: PurgeOptions.Handler is required, and with From also Site and Forward")
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	p := &PurgeMethod{PurgeOptions: o}
	p.answers = http.HandlerFunc(p.purge)
	if o.Wrap != nil {
		p.answers = o.Wrap(p.answers)
	}
	return p, nil
}

// purgeTagsMax bounds the tags of one request; its header is bounded besides.
const purgeTagsMax = 10_000

// ServeHTTP answers PURGE, and hands on what is none.
func (p *PurgeMethod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == "PURGE" {
		p.answers.ServeHTTP(w, r)
		return
	}
	p.Handler.ServeHTTP(w, r)
}

func (p *PurgeMethod) purge(w http.ResponseWriter, r *http.Request) {
	call, answer := p.read(r)
	if answer == nil {
		answer = p.forward(r.Context(), &call)
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	switch answer.Status {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", "GET, HEAD")
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="weir"`)
	}
	if answer.RetryAfter != "" {
		header.Set("Retry-After", answer.RetryAfter)
	}
	w.WriteHeader(answer.Status)
	_ = json.NewEncoder(w).Encode(answer.body()) // a client that is gone is no error of ours
}

// CloseTunnels is the handler's, if it has any; see TunnelCloser.
func (p *PurgeMethod) CloseTunnels(ctx context.Context) error {
	if c, ok := p.Handler.(TunnelCloser); ok {
		return c.CloseTunnels(ctx)
	}
	return nil
}

// purgeBody is the answer's body; its first two fields are what clients of
// Fastly read.
type purgeBody struct {
	Status  string `json:"status,omitempty"`
	ID      string `json:"id,omitempty"`
	Version uint64 `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (a *PurgeAnswer) body() purgeBody {
	if a.Status != http.StatusOK {
		return purgeBody{Error: a.Error}
	}
	return purgeBody{Status: "ok", ID: strconv.FormatUint(a.Version, 10), Version: a.Version}
}

// read checks a request, as far as that needs nobody else.
func (p *PurgeMethod) read(r *http.Request) (call PurgeCall, refusal *PurgeAnswer) {
	refuse := func(status int, text string) (PurgeCall, *PurgeAnswer) {
		return call, &PurgeAnswer{Status: status, Error: text}
	}
	if len(p.From) == 0 {
		return refuse(http.StatusMethodNotAllowed, "PURGE is not configured here: purge_method in the configuration, or purge with control's API")
	}
	var ok bool
	if call.Client, ok = p.comesFrom(r.RemoteAddr); !ok {
		return refuse(http.StatusForbidden, "PURGE is not taken from your address")
	}
	if call.Token = purgeToken(r.Header); call.Token == "" {
		return refuse(http.StatusUnauthorized, "a token is needed: Authorization: Bearer TOKEN, or Fastly-Key: TOKEN")
	}
	host, err := rfc9110.CanonicalHost(r.Host)
	if err != nil {
		return refuse(http.StatusBadRequest, "not a host: "+err.Error())
	}
	if call.Site = p.Site(host); call.Site == "" {
		return refuse(http.StatusMisdirectedRequest, "no site answers for this host")
	}
	call.URL = "http://" + r.Host + r.URL.RequestURI()
	for _, line := range r.Header.Values("Surrogate-Key") {
		call.Tags = append(call.Tags, strings.Fields(line)...)
	}
	if len(call.Tags) > purgeTagsMax {
		return refuse(http.StatusBadRequest, "too many tags in Surrogate-Key")
	}
	soft := r.Header.Get("Fastly-Soft-Purge")
	call.Soft = soft != "" && soft != "0"
	call.Key = strings.Trim(r.Header.Get("Idempotency-Key"), `"`)
	return call, nil
}

// comesFrom gives the address of a connection, and whether it may purge.
func (p *PurgeMethod) comesFrom(remote string) (client string, ok bool) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return "", false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host, false
	}
	addr = addr.Unmap().WithZone("")
	return addr.String(), slices.ContainsFunc(p.From, func(n netip.Prefix) bool { return n.Contains(addr) })
}

func purgeToken(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") && token != "" {
		return strings.TrimSpace(token)
	}
	return h.Get("Fastly-Key")
}

// forward asks control. What is not confirmed may still have been accepted.
func (p *PurgeMethod) forward(ctx context.Context, call *PurgeCall) *PurgeAnswer {
	answer, err := p.Forward(ctx, *call)
	if err != nil {
		p.Log.Warn("PURGE not forwarded", "site", call.Site, "error", err)
		return &PurgeAnswer{
			Status: http.StatusServiceUnavailable, RetryAfter: "1",
			Error: "control did not confirm the purge, which may or may not be accepted: try again, purging twice does no harm",
		}
	}
	return &answer
}
