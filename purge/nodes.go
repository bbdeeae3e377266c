package purge

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// NodesOptions configures Nodes.
type NodesOptions struct {
	// Names are the nodes that are expected to apply every purge.
	Names []string
	// Epoch is the log's identity: what nodes say of another log counts for
	// nothing.
	Epoch string
	// VersionsMax is for how many of the newest versions the times are kept.
	// Default 10,000.
	VersionsMax int
}

// Nodes turns what nodes announce into receipts: which node has applied which
// purge, and how long after its acceptance. All times are of control's own
// monotonic clock.
type Nodes struct {
	NodesOptions
	ignored atomic.Uint64

	// mu guards what follows, and Epoch.
	mu    sync.Mutex
	nodes []nodeState // in the order of Names
	// slots is a ring: the times of version v are in slots[v % VersionsMax],
	// if its version is v.
	slots []slot
	// changed is closed, and replaced, when a node has confirmed more.
	changed chan struct{}
}

type nodeState struct {
	applied uint64    // as last announced
	most    uint64    // the most that it ever announced
	seen    time.Time // zero for never
}

// slot is one version's times. A confirmation may come before control's own
// call to the log has returned, so each part is filled in when it is known.
type slot struct {
	version   uint64
	accepted  time.Time
	confirmed []time.Time // by node; zero for not yet
}

// NewNodes makes a table of nodes that have not been seen.
func NewNodes(o NodesOptions) *Nodes {
	o.VersionsMax = cmp.Or(o.VersionsMax, 10_000)
	o.Names = slices.Clone(o.Names)
	return &Nodes{
		NodesOptions: o,
		nodes:        make([]nodeState, len(o.Names)),
		slots:        make([]slot, o.VersionsMax),
		changed:      make(chan struct{}),
	}
}

// Receipt says that a node has applied a purge: no request that reaches it
// from now on is answered from what the purge covers.
type Receipt struct {
	Node string `json:"node"`
	// Version is the newest that the node has applied: the purge's or more.
	Version uint64 `json:"version"`
	// MS is the milliseconds from when control gave the purge to the log to
	// when the node's confirmation reached control. Nil where that is not
	// known: the purge is too old, or another control accepted it.
	MS *float64 `json:"ms,omitempty"`
}

// NodeStatus is what control knows of one node.
type NodeStatus struct {
	Node    string `json:"node"`
	Applied uint64 `json:"applied"`
	// Seen is when it was last heard of; zero for never.
	Seen time.Time `json:"seen,omitzero"`
}

// NodeReceipt is how far one node is with a purge.
type NodeReceipt struct {
	Node    string `json:"node"`
	Applied bool   `json:"applied"` // the purge is in force there
	// Version is the newest that the node said it has applied.
	Version uint64 `json:"version"`
	// MS is as in Receipt.
	MS *float64 `json:"ms,omitempty"`
	// Lag is how many versions the node is behind the newest of the log.
	Lag uint64 `json:"lag"`
	// Seen is when it was last heard of; zero for never.
	Seen time.Time `json:"seen,omitzero"`
}

// Receipts says of every expected node how far it is with a version; newest is
// that of the log.
func (n *Nodes) Receipts(version, newest uint64) []NodeReceipt {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]NodeReceipt, len(n.Names))
	for i, name := range n.Names {
		node := &n.nodes[i]
		list[i] = NodeReceipt{
			Node: name, Applied: node.most >= version, Version: node.most, Lag: newest - min(newest, node.most), Seen: node.seen,
		}
		if list[i].Applied {
			list[i].MS = n.elapsed(version, i)
		}
	}
	return list
}

// Accepted notes when control gave the purge to the log.
func (n *Nodes) Accepted(version uint64, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.slot(version); s != nil {
		s.accepted = at
	}
}

// Most is the most that any node ever announced of the log, and the log's identity.
func (n *Nodes) Most() (epoch string, version uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.nodes {
		version = max(version, n.nodes[i].most)
	}
	return n.Epoch, version
}

// Begin forgets what nodes have announced: from now on it is the log that epoch
// names. Whoever waits goes on waiting.
func (n *Nodes) Begin(epoch string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Epoch = epoch
	for i := range n.nodes {
		n.nodes[i].applied, n.nodes[i].most = 0, 0
	}
	clear(n.slots)
}

