package rfc9110

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Limits of a host, in bytes (RFC 1035 section 2.3.4).
const (
	hostBytesMax  = 255
	labelBytesMax = 63
)

// HostError is the error of CanonicalHost.
type HostError struct {
	Host   string // as given, at most 255 bytes of it
	Reason string
}

func (e *HostError) Error() string { return fmt.Sprintf("host %q: %s", e.Host, e.Reason) }

// CanonicalHost gives the one spelling of the host in a Host field or :authority
// (sections 4.2.3, 7.2): lower case, without port, without the dot at the end,
// and an IPv6 address without brackets and in its shortest form. Names are
// made of letters, digits, "-", "_" and dots, in labels of 1 to 63 bytes;
// others must come in their A-label form. Every error is a *HostError. A host
// that is canonical already costs no allocation.
func CanonicalHost(hostport string) (string, error) {
	if strings.HasPrefix(hostport, "[") {
		return bracketedHost(hostport)
	}
	if strings.Count(hostport, ":") > 1 {
		// An IPv6 address without brackets has no port: what would be one
		// cannot be told from its last group.
		return addressHost(hostport, hostport)
	}
	name, port, hasPort := strings.Cut(hostport, ":")
	if hasPort && !isPort(port) {
		return "", hostError(hostport, "port is not a number up to 65535")
	}
	name = strings.TrimSuffix(name, ".")
	if reason := nameProblem(name); reason != "" {
		return "", hostError(hostport, reason)
	}
	return strings.ToLower(name), nil
}

func bracketedHost(hostport string) (string, error) {
	address, port, ok := strings.Cut(hostport[1:], "]")
	if !ok {
		return "", hostError(hostport, "bracket is not closed")
	}
	if port != "" && (port[0] != ':' || !isPort(port[1:])) {
		return "", hostError(hostport, "port is not a number up to 65535")
	}
	return addressHost(address, hostport)
}

func addressHost(address, hostport string) (string, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", hostError(hostport, "not an IPv6 address")
	}
	return addr.String(), nil
}

// isPort takes *DIGIT up to 65535: RFC 3986 section 3.2.3 allows an empty port.
func isPort(port string) bool {
	if port == "" {
		return true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

// nameProblem says what is wrong with a registered name; "" if nothing is.
func nameProblem(name string) string {
	if name == "" {
		return "empty"
	}
	if len(name) > hostBytesMax {
		return "longer than 255 bytes"
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > labelBytesMax {
			return "a label is empty or longer than 63 bytes"
		}
		for i := range len(label) {
			if c := label[i]; !isDigit(c) && c != '-' && c != '_' && (lower(c) < 'a' || lower(c) > 'z') {
				return "has a byte that no host name has"
			}
		}
	}
	return ""
}

func hostError(host, reason string) error {
	return &HostError{Host: host[:min(len(host), hostBytesMax)], Reason: reason}
}
