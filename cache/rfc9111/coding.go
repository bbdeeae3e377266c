package rfc9111

import "strings"

// Coding is a content coding (RFC 9110 section 8.4.1) that a cache can make and
// undo.
type Coding uint8

// The codings.
const (
	CodingIdentity Coding = iota // none
	CodingZstd                   // RFC 8878, with the window of RFC 9659
	CodingBrotli                 // RFC 7932
	CodingGzip                   // RFC 1952
)

// Codings lists every coding, for metrics that want all series from the start.
var Codings = [...]Coding{CodingIdentity, CodingZstd, CodingBrotli, CodingGzip}

// String gives the coding's name in Content-Encoding.
func (c Coding) String() string {
	switch c {
	case CodingZstd:
		return "zstd"
	case CodingBrotli:
		return "br"
	case CodingGzip:
		return "gzip"
	default:
		return "identity"
	}
}

// ParseCoding reads a coding's name in any case; "x-gzip" is gzip (RFC 9110
// section 8.4.1.3). ok is false for a name that none of them has.
func ParseCoding(name string) (c Coding, ok bool) {
	for _, c := range Codings {
		if strings.EqualFold(name, c.String()) {
			return c, true
		}
	}
	return CodingGzip, strings.EqualFold(name, "x-gzip")
}

// weightDefault is the weight of an identity that Accept-Encoding does not
// name: acceptable, and less than any coding that it names.
const weightDefault = -1

// Acceptance is what a request says of content codings (RFC 9110 section
// 12.5.3). The zero value takes nothing; ParseAcceptance makes one.
type Acceptance struct {
	// Given says that the request has the field, if only empty.
	Given bool
	// weights are in thousandths: 0 is a refusal, weightDefault of identity
	// that nothing was said about it.
	weights [len(Codings)]int
}

// ParseAcceptance reads all lines of a request's Accept-Encoding. Malformed
// members count for nothing. Without the field every coding would be
// acceptable (section 12.5.3, rule 1); here none is, since clients that cannot
// decode anything send no field, and Given tells the two apart. It does not
// allocate.
func ParseAcceptance(req Fields) Acceptance { return acceptanceOf(req.Values("Accept-Encoding")) }

func acceptanceOf(lines []string) Acceptance {
	// Weights by coding; -1 while not given.
	weights, others := [len(Codings)]int{-1, -1, -1, -1}, -1
	s := weightedScanner{lines: lines}
	for s.next() {
		switch c, ok := ParseCoding(s.value); {
		case !s.sound:
		case s.value == "*":
			others = max(others, s.weight)
		case ok:
			weights[c] = max(weights[c], s.weight)
		}
	}
	a := Acceptance{Given: len(lines) > 0, weights: weights}
	for _, c := range Codings[1:] {
		if weights[c] < 0 {
			a.weights[c] = max(others, 0)
		}
	}
	if weights[CodingIdentity] < 0 && others == 0 {
		a.weights[CodingIdentity] = 0
	}
	return a
}

// Admits says whether a response in the coding may be sent.
func (a *Acceptance) Admits(c Coding) bool {
	return a.weights[c] > 0 || c == CodingIdentity && a.weights[c] == weightDefault
}

// Best gives the heaviest of the offers that the request admits, the first one
// of those that weigh the same. It is CodingIdentity if none is admitted, and if
// the request gives identity a greater weight than any of them.
func (a *Acceptance) Best(offers []Coding) Coding {
	best, weight := CodingIdentity, 0
	for _, c := range offers {
		if a.weights[c] > weight {
			best, weight = c, a.weights[c]
		}
	}
	if a.weights[CodingIdentity] > weight {
		return CodingIdentity
	}
	return best
}
