package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// nameCharsMax keeps a node's name usable as a folder and as a DNS label.
const nameCharsMax = 63

func checkName(at spot, name string) {
	fix := "write up to 63 of a-z, 0-9 and -, with a letter or digit in front"
	at.needs(name != "", fix)
	if !isName(name) {
		at.bad(fmt.Sprintf("%s %q is not a name", at.name(), name), fix)
	}
}

func isName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return s != "" && len(s) <= nameCharsMax && s[0] != '-'
}

func checkRegion(at spot, region string) {
	at.needs(region != "", "write the region's name, such as eu-west")
	if !isName(region) {
		at.bad(fmt.Sprintf("region %q is not a name", region), "write a-z, 0-9 and -, such as eu-west")
	}
}

func checkDegrees(at spot, degrees, most float64) {
	at.needs(at.given(), "write where the PoP is, in degrees, such as lat: 52.31 and lon: 4.76")
	if math.Abs(degrees) > most {
		at.bad(fmt.Sprintf("%s %v is not on the map", at.name(), degrees), fmt.Sprintf("write -%v to %v", most, most))
	}
}

func checkBudget(at spot, b Bytes) {
	if b < budgetMin {
		at.bad(fmt.Sprintf("%s %v is too small", at.name(), b), fmt.Sprintf("write %v or more", budgetMin))
	}
}

// checkListen wants host:port with an address that a socket can be bound to.
// Names are refused, since what they stand for may change, or be two.
func checkListen(at spot, listen string) {
	fix := "write address:port, such as 127.0.0.1:7080, or :7080 for every address"
	at.needs(listen != "", fix)
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		at.bad(fmt.Sprintf("%s %q is not address:port", at.name(), listen), fix)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		at.bad(fmt.Sprintf("%s %q: %q is not an IP address", at.name(), listen, host), fix)
	}
	if problem := portProblem(port); problem != "" {
		at.bad(fmt.Sprintf("%s %q: %s", at.name(), listen, problem), "write a port from 1 to 65535")
	}
}

func portProblem(port string) string {
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a port", port)
	case n == 0: // others could not know which one the system chose
		return "port 0 cannot be reached"
	}
	return ""
}

// checkURL wants scheme://host:port and no more. Without a URL, the listen
// address must be one that others can reach, since the URL follows from it.
func checkURL(at spot, text, listen string, schemes ...string) {
	host, port, err := net.SplitHostPort(listen)
	if portProblem(port) != "" {
		port = "7080"
	}
	example := schemes[0] + "://node.example.com:" + port
	if text == "" {
		if err == nil && isEvery(host) {
			at.bad(fmt.Sprintf("%s is not given, and nobody can be sent to %q", at, listen), "write it, like "+example)
		}
		return
	}
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || !isHostPort(u.Host) {
		at.bad(fmt.Sprintf("%s %q is not a URL with %s", at.name(), bare(text), strings.Join(schemes, " or ")), "write it like "+example)
		return
	}
	if u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		at.bad(fmt.Sprintf("%s %q is more than scheme, host and port", at.name(), bare(text)), "write it like "+example)
	}
}

// bare is a URL without the user and password that it may hold, for messages.
func bare(text string) string {
	_, rest, found := strings.Cut(text, "@")
	if !found {
		return text
	}
	return "…@" + rest
}

// isEvery tells whether a listen host stands for every address of a machine.
func isEvery(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// follow fills an empty URL from a listen address, if there is one.
func follow(target *string, scheme, listen string) {
	if *target == "" && listen != "" {
		*target = scheme + "://" + listen
	}
	*target = strings.TrimSuffix(*target, "/")
}

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || isHostname(s)
}

// isHostname is RFC 1123 section 2.1, lower or upper case, with the underscore
// that container networks use.
func isHostname(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

func isLabel(s string) bool {
	for _, r := range strings.ToLower(s) {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
}

// addresses finds two listeners of one process on one address. Two processes
// may share one: they can be on two machines.
type addresses map[string]spot

func (a *addresses) add(at spot, listen string) {
	if *a == nil {
		*a = addresses{}
	}
	if first, twice := (*a)[listen]; twice && listen != "" {
		at.bad(fmt.Sprintf("%s %q is the address of %s already", at.name(), listen, first), "choose another port")
		return
	}
	(*a)[listen] = at
}
