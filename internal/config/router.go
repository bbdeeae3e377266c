package config

import "net/netip"

// Router answers which PoP is best for a client.
type Router struct {
	Name   string `yaml:"name"`   // default "router"
	Listen string `yaml:"listen"` // default 127.0.0.1:7500

	// MMDB is the path of a database in MaxMind's format that places
	// addresses on the map. Without one no client has a place there, and the
	// first healthy PoP gets all.
	MMDB string `yaml:"mmdb"`

	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	// Default: none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
}

func (r *Router) setDefaults() { *r = Router{Name: "router", Listen: "127.0.0.1:7500"} }

func (r *Router) check(at spot) {
	checkName(at.field("name"), r.Name)
	checkListen(at.field("listen"), r.Listen)
}
