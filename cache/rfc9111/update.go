package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// Updates says whether a 304 is about the stored response and may update it
// (section 4.3.4). If not, the stored response must not be used on its account
// and the request is sent again without conditions. A 304 without validators
// counts: it answers a request that named this response and no other.
//
// Entity tags are compared weakly, although section 4.3.4 asks for one strong
// validator in common: servers that compress on the way mark the tag of a 200
// as weak and leave the 304's as it is. The stored tag stays (see updateStored),
// so nothing is claimed to be stronger than it was.
func Updates(stored, notModified http.Header) bool {
	oldTag, newTag := stored.Get("Etag"), notModified.Get("Etag")
	if oldTag != "" && newTag != "" {
		return strings.TrimPrefix(oldTag, "W/") == strings.TrimPrefix(newTag, "W/")
	}
	oldDate, newDate := stored.Get("Last-Modified"), notModified.Get("Last-Modified")
	if newDate != "" {
		return sameDate(oldDate, newDate)
	}
	return newTag == ""
}

func sameDate(a, b string) bool {
	at, aok := parseDate(a, time.Time{})
	bt, bok := parseDate(b, time.Time{})
	return a == b || aok && bok && at.Equal(bt)
}

// updateStored gives the stored fields as a 304 changes them (section 3.2).
// Every field of the 304 replaces the stored one of its name, all lines of it,
// except those that describe the bytes stored here: Content-Length,
// Content-Encoding, Content-Range, and ETag where there is one already. A field
// that the 304 does not have stays. Neither argument is changed; the result has
// only what StoredFields keeps.
//
// Set-Cookie is taken only where the stored response has one or the updated one
// says public or s-maxage, by the rule of RefusedSetCookie, or p shares it. The result can have
// become unfit to be stored (no-store, private): ask Storable with it again.
//
// The fields of a stored part and those of a later part that Combines allows
// to join it come together in the same way (section 3.4).
func updateStored(stored, notModified http.Header, p Policy) http.Header {
	updated := StoredFields(stored)
	fresh := StoredFields(notModified)
	cookies := setsCookie(stored)
	for name, lines := range fresh {
		if describesBytes(name, stored) || isSetCookie(name) {
			continue
		}
		updated[name] = lines
	}
	cc := controlOf(updated, p.WithDefaults())
	if cookies || p.ShareSetCookie || cc.shareable() {
		for name, lines := range fresh {
			if isSetCookie(name) {
				updated[name] = lines
			}
		}
	}
	return updated
}

func describesBytes(name string, stored http.Header) bool {
	switch name {
	case "Content-Length", "Content-Encoding", "Content-Range":
		return true
	case "Etag":
		return stored.Get("Etag") != ""
	}
	return false
}

func isSetCookie(name string) bool { return name == "Set-Cookie" || name == "Set-Cookie2" }

// Refresh is updateStored and NewStored in one, after a 304 for which Updates
// holds. It is the way to renew a stored response: the 304's Age, which is not
// kept, counts into its age; and where the 304 has no Date, responseTime
// becomes the Date (RFC 9110 section 6.6.1), or the response would stay as old
// as it was. status is the stored response's.
func Refresh(status int, stored, notModified http.Header, requestTime, responseTime time.Time, p Policy) (http.Header, Stored) {
	updated := updateStored(stored, notModified, p)
	if _, ok := dateOf(notModified, responseTime); !ok {
		updated.Set("Date", responseTime.UTC().Format(http.TimeFormat))
	}
	received := updated.Clone()
	if age := notModified.Values("Age"); len(age) > 0 {
		received["Age"] = age
	}
	return updated, NewStored(status, received, requestTime, responseTime, p)
}
