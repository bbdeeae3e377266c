package rfc9111

import "strings"

// weightMax is the weight that stands for q=1; weights are in thousandths.
const weightMax = 1000

// weighted is one member of a list with weights (RFC 9110 section 12.4.2):
// value [ OWS ";" OWS "q=" qvalue ].
type weighted struct {
	value  string
	weight int  // 0 to weightMax
	sound  bool // the member follows the grammar
}

// weightedScanner walks the members of all lines of Accept-Encoding or
// Accept-Language, neither of which has quoted strings.
type weightedScanner struct {
	lines []string
	rest  string
	weighted
}

// next moves to the next member that is not empty; false at the end.
func (s *weightedScanner) next() bool {
	for {
		s.rest = strings.TrimLeft(s.rest, " \t,")
		if s.rest != "" {
			break
		}
		if len(s.lines) == 0 {
			return false
		}
		s.rest, s.lines = s.lines[0], s.lines[1:]
	}
	member, rest, _ := strings.Cut(s.rest, ",")
	s.rest = rest
	s.weighted = parseWeighted(member)
	return true
}

func parseWeighted(member string) weighted {
	value, parameter, hasParameter := strings.Cut(member, ";")
	w := weighted{value: strings.Trim(value, " \t"), weight: weightMax}
	w.sound = isToken(w.value)
	if !hasParameter {
		return w
	}
	name, text, _ := strings.Cut(strings.Trim(parameter, " \t"), "=")
	weight, ok := parseWeight(text)
	w.weight = weight
	w.sound = w.sound && ok && strings.EqualFold(name, "q")
	return w
}

// parseWeight reads a qvalue: "0" or "1" and up to three decimals, not above 1.
func parseWeight(text string) (int, bool) {
	if text == "" || len(text) > len("0.000") || text[0] != '0' && text[0] != '1' || len(text) > 1 && text[1] != '.' {
		return 0, false
	}
	weight, unit := int(text[0]-'0')*weightMax, weightMax
	for i := 2; i < len(text); i++ {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		unit /= 10
		weight += int(digit) * unit
	}
	return weight, weight <= weightMax
}
