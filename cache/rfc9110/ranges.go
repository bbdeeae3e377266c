package rfc9110

import (
	"net/http"
	"strconv"
	"strings"
)

// rangesMax is how many ranges one request may ask for; with more, the whole
// representation is the answer (section 14.2 lets a server ignore Range).
const rangesMax = 16

// Range is one part of a representation, within its size and not empty.
type Range struct {
	Start  int64 // of its first byte
	Length int64 // in bytes
}

// ContentRange is the value of Content-Range for r (section 14.4), of a
// representation of size bytes.
func (r Range) ContentRange(size int64) string {
	var room [64]byte
	b := append(room[:0], "bytes "...)
	b = strconv.AppendInt(b, r.Start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, r.Start+r.Length-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, size, 10))
}

// UnsatisfiedRange is the value of Content-Range for a 416 (section 14.4).
func UnsatisfiedRange(size int64) string {
	return "bytes */" + strconv.FormatInt(size, 10)
}

// RangeVerdict says how a Range field is to be answered.
type RangeVerdict uint8

// The verdicts of ParseRange.
const (
	// None: as if there were no Range; answer the whole with 200.
	None RangeVerdict = iota
	// Satisfiable: answer the ranges with 206.
	Satisfiable
	// Unsatisfiable: answer 416.
	Unsatisfiable
)

// String gives the verdict's one name.
func (v RangeVerdict) String() string {
	switch v {
	case None:
		return "none"
	case Satisfiable:
		return "satisfiable"
	case Unsatisfiable:
		return "unsatisfiable"
	default:
		return "unknown"
	}
}

// ParseRange reads a Range field (sections 14.1.2, 14.2) for a representation
// of size bytes. The ranges come in the order asked for; those beyond the end
// are left out, and if none is left the verdict is Unsatisfiable.
//
// None is the verdict for an unknown unit, for a malformed field, for a
// size that is not known (negative), for more than 16 ranges, and for ranges
// that together are longer than the representation: they must overlap, and a
// client gains nothing by them. A suffix of an empty representation is
// satisfiable by section 14.1.2 but has no Content-Range: None too.
func ParseRange(field string, size int64) ([]Range, RangeVerdict) {
	unit, set, ok := strings.Cut(field, "=")
	if !ok || size < 0 || !strings.EqualFold(unit, "bytes") {
		return nil, None
	}
	var ranges []Range
	specs, total := 0, int64(0)
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue // an empty list member, section 5.6.1.2
		}
		r, verdict := parseSpec(spec, size)
		if specs++; verdict == None || specs > rangesMax {
			return nil, None
		}
		if verdict == Unsatisfiable {
			continue
		}
		if r.Length > size-total {
			return nil, None
		}
		ranges = append(ranges, r)
		total += r.Length
	}
	switch {
	case specs == 0:
		return nil, None
	case len(ranges) == 0:
		return nil, Unsatisfiable
	}
	return ranges, Satisfiable
}

// Select gives the ranges by which a request for a representation is answered:
// what its Range says (section 14.2), if the method is GET, If-Range names this
// representation (section 13.1.5), and its size is known. The rest is as for
// ParseRange. header is the representation's own: its validators and Date.
func Select(method string, req Fields, header http.Header, size int64) ([]Range, RangeVerdict) {
	lines := req.Values("Range")
	if len(lines) == 0 || method != http.MethodGet || size < 0 {
		return nil, None
	}
	if !IfRange(req, header.Get("Etag"), strongDate(header)) {
		return nil, None
	}
	return ParseRange(lines[0], size)
}

// FirstRange gives the first range that a Range field asks for, of a
// representation whose size nobody knows yet. suffix says that it is counted
// from the end: then Start is 0 and Length how many bytes. The Length of one
// without an end is what int64 can hold. ok is false where ParseRange gives None
// for a representation of any size.
func FirstRange(field string) (r Range, suffix, ok bool) {
	if _, verdict := ParseRange(field, positionMax-1); verdict == None {
		return Range{}, false, false
	}
	_, set, _ := strings.Cut(field, "=")
	for spec := range strings.SplitSeq(set, ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue
		}
		r, verdict := parseSpec(spec, positionMax-1)
		if suffix := spec[0] == '-'; suffix {
			return Range{Length: r.Length}, true, verdict == Satisfiable
		}
		return r, false, verdict == Satisfiable
	}
	return Range{}, false, false
}

// parseSpec reads "first-", "first-last" or "-suffix".
func parseSpec(spec string, size int64) (Range, RangeVerdict) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return Range{}, None
	}
	if first == "" {
		return suffixRange(last, size)
	}
	start, ok := parsePosition(first)
	if !ok {
		return Range{}, None
	}
	end := size - 1
	if last != "" {
		pos, ok := parsePosition(last)
		if !ok || beyond(first, last) {
			return Range{}, None
		}
		end = min(end, pos)
	}
	if start >= size {
		return Range{}, Unsatisfiable
	}
	return Range{Start: start, Length: end - start + 1}, Satisfiable
}

func suffixRange(suffix string, size int64) (Range, RangeVerdict) {
	length, ok := parsePosition(suffix)
	switch {
	case !ok:
		return Range{}, None
	case length == 0:
		return Range{}, Unsatisfiable
	case size == 0:
		return Range{}, None
	}
	length = min(length, size)
	return Range{Start: size - length, Length: length}, Satisfiable
}

// positionMax stands for every position that an int64 cannot hold: no
// representation is as long.
const positionMax = 1<<63 - 1

// parsePosition reads 1*DIGIT, capped at positionMax.
func parsePosition(text string) (int64, bool) {
	if text == "" {
		return 0, false
	}
	v := int64(0)
	for i := range len(text) {
		if !isDigit(text[i]) {
			return 0, false
		}
		digit := int64(text[i] - '0')
		if v > (positionMax-digit)/10 {
			v = positionMax
			continue
		}
		v = v*10 + digit
	}
	return v, true
}

// beyond says that first is a greater number than last, both 1*DIGIT of any
// length: a range like that is malformed (section 14.1.2), and capped values
// could not tell.
func beyond(first, last string) bool {
	first, last = strings.TrimLeft(first, "0"), strings.TrimLeft(last, "0")
	if len(first) != len(last) {
		return len(first) > len(last)
	}
	return first > last
}
