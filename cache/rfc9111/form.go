package rfc9111

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// Form says of a stored response what decides whether it may be answered in
// another content coding than the one that it is stored in.
type Form struct {
	// Coding is that of the stored bytes.
	Coding Coding
	// Text says that the media type is one that compresses well.
	Text bool
	// Fixed says that the response goes out as it is stored, to everyone.
	Fixed bool
}

// FormOf reads a stored response's form: status and the encoded header block,
// and the request fields that chose it among its variants. Fixed are
//
//   - other statuses than 200, and parts of a body (Content-Range);
//   - what says no-transform (section 5.2.2.6), in whichever field of control:
//     leaving content alone is never wrong;
//   - what the origin has coded and chose by Accept-Encoding: it negotiates for
//     itself. What it left as it is for a client that takes codings may be coded
//     here, as any proxy may (RFC 9110 section 7.7);
//   - several codings, and those that are not in Codings;
//   - archives whose coding says what their media type says already
//     (application/gzip in gzip): clients keep such a file as it is.
//
// It does not allocate.
func FormOf(status int, vary []string, block []byte) Form {
	form := Form{Fixed: status != http.StatusOK}
	if form.Fixed {
		return form
	}
	packed, codings := false, 0
	EachField(block, func(name, value []byte) bool {
		switch string(name) {
		case "Content-Type":
			form.Text, packed = textType(value), packedType(value)
		case "Content-Encoding":
			codings++
			c, ok := codingOf(value)
			form.Coding, form.Fixed = c, form.Fixed || !ok
		case "Content-Range":
			form.Fixed = true
		default:
			if bytes.HasSuffix(name, []byte("-Control")) && containsFold(value, "no-transform") {
				form.Fixed = true
			}
		}
		return !form.Fixed
	})
	chosen := form.Coding != CodingIdentity && slices.Contains(vary, "accept-encoding")
	form.Fixed = form.Fixed || chosen || codings > 1 || packed && form.Coding != CodingIdentity
	return form
}

// codingOf reads one Content-Encoding line that names one coding. An empty one
// means none.
func codingOf(value []byte) (Coding, bool) {
	if len(value) == 0 {
		return CodingIdentity, true
	}
	if len(value) > len("identity") {
		return 0, false
	}
	return ParseCoding(string(value))
}

// mediaTypeBytesMax is the length of the longest media type that is looked at.
const mediaTypeBytesMax = 64

// mediaType gives the type and subtype of a Content-Type in lower case, in buf;
// nothing if it is longer than any that is known.
func mediaType(buf *[mediaTypeBytesMax]byte, value []byte) []byte {
	value, _, _ = bytes.Cut(value, []byte(";"))
	value = bytes.TrimRight(value, " \t")
	if len(value) > len(buf) {
		return nil
	}
	for i, c := range value {
		buf[i] = lowerByte(c)
	}
	return buf[:len(value)]
}

// textType says whether a media type is text, or near enough to it to shrink by
// a good part. Images, sound, video, archives and WOFF fonts are compressed
// already. Events (text/event-stream) are read as they come.
func textType(value []byte) bool {
	var buf [mediaTypeBytesMax]byte
	name := mediaType(&buf, value)
	if bytes.HasPrefix(name, []byte("text/")) {
		return string(name) != "text/event-stream"
	}
	if bytes.HasSuffix(name, []byte("+xml")) || bytes.HasSuffix(name, []byte("+json")) || bytes.HasSuffix(name, []byte("+text")) {
		return true
	}
	switch string(name) {
	case "application/json", "application/javascript", "application/x-javascript", "application/ecmascript",
		"application/xml", "application/xml-dtd", "application/x-ndjson", "application/jsonlines", "application/json-seq",
		"application/yaml", "application/x-yaml", "application/toml", "application/sql", "application/graphql",
		"application/rtf", "application/x-sh", "application/x-tex", "application/wasm",
		"application/vnd.apple.mpegurl", "application/x-mpegurl", "application/x-subrip",
		"application/vnd.ms-fontobject", "application/x-font-ttf", "font/ttf", "font/otf", "font/collection",
		"image/bmp", "image/x-icon", "image/vnd.microsoft.icon":
		return true
	}
	return false
}

// packedType says whether a media type names a coded file.
func packedType(value []byte) bool {
	var buf [mediaTypeBytesMax]byte
	switch string(mediaType(&buf, value)) {
	case "application/gzip", "application/x-gzip", "application/gzip-compressed", "application/gzipped", "application/x-gunzip",
		"application/x-compressed", "application/x-tgz", "application/x-gtar-compressed", "application/zstd", "application/x-zstd":
		return true
	}
	return false
}

// containsFold looks for lower, which is in lower case, in text of any case.
func containsFold(text []byte, lower string) bool {
	for ; len(text) >= len(lower); text = text[1:] {
		i := 0
		for i < len(lower) && lowerByte(text[i]) == lower[i] {
			i++
		}
		if i == len(lower) {
			return true
		}
	}
	return false
}

// CodedTag gives the entity tag of a response in another coding than the one
// that etag came with. Strong tags name bytes (RFC 9110 section 8.8.3), so a
// strong one gets a part of its own, label; a weak one means the content and
// stays. "" for none and for one that is malformed.
func CodedTag(etag, label string) string {
	switch {
	case strings.HasPrefix(etag, `W/"`):
		return etag
	case len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"':
		return etag[:len(etag)-1] + "-" + label + `"`
	}
	return ""
}

// Strong says whether an entity tag names bytes (RFC 9110 section 8.8.1).
func Strong(etag string) bool { return strings.HasPrefix(etag, `"`) }

// CodedFields gives the fields of a stored response for its body in another
// coding: its own, with that Content-Encoding, with etag as ETag, without the
// digests of the bytes as they were (RFC 9530, RFC 1864, and what S3 and GCS
// say), and with Vary.
func CodedFields(stored http.Header, c Coding, etag string) http.Header {
	h := stored.Clone()
	for name := range h {
		if digestsBytes(name) {
			delete(h, name)
		}
	}
	delete(h, "Content-Encoding")
	if c != CodingIdentity {
		h["Content-Encoding"] = []string{c.String()}
	}
	delete(h, "Etag")
	if etag != "" {
		h["Etag"] = []string{etag}
	}
	VaryByCoding(h)
	return h
}

func digestsBytes(name string) bool {
	switch name {
	case "Content-Length", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "X-Goog-Hash":
		return true
	}
	return strings.HasPrefix(name, "X-Amz-Checksum-")
}

// VaryByCoding adds Accept-Encoding to Vary, unless it is there: the response
// is one of several that differ in their coding (RFC 9110 section 12.5.5).
func VaryByCoding(h http.Header) {
	fields, star := VaryFields(h)
	if star || slices.Contains(fields, "accept-encoding") {
		return
	}
	if len(h["Vary"]) == 0 {
		h["Vary"] = []string{"Accept-Encoding"}
		return
	}
	h["Vary"] = []string{strings.Join(h["Vary"], ", ") + ", Accept-Encoding"}
}
