package geo

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// retryAfterSeconds is what a client is told to wait while there is no PoP.
const retryAfterSeconds = "5"

// routePath explains choices. A site that has this very path of its own is
// still served by its PoPs, only not redirected to.
const routePath = "/v1/route"

// RouterOptions says how a Router chooses. The zero value answers 503, for it
// has no PoPs.
type RouterOptions struct {
	// PoPs are the places to choose from. Where a client's location is not
	// known, the first healthy one as listed here is chosen.
	PoPs []PoP
	// DB locates clients; without one, nobody's location is known.
	DB *DB
	// Health says which PoPs answer; without one, all do.
	Health *Health
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// PreferHTTPS redirects to a PoP's HTTPS URL where it has one, instead of
	// its HTTP URL.
	PreferHTTPS bool
}

// Router redirects every GET and HEAD with 307 to the same path and query at
// the nearest healthy PoP, or at the nearest one if none is healthy. GET
// /v1/route answers with the choice as JSON instead. Other methods get 405.
type Router struct {
	opts RouterOptions
}

// NewRouter checks the options: names are unique, and every PoP has a base URL
// that is no more than a scheme, a host and a port.
func NewRouter(opts RouterOptions) (*Router, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("geo: router: %w", err)
	}
	return &Router{opts: opts}, nil
}

// withDefaults copies and checks what the options point to.
func (o RouterOptions) withDefaults() (RouterOptions, error) {
	seen := make(map[string]bool, len(o.PoPs))
	pops := make([]PoP, 0, len(o.PoPs))
	for i, p := range o.PoPs {
		switch {
		case p.Name == "" || seen[p.Name]:
			return o, fmt.Errorf("pops[%d]: name %q is empty or appears twice", i, p.Name)
		case !p.Location.isOnEarth():
			return o, fmt.Errorf("pop %q: location %v, %v is not on Earth", p.Name, p.Location.Lat, p.Location.Lon)
		case p.HTTP == "" && p.HTTPS == "":
			return o, fmt.Errorf("pop %q: no URL", p.Name)
		}
		seen[p.Name] = true
		var err error
		if p.HTTP, err = baseURL(p.HTTP, "http"); err != nil {
			return o, fmt.Errorf("pop %q: http: %w", p.Name, err)
		}
		if p.HTTPS, err = baseURL(p.HTTPS, "https"); err != nil {
			return o, fmt.Errorf("pop %q: https: %w", p.Name, err)
		}
		pops = append(pops, p)
	}
	o.PoPs = pops
	trusted := make([]netip.Prefix, 0, len(o.TrustedProxies))
	for i, p := range o.TrustedProxies {
		if !p.IsValid() {
			return o, fmt.Errorf("trusted_proxies[%d]: not a network", i)
		}
		trusted = append(trusted, unmapPrefix(p))
	}
	o.TrustedProxies = trusted
	return o, nil
}

// unmapPrefix gives the IPv4 network that a prefix within ::ffff:0:0/96 means,
// for client addresses are compared in that form.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// baseURL gives the URL in a form that a path can be put behind: the authority
// ends where the path's own slash begins, whatever the path is.
func baseURL(text, scheme string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host}
	if u.Scheme != scheme || u.Hostname() == "" || bare.String() != strings.TrimSuffix(text, "/") {
		return "", fmt.Errorf("%q is not %s://HOST[:PORT]", text, scheme)
	}
	return bare.String(), nil
}

// ServeHTTP redirects or explains.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// What is best changes with health and with the client's network.
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the router redirects GET and HEAD only", http.StatusMethodNotAllowed)
	case r.URL.Path == routePath:
		rt.explain(w, r)
	default:
		rt.redirect(w, r)
	}
}

// redirect sends the client to its PoP.
func (rt *Router) redirect(w http.ResponseWriter, r *http.Request) {
	target, ok := requestTarget(r.URL)
	if !ok {
		http.Error(w, "the request has no path", http.StatusBadRequest)
		return
	}
	chosen := rt.choose(clientAddr(r, rt.opts.TrustedProxies))
	if chosen.PoP == "" {
		rt.refuse(w)
		return
	}
	w.Header().Set("Location", chosen.URL+target)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusTemporaryRedirect)
	if r.Method == http.MethodGet {
		fmt.Fprintf(w, "go to PoP %s\n", chosen.PoP)
	}
}

