package httpcache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"weir/cache/rfc9111"
)

// loopPassesMax bounds how often one request may pass the same tier of weir
// nodes: once as usual, and once more because a site's origin can be another
// site here.
const loopPassesMax = 2

var errLoop = &Refusal{
	Status: http.StatusLoopDetected, Type: rfc9111.ProxyLoopDetected,
	Text: "this request has been here before: the site's origin leads back to this CDN",
}

// loops is what a node knows of CDN-Loop (RFC 8586). A member that it appends is
//
//	id ";node=" node ";seen=" mark
//
// id is Options.LoopID, with "shield." before it on a shield: a request meets a
// node of each tier on its way, which is no loop. The mark is the node's own for
// the site, and cannot be guessed.
type loops struct {
	id, node string
	secret   [16]byte
}

func newLoops(o *Options) (*loops, error) {
	if !isToken(strings.Replace(o.LoopID, ":", "", 1)) {
		return nil, fmt.Errorf("httpcache: Options.LoopID %q: want a name or a host", o.LoopID)
	}
	l := &loops{id: o.LoopID, node: quotedUnlessToken(o.Node)}
	if o.Face == FaceEdges {
		l.id = "shield." + l.id
	}
	_, _ = rand.Read(l.secret[:]) // never fails
	return l, nil
}

func (l *loops) mark(site string) string {
	sum := sha256.Sum256(append(l.secret[:], site...))
	return hex.EncodeToString(sum[:8])
}

// check says what CDN-Loop tells: over, that the request has passed this tier
// too often; back, that it has passed this very node for this very site. A
// request that is back must not wait for a fill, which may be waiting for it.
// Nobody else can have the mark, and so get past what is stored.
func (l *loops) check(values []string, site string) (over, back bool) {
	if len(values) == 0 {
		return false, false
	}
	over = rfc9111.Looped(values, l.id) >= loopPassesMax
	mark := ";seen=" + l.mark(site)
	for _, value := range values {
		back = back || strings.Contains(value, mark)
	}
	return over, back
}

// add appends this node to a request's CDN-Loop.
func (l *loops) add(h http.Header, site string) {
	h.Set(rfc9111.LoopField, rfc9111.AppendLoop(h[rfc9111.LoopField], l.id+";node="+l.node+";seen="+l.mark(site)))
}

// quotedUnlessToken writes a parameter's value (RFC 9110 section 5.6.6).
func quotedUnlessToken(value string) string {
	if isToken(value) {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}

// isToken says whether text is a token (RFC 9110 section 5.6.2).
func isToken(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, text[i]) >= 0 {
			return false
		}
	}
	return text != ""
}