// Observe takes an announcement. Those of unknown nodes are counted only.
func (n *Nodes) Observe(a Announcement) {
	now := time.Now()
	i := slices.Index(n.Names, a.Node)
	if i < 0 {
		n.ignored.Add(1)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	node := &n.nodes[i]
	node.seen = now
	if a.Epoch != n.Epoch {
		node.applied = 0
		return
	}
	node.applied = a.Applied
	if a.Applied <= node.most {
		return
	}
	oldest := uint64(1)
	if kept := uint64(n.VersionsMax); a.Applied > kept {
		oldest = a.Applied - kept + 1
	}
	for v := max(node.most+1, oldest); v <= a.Applied; v++ {
		if s := n.slot(v); s != nil {
			s.confirmed[i] = now
		}
	}
	node.most = a.Applied
	close(n.changed)
	n.changed = make(chan struct{})
}

// slot gives the place for a version's times, and nil when a newer version has
// taken it. mu is held.
func (n *Nodes) slot(version uint64) *slot {
	s := &n.slots[version%uint64(n.VersionsMax)]
	if s.version > version {
		return nil
	}
	if s.version < version || s.confirmed == nil {
		*s = slot{version: version, confirmed: make([]time.Time, len(n.Names))}
	}
	return s
}

// Ignored counts announcements of nodes that are not expected.
func (n *Nodes) Ignored() uint64 { return n.ignored.Load() }

// List gives every expected node.
func (n *Nodes) List() []NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]NodeStatus, len(n.Names))
	for i, name := range n.Names {
		list[i] = NodeStatus{Node: name, Applied: n.nodes[i].applied, Seen: n.nodes[i].seen}
	}
	return list
}

// Wait waits until all the named nodes have applied a version, or ctx ends.
// names nil stands for every expected node; a name that is not expected is
// missing.
func (n *Nodes) Wait(ctx context.Context, version uint64, names []string) (confirmed []Receipt, missing []string) {
	return n.Watch(ctx, version, names, func(Receipt) {})
}

// Watch is Wait that hands over each receipt as it comes, to a function that
// may block; the others then come after it.
func (n *Nodes) Watch(ctx context.Context, version uint64, names []string, each func(Receipt)) (confirmed []Receipt, missing []string) {
	enough := len(names)
	if names == nil {
		enough = len(n.Names)
	}
	return n.WatchEnough(ctx, version, names, enough, each)
}

// WatchEnough is Watch that ends once enough of the named nodes have applied the
// version; missing are then the others.
func (n *Nodes) WatchEnough(ctx context.Context, version uint64, names []string, enough int, each func(Receipt)) (confirmed []Receipt, missing []string) {
	missing = slices.Clone(names)
	if names == nil {
		missing = slices.Clone(n.Names)
	}
	confirmed = make([]Receipt, 0, len(missing))
	for {
		n.mu.Lock()
		changed := n.changed
		fresh := n.receipts(version, missing)
		n.mu.Unlock()
		for _, r := range fresh {
			confirmed = append(confirmed, r)
			missing = slices.DeleteFunc(missing, func(name string) bool { return name == r.Node })
			each(r)
		}
		switch {
		case len(missing) == 0:
			return confirmed, nil
		case len(confirmed) >= enough:
			return confirmed, missing
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return confirmed, missing
		}
	}
}

// receipts gives those of the named nodes that have applied a version, the
// soonest first. mu is held.
func (n *Nodes) receipts(version uint64, names []string) []Receipt {
	var list []Receipt
	for i, name := range n.Names {
		if n.nodes[i].most < version || !slices.Contains(names, name) {
			continue
		}
		list = append(list, Receipt{Node: name, Version: n.nodes[i].most, MS: n.elapsed(version, i)})
	}
	slices.SortStableFunc(list, func(a, b Receipt) int {
		if a.MS == nil || b.MS == nil {
			return 0
		}
		return cmp.Compare(*a.MS, *b.MS)
	})
	return list
}

func (n *Nodes) elapsed(version uint64, node int) *float64 {
	s := &n.slots[version%uint64(n.VersionsMax)]
	if s.version != version || s.accepted.IsZero() || s.confirmed[node].IsZero() {
		return nil
	}
	ms := float64(s.confirmed[node].Sub(s.accepted).Microseconds()) / 1000
	return &ms
}
