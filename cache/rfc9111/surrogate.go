package rfc9111

import "strings"

// SurrogateDevice is weir's name in Surrogate-Capability, and so the target of
// a directive in Surrogate-Control that speaks to weir alone.
const SurrogateDevice = "weir"

// SurrogateCapability is weir's member of the Surrogate-Capability request
// field (Edge Architecture Specification section 2.1).
const SurrogateCapability = SurrogateDevice + `="Surrogate/1.0"`

// ParseSurrogateControl reads all lines of a Surrogate-Control field (W3C Note
// "Edge Architecture Specification" section 2.2):
//
//	#( directive [ "=" value ] *( ";" target ) )
//
// max-age=N+M is fresh for N seconds and may be served stale for M more, so M
// becomes both windows of RFC 5861. no-store-remote is no-store here, since a
// CDN is remote. Other directives of Cache-Control mean what they mean there.
// What names a target other than SurrogateDevice is for somebody else; a number
// of seconds targeted here goes before an untargeted one. ok is false if
// nothing is left that is about caching, content="ESI/1.0" alone for example:
// the field counts as absent then. It does not allocate.
func ParseSurrogateControl(lines []string) (d Directives, ok bool) {
	var general, own Directives
	for _, line := range lines {
		s := directiveScanner{rest: line, surrogate: true}
		for s.next() {
			switch s.addressee() {
			case everybody:
				general.applySurrogate(&s.directive)
			case here:
				own.applySurrogate(&s.directive)
			}
		}
	}
	d = general
	d.overlay(&own)
	return d, d != Directives{}
}

// addressee says for whom a directive of Surrogate-Control is.
type addressee uint8

const (
	everybody addressee = iota
	here
	elsewhere
)

func (m *directive) addressee() addressee {
	if m.targets == "" {
		return everybody
	}
	for target := range strings.SplitSeq(m.targets, ";") {
		if strings.EqualFold(strings.Trim(target, " \t"), SurrogateDevice) {
			return here
		}
	}
	return elsewhere
}

// applySurrogate is apply for a member of Surrogate-Control.
func (d *Directives) applySurrogate(m *directive) {
	switch {
	case strings.EqualFold(m.name, "no-store-remote"):
		d.NoStore = true
	case strings.EqualFold(m.name, "max-age"):
		fresh, stale, extended := strings.Cut(m.arg, "+")
		m.arg = fresh
		d.MaxAge.keepLower(m.seconds())
		if extended {
			m.arg = stale
			d.StaleWhileRevalidate.keepLower(m.seconds())
			d.StaleIfError.keepLower(m.seconds())
		}
	default:
		d.apply(m)
	}
}

// overlay lets what own says go before what d says. A restriction stays.
func (d *Directives) overlay(own *Directives) {
	d.NoStore = d.NoStore || own.NoStore
	d.NoCache = d.NoCache || own.NoCache
	d.Private = d.Private || own.Private
	d.MustRevalidate = d.MustRevalidate || own.MustRevalidate
	d.ProxyRevalidate = d.ProxyRevalidate || own.ProxyRevalidate
	d.NoTransform = d.NoTransform || own.NoTransform
	d.Public = d.Public || own.Public
	d.MustUnderstand = d.MustUnderstand || own.MustUnderstand
	d.Immutable = d.Immutable || own.Immutable
	d.MaxAge.replace(own.MaxAge)
	d.SMaxAge.replace(own.SMaxAge)
	d.StaleWhileRevalidate.replace(own.StaleWhileRevalidate)
	d.StaleIfError.replace(own.StaleIfError)
}

func (d *Delta) replace(by Delta) {
	if by.Given {
		*d = by
	}
}
