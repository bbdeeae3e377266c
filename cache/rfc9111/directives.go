package rfc9111

import (
	"strings"
	"time"
)

// deltaMax is the largest delta-seconds: section 1.2.2 asks a recipient to take
// what it cannot represent, or what overflows, as 2^31.
const deltaMax = (1 << 31) * time.Second

// Delta is the argument of a directive that carries delta-seconds (section
// 1.2.2), for example max-age.
type Delta struct {
	// Value is between 0 and 2^31 s. It is 0 if the argument was malformed:
	// section 4.2.1 encourages caches to take such a response as stale.
	Value time.Duration
	// Given says that the directive was there, well-formed or not.
	Given bool
}

// Directives are the members of a Cache-Control field (section 5.2), of a
// request or of a response. The zero value means that there was no field.
type Directives struct {
	// Without argument, or with one that is not needed. The qualified forms
	// no-cache="field" and private="field" count as the unqualified ones, as
	// sections 5.2.2.4 and 5.2.2.7 allow: the stricter reading.
	NoStore, NoCache, Private       bool
	MustRevalidate, ProxyRevalidate bool
	NoTransform, OnlyIfCached       bool
	// These permit something, so they count only when well-formed.
	Public, MustUnderstand, Immutable bool

	MaxAge, SMaxAge                    Delta
	StaleWhileRevalidate, StaleIfError Delta
	// MaxStale and MinFresh are a request's (sections 5.2.1.2, 5.2.1.3).
	// MaxStale without an argument accepts any staleness: 2^31 s.
	MaxStale, MinFresh Delta
}

// ParseCacheControl reads all lines of a Cache-Control field. It never fails:
// names are compared without regard to case, unknown directives are ignored,
// and what is malformed or given more than once is read in the most restrictive
// way. After a quoted string that never ends, the rest of its line can restrict
// but not permit. Pragma is deprecated (section 5.4) and not looked at. It does
// not allocate.
func ParseCacheControl(values []string) Directives {
	var d Directives
	for _, line := range values {
		s := directiveScanner{rest: line}
		for s.next() {
			d.apply(&s.directive)
		}
	}
	return d
}

// shareable says that the response gives explicit leave to be stored by a
// shared cache where that is forbidden otherwise: public or s-maxage. A zero or
// malformed s-maxage is no such leave here: refusing is always safe.
func (d *Directives) shareable() bool { return d.Public || d.SMaxAge.Value > 0 }

// directive is one member of the list, with what is known of its form.
type directive struct {
	name, arg string
	hasArg    bool
	targets   string // of Surrogate-Control: what stands after ";", or ""
	sound     bool   // the member follows the grammar and so does all before it
}

// directiveNameBytesMax is the length of the longest known name.
const directiveNameBytesMax = len("stale-while-revalidate")

func (d *Directives) apply(m *directive) {
	if len(m.name) > directiveNameBytesMax {
		return
	}
	var lower [directiveNameBytesMax]byte
	for i := range len(m.name) {
		lower[i] = lowerByte(m.name[i])
	}
	switch string(lower[:len(m.name)]) {
	case "no-store":
		d.NoStore = true
	case "no-cache":
		d.NoCache = true
	case "private":
		d.Private = true
	case "must-revalidate":
		d.MustRevalidate = true
	case "proxy-revalidate":
		d.ProxyRevalidate = true
	case "no-transform":
		d.NoTransform = true
	case "only-if-cached":
		d.OnlyIfCached = true
	case "public":
		d.Public = d.Public || m.permits()
	case "must-understand":
		d.MustUnderstand = d.MustUnderstand || m.permits()
	case "immutable":
		d.Immutable = d.Immutable || m.permits()
	case "max-age":
		d.MaxAge.keepLower(m.seconds())
	case "s-maxage":
		d.SMaxAge.keepLower(m.seconds())
	case "stale-while-revalidate":
		d.StaleWhileRevalidate.keepLower(m.seconds())
	case "stale-if-error":
		d.StaleIfError.keepLower(m.seconds())
	case "max-stale":
		d.MaxStale.keepLower(m.staleness())
	case "min-fresh":
		d.MinFresh = Delta{Value: max(d.MinFresh.Value, m.seconds()), Given: true}
	}
}

