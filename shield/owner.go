package shield

import (
	"cmp"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
)

// hashOf is the half of a rendezvous hash that a name or a key has to itself: it
// is the same in every process, so that all edges find the same owner.
func hashOf(parts ...string) uint64 {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// weigh is how much a shield is wanted for a key: the two hashes mixed by the
// finaliser of splitmix64, without which close names would have close weights.
func weigh(shield, key uint64) uint64 {
	x := shield ^ key
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// rank gives the shields in the order in which they are asked for a key
// (rendezvous hashing: each key draws a weight for each shield, and the heaviest
// owns it). A shield that goes takes nothing but its own keys along, which spread
// over the others; one that comes takes an even share of everybody's.
func rank(shields []*peer, key uint64) []*peer {
	ranked := slices.Clone(shields)
	slices.SortFunc(ranked, func(a, b *peer) int {
		return cmp.Or(cmp.Compare(weigh(b.hash, key), weigh(a.hash, key)), cmp.Compare(a.Name, b.Name))
	})
	return ranked
}

// keyOf is what decides who owns a request: host and target, and nothing else,
// so that all variants, parts and methods of a resource meet at one shield.
func keyOf(r *http.Request) uint64 {
	return hashOf(strings.Trim(cmp.Or(r.Host, r.URL.Host), "[]"), r.URL.RequestURI())
}

// Order gives the names of the shields for a host and a target (path and query),
// in the order in which they would be asked now: the owner first, those that are
// behind after the others, those that are down last.
func (c *Client) Order(host, target string) []string {
	var names []string
	for _, p := range c.order(hashOf(host, target)) {
		names = append(names, p.Name)
	}
	return names
}

// order is rank with those that are behind after the others, and those that are down
// last: where all are, the owner is still asked first.
func (c *Client) order(key uint64) []*peer {
	var level, behind, down []*peer
	for _, p := range rank(c.peers, key) {
		switch {
		case p.down.Load():
			down = append(down, p)
		case p.isBehind():
			behind = append(behind, p)
		default:
			level = append(level, p)
		}
	}
	return slices.Concat(level, behind, down)
}
