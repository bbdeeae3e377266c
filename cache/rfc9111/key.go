package rfc9111

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Limits of what a KeyPolicy names and of what it puts into a key.
const (
	keyNamesMax      = 64   // parameters, headers, cookies: of each
	keyValueBytesMax = 1024 // of one header or cookie; of a longer one, its hash
	sortedParamsMax  = 1024 // parameters of one query; more keep their order
)

// QueryMode says which parameters of a query are in the key.
type QueryMode uint8

// The modes.
const (
	QueryAll    QueryMode = iota // every one
	QueryNone                    // none: a path is one object
	QueryOnly                    // those that KeyPolicy.Params names
	QueryExcept                  // those that it does not name
)

// String gives the mode's one name.
func (m QueryMode) String() string {
	switch m {
	case QueryNone:
		return "none"
	case QueryOnly:
		return "only"
	case QueryExcept:
		return "except"
	default:
		return "all"
	}
}

// ParseQueryMode reads what String gives.
func ParseQueryMode(name string) (QueryMode, error) {
	for m := QueryAll; m <= QueryExcept; m++ {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("query mode %q is none of all, none, only, except", name)
}

// KeyPolicy says what of a request is in its key. The zero value is path and
// query as they are. It must not change once it is in use.
type KeyPolicy struct {
	// Query says which parameters are in the key. The origin sees no others.
	Query QueryMode
	// Params are names of parameters, decoded; one that ends in "*" stands
	// for all that begin with what is before it.
	Params []string
	// SortQuery makes the order of parameters of different names irrelevant:
	// they are sorted by name, for the origin too.
	SortQuery bool
	// Headers, Cookies: names of those whose values are in the key. Headers
	// are normalised as by Variant.
	Headers, Cookies []string
	// Devices are the device classes that are told apart; the rest are one,
	// "other". Empty: all are one, and none is told to the origin.
	Devices []Device
}

// Check says what is wrong with a policy: a name that is none, more than 64 of
// a kind, or parameters that the mode does not use.
func (k *KeyPolicy) Check() error {
	switch {
	case len(k.Params) > keyNamesMax, len(k.Headers) > keyNamesMax, len(k.Cookies) > keyNamesMax:
		return fmt.Errorf("key policy: more than %d names of one kind", keyNamesMax)
	case len(k.Params) > 0 && k.Query != QueryOnly && k.Query != QueryExcept:
		return fmt.Errorf("key policy: parameters are named, but the query mode is %s", k.Query)
	case len(k.Params) == 0 && (k.Query == QueryOnly || k.Query == QueryExcept):
		return fmt.Errorf("key policy: the query mode is %s, but no parameters are named", k.Query)
	case slices.Contains(k.Params, ""):
		return errors.New("key policy: a parameter has no name")
	}
	for _, name := range slices.Concat(k.Headers, k.Cookies) {
		if !isToken(name) {
			return fmt.Errorf("key policy: %q is no name of a header or cookie", name)
		}
	}
	for _, name := range k.Headers {
		if neverKeyed(name) {
			return fmt.Errorf("key policy: the header %s cannot be in a key", name)
		}
	}
	return nil
}

// neverKeyed lists the headers that a fill has of its own, or never has, and
// those for which KeyPolicy has a word of its own.
func neverKeyed(name string) bool {
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Cookie", "Host", "Range", "Cache-Control", "Pragma", "Expect", "Content-Length", "Via", LoopField, DeviceField:
		return true
	}
	return strings.HasPrefix(name, "If-") || strings.HasPrefix(name, ownPrefix) || slices.Contains(hopByHop[:], name)
}

// Extra gives what else is in the key, "" if nothing is: under one policy two
// requests get the same text only if all that the policy names is the same in
// both. class is the device class, see Class.
//
//	name "=" length ":" value ";"     a header (lower case), as in Variant
//	"@" name "=" length ":" value ";" a cookie
//	name "#" SHA-256 ";"              either, where the value is above 1024 bytes
//	name "-;"                         either, where it is not there
//	"~" class ";"                     the device class
func (k *KeyPolicy) Extra(req Fields, class string) string {
	if len(k.Headers) == 0 && len(k.Cookies) == 0 && len(k.Devices) == 0 {
		return ""
	}
	var text, value []byte
	for _, name := range k.Headers {
		var there bool
		name = strings.ToLower(name)
		p := Policy{}
		value, there = p.appendSelecting(value[:0], name, req)
		text = appendKeyed(append(text, name...), value, there)
	}
	for _, name := range k.Cookies {
		cookie, there := cookieOf(req, name)
		value = append(value[:0], cookie...)
		text = appendKeyed(append(append(text, '@'), name...), value, there)
	}
	if len(k.Devices) > 0 {
		text = append(append(append(text, '~'), class...), ';')
	}
	return string(text)
}

