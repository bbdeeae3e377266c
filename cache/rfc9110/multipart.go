package rfc9110

import (
	"strconv"
	"strings"
)

// Multipart is the body of a 206 with several parts, multipart/byteranges
// (section 14.6), less the bytes of the representation:
//
//	"--" boundary CR LF                   before it CR LF, save for the first
//	"Content-Type: " type CR LF           if the representation has one
//	"Content-Range: " range CR LF CR LF
//	the part's bytes
//	…
//	CR LF "--" boundary "--" CR LF
type Multipart struct {
	boundary, contentType string
	size                  int64
	parts                 []Range
}

// NewMultipart makes the body for parts, which lie within a representation of
// size bytes whose Content-Type is contentType, "" for none. boundary comes
// from Boundary. A Content-Type that would break out of its line is left out.
func NewMultipart(boundary, contentType string, size int64, parts []Range) *Multipart {
	if strings.ContainsAny(contentType, "\r\n\x00") {
		contentType = ""
	}
	return &Multipart{boundary, contentType, size, parts}
}

// Boundary makes a boundary of 128 random bits: no body has it by accident.
func Boundary(high, low uint64) string {
	b := make([]byte, 0, 32)
	for _, bits := range [...]uint64{high, low} {
		for shift := 60; shift >= 0; shift -= 4 {
			b = append(b, "0123456789abcdef"[bits>>shift&15])
		}
	}
	return string(b)
}

// ContentType is the Content-Type of the response.
func (m *Multipart) ContentType() string { return "multipart/byteranges; boundary=" + m.boundary }

// Parts are the ranges, in order.
func (m *Multipart) Parts() []Range { return m.parts }

// AppendPart appends what stands before the bytes of part i.
func (m *Multipart) AppendPart(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "--"...)
	dst = append(dst, m.boundary...)
	if m.contentType != "" {
		dst = append(dst, "\r\nContent-Type: "...)
		dst = append(dst, m.contentType...)
	}
	dst = append(dst, "\r\nContent-Range: "...)
	dst = append(dst, m.parts[i].ContentRange(m.size)...)
	return append(dst, "\r\n\r\n"...)
}

// AppendEnd appends what stands after the bytes of the last part.
func (m *Multipart) AppendEnd(dst []byte) []byte {
	dst = append(dst, "\r\n--"...)
	dst = append(dst, m.boundary...)
	return append(dst, "--\r\n"...)
}

// Length is the exact length of the body in bytes, which Content-Length may say.
func (m *Multipart) Length() int64 {
	const crlf, dashes, dash = 2, 2, 1
	framing := dashes + len(m.boundary) + len("\r\nContent-Range: bytes ") + 2*crlf
	if m.contentType != "" {
		framing += len("\r\nContent-Type: ") + len(m.contentType)
	}
	n := int64(len(m.parts)-1) * crlf
	for _, r := range m.parts {
		numbers := digits(r.Start) + dash + digits(r.end()-1) + len("/") + digits(m.size)
		n += int64(framing+numbers) + r.Length
	}
	return n + int64(crlf+dashes+len(m.boundary)+dashes+crlf)
}

// digits is how many decimal digits v has.
func digits(v int64) int {
	var room [20]byte
	return len(strconv.AppendInt(room[:0], v, 10))
}
