package rfc9111

import (
	"net/http"

	"github.com/dunglas/httpsfv"
)

// Limits of the groups of one response. RFC 9875 section 2 wants room for at
// least 32 groups of 32 characters.
const (
	groupsMax     = 128
	groupBytesMax = 256
)

// CacheGroups gives the groups that a response belongs to (RFC 9875 section 2):
// the members of Cache-Groups in order, each once. Two stored responses share a
// group if both name it and have the same origin. A field that is no list of
// strings counts as absent. A group longer than 256 bytes, and whatever comes
// after the first 128, is left out: its invalidation does not reach the
// response.
func CacheGroups(resp http.Header) []string {
	return stringList(resp.Values("Cache-Groups"))
}

// GroupInvalidation gives the groups of the same origin that the response to a
// request of this method makes invalid (RFC 9875 section 3), within the limits
// of CacheGroups. Where the method is safe or the status an error there are
// none.
func GroupInvalidation(method string, status int, resp http.Header) []string {
	if !Invalidates(method, status) {
		return nil
	}
	return stringList(resp.Values("Cache-Group-Invalidation"))
}

func stringList(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	var texts []string
	seen := map[string]bool{}
	for _, member := range list {
		text, ok := stringOf(member)
		if !ok {
			return nil
		}
		if len(texts) < groupsMax && len(text) <= groupBytesMax && !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return texts
}

// stringOf gives the value of a structured field string.
func stringOf(member httpsfv.Member) (string, bool) {
	item, ok := member.(httpsfv.Item)
	if !ok {
		return "", false
	}
	text, ok := item.Value.(string)
	return text, ok
}
