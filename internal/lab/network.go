package lab

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"weir/internal/lab/netdelay"
	"weir/internal/lab/regions"
	"weir/internal/node"
)

// network puts the regions' round-trip times on the lab's hops. Each hop is
// delayed by one of its ends only: dialers between the tiers, listeners towards
// clients, who are where their loopback address says (127.101.0.1 is in the
// first region). Other clients, 127.0.0.1 among them, are not delayed.
type network struct {
	table *regions.Table
	off   bool
	// mu guards the lists, which close drains.
	mu        sync.Mutex
	dialers   []*netdelay.Dialer
	listeners []*netdelay.DelayListener
}

func newNetwork(table *regions.Table, off bool) *network { return &network{table: table, off: off} }

// dialer connects from one region to another.
func (n *network) dialer(from, to string) *netdelay.Dialer {
	rtt := n.table.RTT(from, to)
	if n.off {
		rtt = 0
	}
	d := &netdelay.Dialer{RTT: func(string) time.Duration { return rtt }}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialers = append(n.dialers, d)
	return d
}

// face puts the way from clients to a PoP in front of its sockets.
func (n *network) face(env *node.Env, region string) {
	if n.off {
		return
	}
	rtt := func(remote net.Addr) time.Duration {
		client, ok := n.table.ByAddr(addrOf(remote))
		if !ok {
			return 0
		}
		return n.table.RTT(client.Name, region)
	}
	env.WrapListener = func(l net.Listener) net.Listener {
		wrapped := netdelay.Listener(l, rtt)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.listeners = append(n.listeners, wrapped)
		return wrapped
	}
	env.WrapPacketConn = func(c net.PacketConn) net.PacketConn { return netdelay.PacketConn(c, rtt) }
}

func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	default:
		return netip.Addr{}
	}
}

// drainTimeout bounds the wait for bytes that are still on their way.
const drainTimeout = 500 * time.Millisecond

// close waits for the connections' last bytes.
func (n *network) close() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.dialers {
		_ = d.Drain(ctx)
	}
	for _, l := range n.listeners {
		_ = l.Drain(ctx)
	}
}
