package rfc9110

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Part is what a stored 206 has of a representation.
type Part struct {
	Range
	// Size is that of the whole representation in bytes; negative if unknown.
	Size int64
	// Exact says that Content-Range and body agree. A part that is not exact
	// must never be combined with anything.
	Exact bool
}

// ParseContentRange reads a Content-Range that describes a part (section 14.4):
// "bytes first-last/size" or "bytes first-last/*", the latter with a size of -1.
// ok is false for another unit, for an unsatisfied range, and for what section
// 14.4 calls invalid.
func ParseContentRange(field string) (r Range, size int64, ok bool) {
	set, whole, ok := cutContentRange(field)
	if !ok {
		return Range{}, 0, false
	}
	firstText, lastText, ok := strings.Cut(set, "-")
	first, firstOK := parsePosition(firstText)
	last, lastOK := parsePosition(lastText)
	if !ok || !firstOK || !lastOK || last < first || last == positionMax {
		return Range{}, 0, false
	}
	size = -1
	if whole != "*" {
		if size, ok = parsePosition(whole); !ok || size <= last || size == positionMax {
			return Range{}, 0, false
		}
	}
	return Range{Start: first, Length: last - first + 1}, size, true
}

// ParseUnsatisfied reads the Content-Range of a 416: "bytes */size".
func ParseUnsatisfied(field string) (size int64, ok bool) {
	set, whole, ok := cutContentRange(field)
	if !ok || set != "*" {
		return 0, false
	}
	size, ok = parsePosition(whole)
	return size, ok && size != positionMax
}

func cutContentRange(field string) (set, whole string, ok bool) {
	unit, rest, ok := strings.Cut(strings.Trim(field, " \t"), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// PartOf says what a 206 has, by its Content-Range lines and the length that
// its framing gives the body (section 6.4), negative if that is not known yet.
// ok is false for what cannot be used: no Content-Range or several of them
// (multipart/byteranges has none), an invalid one, an empty body, or one longer
// than Content-Range says.
//
// A body can be whole by its framing and shorter than Content-Range says.
// Origins that count the last position from one do that. The start is beyond
// doubt, and so are the bytes that came, so they are a part that begins there
// and is as long as the body; if Content-Range puts its end at the end of the
// representation, that is where the body ended. Such a part can answer requests
// that lie within it and is not Exact: its bytes must not be joined with any
// others, because what follows them is not known.
func PartOf(contentRange []string, bodyBytes int64) (p Part, ok bool) {
	if len(contentRange) != 1 || bodyBytes == 0 {
		return Part{}, false
	}
	r, size, ok := ParseContentRange(contentRange[0])
	if !ok || bodyBytes > r.Length {
		return Part{}, false
	}
	p = Part{Range: r, Size: size, Exact: true}
	if bodyBytes >= 0 && bodyBytes < r.Length {
		p.Exact = false
		p.Length = bodyBytes
		if size == r.end() {
			p.Size = p.end()
		}
	}
	return p, true
}

// Holds says that all of r is in the part (RFC 9111 section 3.3: a partial
// response answers what lies wholly within it).
func (p Part) Holds(r Range) bool {
	return r.Length > 0 && r.Start >= p.Start && r.end() <= p.end()
}

// end is the position after the last byte.
func (r Range) end() int64 { return r.Start + r.Length }

// Coalesce joins ranges that overlap or touch (section 15.3.7.2). What is
// joined stands where the first of its ranges stood; the order is otherwise the
// one asked for. The result shares no memory with ranges.
func Coalesce(ranges []Range) []Range {
	joined := make([]Range, 0, len(ranges))
	for _, r := range ranges {
		at := len(joined)
		for i := 0; i < len(joined); i++ {
			if o := joined[i]; r.Start <= o.end() && o.Start <= r.end() {
				start := min(r.Start, o.Start)
				r = Range{Start: start, Length: max(r.end(), o.end()) - start}
				at = min(at, i)
				joined = slices.Delete(joined, i, i+1)
				i = -1 // r has grown: it may touch what it did not touch before
			}
		}
		joined = slices.Insert(joined, min(at, len(joined)), r)
	}
	return joined
}

// Missing gives what of want is not in have, in ascending order: what has to be
// fetched to have all of want. The ranges of have may overlap, in any order.
func Missing(have []Range, want Range) []Range {
	have = slices.Clone(have)
	slices.SortFunc(have, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	var missing []Range
	next := want.Start
	for _, h := range have {
		if h.Start >= want.end() {
			break
		}
		if h.Start > next {
			missing = append(missing, Range{Start: next, Length: h.Start - next})
		}
		next = max(next, h.end())
	}
	if next < want.end() {
		missing = append(missing, Range{Start: next, Length: want.end() - next})
	}
	return missing
}

// Align widens r to whole blocks of blockBytes, but not beyond size if that is
// known (not negative).
func Align(r Range, blockBytes, size int64) Range {
	start := r.Start / blockBytes * blockBytes
	end := r.end()
	if rest := end % blockBytes; rest > 0 && end <= positionMax-blockBytes {
		end += blockBytes - rest
	}
	if size >= 0 {
		end = min(end, size)
	}
	return Range{Start: start, Length: end - start}
}

// FillRange is the Range field that asks for r; without its end if r reaches to
// the end of a representation of size bytes.
func FillRange(r Range, size int64) string {
	text := r.ContentRange(max(size, r.end())) // "bytes first-last/size"
	text, _, _ = strings.Cut(text[len("bytes "):], "/")
	if r.end() == size {
		first, _, _ := strings.Cut(text, "-")
		text = first + "-"
	}
	return "bytes=" + text
}

// StrongValidator gives what may stand in If-Range for a stored response: its
// entity tag, if that is strong, else its Last-Modified, if that is at least a
// second older than its Date (section 8.8.2.2) and there is no entity tag. ""
// if it has no strong validator.
func StrongValidator(h http.Header) string {
	if etag := h.Get("Etag"); etag != "" {
		if tag := parseTag(etag); tag.opaque == "" || tag.weak {
			return ""
		}
		return strings.Trim(etag, " \t")
	}
	return strongDate(h)
}

// strongDate gives a Last-Modified that may stand for one content: it is at
// least a second older than the Date it came with (section 8.8.2.2).
func strongDate(h http.Header) string {
	modified, ok := parseDate(h.Get("Last-Modified"))
	if !ok {
		return ""
	}
	if date, ok := parseDate(h.Get("Date")); !ok || date.Sub(modified) < time.Second {
		return ""
	}
	return h.Get("Last-Modified")
}

// Combines says whether two partial responses, or a partial one and a stored
// incomplete one, are of one representation, so that their bytes may be joined
// (section 15.3.7.3, RFC 9111 section 3.4): they share a strong validator and,
// as far as they say, the content coding.
func Combines(a, b http.Header) bool {
	validator := StrongValidator(a)
	return validator != "" && validator == StrongValidator(b) &&
		slices.Equal(a.Values("Content-Encoding"), b.Values("Content-Encoding"))
}
