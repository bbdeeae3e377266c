package geo

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedHopsMax is how many addresses of X-Forwarded-For are looked at,
// from the right; nobody has that many proxies of their own.
const forwardedHopsMax = 16

// clientAddr says who asks: the connection's remote address, or, while that is
// one of the trusted proxies, the rightmost address of X-Forwarded-For that is
// not. What stands left of an untrusted address was written by strangers and
// is not looked at.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	client := parseHop(r.RemoteAddr)
	hops := r.Header.Values("X-Forwarded-For")
	seen := 0
	for _, line := range slices.Backward(hops) {
		for line != "" {
			if seen == forwardedHopsMax || !isTrusted(client, trusted) {
				return client
			}
			seen++
			var last string
			line, last = cutLast(line)
			hop := parseHop(last)
			if !hop.IsValid() {
				// The proxy that we trust vouches for no address here.
				return client
			}
			client = hop
		}
	}
	return client
}

// cutLast splits off what follows the last comma.
func cutLast(list string) (rest, last string) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", list
	}
	return list[:i], list[i+1:]
}

// parseHop reads an address, with or without a port; the zero Addr where it is
// neither.
func parseHop(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if addrPort, err := netip.ParseAddrPort(text); err == nil {
		return plain(addrPort.Addr())
	}
	inner, hadBracket := strings.CutPrefix(text, "[")
	if hadBracket {
		text = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return plain(addr)
}

// plain undoes the mapping of IPv4 into IPv6 and drops the zone, so that
// prefixes and the database see one form of an address.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	return addr.IsValid() && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}
