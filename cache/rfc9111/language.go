package rfc9111

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// languagesMax is how many language ranges of one request are looked at. A
// longer field is told apart as it stands.
const languagesMax = 32

// languageRanges reads Accept-Language (RFC 9110 section 12.5.4): ranges in
// lower case, the heaviest first, those of one weight by name, since their
// order means nothing. ok is false where a member is malformed or too long a
// list, or where a range comes twice, so that its meaning is unknown.
func languageRanges(lines []string) (ranges []weighted, ok bool) {
	s := weightedScanner{lines: lines}
	for s.next() {
		if !s.sound || len(ranges) == languagesMax {
			return nil, false
		}
		s.value = strings.ToLower(s.value)
		ranges = append(ranges, s.weighted)
	}
	slices.SortFunc(ranges, func(a, b weighted) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), strings.Compare(a.value, b.value))
	})
	for i, r := range ranges {
		if slices.ContainsFunc(ranges[:i], func(o weighted) bool { return o.value == r.value }) {
			return nil, false
		}
	}
	return ranges, true
}

// appendLanguages appends Accept-Language in its one spelling, or as any other
// field if it has none.
func appendLanguages(dst []byte, lines []string) []byte {
	ranges, ok := languageRanges(lines)
	if !ok {
		return appendNormalised(dst, lines)
	}
	for i, r := range ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, r.value...)
		dst = appendWeight(dst, r.weight)
	}
	return dst
}

// appendWeight appends ";q=" and the shortest qvalue, or nothing for 1.
func appendWeight(dst []byte, weight int) []byte {
	switch weight {
	case weightMax:
		return dst
	case 0:
		return append(dst, ";q=0"...)
	}
	digits := strconv.Itoa(weightMax + weight)[1:] // three digits
	dst = append(dst, ";q=0."...)
	return append(dst, strings.TrimRight(digits, "0")...)
}

// Language gives the one of p.Languages that a request prefers, in the case it
// has there, the earlier one where it prefers none. It is "" if the request
// takes none of them, names none, or p has none.
//
// A range matches a language that it is or begins ("de" matches "de-AT": RFC
// 4647 section 3.3.1) and, for want of that, one that begins it ("de-AT" takes
// "de": section 3.4). The longest range that matches says the weight; "*" does
// for what no other matches.
func (p *Policy) Language(req Fields) string {
	if len(p.Languages) == 0 {
		return ""
	}
	best, weight := "", 0
	for _, language := range p.Languages {
		if w := languageWeight(language, req.Values("Accept-Language")); w > weight {
			best, weight = language, w
		}
	}
	return best
}

func languageWeight(language string, lines []string) int {
	weight, closeness := 0, -1
	s := weightedScanner{lines: lines}
	for n := 0; n < languagesMax && s.next(); n++ {
		if !s.sound {
			continue
		}
		c := languageCloseness(s.value, language)
		if c > closeness || c == closeness && c >= 0 && s.weight > weight {
			weight, closeness = s.weight, c
		}
	}
	return weight
}

// languageCloseness orders how well a range matches a language; negative if it
// does not.
func languageCloseness(languageRange, language string) int {
	const filtered = 1 << 16 // above every length
	switch {
	case isSubtag(languageRange, language):
		return filtered + len(languageRange)
	case isSubtag(language, languageRange):
		// The shorter of two such ranges is nearer to the language.
		return max(filtered-len(languageRange), 1)
	case languageRange == "*":
		return 0
	}
	return -1
}

// isSubtag says that tag is prefix, or begins with it and a hyphen.
func isSubtag(prefix, tag string) bool {
	return len(tag) >= len(prefix) && strings.EqualFold(tag[:len(prefix)], prefix) &&
		(len(tag) == len(prefix) || tag[len(prefix)] == '-')
}

// Negotiate rewrites the header of a request for a fill so that it says no more
// than the variant text that stands for it: Accept-Encoding as AcceptEncoding
// gives it, and Accept-Language as the one language chosen, if p has Languages.
// A response to it is then right for every request of the same variant, which
// it would not be had the origin seen more.
func (p *Policy) Negotiate(h http.Header) {
	h["Accept-Encoding"] = []string{AcceptEncoding(h)}
	if len(p.Languages) == 0 {
		return
	}
	if language := p.Language(h); language != "" {
		h["Accept-Language"] = []string{language}
	} else {
		delete(h, "Accept-Language")
	}
}
