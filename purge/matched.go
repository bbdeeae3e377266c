package purge

import "strings"

// matched is the form in which paths are compared with purges. RFC 3986 section
// 2.2 lets "/a&b" and "/a%26b" be two resources, and so they have two keys; a
// store of files sees one, and clients differ in what they escape. A purge of
// either covers both. Queries are compared as they are.
//
// target has gone through rfc9110.NormalisePath: escapes are whole and in upper
// case. What has nothing to decode is returned as it is, without allocating.
func matched(target string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	if !strings.Contains(path, "%") {
		return target
	}
	b := make([]byte, 0, len(target))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			c := unhex(path[i+1])<<4 | unhex(path[i+2])
			if strings.IndexByte("!$&'()*+,;=:@", c) >= 0 {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, path[i])
	}
	if hasQuery {
		b = append(b, '?')
		b = append(b, query...)
	}
	return string(b)
}

func unhex(c byte) byte {
	if c >= 'A' {
		return c - 'A' + 10
	}
	return c - '0'
}
