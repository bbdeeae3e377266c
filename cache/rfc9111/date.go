package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// The three forms of HTTP-date (RFC 9110 section 5.6.7), as shapes: A is a
// letter, 0 a digit, _ a digit or a space, the rest stands for itself.
// time.Parse alone would take more than the grammar allows (one-digit hours,
// runs of spaces, fractions of a second), and an Expires that is no HTTP-date
// has to count as past (RFC 9111 section 5.3).
const (
	shapeIMF     = "AAA, 00 AAA 0000 00:00:00 GMT"
	shapeRFC850  = ", 00-AAA-00 00:00:00 GMT" // after a day name of any length
	shapeASCTime = "AAA AAA _0 00:00:00 0000"
)

// parseDate reads an HTTP-date in any of its three forms, letters in any case.
// near resolves the two-digit year of the RFC 850 form: a date that appears to
// be more than 50 years after it is taken to lie in the past. A zero near
// leaves the choice to time.Parse (69 and above is 19xx).
func parseDate(text string, near time.Time) (time.Time, bool) {
	switch comma := strings.IndexByte(text, ','); {
	case comma < 0 && hasShape(text, shapeASCTime):
		t, err := time.Parse(time.ANSIC, text)
		return t, err == nil
	case comma == 3 && hasShape(text, shapeIMF):
		t, err := time.Parse(http.TimeFormat, upperZone(text))
		return t, err == nil
	case comma > 3 && hasShape(text[comma:], shapeRFC850):
		t, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", upperZone(text))
		return inCentury(t, near), err == nil
	}
	return time.Time{}, false
}

func hasShape(text, shape string) bool {
	if len(text) != len(shape) {
		return false
	}
	for i := range len(text) {
		c := text[i]
		digit := '0' <= c && c <= '9'
		letter := 'a' <= lowerByte(c) && lowerByte(c) <= 'z'
		switch want := shape[i]; {
		case want == '0' && digit, want == '_' && (digit || c == ' '):
		case letter && 'A' <= want && want <= 'Z':
			// The zone is spelt out; every other letter may be any letter.
			if want != 'A' && lowerByte(want) != lowerByte(c) {
				return false
			}
		case want != '0' && want != '_' && want == c:
		default:
			return false
		}
	}
	return true
}

// upperZone spells the zone as time.Parse wants it; the shape has been checked.
func upperZone(text string) string {
	if strings.HasSuffix(text, "GMT") {
		return text
	}
	return text[:len(text)-3] + "GMT"
}

// inCentury moves t, whose year had two digits, to the latest century in which
// it is not more than 50 years after near.
func inCentury(t, near time.Time) time.Time {
	if near.IsZero() {
		return t
	}
	limit := near.AddDate(50, 0, 0)
	for years := (near.Year()/100+1)*100 - t.Year()/100*100; ; years -= 100 {
		// From t each time: a 29 February must not drift through 2100.
		if moved := t.AddDate(years, 0, 0); !moved.After(limit) {
			return moved
		}
	}
}