func (m *directive) permits() bool { return m.sound && !m.hasArg }

func (m *directive) seconds() time.Duration {
	if v, ok := deltaSeconds(m.arg); ok && m.sound {
		return v
	}
	return 0
}

func (m *directive) staleness() time.Duration {
	if m.permits() {
		return deltaMax
	}
	return m.seconds()
}

func (d *Delta) keepLower(v time.Duration) {
	if d.Given {
		v = min(v, d.Value)
	}
	*d = Delta{Value: v, Given: true}
}

// deltaSeconds reads 1*DIGIT, capped at 2^31 s.
func deltaSeconds(text string) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	v := int64(0) // in seconds: as a time.Duration ten times the cap would overflow
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		v = min(v*10+int64(digit), int64(deltaMax/time.Second))
	}
	return time.Duration(v) * time.Second, true
}

// directiveScanner walks one line: #( token [ "=" ( token / quoted-string ) ] ).
type directiveScanner struct {
	rest string
	// broken is set once a quoted string without end was met. Where it was
	// meant to end is unknown, so nothing after its start is sound.
	broken bool
	// surrogate says that a member may have targets: *( ";" token ).
	surrogate bool
	directive
}

// next moves to the next member; false at the end of the line. Each call but
// the last consumes at least one byte.
func (s *directiveScanner) next() bool {
	s.rest = strings.TrimLeft(s.rest, " \t,")
	if s.rest == "" {
		return false
	}
	s.directive = directive{name: s.token()}
	if strings.HasPrefix(s.rest, "=") {
		s.rest = s.rest[1:]
		s.hasArg = true
		s.arg = s.argument()
	}
	if s.surrogate {
		s.targets = s.parameters()
	}
	s.sound = s.skipToComma() && !s.broken
	return true
}

func (s *directiveScanner) token() string {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

func (s *directiveScanner) argument() string {
	if !strings.HasPrefix(s.rest, `"`) {
		return s.token()
	}
	quoted := s.quoted()
	if quoted == "" {
		return ""
	}
	// Escapes stay: no argument that matters here needs one.
	return quoted[1 : len(quoted)-1]
}

// parameters takes *( OWS ";" OWS [ token ] ) and gives it as it stands, less
// what is not a token at its ends.
func (s *directiveScanner) parameters() string {
	all := s.rest
	for {
		rest := strings.TrimLeft(s.rest, " \t")
		if !strings.HasPrefix(rest, ";") {
			return strings.Trim(all[:len(all)-len(s.rest)], "; \t")
		}
		s.rest = strings.TrimLeft(rest[1:], " \t")
		s.token()
	}
}

// quoted takes the quoted string at the start of rest, quotes included. If it
// never ends, only its opening quote is taken and the result is "".
func (s *directiveScanner) quoted() string {
	n := quotedLen(s.rest)
	if n == 0 {
		s.broken = true
		s.rest = s.rest[1:]
		return ""
	}
	text := s.rest[:n]
	s.rest = s.rest[n:]
	return text
}

// skipToComma drops what stands before the next comma outside quotes; false if
// that was more than white space.
func (s *directiveScanner) skipToComma() (clean bool) {
	clean = true
	for s.rest != "" && s.rest[0] != ',' {
		switch s.rest[0] {
		case ' ', '\t':
			s.rest = s.rest[1:]
		case '"':
			clean = false
			s.quoted()
		default:
			clean = false
			s.rest = s.rest[1:]
		}
	}
	return clean
}

// quotedLen is the length of the quoted string at the start of text, quotes
// included; 0 if it never ends (RFC 9110 section 5.6.4).
func quotedLen(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// isTokenByte is tchar of RFC 9110 section 5.6.2.
func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isToken(text string) bool {
	for i := range len(text) {
		if !isTokenByte(text[i]) {
			return false
		}
	}
	return text != ""
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
