package rfc9110

import (
	"net/http"
	"strings"
	"time"
)

// The three forms of HTTP-date (section 5.6.7), as shapes: A is a letter, 0 a
// digit, _ a digit or a space, the rest stands for itself. time.Parse alone
// would take more than the grammar allows, and a condition that is no HTTP-date
// has to be ignored. cache/rfc9111 has the same few lines: neither package
// imports anything of ours, so that both stay pure.
const (
	shapeIMF     = "AAA, 00 AAA 0000 00:00:00 GMT"
	shapeRFC850  = ", 00-AAA-00 00:00:00 GMT" // after a day name of any length
	shapeASCTime = "AAA AAA _0 00:00:00 0000"
)

// parseDate reads an HTTP-date in any of its three forms, letters in any case.
// The two-digit year of the RFC 850 form lies between 1969 and 2068: without
// `now` the 50-year rule cannot be told, and no validator is that far off.
func parseDate(text string) (time.Time, bool) {
	layout := ""
	switch comma := strings.IndexByte(text, ','); {
	case comma < 0 && hasShape(text, shapeASCTime):
		t, err := time.Parse(time.ANSIC, text)
		return t, err == nil
	case comma == 3 && hasShape(text, shapeIMF):
		layout = http.TimeFormat
	case comma > 3 && hasShape(text[comma:], shapeRFC850):
		layout = "Monday, 02-Jan-06 15:04:05 GMT"
	default:
		return time.Time{}, false
	}
	if !strings.HasSuffix(text, "GMT") {
		text = text[:len(text)-3] + "GMT" // time.Parse wants it so; the shape has been checked
	}
	t, err := time.Parse(layout, text)
	return t, err == nil
}

func hasShape(text, shape string) bool {
	if len(text) != len(shape) {
		return false
	}
	for i := range len(text) {
		if !fits(text[i], shape[i]) {
			return false
		}
	}
	return true
}

func fits(c, want byte) bool {
	switch {
	case want == '0':
		return isDigit(c)
	case want == '_':
		return isDigit(c) || c == ' '
	case want == 'A':
		return 'a' <= lower(c) && lower(c) <= 'z'
	default:
		return lower(c) == lower(want) // the zone, and punctuation
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
