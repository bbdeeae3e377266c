package rfc9111

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dunglas/httpsfv"
)

// Limits of No-Vary-Search.
const (
	searchParamsMax = 256  // names in one field
	searchPairsMax  = 1024 // parameters of one query
)

// NoVarySearch says which differences between queries do not matter
// (draft-ietf-httpbis-no-vary-search: a "URL search variance"). The zero value
// says that all do.
type NoVarySearch struct {
	// AllParams: no parameter matters but those of Except.
	AllParams bool
	// Params, without AllParams, do not matter. Except, with it, do. Both
	// are decoded names.
	Params, Except []string
	// KeyOrder: the order of parameters of different names does not matter.
	KeyOrder bool
}

// ParseNoVarySearch reads the No-Vary-Search field of a response (section 4 of
// the draft). Whatever is malformed or has more than 256 names gives the zero
// value, which costs hits and nothing else. Unknown members are ignored.
func ParseNoVarySearch(resp http.Header) NoVarySearch {
	lines := resp.Values("No-Vary-Search")
	if len(lines) == 0 {
		return NoVarySearch{}
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return NoVarySearch{}
	}
	var n NoVarySearch
	if !n.setKeyOrder(dictionary) || !n.setParams(dictionary) || !n.setExcept(dictionary) {
		return NoVarySearch{}
	}
	return n
}

func (n *NoVarySearch) setKeyOrder(d *httpsfv.Dictionary) (ok bool) {
	member, there := d.Get("key-order")
	if !there {
		return true
	}
	n.KeyOrder, ok = booleanOf(member)
	return ok
}

func (n *NoVarySearch) setParams(d *httpsfv.Dictionary) (ok bool) {
	member, there := d.Get("params")
	if !there {
		return true
	}
	if all, ok := booleanOf(member); ok {
		n.AllParams = all
		return true
	}
	n.Params, ok = searchNames(member)
	return ok
}

func (n *NoVarySearch) setExcept(d *httpsfv.Dictionary) (ok bool) {
	member, there := d.Get("except")
	if !there {
		return true
	}
	n.Except, ok = searchNames(member)
	return ok && n.AllParams
}

func booleanOf(member httpsfv.Member) (value, ok bool) {
	item, ok := member.(httpsfv.Item)
	if !ok {
		return false, false
	}
	value, ok = item.Value.(bool)
	return value, ok
}

func searchNames(member httpsfv.Member) (names []string, ok bool) {
	list, ok := member.(httpsfv.InnerList)
	if !ok || len(list.Items) > searchParamsMax {
		return nil, false
	}
	for _, item := range list.Items {
		name, ok := stringOf(item)
		if !ok {
			return nil, false
		}
		names = append(names, formDecode(name))
	}
	return names, true
}

// IsZero says that every difference between queries matters.
func (n NoVarySearch) IsZero() bool { return !n.AllParams && len(n.Params) == 0 && !n.KeyOrder }

// SearchKey gives the text that a query (without "?") has in common with all
// those that n makes equivalent to it, and with no others (section 5 of the
// draft): what matters of it, decoded as a form and encoded again in one way.
// Where every difference matters, or a query has more than 1024 parameters, it
// is the query itself. The result is for looking up, not for an origin to see.
func SearchKey(query string, n NoVarySearch) string {
	if n.IsZero() || strings.Count(query, "&") >= searchPairsMax {
		return query
	}
	var pairs [][2]string
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if name = formDecode(name); n.matters(name) {
			pairs = append(pairs, [2]string{name, formDecode(value)})
		}
	}
	if n.KeyOrder {
		slices.SortStableFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	}
	key := make([]byte, 0, len(query))
	for i, pair := range pairs {
		if i > 0 {
			key = append(key, '&')
		}
		key = appendFormEncoded(key, pair[0])
		key = append(key, '=')
		key = appendFormEncoded(key, pair[1])
	}
	return string(key)
}

func (n *NoVarySearch) matters(name string) bool {
	if n.AllParams {
		return slices.Contains(n.Except, name)
	}
	return !slices.Contains(n.Params, name)
}

// formDecode decodes a name or value of application/x-www-form-urlencoded as
// the URL standard does: "%" without two digits after it stands for itself, and
// what is not UTF-8 becomes U+FFFD.
func formDecode(text string) string {
	plain := strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, '+') < 0
	if plain && utf8.ValidString(text) {
		return text
	}
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '+' {
			c = ' '
		}
		if c == '%' && i+2 < len(text) {
			high, low := hexValue(text[i+1]), hexValue(text[i+2])
			if high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			}
		}
		decoded = append(decoded, c)
	}
	return validText(decoded)
}

// validText puts one U+FFFD for each maximal part that could begin a character
// and does not, as the Encoding standard does. Runs of them, or single bytes,
// would make texts equal that are not.
func validText(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	valid := make([]byte, 0, len(text)+8)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(text)
		}
		valid = utf8.AppendRune(valid, r)
		text = text[n:]
	}
	return string(valid)
}

// brokenLen is the length of the maximal part at the start of text, which is no
// character: its first byte and those after it that could follow (Unicode
// standard, table 3-7).
func brokenLen(text []byte) int {
	size, low, high := 1, byte(0x80), byte(0xbf)
	switch c := text[0]; {
	case 0xc2 <= c && c <= 0xdf:
		size = 2
	case 0xe0 <= c && c <= 0xef:
		size = 3
	case 0xf0 <= c && c <= 0xf4:
		size = 4
	}
	switch text[0] {
	case 0xe0:
		low = 0xa0
	case 0xed:
		high = 0x9f
	case 0xf0:
		low = 0x90
	case 0xf4:
		high = 0x8f
	}
	n := 1
	for n < size && n < len(text) && low <= text[n] && text[n] <= high {
		n++
		low, high = 0x80, 0xbf
	}
	return n
}

func hexValue(c byte) int {
	switch c = lowerByte(c); {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

func appendFormEncoded(dst []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= lowerByte(c) && lowerByte(c) <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}
