package httpcache

import (
	"net/http"
	"slices"
	"strings"
)

// notInTrailers are fields that a recipient needs before the body, or that it
// acts on, and that a sender therefore does not put behind it (RFC 9110 section
// 6.5.1): framing, routing, requests' modifiers, authentication, whatever
// controls how a response is read or kept, and what concerns one connection.
var notInTrailers = [...]string{
	"Age", "Authorization", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Range",
	"Content-Type", "Cookie", "Date", "Expect", "Expires", "Host", "Keep-Alive", "Location", "Max-Forwards",
	"Pragma", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Range", "Retry-After",
	"Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Vary", "Via", "Www-Authenticate",
}

// inTrailers says whether a field may be relayed behind a body. name is in
// canonical spelling.
func inTrailers(name string) bool {
	return !slices.Contains(notInTrailers[:], name) && !strings.HasPrefix(name, "If-") && !strings.HasPrefix(name, "Weir-")
}

// trailerNames gives the names that may be announced, in order.
func trailerNames(trailers http.Header) []string {
	names := make([]string, 0, len(trailers))
	for name := range trailers {
		if inTrailers(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// copyTrailers sets in to what may be relayed of from. A nil to takes nothing.
func copyTrailers(to, from http.Header) {
	if to == nil {
		return
	}
	for name, values := range from {
		if inTrailers(name) && len(values) > 0 {
			to[name] = values
		}
	}
}
