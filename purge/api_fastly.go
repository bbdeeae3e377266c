package purge

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// fastlyPath is where the calls of clients made for Fastly begin.
const fastlyPath = "/service/"

// fastly answers, with a site's name in the place of a service's, what such
// clients ask, in their words:
//
//	POST /service/SITE/purge/TAG     {"status":"ok","id":"17"}   the id is the version
//	POST /service/SITE/purge         {"a":"17","b":"17"}         Surrogate-Key: a b, or
//	                                                             {"surrogate_keys":["a","b"]}
//	POST /service/SITE/purge_all     {"status":"ok","id":"17"}
//
// The token is in Fastly-Key, or a bearer token. Fastly-Soft-Purge makes the
// purge a soft one, of all as well. Errors are {"msg":…,"detail":…}.
func (a *API) fastly(c *call) {
	c.say = func(status int, a answer) {
		c.reply(status, fastlyError{Message: http.StatusText(status), Detail: a.Error})
	}
	token := cmp.Or(c.request.Header.Get("Fastly-Key"), bearer(c.request))
	if !a.allowedToken(c, token, http.MethodPost) {
		return
	}
	request, err := c.readFastly()
	if err == nil {
		err = a.accept(c, &request)
	}
	id := strconv.FormatUint(c.record.Version, 10)
	switch {
	case err != nil:
		c.refuse(err)
	case request.Scope == ScopeTag && !strings.Contains(c.request.URL.Path, "/purge/"):
		ids := make(map[string]string, len(c.record.Targets))
		for _, tag := range c.record.Targets {
			ids[tag] = id
		}
		c.reply(http.StatusOK, ids)
	default:
		c.reply(http.StatusOK, fastlyAnswer{Status: "ok", ID: id})
	}
}

type fastlyAnswer struct {
	Status string `json:"status"`
	ID     string `json:"id"`
}

type fastlyError struct {
	Message string `json:"msg"`
	Detail  string `json:"detail"`
}

// readFastly makes a purge of the path, the headers and the body.
func (c *call) readFastly() (r Request, err error) {
	if SoftPurge(c.request.Header) {
		r.Mode = ModeSoft
	}
	site, rest, _ := strings.Cut(strings.TrimPrefix(c.request.URL.EscapedPath(), fastlyPath), "/")
	if r.Site, err = url.PathUnescape(site); err != nil {
		return r, fieldError("site", "%v", err)
	}
	tag, isTag := strings.CutPrefix(rest, "purge/")
	switch {
	case rest == "purge_all":
		r.Scope = ScopeSite
		return r, nil
	case isTag:
		tag, err = url.PathUnescape(tag)
		r.Scope, r.Targets = ScopeTag, []string{tag}
		return r, err
	case rest == "purge":
		r.Scope = ScopeTag
		r.Targets, err = c.readSurrogateKeys()
		return r, err
	}
	return r, errNoHabit
}

// readSurrogateKeys takes tags from the header, or else from the body.
func (c *call) readSurrogateKeys() (tags []string, err error) {
	if tags = SurrogateKeys(c.request.Header); len(tags) > 0 {
		return tags, nil
	}
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	err = decodeStringFields(body, func(name string) *[]string {
		if name == "surrogate_keys" {
			return &tags
		}
		return nil
	})
	return tags, err
}

// SurrogateKeys gives the tags of a request's Surrogate-Key fields.
func SurrogateKeys(h http.Header) []string {
	var tags []string
	for _, line := range h.Values("Surrogate-Key") {
		tags = append(tags, strings.Fields(line)...)
	}
	return tags
}

// SoftPurge says whether a request has Fastly-Soft-Purge. Its value is usually
// 1 and means nothing, save that 0 is taken for what it says.
func SoftPurge(h http.Header) bool {
	value := h.Get("Fastly-Soft-Purge")
	return value != "" && value != "0"
}
