package rfc9111

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// varyFieldsMax is how many distinct fields a Vary may name.
const varyFieldsMax = 16

// VaryFields gives the request fields that Vary names: lower case, sorted, each
// once. star says that no other request can be known to match (section 4.1): a
// member is "*" or no field name, or there are more than 16 names.
func VaryFields(resp http.Header) (fields []string, star bool) {
	for _, line := range resp.Values("Vary") {
		for member := range strings.SplitSeq(line, ",") {
			name := strings.ToLower(strings.Trim(member, " \t"))
			switch {
			case name == "":
			case name == "*", !isToken(name):
				return nil, true
			case !slices.Contains(fields, name):
				fields = append(fields, name)
			}
			if len(fields) > varyFieldsMax {
				return nil, true
			}
		}
	}
	slices.Sort(fields)
	return fields, false
}

// Variant is the text that tells the variants of one key apart: for each of
// fields (as VaryFields gave them) its name and its value in req.
//
//	name "=" length ":" value ";"     the field is there, if only empty
//	name "-;"                         it is not
//
// Lengths are bytes in decimal and no name has "=" in it, so two texts are
// equal only if all normalised values are. A value is normalised as far as
// section 4.1 allows for any field: lines are joined by commas, and white space
// at the ends and around commas is dropped, but not within quoted strings. Two
// fields are normalised by what they mean: Accept-Encoding is as AcceptEncoding
// gives it, and is never absent; Accept-Language is in lower case and by
// weight, or, where p has Languages, the one of these that Language gives, and
// absent if there is none. "" when fields is empty.
func (p *Policy) Variant(fields []string, req Fields) string {
	if len(fields) == 0 {
		return ""
	}
	text, value := make([]byte, 0, 128), make([]byte, 0, 64)
	for _, field := range fields {
		text = append(text, field...)
		value = value[:0]
		var there bool
		if value, there = p.appendSelecting(value, field, req); !there {
			text = append(text, "-;"...)
			continue
		}
		text = append(text, '=')
		text = strconv.AppendInt(text, int64(len(value)), 10)
		text = append(text, ':')
		text = append(text, value...)
		text = append(text, ';')
	}
	return string(text)
}

// appendSelecting appends the normalised value of one field that Vary names.
func (p *Policy) appendSelecting(dst []byte, field string, req Fields) (_ []byte, there bool) {
	lines := req.Values(http.CanonicalHeaderKey(field))
	switch {
	case field == "accept-encoding":
		return append(dst, AcceptEncoding(req)...), true
	case field == "accept-language" && len(p.Languages) > 0:
		language := p.Language(req)
		for i := range len(language) {
			dst = append(dst, lowerByte(language[i]))
		}
		return dst, language != ""
	case len(lines) == 0:
		return dst, false
	case field == "accept-language":
		return appendLanguages(dst, lines), true
	}
	return appendNormalised(dst, lines), true
}

func appendNormalised(dst []byte, lines []string) []byte {
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMembers(dst, line)
	}
	return dst
}

// appendMembers copies one line without the white space around its members.
func appendMembers(dst []byte, line string) []byte {
	for {
		line = strings.TrimLeft(line, " \t")
		n := memberLen(line)
		dst = append(dst, strings.TrimRight(line[:n], " \t")...)
		if n == len(line) {
			return dst
		}
		dst = append(dst, ',')
		line = line[n+1:]
	}
}

// memberLen is the length up to the first comma outside quoted strings. A
// quoted string that never ends takes the rest.
func memberLen(line string) int {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ',':
			return i
		case '"':
			n := quotedLen(line[i:])
			if n == 0 {
				return len(line)
			}
			i += n - 1
		}
	}
	return len(line)
}
