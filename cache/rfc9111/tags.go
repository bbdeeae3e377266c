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

// OtherTags stands, as the last of a response's tags, for those that were too many or
// too long to keep: a purge of any tag covers the response. With a comma and a
// space in it, it can be in neither of the fields.
const OtherTags = "and, others"

// Tags gives the names by which a response can be purged: the members of
// Surrogate-Key (between white space) and of Cache-Tag (between commas), in
// order, each once, letters in the case they have. A tag longer than 1024 bytes
// is left out, and so is whatever comes after the first 1000 tags or would take
// them over 16 KiB together; OtherTags takes the place of what was left out.
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
	if set.lost {
		set.tags = append(set.tags, OtherTags)
	}
	return set.tags
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

type tagSet struct {
	tags  []string
	seen  map[string]bool
	bytes int
	full  bool // no more are taken
	lost  bool // some were left out
}

func (s *tagSet) add(tag string) {
	if tag == "" || s.seen[tag] {
		return
	}
	if s.full = s.full || len(s.tags) == tagsMax || s.bytes+len(tag) > tagsBytesMax; s.full || len(tag) > tagBytesMax {
		s.lost = true
		return
	}
	s.seen[tag] = true
	s.tags = append(s.tags, tag)
	s.bytes += len(tag)
}
