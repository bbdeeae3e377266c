package rfc9111

import "strings"

// Trust says how far a field of a client's request may go.
type Trust uint8

// The levels.
const (
	// TrustFills: with a fill as well. Whatever an origin's Vary may name has
	// to get there, and what the origin heeds without naming it in Vary is the
	// origin's fault (RFC 9110 section 12.5.5).
	TrustFills Trust = iota
	// TrustUnsafe: only with a request whose method is not looked up, where
	// it is the client's to choose. With a GET it would make the origin do
	// something else than the key says.
	TrustUnsafe
	// TrustNever: not at all. By these fields proxies and frameworks tell one
	// another that the host, the scheme, the path or the client is another
	// than the request says.
	TrustNever
)

// TrustOf gives the trust in a field by its name. The names are those by which
// caches have been poisoned, as published: Kettle, "Practical Web Cache
// Poisoning" and the names that Param Miner tries; Nguyen et al., "Your Cache Has
// Fallen" (method overrides); and what frameworks have had to withdraw since
// (X-Middleware-Subrequest, X-Sendfile-Type). Origins behind CGI and its kin
// take other characters for "-", so that every spelling counts.
func TrustOf(name string) Trust {
	folded := foldName(name)
	for _, prefix := range [...]string{
		"x-forwarded", "x-forward-", "x-original", "x-originating", "x-rewrite", "x-envoy-original", "x-middleware-", "x-invoke-",
	} {
		if strings.HasPrefix(folded, prefix) {
			return TrustNever
		}
	}
	switch folded {
	case "x-http-method-override", "x-http-method", "x-method-override", "x-method", "http-method-override",
		"x-ajax-real-method", "real-method", "destination", "translate",
		"x-amz-server-side-encryption", "x-amz-website-redirect-location":
		return TrustUnsafe
	case "forwarded", "forwarded-proto", "forwarded-host", "forwarded-for", "forwarded-for-ip", "x-forwarder-for", // who and what was asked for
		"x-host", "x-real-host", "x-host-override", "x-http-host-override", "x-server-name", "x-server-port", // another host
		"x-proxy-host", "x-proxy-url", "proxy-host", "proxy", "base-url",
		"x-scheme", "x-url-scheme", "x-http-scheme", "x-protocol", "x-ssl", "x-https", "x-arr-ssl", "front-end-https", // another scheme
		"fastly-ssl", "cf-visitor", "cloudfront-forwarded-proto",
		"request-uri", "x-http-path-override", "x-http-destinationurl", "x-cf-url", "x-url", "x-uri", "x-matched-path", // another path
		"x-now-route-matches", "x-accel-mapping", "x-sendfile-type",
		"x-real-ip", "real-ip", "x-client-ip", "x-clientip", "client-ip", "clientip", "x-client-host", // another client
		"true-client-ip", "x-true-client-ip", "cf-connecting-ip", "cf-connecting-ipv6", "fastly-client-ip", "incap-client-ip",
		"x-cluster-client-ip", "x-remote-ip", "x-remote-addr", "x-proxyuser-ip", "proxy-client-ip", "wl-proxy-client-ip",
		"x-azure-clientip", "x-azure-socketip", "x-appengine-user-ip", "x-custom-ip-authorization",
		foldedDeviceField:
		return TrustNever
	}
	return TrustFills
}

const foldedDeviceField = "x-device-class"

// foldName gives a field's name in lower case, with "-" for all that is neither
// letter nor digit.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name)
}
