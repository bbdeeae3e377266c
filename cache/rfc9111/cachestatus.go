package rfc9111

import (
	"strconv"
	"time"
)

// Values of CacheStatus.Fwd: why a request went on towards the origin (RFC 9211
// section 2.2).
const (
	FwdBypass   = "bypass"    // the cache was configured not to handle it
	FwdMethod   = "method"    // its method asks for it
	FwdURIMiss  = "uri-miss"  // nothing stored under the key
	FwdVaryMiss = "vary-miss" // something stored, but no variant that matches
	FwdMiss     = "miss"      // nothing stored, and not known which of the two
	FwdRequest  = "request"   // what is stored would do, but the request's directives ask for more
	FwdStale    = "stale"     // what is stored is stale
	FwdPartial  = "partial"   // what is stored has only part of what is asked for
)

// CacheStatus is one node's member of the Cache-Status field (RFC 9211).
type CacheStatus struct {
	// Node names the cache.
	Node string
	// Hit: answered without going on towards the origin. Fwd is not written then.
	Hit bool
	// Fwd is one of the constants, or "".
	Fwd string
	// FwdStatus is the status with which the next hop answered; 0 for none.
	FwdStatus int
	// TTL is the remaining lifetime, negative once stale; written if HasTTL,
	// in whole seconds, rounded down so that stale is never written as 0.
	TTL    time.Duration
	HasTTL bool
	// Stored: the forwarded response was stored. Collapsed: the request waited
	// for another's fill.
	Stored, Collapsed bool
	// Key is the cache key, or "".
	Key string
	// Detail says more, in words of this implementation; or "".
	Detail string
}

// Append appends c as a structured field list member. Bytes that a structured
// field string cannot have are written as %XX. It does not allocate beyond dst.
func (c CacheStatus) Append(dst []byte) []byte {
	dst = appendSFItem(dst, c.Node)
	switch {
	case c.Hit:
		dst = append(dst, ";hit"...)
	case isSFToken(c.Fwd):
		dst = append(dst, ";fwd="...)
		dst = append(dst, c.Fwd...)
	}
	if c.FwdStatus > 0 {
		dst = append(dst, ";fwd-status="...)
		dst = strconv.AppendInt(dst, int64(c.FwdStatus), 10)
	}
	if c.HasTTL {
		dst = append(dst, ";ttl="...)
		dst = strconv.AppendInt(dst, floorSeconds(c.TTL), 10)
	}
	if c.Stored {
		dst = append(dst, ";stored"...)
	}
	if c.Collapsed {
		dst = append(dst, ";collapsed"...)
	}
	if c.Key != "" {
		dst = append(dst, ";key="...)
		dst = appendSFString(dst, c.Key)
	}
	if c.Detail != "" {
		dst = append(dst, ";detail="...)
		dst = appendSFItem(dst, c.Detail)
	}
	return dst
}

func floorSeconds(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second < 0 {
		seconds--
	}
	return seconds
}

// appendSFItem writes text as a token if it is one, else as a string (RFC 9651
// sections 3.3.3, 3.3.4).
func appendSFItem(dst []byte, text string) []byte {
	if isSFToken(text) {
		return append(dst, text...)
	}
	return appendSFString(dst, text)
}

func appendSFString(dst []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	dst = append(dst, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c < 0x20 || c > 0x7e:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func isSFToken(text string) bool {
	if text == "" || text[0] != '*' && (lowerByte(text[0]) < 'a' || lowerByte(text[0]) > 'z') {
		return false
	}
	for i := 1; i < len(text); i++ {
		if c := text[i]; !isTokenByte(c) && c != ':' && c != '/' {
			return false
		}
	}
	return true
}
