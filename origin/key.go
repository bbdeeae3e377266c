package origin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// keyBytesMax is the longest S3 object key, in bytes of UTF-8.
const keyBytesMax = 1024

// refusal is why a path is no key that a store may be asked for.
type refusal struct {
	status int // 400 for a path that no honest client sends, 404 for one that can name nothing
	reason string
}

func (r *refusal) Error() string { return r.reason }

// objectKey turns a request's path into the key of an object under prefix: the
// decoded path without its leading slash. It refuses every path that some
// store, file system or proxy might read as a different place than the one it
// spells: what comes back is always prefix followed by plain segments.
func objectKey(u *url.URL, prefix string) (string, *refusal) {
	if u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return "", &refusal{http.StatusBadRequest, "the request target is not a path"}
	}
	path := u.Path[1:]
	if reason := unsafePath(u.EscapedPath(), path); reason != "" {
		return "", &refusal{http.StatusBadRequest, reason}
	}
	if path == "" {
		return "", &refusal{http.StatusNotFound, "no object has an empty name"}
	}
	if strings.HasPrefix(path, "/") || strings.Contains(path, "//") {
		return "", &refusal{http.StatusNotFound, "no object has an empty segment in its name"}
	}
	if n := len(prefix) + len(path); n > keyBytesMax {
		return "", &refusal{http.StatusNotFound, fmt.Sprintf("no object has a name of %d bytes, the limit is %d", n, keyBytesMax)}
	}
	return prefix + path, nil
}

// unsafePath says what is wrong with a path, or "". escaped is the path as it
// came, path the decoded one without its leading slash.
func unsafePath(escaped, path string) string {
	switch {
	case strings.Contains(strings.ToLower(escaped), "%2f"):
		return "the path has an encoded slash"
	case !utf8.ValidString(path):
		return "the path is not UTF-8"
	case strings.ContainsFunc(path, unicode.IsControl):
		return "the path has a control character"
	case strings.Contains(path, `\`):
		return "the path has a backslash"
	case encodedTwice(path):
		return "the path has an escape within an escape"
	case hasDotSegment(path):
		return "the path has a dot segment"
	}
	return ""
}

// hasDotSegment says whether a decoded path has a segment that means another
// one (RFC 3986 section 3.3), to servers that take a backslash for a slash too.
func hasDotSegment(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// encodedTwice finds, in a path that has been decoded once, an escape that a
// second decoding would turn into something refused above. No store should
// decode twice; one that does must still not be led astray.
func encodedTwice(path string) bool {
	for i := 0; i+2 < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		b, err := url.PathUnescape(path[i : i+3])
		if err != nil {
			continue
		}
		if strings.ContainsAny(b, `/\.%`) || b[0] < 0x20 || b[0] == 0x7f {
			return true
		}
	}
	return false
}

// cleanPrefix checks a configured prefix by the rules for paths and ends it
// with a slash.
func cleanPrefix(prefix string) (string, error) {
	if prefix == "" {
		return "", nil
	}
	prefix = strings.TrimSuffix(prefix, "/") + "/"
	if _, refused := objectKey(&url.URL{Path: "/" + prefix}, ""); refused != nil {
		return "", refused
	}
	return prefix, nil
}