func appendKeyed(text, value []byte, there bool) []byte {
	switch {
	case !there:
		text = append(text, '-')
	case len(value) > keyValueBytesMax:
		sum := sha256.Sum256(value)
		text = hex.AppendEncode(append(text, '#'), sum[:])
	default:
		text = strconv.AppendInt(append(text, '='), int64(len(value)), 10)
		text = append(append(text, ':'), value...)
	}
	return append(text, ';')
}

// RewritesQuery says whether Target can change a query at all.
func (k *KeyPolicy) RewritesQuery() bool { return k.Query != QueryAll || k.SortQuery }

// Target gives a target as the key, the origin and purges have it: with those
// parameters of its query that are in the key. What it gives, it gives again.
// It allocates only what it changes.
func (k *KeyPolicy) Target(target string) string {
	if !k.RewritesQuery() {
		return target
	}
	path, query, found := strings.Cut(target, "?")
	if !found || query == "" || k.Query == QueryNone {
		return path
	}
	params := strings.Split(query, "&")
	params = slices.DeleteFunc(params, func(param string) bool { return param == "" || !k.keeps(paramName(param)) })
	if k.SortQuery && len(params) <= sortedParamsMax {
		slices.SortStableFunc(params, func(a, b string) int { return strings.Compare(paramName(a), paramName(b)) })
	}
	if len(params) == 0 {
		return path
	}
	return path + "?" + strings.Join(params, "&")
}

func (k *KeyPolicy) keeps(name string) bool {
	if k.Query == QueryAll {
		return true
	}
	named := slices.ContainsFunc(k.Params, func(param string) bool {
		prefix, isPrefix := strings.CutSuffix(param, "*")
		return param == name || isPrefix && strings.HasPrefix(name, prefix)
	})
	return named == (k.Query == QueryOnly)
}

// paramName is the decoded name of a parameter, so that no spelling of it gets
// past a policy.
func paramName(param string) string {
	name, _, _ := strings.Cut(param, "=")
	return formDecode(name)
}

// Forward makes the header of a fill say what is in the key of req, and no more
// than that where a client could: the headers in the key as they are in it, of
// the cookies none but those, and the device class in DeviceField. Another
// spelling of a header in the key would be the same to an origin behind CGI.
func (k *KeyPolicy) Forward(h http.Header, req Fields, class string) {
	for _, name := range k.Headers {
		folded := foldName(name)
		for other := range h {
			if foldName(other) == folded {
				delete(h, other)
			}
		}
	}
	for _, name := range k.Headers {
		p := Policy{}
		if value, there := p.appendSelecting(nil, strings.ToLower(name), req); there {
			h.Set(name, string(value))
		}
	}
	if len(k.Cookies) > 0 {
		delete(h, "Cookie")
		if field := k.cookieField(req); field != "" {
			h.Set("Cookie", field)
		}
	}
	if class != "" {
		h.Set(DeviceField, class)
	}
}

// Names says whether a header is in the key.
func (k *KeyPolicy) Names(header string) bool {
	return slices.ContainsFunc(k.Headers, func(name string) bool { return strings.EqualFold(name, header) })
}

// Covers says whether Extra tells apart all that an origin can see of a field,
// given in lower case as in Vary: then Vary need not do it once more, by more of
// a client's request than the origin saw.
func (k *KeyPolicy) Covers(field string) bool {
	switch field {
	case "cookie":
		return len(k.Cookies) > 0
	case foldedDeviceField:
		return len(k.Devices) > 0
	}
	return k.Names(field)
}

// cookieField gives the Cookie field that has only the cookies in the key; ""
// if there is none.
func (k *KeyPolicy) cookieField(req Fields) string {
	var field []byte
	for _, name := range k.Cookies {
		value, there := cookieOf(req, name)
		if !there {
			continue
		}
		if len(field) > 0 {
			field = append(field, "; "...)
		}
		field = append(append(append(field, name...), '='), value...)
	}
	return string(field)
}

// cookieOf is the first cookie of the name (RFC 6265 section 4.2.1).
func cookieOf(req Fields, name string) (value string, there bool) {
	for _, line := range req.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			n, v, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if ok && n == name {
				return v, true
			}
		}
	}
	return "", false
}
