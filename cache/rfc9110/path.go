package rfc9110

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// pathBytesMax is the longest path taken, before and after normalisation.
const pathBytesMax = 8 * 1024

// PathProblem names what is wrong with a path.
type PathProblem uint8

// The problems that NormalisePath finds.
const (
	PathNotAbsolute     PathProblem = iota + 1 // does not begin with "/"
	PathTooLong                                // above 8 KiB
	PathBadEscape                              // "%" without two hexadecimal digits after it
	PathControlByte                            // a byte below 0x20, or 0x7f; escaped or not
	PathDotSegment                             // a segment "." or ".."; escaped or not
	PathNotUTF8                                // what the escapes stand for is not UTF-8
	PathQueryOrFragment                        // "?" or "#": this is more than a path
)

// String says the problem in words that may be shown to a client.
func (p PathProblem) String() string {
	switch p {
	case PathNotAbsolute:
		return "does not begin with a slash"
	case PathTooLong:
		return "is longer than 8 KiB"
	case PathBadEscape:
		return "has a malformed percent escape"
	case PathControlByte:
		return "has a control byte"
	case PathDotSegment:
		return "has a dot segment"
	case PathNotUTF8:
		return "is not UTF-8"
	case PathQueryOrFragment:
		return "has a query or a fragment"
	default:
		return "has an unknown problem"
	}
}

// PathError is the error of NormalisePath.
type PathError struct {
	Problem PathProblem
	Offset  int // bytes from the start of the path to where it was noticed
}

func (e *PathError) Error() string {
	return fmt.Sprintf("path %s (at byte %d)", e.Problem, e.Offset)
}

// NormalisePath gives the one spelling of an escaped path that cache keys and
// purge targets use (RFC 3986 sections 6.2.2.1, 6.2.2.2): escapes of unreserved
// characters are decoded, all others have upper-case digits, and what may not
// stand bare in a path is escaped. A slash that came escaped stays escaped (see
// HasEncodedSlash), and so does a backslash. Empty segments stay.
//
// A path that could mean something else further on is an error, always a
// *PathError: see PathProblem. For dot segments escaped slashes and backslashes
// count as separators, since an origin may take them for such. The result
// normalises to itself. A path that is normal already costs no allocation.
func NormalisePath(escapedPath string) (string, error) {
	if !strings.HasPrefix(escapedPath, "/") {
		return "", &PathError{Problem: PathNotAbsolute}
	}
	if len(escapedPath) > pathBytesMax {
		return "", &PathError{Problem: PathTooLong, Offset: pathBytesMax}
	}
	if isPlainPath(escapedPath) {
		return escapedPath, nil
	}
	w := pathWriter{
		path:    make([]byte, 0, len(escapedPath)+16),
		decoded: make([]byte, 0, len(escapedPath)),
	}
	for i := 0; i < len(escapedPath); {
		n, problem := w.add(escapedPath[i:])
		if problem != 0 {
			return "", &PathError{Problem: problem, Offset: i}
		}
		i += n
	}
	if problem := w.finish(); problem != 0 {
		return "", &PathError{Problem: problem, Offset: len(escapedPath)}
	}
	return string(w.path), nil
}

// isPlainPath says that a path is normal as it is: no escapes, nothing to
// escape, and no segment that begins with a dot, so that none can be a dot
// segment.
func isPlainPath(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c == '/':
		case !isBare(c):
			return false
		case c == '.' && path[i-1] == '/': // path begins with a slash: i > 0
			return false
		}
	}
	return true
}

// pathWriter builds the normal path, and beside it what the path stands for.
type pathWriter struct {
	path    []byte
	decoded []byte
	segment int // where the segment being read began in decoded
}

// add takes one byte or escape from the start of rest and says how many bytes
// that was.
func (w *pathWriter) add(rest string) (n int, problem PathProblem) {
	c, n := rest[0], 1
	if c == '%' {
		if len(rest) < 3 || !isHex(rest[1]) || !isHex(rest[2]) {
			return 0, PathBadEscape
		}
		c, n = unhex(rest[1])<<4|unhex(rest[2]), 3
	}
	if c < 0x20 || c == 0x7f {
		return 0, PathControlByte
	}
	switch escaped := n == 3; {
	case !escaped && (c == '?' || c == '#'):
		return 0, PathQueryOrFragment
	case escaped && isUnreserved(c), !escaped && (c == '/' || isBare(c)):
		w.path = append(w.path, c)
	default:
		w.path = append(w.path, '%', upperHex[c>>4], upperHex[c&15])
	}
	if c == '/' || c == '\\' {
		problem = w.endSegment()
	}
	w.decoded = append(w.decoded, c)
	if c == '/' || c == '\\' {
		w.segment = len(w.decoded)
	}
	return n, problem
}

func (w *pathWriter) endSegment() PathProblem {
	if s := string(w.decoded[w.segment:]); s == "." || s == ".." {
		return PathDotSegment
	}
	return 0
}

func (w *pathWriter) finish() PathProblem {
	switch problem := w.endSegment(); {
	case problem != 0:
		return problem
	case !utf8.Valid(w.decoded):
		return PathNotUTF8
	case len(w.path) > pathBytesMax:
		return PathTooLong
	}
	return 0
}

// HasEncodedSlash says whether a path has an escaped slash, which is no
// separator to HTTP but one to whoever decodes first and splits then.
func HasEncodedSlash(path string) bool {
	return strings.Contains(path, "%2F") || strings.Contains(path, "%2f")
}

// SplitTarget splits a request target in origin form at its first "?". The
// query has no "?"; it is "" both for "/a" and for "/a?".
func SplitTarget(target string) (path, query string) {
	path, query, _ = strings.Cut(target, "?")
	return path, query
}

const upperHex = "0123456789ABCDEF"

// isUnreserved is unreserved of RFC 3986 section 2.3.
func isUnreserved(c byte) bool {
	switch {
	case 'a' <= lower(c) && lower(c) <= 'z', isDigit(c):
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

// isBare says that c may stand unescaped within a segment: pchar of RFC 3986
// section 3.3, less the escapes.
func isBare(c byte) bool {
	return isUnreserved(c) || strings.IndexByte("!$&'()*+,;=:@", c) >= 0
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= lower(c) && lower(c) <= 'f'
}

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}
