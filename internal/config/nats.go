package config

import (
	"fmt"
	"strings"
	"time"
)

// NATS is where the purge log is: in a server that control runs within itself,
// or in a NATS cluster that somebody else runs.
type NATS struct {
	Listen string `yaml:"listen"` // default 127.0.0.1:7401
	URL    string `yaml:"url"`    // where nodes reach it; default nats://<listen>

	// Servers are those of an external cluster with JetStream, nats:// or tls://
	// with host and port. With them, control runs none of its own. Default: none.
	Servers []string `yaml:"servers"`
	User    string   `yaml:"user"` // tokens.nats is its password; default: tokens.nats is a token
	CA      string   `yaml:"ca"`   // certificates to believe of tls:// servers, in PEM; default the system's
	// Replicas is how many of the cluster's servers keep the log: 1, 3 or 5.
	// Default 1.
	Replicas int `yaml:"replicas"`

	AgeMax   Duration `yaml:"age_max"`   // how long a purge stays in the log; default 720h
	BytesMax Bytes    `yaml:"bytes_max"` // of the log on each server's disk; default 1GiB
}

// Limits of the log: a node that was away for longer than the log reaches back
// distrusts all that it has, and the largest purge takes 4 MiB.
const (
	logAgeMin   = Duration(time.Hour)
	logBytesMin = Bytes(16 << 20)
)

func (n *NATS) setDefaults() {
	*n = NATS{Listen: "127.0.0.1:7401", Replicas: 1, AgeMax: Duration(30 * 24 * time.Hour), BytesMax: 1 << 30}
}

// External tells whether the log is in somebody else's cluster.
func (n *NATS) External() bool { return len(n.Servers) > 0 }

func (n *NATS) complete() {
	if n.External() {
		n.URL = strings.Join(n.Servers, ",")
	}
	follow(&n.URL, "nats", n.Listen)
}

func (n *NATS) check(at spot, own *addresses) {
	if n.External() {
		n.checkExternal(at)
	} else {
		checkListen(at.field("listen"), n.Listen)
		checkURL(at.field("url"), n.URL, n.Listen, "nats", "tls")
		own.add(at.field("listen"), n.Listen)
		if n.Replicas != 1 {
			at.field("replicas").bad("replicas needs servers to keep them on", "write servers, or remove replicas")
		}
	}
	if n.AgeMax < logAgeMin {
		at.field("age_max").bad(fmt.Sprintf("age_max %s is shorter than nodes may be away", n.AgeMax), "write 1h or more")
	}
	if n.BytesMax < logBytesMin {
		at.field("bytes_max").bad(fmt.Sprintf("bytes_max %s has no room for purges", n.BytesMax), "write 16MiB or more")
	}
}

func (n *NATS) checkExternal(at spot) {
	for i, server := range n.Servers {
		one := at.field("servers").item(i)
		one.needs(server != "", "write it like tls://nats-1.example.com:4222")
		checkURL(one, server, "127.0.0.1:4222", "nats", "tls")
	}
	if n.URL != "" {
		at.field("url").bad("url is given beside servers", "remove it: nodes go to the servers")
	}
	if n.Replicas != 1 && n.Replicas != 3 && n.Replicas != 5 {
		at.field("replicas").bad(fmt.Sprintf("replicas %d is not 1, 3 or 5", n.Replicas), "write 3 for a cluster of three servers or more")
	}
}
