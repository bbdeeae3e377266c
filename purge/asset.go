package purge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Assets says what in a site's URLs is a version, for purges of scope asset:
// what is left of a URL without it is the asset. The record of such a purge
// carries them, so that what it covers outlives a change of the site's policy.
//
//	/js/app.3f9a.js      a fingerprint in the name          /js/app.js
//	/v42/js/app.js       a segment of the path              /js/app.js
//	/js/app.js?v=42      a parameter of the query           /js/app.js
type Assets struct {
	// FingerprintMin is the least length of a fingerprint in a name, in
	// hexadecimal digits, from 4; 0 for names without fingerprints.
	FingerprintMin int
	// Segments are the segments of a path, before its last slash, that are
	// versions: a text, then "#" for a number with dots or "*" for anything.
	Segments []string
	// Params are the names of the parameters whose values are versions.
	Params []string
}

// Limits of Assets.
const (
	assetPatternsMax     = 16 // segments, and parameters
	assetPatternBytesMax = 64
	fingerprintMinLeast  = 4
	fingerprintMinMost   = 64
	// codedBytes is how long a fingerprint in the letters of base 64 is at
	// least, and one with "-" or "_" among them exactly.
	codedBytes = 8
)

// DefaultAssets are those of a site that says nothing.
func DefaultAssets() Assets {
	return Assets{
		FingerprintMin: fingerprintMinLeast,
		Segments:       []string{"v#"},
		Params:         []string{"v", "ver", "version"},
	}
}

// Check says what is wrong with a, as a *FieldError whose fields are those of
// the encoding: fingerprint_min, segments[0], params[0].
func (a *Assets) Check() error {
	if n := a.FingerprintMin; n != 0 && (n < fingerprintMinLeast || n > fingerprintMinMost) {
		return fieldError("fingerprint_min", "must be 0 for none, or from %d to %d", fingerprintMinLeast, fingerprintMinMost)
	}
	if len(a.Segments) > assetPatternsMax {
		return fieldError("segments", "more than %d", assetPatternsMax)
	}
	if len(a.Params) > assetPatternsMax {
		return fieldError("params", "more than %d", assetPatternsMax)
	}
	for i, s := range a.Segments {
		if problem := segmentProblem(s); problem != "" {
			return fieldError(fmt.Sprintf("segments[%d]", i), "%s", problem)
		}
	}
	for i, p := range a.Params {
		if p == "" || len(p) > assetPatternBytesMax || strings.ContainsFunc(p, notParam) {
			return fieldError(fmt.Sprintf("params[%d]", i), "must be a parameter's name as it stands in URLs, of at most %d bytes", assetPatternBytesMax)
		}
	}
	return nil
}

// segmentProblem says what is wrong with a pattern of Segments, or "".
func segmentProblem(s string) string {
	if len(s) > assetPatternBytesMax {
		return fmt.Sprintf("longer than %d bytes", assetPatternBytesMax)
	}
	if s == "" {
		return "empty"
	}
	text, kind := s[:len(s)-1], s[len(s)-1]
	switch {
	case kind != '#' && kind != '*':
		return `must end in # for a number, as in "v#", or in * for anything, as in "release-*"`
	case kind == '*' && text == "":
		return `"*" would take every segment for a version: write what such segments begin with`
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/?#*%", r) }):
		return "must be plain characters of a path, then # or * as the last"
	}
	return ""
}

func notParam(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("&=#?", r) }

// Of gives the asset that a target is a version of. target is a path with its
// query, without a host, as in cache keys.
func (a *Assets) Of(target string) (asset string, versioned bool) {
	b, versioned := a.appendAsset(nil, matched(target))
	return string(b), versioned
}

