package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits bound what one process spends on its clients. Every node has the same.
type Limits struct {
	HeaderTimeout  Duration `yaml:"header_timeout"`  // for a request's header to arrive; default 10s
	IdleTimeout    Duration `yaml:"idle_timeout"`    // for the next request on a connection; default 60s
	FillTimeout    Duration `yaml:"fill_timeout"`    // for one whole fill; default 1h
	FillWait       Duration `yaml:"fill_wait"`       // for the first byte of a fill that a request waits for; default 30s
	ConnectionsMax int      `yaml:"connections_max"` // of clients, at one time and on one listener; default 10000

	// StallTimeout is for the next bytes of a body from upstream, stored or
	// not; default 60s. UnsharedLifetime is how long requests for what proved
	// unfit to be shared do not wait for one another; default 2m.
	StallTimeout     Duration `yaml:"stall_timeout"`
	UnsharedLifetime Duration `yaml:"unshared_lifetime"`

	VariantsMax int `yaml:"variants_max"` // of one key that are stored; default 64

	RequestBodyTimeout Duration `yaml:"request_body_timeout"` // for the next bytes of a request's body; default 60s
	RequestBodyMax     Bytes    `yaml:"request_body_max"`     // of one request; default 100MiB
	TunnelsMax         int      `yaml:"tunnels_max"`          // connections that have left HTTP (Upgrade); default 1024
	TunnelIdle         Duration `yaml:"tunnel_idle"`          // for the next byte on one, either way; default 5m

	// MaxLag is how long a node that is cut off from the purge log answers from
	// its store as if it knew all purges; default 30s, at least 3s. WhenLagging
	// is what it does then: revalidate asks upstream before each use, serve goes
	// on by the purges that it knows, refuse answers 503. Default: revalidate.
	MaxLag      Duration `yaml:"max_lag"`
	WhenLagging string   `yaml:"when_lagging"`

	// UpstreamConnectionsMax bounds the connections from a node to its shield,
	// or to one origin; default 2048. A client that reads slowly what no store
	// takes holds one at each tier, so it is also the number of such clients.
	UpstreamConnectionsMax int `yaml:"upstream_connections_max"`
}

func (l *Limits) setDefaults() {
	*l = Limits{
		HeaderTimeout:  Duration(10 * time.Second),
		IdleTimeout:    Duration(time.Minute),
		FillTimeout:    Duration(time.Hour),
		FillWait:       Duration(30 * time.Second),
		ConnectionsMax: 10000,

		StallTimeout:       Duration(time.Minute),
		UnsharedLifetime:   Duration(2 * time.Minute),
		VariantsMax:        64,
		RequestBodyTimeout: Duration(time.Minute),
		RequestBodyMax:     100 << 20,
		TunnelsMax:         1024,
		TunnelIdle:         Duration(5 * time.Minute),

		MaxLag:                 Duration(30 * time.Second),
		WhenLagging:            "revalidate",
		UpstreamConnectionsMax: 2048,
	}
}

// maxLagMin is three heartbeats of a node.
const maxLagMin = Duration(3 * time.Second)

var whenLagging = []string{"revalidate", "serve", "refuse"}

func (l *Limits) check(at spot) {
	checkTimeout(at.field("header_timeout"), l.HeaderTimeout)
	checkTimeout(at.field("idle_timeout"), l.IdleTimeout)
	checkTimeout(at.field("fill_timeout"), l.FillTimeout)
	checkTimeout(at.field("fill_wait"), l.FillWait)
	checkTimeout(at.field("stall_timeout"), l.StallTimeout)
	checkTimeout(at.field("unshared_lifetime"), l.UnsharedLifetime)
	checkTimeout(at.field("request_body_timeout"), l.RequestBodyTimeout)
	checkTimeout(at.field("tunnel_idle"), l.TunnelIdle)
	if l.MaxLag < maxLagMin {
		at.field("max_lag").bad(fmt.Sprintf("max_lag %s is shorter than a node can notice", l.MaxLag.Std()), "write 3s or more")
	}
	if !slices.Contains(whenLagging, l.WhenLagging) {
		at.field("when_lagging").bad(fmt.Sprintf("when_lagging %q is none of %s", l.WhenLagging, strings.Join(whenLagging, ", ")),
			"write revalidate, serve or refuse")
	}
	if l.RequestBodyMax < 1 {
		at.field("request_body_max").bad("request_body_max leaves no room for a body", "write a size, such as 100MiB")
	}
	if l.VariantsMax < 1 {
		at.field("variants_max").bad("variants_max leaves no variant", "write 1 or more")
	}
	if l.TunnelsMax < 1 {
		at.field("tunnels_max").bad("tunnels_max leaves no connection", "write 1 or more")
	}
	if l.UpstreamConnectionsMax < 1 {
		at.field("upstream_connections_max").bad("upstream_connections_max leaves no connection", "write 1 or more")
	}
	if l.ConnectionsMax < 1 {
		at.field("connections_max").bad("connections_max leaves no connection", "write 1 or more")
	}
}

// checkTimeout refuses 0, which much software takes for no limit at all.
func checkTimeout(at spot, d Duration) {
	if d <= 0 {
		at.bad(at.name()+" is 0", "write a limit, such as 10s")
	}
}
