package rfc9111

import (
	"net/http"
	"strings"
)

// hopByHop lists what concerns one connection only and is neither forwarded nor
// stored (RFC 9110 section 7.6.1, RFC 9111 section 3.1).
var hopByHop = [...]string{
	"Connection",
	"Keep-Alive",
	"Proxy-Authenticate",
	"Proxy-Authentication-Info",
	"Proxy-Authorization",
	"Proxy-Connection",
	"Te",
	"Trailer",
	"Transfer-Encoding",
	"Upgrade",
}

// thisHop lists what every node writes anew, besides its own Weir- fields.
var thisHop = [...]string{"Age", "Cache-Status", "Proxy-Status"}

// ownPrefix begins the fields that weir's nodes tell one another.
const ownPrefix = "Weir-"

// EndToEnd removes in place every field that concerns one connection only,
// those that Connection names included. Judge a message (Storable) before: what
// is removed here can matter there.
func EndToEnd(h http.Header) {
	for _, line := range h.Values("Connection") {
		for option := range strings.SplitSeq(line, ",") {
			name := http.CanonicalHeaderKey(strings.Trim(option, " \t"))
			if !neverNominated(name) {
				delete(h, name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// neverNominated keeps fields that a sender MUST NOT name in Connection (RFC
// 9110 section 7.6.1: those for all recipients, "for example Cache-Control")
// and whose loss would make the message a wrong one: shared by whom it must not
// be, or its body misread.
func neverNominated(name string) bool {
	switch name {
	case "Cache-Control", "Vary", "Content-Encoding", "Content-Range":
		return true
	}
	return false
}

// StoredFields gives a copy of what is kept of a response's fields: the
// end-to-end ones, without Age, Cache-Status, Proxy-Status and whatever begins
// with "Weir-", which each node writes for itself.
func StoredFields(h http.Header) http.Header {
	kept := h.Clone()
	if kept == nil {
		kept = http.Header{}
	}
	EndToEnd(kept)
	for _, name := range thisHop {
		delete(kept, name)
	}
	for name := range kept {
		if hasPrefixFold(name, ownPrefix) {
			delete(kept, name)
		}
	}
	return kept
}

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}