// appendAsset appends to b the asset that a target is a version of: the target,
// with its path in the form of matched, without its versions. versioned says
// whether there were any.
func (a *Assets) appendAsset(b []byte, target string) (asset []byte, versioned bool) {
	path, query, hasQuery := strings.Cut(target, "?")
	slash := strings.LastIndexByte(path, '/') + 1
	folder, name := path[:slash], path[slash:]
	begin := len(b)
	b = a.appendFolder(b, folder)
	versioned = len(b)-begin != len(folder)
	short := len(b)
	b = a.appendName(b, name)
	versioned = versioned || len(b)-short != len(name)
	if !hasQuery {
		return b, versioned
	}
	b, cut := a.appendQuery(b, query)
	return b, versioned || cut
}

// appendFolder leaves out the segments that are versions. folder is "" or ends
// in a slash.
func (a *Assets) appendFolder(b []byte, folder string) []byte {
	for folder != "" {
		end := strings.IndexByte(folder, '/')
		if segment := folder[:end]; !slices.ContainsFunc(a.Segments, func(p string) bool { return isSegment(p, segment) }) {
			b = append(b, folder[:end+1]...)
		}
		folder = folder[end+1:]
	}
	return b
}

func isSegment(pattern, segment string) bool {
	last := len(pattern) - 1
	rest, found := strings.CutPrefix(segment, pattern[:last])
	if !found || rest == "" {
		return false
	}
	return pattern[last] == '*' || rest[0] != '.' && strings.Trim(rest, "0123456789.") == ""
}

// appendName leaves out the last fingerprint of a name, with what separates it
// from what is before it: that is the name proper, which is never one.
func (a *Assets) appendName(b []byte, name string) []byte {
	if from, to := a.fingerprint(name); from > 0 {
		return append(append(b, name[:from-1]...), name[to:]...)
	}
	return append(b, name...)
}

// fingerprint gives where the fingerprint of a name stands; from is 0 if there
// is none. The extension is none, so that a name needs one.
func (a *Assets) fingerprint(name string) (from, to int) {
	to = strings.LastIndexByte(name, '.')
	if a.FingerprintMin == 0 || to <= 0 {
		return 0, 0
	}
	// Bundlers that write base 64 have "-" and "_" in fingerprints as well.
	if from = to - codedBytes; from > 1 && strings.IndexByte(".-_", name[from-1]) >= 0 && isCoded(name[from:to]) {
		return from, to
	}
	for to > 0 {
		from = strings.LastIndexAny(name[:to], ".-_") + 1
		if from <= 1 {
			return 0, 0
		}
		if a.isFingerprint(name[from:to]) {
			return from, to
		}
		to = from - 1
	}
	return 0, 0
}

// isFingerprint takes hexadecimal digits, and longer texts in which digits or
// capitals stand as in no word. Where it takes a word for a fingerprint, a purge
// covers more than it should; the other error would keep what was purged.
func (a *Assets) isFingerprint(part string) bool {
	lower, upper, digits := kinds(part)
	switch {
	case lower+upper+digits != len(part):
		return false
	case len(part) >= a.FingerprintMin && strings.Trim(part, "0123456789abcdefABCDEF") == "":
		return true
	}
	capitalised := upper == 1 && part[0] >= 'A' && part[0] <= 'Z'
	return len(part) >= codedBytes && (digits > 0 || lower > 0 && upper > 0 && !capitalised)
}

// Fingerprinted says whether a target's name has a fingerprint beyond doubt, so
// that a browser may be told to keep it for good. Purges take every text that
// might be one for a fingerprint, since covering too much is harmless; here that
// would be the harm, so that dates, years, words with a number and camel case
// (report-2024.pdf, app.face.js, bootstrap5.min.css) are none. What is left is
// what bundlers write: 8 hexadecimal digits or more of one case, or 8 characters
// of base 32 or 64. Of those, a few in a hundred look like words and are missed.
func (a *Assets) Fingerprinted(target string) bool {
	part := a.fingerprintOf(target)
	return part != "" && isBeyondDoubt(part)
}

