package config

import "time"

// Limits bound what one process spends on its clients. Every node has the same.
type Limits struct {
	HeaderTimeout  Duration `yaml:"header_timeout"`  // for a request's header to arrive; default 10s
	IdleTimeout    Duration `yaml:"idle_timeout"`    // for the next request on a connection; default 60s
	FillTimeout    Duration `yaml:"fill_timeout"`    // for one whole fill; default 1h
	FillWait       Duration `yaml:"fill_wait"`       // for the first byte of a fill that a request waits for; default 30s
	ConnectionsMax int      `yaml:"connections_max"` // of clients, at one time and on one listener; default 10000

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

		UpstreamConnectionsMax: 2048,
	}
}

func (l *Limits) check(at spot) {
	checkTimeout(at.field("header_timeout"), l.HeaderTimeout)
	checkTimeout(at.field("idle_timeout"), l.IdleTimeout)
	checkTimeout(at.field("fill_timeout"), l.FillTimeout)
	checkTimeout(at.field("fill_wait"), l.FillWait)
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
