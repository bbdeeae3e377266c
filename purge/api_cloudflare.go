package purge

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// cloudflarePath is where the calls of clients made for Cloudflare begin.
const cloudflarePath = "/client/v4/zones/"

var errNoHabit = fmt.Errorf("%w: there are %sSITE/purge, %sSITE/purge/TAG, %sSITE/purge_all and %sSITE/purge_cache",
	errNoPurge, fastlyPath, fastlyPath, fastlyPath, cloudflarePath)

// cloudflare answers, with a site's name in the place of a zone's identity, what
// such clients ask, in their words:
//
//	POST /client/v4/zones/SITE/purge_cache
//	{"files":["https://www.example.com/a"]}    {"success":true,"errors":[],"messages":[],"result":{"id":"17"}}
//
// It was DELETE once, and there are clients that send it still.
//
// The id is the version. The body has one of files (URLs, or objects with url),
// tags, hosts, prefixes (with or without a scheme), and purge_everything, which
// is true and means the site. The token is a bearer token, or in X-Auth-Key.
// Errors have success false, and a code beside each message.
func (a *API) cloudflare(c *call) {
	c.say = func(status int, a answer) {
		c.reply(status, cloudflareAnswer{Errors: []cloudflareError{{cloudflareCode(status), a.Error}}, Messages: []string{}})
	}
	token := cmp.Or(bearer(c.request), c.request.Header.Get("X-Auth-Key"))
	if !a.allowedToken(c, token, http.MethodPost, http.MethodDelete) {
		return
	}
	request, err := c.readCloudflare()
	if err == nil {
		err = a.accept(c, &request)
	}
	if err != nil {
		c.refuse(err)
		return
	}
	c.reply(http.StatusOK, cloudflareAnswer{
		Success: true, Errors: []cloudflareError{}, Messages: []string{},
		Result: &cloudflareResult{ID: strconv.FormatUint(c.record.Version, 10)},
	})
}

type cloudflareAnswer struct {
	Success  bool              `json:"success"`
	Errors   []cloudflareError `json:"errors"`
	Messages []string          `json:"messages"`
	Result   *cloudflareResult `json:"result"`
}

type cloudflareError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type cloudflareResult struct {
	ID string `json:"id"`
}

// cloudflareCode gives the code that stands for a refusal there: those that
// clients tell apart, and for the rest the status.
func cloudflareCode(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return 10000 // authentication error
	case http.StatusForbidden:
		return 9109 // unauthorized to access requested resource
	case http.StatusNotFound:
		return 7003 // could not route to that path
	case http.StatusBadRequest:
		return 1012 // the request must contain one of the kinds
	default:
		return status
	}
}

// readCloudflare makes a purge of the path and the body.
func (c *call) readCloudflare() (r Request, err error) {
	site, rest, _ := strings.Cut(strings.TrimPrefix(c.request.URL.EscapedPath(), cloudflarePath), "/")
	if rest != "purge_cache" {
		return r, errNoHabit
	}
	if r.Site, err = url.PathUnescape(site); err != nil {
		return r, fieldError("site", "%v", err)
	}
	body, err := c.readBody()
	if err != nil {
		return r, err
	}
	err = decodeObject(body, func(name string, dec *json.Decoder) error {
		if r.Scope != 0 {
			return fieldError(clip(name), "given besides another kind: a purge has one scope, so send a call for each")
		}
		return r.decodeCloudflare(name, dec)
	})
	if err == nil && r.Scope == 0 {
		err = fieldError("body", "must have one of files, tags, hosts, prefixes and purge_everything")
	}
	return r, err
}

func (q *Request) decodeCloudflare(name string, dec *json.Decoder) error {
	switch name {
	case "purge_everything":
		q.Scope = ScopeSite
		var everything bool
		if err := dec.Decode(&everything); err != nil || !everything {
			return fieldError(name, "must be true")
		}
		return nil
	case "files":
		q.Scope = ScopeURL
		return q.decodeFiles(dec)
	case "tags":
		q.Scope = ScopeTag
	case "hosts":
		q.Scope = ScopeHost
	case "prefixes":
		q.Scope = ScopePrefix
	default:
		return fieldError(clip(name), "unknown field: there are files, tags, hosts, prefixes and purge_everything")
	}
	if err := decodeStrings(name, TargetsMax, dec, &q.Targets); err != nil {
		return err
	}
	if q.Scope == ScopePrefix {
		for i, t := range q.Targets {
			if !strings.HasPrefix(t, "/") && !strings.Contains(t, "://") {
				q.Targets[i] = "https://" + t
			}
		}
	}
	return nil
}

// decodeFiles reads URLs, and objects that have one. The headers of such an
// object choose a variant: a purge covers them all.
func (q *Request) decodeFiles(dec *json.Decoder) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(fieldError("files", "must be an array"), err)
	}
	for i := 0; dec.More(); i++ {
		if i == TargetsMax {
			return fieldError("files", "more than %d", TargetsMax)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		var text string
		file := struct {
			URL string `json:"url"`
		}{}
		if json.Unmarshal(raw, &text) != nil {
			if err := json.Unmarshal(raw, &file); err != nil || file.URL == "" {
				return fieldError(fmt.Sprintf("files[%d]", i), "must be a URL, or an object with url")
			}
			text = file.URL
		}
		q.Targets = append(q.Targets, text)
	}
	_, err := dec.Token()
	return err
}

// decodeStringFields reads an object whose fields are arrays of strings.
func decodeStringFields(body []byte, into func(name string) *[]string) error {
	return decodeObject(body, func(name string, dec *json.Decoder) error {
		list := into(name)
		if list == nil {
			return fieldError(clip(name), "unknown field")
		}
		return decodeStrings(name, TargetsMax, dec, list)
	})
}
