package rfc9111

import "strings"

// LoopField is the canonical name of the field by which CDNs notice that they
// send requests in a circle (RFC 8586).
const LoopField = "Cdn-Loop"

// Looped counts how often a request has been through the CDN of this id: the
// members of CDN-Loop whose cdn-id it is, letters in any case, parameters
// aside. What is malformed counts as far as it can be read, so that a broken
// member cannot hide a loop.
func Looped(values []string, id string) (times int) {
	for _, line := range values {
		for line != "" {
			n := loopMemberLen(line)
			name, _, _ := strings.Cut(line[:n], ";")
			if id != "" && strings.EqualFold(strings.Trim(name, " \t"), id) {
				times++
			}
			line = line[min(n+1, len(line)):]
		}
	}
	return times
}

// loopMemberLen is the length up to the first comma outside quoted strings. A
// quote that is never closed is none.
func loopMemberLen(line string) int {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ',':
			return i
		case '"':
			i += max(quotedLen(line[i:])-1, 0)
		}
	}
	return len(line)
}

// AppendLoop gives the CDN-Loop of a request that is sent on: what came, in
// order and as it was, and id at the end (RFC 8586 section 2). id is a token or
// host and port; it is written as it is.
func AppendLoop(values []string, id string) string {
	if len(values) == 0 {
		return id
	}
	return strings.Join(values, ", ") + ", " + id
}