// refuse answers where there is no PoP at all.
func (rt *Router) refuse(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfterSeconds)
	http.Error(w, "there is no PoP to go to", http.StatusServiceUnavailable)
}

// requestTarget gives the path and query as they came, escaped so that they
// cannot be anything else behind a base URL: the path begins with a slash, and
// nothing in it ends the header line or begins a fragment.
func requestTarget(u *url.URL) (string, bool) {
	path := u.EscapedPath()
	if path == "" && u.Opaque == "" {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") {
		return "", false
	}
	if u.RawQuery == "" && !u.ForceQuery {
		return path, true
	}
	return path + "?" + escapeQuery(u.RawQuery), true
}

// escapeQuery escapes the bytes that RFC 3986, section 3.4, does not allow in
// a query and that change what a Location header means; the rest stays as the
// client wrote it.
func escapeQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`#"<>\^{|}`+"`", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// choice is what the router decided for one address, and why.
type choice struct {
	Addr netip.Addr `json:"addr"`
	// Location is null where the database does not know the address.
	Location *Location `json:"location"`
	PoP      string    `json:"pop"`
	URL      string    `json:"url"`
	// Candidates are all PoPs in the order of preference.
	Candidates []candidate `json:"candidates"`
}

type candidate struct {
	Name string `json:"name"`
	// Km is the distance, or null where the client's location is not known.
	Km      *float64 `json:"km"`
	Healthy bool     `json:"healthy"`
}

// choose finds the PoP for an address: the nearest healthy one, or else the
// nearest. The choice has no PoP if there are none.
func (rt *Router) choose(addr netip.Addr) choice {
	c := choice{Addr: addr, Candidates: []candidate{}}
	pops := rt.opts.PoPs
	if location, ok := rt.locate(addr); ok {
		c.Location = &location
		pops = Nearest(location, pops)
	}
	best := -1
	for i, p := range pops {
		healthy := rt.opts.Health == nil || rt.opts.Health.Healthy(p.Name)
		if healthy && best < 0 {
			best = i
		}
		c.Candidates = append(c.Candidates, candidate{Name: p.Name, Km: c.kmTo(p), Healthy: healthy})
	}
	if len(pops) > 0 {
		p := pops[max(best, 0)]
		c.PoP, c.URL = p.Name, rt.urlOf(p)
	}
	return c
}

func (rt *Router) locate(addr netip.Addr) (Location, bool) {
	if rt.opts.DB == nil {
		return Location{}, false
	}
	return rt.opts.DB.Lookup(addr)
}

// kmTo gives the distance in kilometres to one decimal.
func (c choice) kmTo(p PoP) *float64 {
	if c.Location == nil {
		return nil
	}
	km := math.Round(10*c.Location.KmTo(p.Location)) / 10
	return &km
}

func (rt *Router) urlOf(p PoP) string {
	if p.HTTPS != "" && (rt.opts.PreferHTTPS || p.HTTP == "") {
		return p.HTTPS
	}
	return p.HTTP
}

// explain answers /v1/route: the choice for ?addr=IP, or for whoever asks.
func (rt *Router) explain(w http.ResponseWriter, r *http.Request) {
	addr := clientAddr(r, rt.opts.TrustedProxies)
	if query := r.URL.Query(); query.Has("addr") {
		text := query.Get("addr")
		parsed, err := netip.ParseAddr(text)
		if err != nil {
			http.Error(w, fmt.Sprintf("addr: %q is not an IP address", text), http.StatusBadRequest)
			return
		}
		addr = plain(parsed)
	}
	chosen := rt.choose(addr)
	if chosen.PoP == "" {
		rt.refuse(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	_ = json.NewEncoder(w).Encode(chosen) // the client may have gone
}
