package httpcache

import (
	"mime"
	"net/http"
	"strings"

	"weir/cache/rfc9111"
	"weir/storage"
)

// hintsMax bounds the links of one 103.
const hintsMax = 20

// takesHints says whether the client is one for early hints. Only browsers on
// HTTP/2 and HTTP/3 make use of them, and clients of HTTP/1.1 are known to take a
// 103 for the answer.
func (o *writer) takesHints() bool {
	return o.r.ProtoMajor >= 2 && o.r.Method == http.MethodGet && o.h.Face == FaceClients
}

// hint tells the client, in a 103 (RFC 8297), what the page that it waits for
// will want to load: what the stored one, which is being validated or replaced,
// says in Link.
func (o *writer) hint(stored *storage.Meta) {
	if stored.Status != http.StatusOK {
		return
	}
	header := rfc9111.ParseFields(stored.Header)
	if media, _, _ := mime.ParseMediaType(header.Get("Content-Type")); media != "text/html" {
		return
	}
	if links := hintLinks(header.Values("Link")); len(links) > 0 {
		o.interim.send(http.StatusEarlyHints, http.Header{"Link": links})
	}
}

// hintLinks gives the links of a Link field (RFC 8288 section 3) that say what
// to load or whom to connect to, as they stand.
func hintLinks(lines []string) []string {
	var links []string
	for _, line := range lines {
		for line != "" {
			var link string
			link, line = cutLink(line)
			if len(links) < hintsMax && hintRelation(link) {
				links = append(links, link)
			}
		}
	}
	return links
}

// cutLink cuts at the first comma that is neither within <> nor quoted.
func cutLink(line string) (link, rest string) {
	var within byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case within == '"' && c == '\\':
			i++
		case within != 0:
			if c == within {
				within = 0
			}
		case c == '<':
			within = '>'
		case c == '"':
			within = '"'
		case c == ',':
			return strings.Trim(line[:i], " \t"), line[i+1:]
		}
	}
	return strings.Trim(line, " \t"), ""
}

// hintRelation says whether a link has a target and its first rel names only
// relations that are of use before the page is there.
func hintRelation(link string) bool {
	target, params, ok := strings.Cut(link, ">")
	if !ok || !strings.HasPrefix(target, "<") {
		return false
	}
	for params != "" {
		var param string
		param, params = cutParam(params)
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.Trim(name, " \t"), "rel") {
			continue
		}
		relations := strings.Fields(strings.Trim(value, "\" \t"))
		for _, relation := range relations {
			switch strings.ToLower(relation) {
			case "preload", "modulepreload", "preconnect":
			default:
				return false
			}
		}
		return len(relations) > 0
	}
	return false
}

// cutParam cuts at the first semicolon that is not quoted.
func cutParam(params string) (param, rest string) {
	quoted := false
	for i := 0; i < len(params); i++ {
		switch c := params[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return params[:i], params[i+1:]
		}
	}
	return params, ""
}
