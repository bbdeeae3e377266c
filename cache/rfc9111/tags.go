package rfc9111

import (
	"net/http"
	"strings"
)

// Limits of the tags of one response.
const (
	tagsMax      = 1000
	tagBytesMax  = 1024      // of one tag
	tagsBytesMax = 16 * 1024 // of all tags together
)

// Tags gives the names by which a response can be purged: the members of
// Surrogate-Key (between white space) and of Cache-Tag (between commas), in
// order, each once, letters in the case they have. A tag longer than 1024 bytes
// is left out, and so is whatever comes after the first 1000 tags or would take
// them over 16 KiB together: a purge of such a tag does not reach the response.
func Tags(resp http.Header) []string {
	set := tagSet{seen: map[string]bool{}}
	for _, line := range resp.Values("Surrogate-Key") {
		for tag := range strings.FieldsFuncSeq(line, isBlank) {
			set.add(tag)
		}
	}
	for _, line := range resp.Values("Cache-Tag") {
		for tag := range strings.SplitSeq(line, ",") {
			set.add(strings.Trim(tag, " \t"))
		}
	}
	return set.tags
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

type tagSet struct {
	tags  []string
	seen  map[string]bool
	bytes int
	full  bool
}

func (s *tagSet) add(tag string) {
	if s.full || tag == "" || len(tag) > tagBytesMax || s.seen[tag] {
		return
	}
	if len(s.tags) == tagsMax || s.bytes+len(tag) > tagsBytesMax {
		s.full = true
		return
	}
	s.seen[tag] = true
	s.tags = append(s.tags, tag)
	s.bytes += len(tag)
}
