package rfc9111

import (
	"net/http"
	"strings"
)

// The content codings by which responses are told apart, as bits of an index
// into encodingTexts. No origin worth the name has others for a browser
// (deflate, compress) without one of these as well.
const (
	acceptsZstd = 1 << iota
	acceptsBrotli
	acceptsGzip
	refusesIdentity
)

// encodingTexts gives the one spelling of each set, the best coding first.
var encodingTexts = [...]string{
	0:                           "identity",
	acceptsZstd:                 "zstd",
	acceptsBrotli:               "br",
	acceptsZstd | acceptsBrotli: "zstd, br",
	acceptsGzip:                 "gzip",
	acceptsZstd | acceptsGzip:   "zstd, gzip",
	acceptsBrotli | acceptsGzip: "br, gzip",
	acceptsZstd | acceptsBrotli | acceptsGzip: "zstd, br, gzip",

	refusesIdentity:                                             "identity;q=0",
	refusesIdentity | acceptsZstd:                               "zstd, identity;q=0",
	refusesIdentity | acceptsBrotli:                             "br, identity;q=0",
	refusesIdentity | acceptsZstd | acceptsBrotli:               "zstd, br, identity;q=0",
	refusesIdentity | acceptsGzip:                               "gzip, identity;q=0",
	refusesIdentity | acceptsZstd | acceptsGzip:                 "zstd, gzip, identity;q=0",
	refusesIdentity | acceptsBrotli | acceptsGzip:               "br, gzip, identity;q=0",
	refusesIdentity | acceptsZstd | acceptsBrotli | acceptsGzip: "zstd, br, gzip, identity;q=0",
}

// AcceptEncoding gives what is left of a request's Accept-Encoding (RFC 9110
// section 12.5.3) for choosing a response: which of zstd, br and gzip the
// client takes, in this order, and whether it refuses a response without
// coding. It is one of 16 texts, each of which is such a field and stands for
// itself.
//
// Weights above zero are not compared with one another, since every client
// takes the smallest; but a client that prefers identity to every coding gets
// it. Without the field every coding would be acceptable: "identity" is, too,
// and no client is surprised by it. Malformed members and other codings are
// left out. It does not allocate.
func AcceptEncoding(req Fields) string {
	return encodingTexts[encodingSet(req.Values("Accept-Encoding"))]
}

func encodingSet(lines []string) int {
	a := acceptanceOf(lines)
	set, best := 0, 0
	for _, coding := range [...]struct{ coding, bit int }{
		{int(CodingZstd), acceptsZstd}, {int(CodingBrotli), acceptsBrotli}, {int(CodingGzip), acceptsGzip},
	} {
		if weight := a.weights[coding.coding]; weight > 0 {
			set |= coding.bit
			best = max(best, weight)
		}
	}
	switch {
	case a.weights[CodingIdentity] > best:
		return 0
	case a.weights[CodingIdentity] == 0:
		set |= refusesIdentity
	}
	return set
}

// unkeyedEncoding says that the response has a content coding which the request
// lists and AcceptEncoding leaves out.
func unkeyedEncoding(req Fields, resp http.Header) bool {
	for _, line := range resp.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			coding = strings.Trim(coding, " \t")
			if !keyedCoding(coding) && lists(req.Values("Accept-Encoding"), coding) {
				return true
			}
		}
	}
	return false
}

func keyedCoding(coding string) bool {
	for _, known := range [...]string{"", "identity", "gzip", "x-gzip", "br", "zstd"} {
		if strings.EqualFold(coding, known) {
			return true
		}
	}
	return false
}

func lists(lines []string, value string) bool {
	s := weightedScanner{lines: lines}
	for s.next() {
		if s.weight > 0 && strings.EqualFold(s.value, value) {
			return true
		}
	}
	return false
}
