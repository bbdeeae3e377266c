// Package explain tells what every node knows of a URL and what a request for it
// would get now, without making the request.
//
//	weir explain ──GET /v1/explain──► control ──► every node       over the log's
//	   print.go       client.go        api.go      node.go          connections
//
// Control checks the question (query.go), asks all nodes at once and waits a
// bounded time; those that are away are named. What a node answers is
// cache.Explanation. It is neither in purge, which knows no cache, nor in cache,
// which knows no nodes.
package explain

import (
	"net/http"

	"weir/cache"
)

// Node is one that can be asked.
type Node struct {
	Name string
	Role string // RoleEdge or RoleShield
	// Upstream are the names of an edge's shields.
	Upstream []string
}

// The roles, in the order in which nodes are listed.
const (
	RoleEdge   = "edge"
	RoleShield = "shield"
)

// Result is the answer of the API.
type Result struct {
	// URL is what was asked for, and Site the site that answers for its host.
	URL  string `json:"url"`
	Site string `json:"site"`
	// Nodes are all that were asked: edges, then shields, in the order of the
	// configuration.
	Nodes []NodeResult `json:"nodes"`
	// Missing are the names of those that did not answer.
	Missing []string `json:"missing,omitempty"`
}

// Find is what became of asking a node; nil if it was not asked.
func (r *Result) Find(node string) *NodeResult {
	for i := range r.Nodes {
		if r.Nodes[i].Node == node {
			return &r.Nodes[i]
		}
	}
	return nil
}

// NodeResult is what became of asking one node: an explanation, or an error.
type NodeResult struct {
	Node string `json:"node"`
	Role string `json:"role"`
	// Error is why there is no explanation: the node did not answer, or it does
	// not know the host.
	Error string `json:"error,omitempty"`
	*cache.Explanation
}

// question is what control asks a node, as JSON.
type question struct {
	Host   string      `json:"host"`   // canonical
	Target string      `json:"target"` // normalised path and query
	Header http.Header `json:"header"` // of the request explained
}

// reply is what a node answers, as JSON.
type reply struct {
	Error string `json:"error,omitempty"`
	*cache.Explanation
}

// replyBytesMax bounds a node's reply: the tags of one object are the most of it.
const replyBytesMax = 1 << 20
