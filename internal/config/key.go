package config

import (
	"fmt"
	"slices"
	"strings"
)

// Key says what of a request is in its key besides host and path, and so what
// the origin sees of it with a request whose answer others may get. Default: the
// whole query, and nothing else.
type Key struct {
	Query     string   `yaml:"query"`      // which parameters: all, none, only, except; all
	Params    []string `yaml:"params"`     // the parameters of only and except; "utm_*" for all that begin so
	SortQuery bool     `yaml:"sort_query"` // parameters in the order of their names; false
	Headers   []string `yaml:"headers"`    // headers whose values are in the key; none
	Cookies   []string `yaml:"cookies"`    // cookies whose values are in the key: the only ones that fills have; none: all of them, unkeyed
	Devices   []string `yaml:"devices"`    // device classes that are told apart: desktop, mobile, tablet; none
}

// keyNamesMax bounds the parameters, the headers and the cookies of a key.
const keyNamesMax = 64

func (k *Key) setDefaults() { *k = Key{Query: "all"} }

var (
	queryModes    = []string{"all", "none", "only", "except"}
	deviceClasses = []string{"desktop", "mobile", "tablet"}
)

func (k *Key) check(at spot) {
	k.checkQuery(at)
	checkNames(at.field("headers"), k.Headers, strings.EqualFold, "write the name of a header, such as X-Plan")
	checkNames(at.field("cookies"), k.Cookies, func(a, b string) bool { return a == b }, "write the name of a cookie, such as lang")
	for i, name := range k.Headers {
		if fix := unfitHeader(name); fix != "" {
			at.field("headers").item(i).bad(fmt.Sprintf("the header %s cannot be in a key", name), fix)
		}
	}
	for i, name := range k.Devices {
		switch item := at.field("devices").item(i); {
		case !slices.Contains(deviceClasses, name):
			item.bad(fmt.Sprintf("%q is no class of devices", name), "write some of: "+strings.Join(deviceClasses, ", "))
		case slices.Contains(k.Devices[:i], name):
			item.bad(fmt.Sprintf("%q is given twice", name), "keep one of the two")
		}
	}
}

func (k *Key) checkQuery(at spot) {
	names := k.Query == "only" || k.Query == "except"
	params := at.field("params")
	switch {
	case !slices.Contains(queryModes, k.Query):
		at.field("query").bad(fmt.Sprintf("query %q is none of %s", k.Query, strings.Join(queryModes, ", ")),
			"write one of them: only and except take the parameters in params")
	case names && len(k.Params) == 0:
		at.field("query").bad(fmt.Sprintf("query is %s, and params names no parameter", k.Query), `write params: [id, "page_*"]`)
	case !names && len(k.Params) > 0:
		params.bad(fmt.Sprintf("params are given, and query is %s", k.Query), "write query: only, to keep these alone, or query: except, to drop them")
	case len(k.Params) > keyNamesMax:
		params.bad(fmt.Sprintf("%d params are given", len(k.Params)), fmt.Sprintf(`write %d at most; "utm_*" stands for all that begin so`, keyNamesMax))
	}
	for i, name := range k.Params {
		if name == "" {
			params.item(i).bad("a parameter has no name", "write one, or remove the item")
		}
	}
}

// checkNames refuses what is no token (RFC 9110 section 5.6.2), and repetition.
func checkNames(at spot, names []string, same func(a, b string) bool, fix string) {
	if len(names) > keyNamesMax {
		at.bad(fmt.Sprintf("%d %s are given", len(names), at.name()), fmt.Sprintf("write %d at most", keyNamesMax))
	}
	for i, name := range names {
		twice := slices.ContainsFunc(names[:i], func(other string) bool { return same(other, name) })
		switch {
		case !isToken(name):
			at.item(i).bad(fmt.Sprintf("%q is not a name", name), fix)
		case twice:
			at.item(i).bad(fmt.Sprintf("%q is given twice", name), "keep one of the two")
		}
	}
}

// FitsKey says whether a header can be in a key.
func FitsKey(header string) bool { return unfitHeader(header) == "" }

// unfitHeader says what to do in place of a header that cannot be in a key, or
// "". rfc9111.KeyPolicy.Check refuses the same.
func unfitHeader(name string) string {
	switch name = strings.ToLower(name); {
	case name == "cookie":
		return "name the cookies in cookies"
	case name == "x-device-class":
		return "name the device classes in devices"
	case name == "host":
		return "remove it: the host is in every key"
	case strings.HasPrefix(name, "if-"), strings.HasPrefix(name, "weir-"), slices.Contains(neverInFills, name):
		return "remove it: weir sends a header of its own by this name, or none"
	}
	return ""
}

// neverInFills are headers of one connection, or of one client's own copy.
var neverInFills = []string{
	"range", "cache-control", "pragma", "expect", "content-length", "via", "cdn-loop", "connection", "keep-alive",
	"proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
}

// isToken is RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r) {
			return false
		}
	}
	return s != ""
}