// PerhapsFingerprinted says whether a target's name has what a bundler may have
// written as a fingerprint: 8 characters or more that are no year and what follows
// it. It is true of every name that Fingerprinted is true of, and of those that look
// like a word and a number or like a number, as a few in a hundred do.
func (a *Assets) PerhapsFingerprinted(target string) bool {
	part := a.fingerprintOf(target)
	_, _, digits := kinds(part)
	date := digits == len(part) && (strings.HasPrefix(part, "19") || strings.HasPrefix(part, "20"))
	return len(part) >= codedBytes && !date
}

// fingerprintOf gives the fingerprint in the last segment of a target's path, "" for none.
func (a *Assets) fingerprintOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	name := path[strings.LastIndexByte(path, '/')+1:]
	from, to := a.fingerprint(name)
	return name[from:to]
}

func isBeyondDoubt(part string) bool {
	lower, upper, digits := kinds(part)
	// A word, and then its number, is no more than a name.
	word := strings.TrimRight(part, "0123456789")
	wordLower, wordUpper, wordDigits := kinds(word)
	capitalised := wordUpper == 1 && word[0] >= 'A' && word[0] <= 'Z'
	if wordDigits == 0 && (wordLower == 0 || wordUpper == 0 || capitalised) && len(word) == wordLower+wordUpper && digits > 0 {
		return false
	}
	switch {
	case len(part) < codedBytes || digits == len(part):
		return false
	case strings.Trim(part, "0123456789abcdef") == "" || strings.Trim(part, "0123456789ABCDEF") == "":
		return digits > 0
	case len(part) != codedBytes:
		return false
	case lower+upper+digits < len(part): // with "-" or "_" among them, as isCoded
		return upper > 1
	}
	return upper > 1 && (digits > 0 || lower > 0)
}

// isCoded is for a part with separators in it: it has to look like no two words.
func isCoded(part string) bool {
	lower, upper, digits := kinds(part)
	separators := strings.Count(part, "-") + strings.Count(part, "_")
	return separators > 0 && lower+upper+digits+separators == len(part) && lower > 0 && upper > 1
}

// kinds counts the ASCII letters and digits of a text.
func kinds(text string) (lower, upper, digits int) {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z':
			lower++
		case 'A' <= c && c <= 'Z':
			upper++
		case '0' <= c && c <= '9':
			digits++
		}
	}
	return lower, upper, digits
}

// appendQuery leaves out the parameters that are versions.
func (a *Assets) appendQuery(b []byte, query string) (_ []byte, cut bool) {
	separator := byte('?')
	for param := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(param, "=")
		if slices.Contains(a.Params, name) {
			cut = true
			continue
		}
		b = append(append(b, separator), param...)
		separator = '&'
	}
	return b, cut
}

// equal says whether both find the same assets.
func (a *Assets) equal(other *Assets) bool {
	return a.FingerprintMin == other.FingerprintMin && slices.Equal(a.Segments, other.Segments) && slices.Equal(a.Params, other.Params)
}

// wireAssets is the encoding of Assets in a record.
type wireAssets struct {
	FingerprintMin int      `json:"fingerprint_min"`
	Segments       []string `json:"segments,omitempty"`
	Params         []string `json:"params,omitempty"`
}

// decodeAssets reads the value of a record's "assets".
func decodeAssets(dec *json.Decoder) (*Assets, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	a := new(Assets)
	err := decodeObject(raw, func(name string, dec *json.Decoder) error {
		switch name {
		case "fingerprint_min":
			if err := dec.Decode(&a.FingerprintMin); err != nil {
				return fieldError(name, "must be a whole number")
			}
			return nil
		case "segments":
			return decodeStrings(name, assetPatternsMax, dec, &a.Segments)
		case "params":
			return decodeStrings(name, assetPatternsMax, dec, &a.Params)
		default:
			return fieldError(clip(name), "unknown field")
		}
	})
	if err == nil {
		err = a.Check()
	}
	if err != nil {
		return nil, fieldError("assets", "%v", err)
	}
	return a, nil
}
