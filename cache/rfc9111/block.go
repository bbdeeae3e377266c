package rfc9111

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// An encoded header block is what goes on an HTTP/1.1 wire, less the empty line
// at its end:
//
//	name ":" SP value CR LF     for each line of each field
//
// Names are canonical and sorted; lines of one field keep their order. No name
// or value has CR, LF or NUL in it, so a block can be written out as it is.

// AppendFields appends h as an encoded header block. A field whose name is no
// token, or that has CR, LF or NUL in any of its values, is left out whole: a
// part of it could mean something else. White space around values is dropped.
func AppendFields(dst []byte, h http.Header) []byte {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	// By canonical spelling first, so that lines of differently spelt names
	// come together, and then in one order every time.
	slices.SortFunc(names, func(a, b string) int {
		if c := strings.Compare(http.CanonicalHeaderKey(a), http.CanonicalHeaderKey(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		if isToken(name) && !slices.ContainsFunc(h[name], breaksLine) {
			dst = appendField(dst, http.CanonicalHeaderKey(name), h[name])
		}
	}
	return dst
}

func appendField(dst []byte, name string, lines []string) []byte {
	for _, line := range lines {
		dst = append(dst, name...)
		dst = append(dst, ": "...)
		dst = append(dst, strings.Trim(line, " \t")...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func breaksLine(value string) bool { return strings.ContainsAny(value, "\r\n\x00") }

// EachField calls f for each line of an encoded header block until f returns
// false. Lines that AppendFields would not have written are skipped, so f never
// sees a value that could break out of its line. name and value are parts of
// block: they are to be copied if kept. It does not allocate.
func EachField(block []byte, f func(name, value []byte) bool) {
	for len(block) > 0 {
		line, rest, _ := bytes.Cut(block, crlf)
		block = rest
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !isTokenBytes(line[:colon]) {
			continue
		}
		value := bytes.Trim(line[colon+1:], " \t")
		if bytes.IndexByte(value, '\r') >= 0 || bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, 0) >= 0 {
			continue
		}
		if !f(line[:colon], value) {
			return
		}
	}
}

var crlf = []byte("\r\n")

func isTokenBytes(text []byte) bool {
	for _, c := range text {
		if !isTokenByte(c) {
			return false
		}
	}
	return len(text) > 0
}

// ParseFields reads an encoded header block into a header of its own, skipping
// what EachField skips. It is never nil.
func ParseFields(block []byte) http.Header {
	h := http.Header{}
	EachField(block, func(name, value []byte) bool {
		h.Add(string(name), string(value))
		return true
	})
	return h
}
