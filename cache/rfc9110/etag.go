package rfc9110

import "strings"

// comparison is how two entity tags are compared (section 8.8.3.2).
type comparison uint8

const (
	weakly   comparison = iota // the same opaque text
	strongly                   // and neither of them weak
)

// entityTag is a parsed entity tag; opaque has its quotes. The zero value is
// what a missing or malformed tag parses to, and matches nothing.
type entityTag struct {
	opaque string
	weak   bool
}

func (t entityTag) matches(other entityTag, how comparison) bool {
	if t.opaque == "" || t.opaque != other.opaque {
		return false
	}
	return how == weakly || !t.weak && !other.weak
}

// parseTag reads a whole field value as one entity tag.
func parseTag(text string) entityTag {
	tag, rest, ok := cutTag(strings.Trim(text, " \t"))
	if !ok || rest != "" {
		return entityTag{}
	}
	return tag
}

// cutTag takes the entity tag at the start of text:
// [ "W/" ] DQUOTE *( %x21 / %x23-7E / obs-text ) DQUOTE.
func cutTag(text string) (tag entityTag, rest string, ok bool) {
	opaque, weak := strings.CutPrefix(text, "W/")
	if !strings.HasPrefix(opaque, `"`) {
		return entityTag{}, text, false
	}
	for i := 1; i < len(opaque); i++ {
		switch c := opaque[i]; {
		case c == '"':
			return entityTag{opaque: opaque[:i+1], weak: weak}, opaque[i+1:], true
		case c <= ' ' || c == 0x7f:
			return entityTag{}, text, false
		}
	}
	return entityTag{}, text, false
}

// anyTagMatches reads the lines of If-Match or If-None-Match: "*", which
// matches whatever exists, or a list of entity tags. A member that is none is
// skipped up to the next comma, so that it costs only itself.
func anyTagMatches(lines []string, etag string, how comparison) bool {
	if len(lines) == 1 && strings.Trim(lines[0], " \t") == "*" {
		return true
	}
	stored := parseTag(etag)
	if stored.opaque == "" {
		return false
	}
	for _, line := range lines {
		if lineHasTag(line, stored, how) {
			return true
		}
	}
	return false
}

func lineHasTag(line string, stored entityTag, how comparison) bool {
	for {
		line = strings.TrimLeft(line, " \t,")
		if line == "" {
			return false
		}
		tag, rest, ok := cutTag(line)
		rest = strings.TrimLeft(rest, " \t")
		if ok && (rest == "" || rest[0] == ',') && tag.matches(stored, how) {
			return true
		}
		_, line, _ = strings.Cut(rest, ",")
	}
}
