package httpcache

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"

	"weir/cache"
	"weir/cache/rfc9110"
)

// ranged answers 206 for the satisfiable ranges of a body whose length is
// known, 416 for none that is satisfiable, and 200 otherwise: a server may
// ignore Range (RFC 9110 section 14.2), which is what a flood of ranges gets.
func (o *writer) ranged(a *cache.Answer, size int64) {
	if a.Whole {
		o.body(a, http.StatusOK, 0, -1, size)
		return
	}
	ranges, verdict := rfc9110.Select(o.r.Method, o.r.Header, o.w.Header(), size)
	if given, field, ok := a.Given(ranges); ok && verdict != rfc9110.None {
		o.w.Header().Set("Content-Range", field)
		o.body(a, http.StatusPartialContent, given.Start, given.Length, given.Length)
		return
	}
	switch verdict {
	case rfc9110.Unsatisfiable:
		o.withoutContent()
		o.w.Header().Set("Content-Range", rfc9110.UnsatisfiedRange(size))
		o.begin(http.StatusRequestedRangeNotSatisfiable)
	case rfc9110.Satisfiable:
		if a.Streaming() {
			// A body that is arriving is read forwards: what was read may be
			// gone if the store takes no more of it.
			slices.SortFunc(ranges, func(a, b rfc9110.Range) int { return cmp.Compare(a.Start, b.Start) })
		}
		o.partial(a, rfc9110.Coalesce(ranges), size)
	default:
		o.body(a, http.StatusOK, 0, -1, size)
	}
}

func (o *writer) partial(a *cache.Answer, ranges []rfc9110.Range, size int64) {
	if len(ranges) > 1 {
		o.parts(a, ranges, size)
		return
	}
	r := ranges[0]
	o.w.Header().Set("Content-Range", r.ContentRange(size))
	o.body(a, http.StatusPartialContent, r.Start, r.Length, r.Length)
}

// parts writes several ranges as multipart/byteranges (RFC 9110 section 14.6).
func (o *writer) parts(a *cache.Answer, ranges []rfc9110.Range, size int64) {
	header := o.w.Header()
	m := rfc9110.NewMultipart(boundaryOf(a, o.r.Header.Get("Range")), header.Get("Content-Type"), size, ranges)
	header.Set("Content-Type", m.ContentType())
	header.Set("Content-Length", strconv.FormatInt(m.Length(), 10))
	o.flush = a.Streaming()
	o.begin(http.StatusPartialContent)
	for i, r := range m.Parts() {
		if !o.text(m.AppendPart(nil, i)) || !o.bytes(a, r.Start, r.Length) {
			return
		}
	}
	o.text(m.AppendEnd(nil))
	o.hurry()
}

// boundaryOf makes the delimiter of the parts. It depends on when the object
// arrived, to the nanosecond, which nobody who wrote the content could know.
// The same ranges of the same object give the same bytes.
func boundaryOf(a *cache.Answer, ranges string) string {
	h := fnv.New128a()
	_, _ = fmt.Fprintf(h, "%d %s%s %s %s", a.Meta.Stored.ResponseTime.UnixNano(), a.Meta.Host, a.Meta.Target, a.Meta.ETag, ranges)
	sum := h.Sum(nil)
	return rfc9110.Boundary(binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:]))
}
