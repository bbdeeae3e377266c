package rfc9110

import (
	"net/http"
	"testing"
	"time"
)

const (
	early  = "Wed, 01 Jan 2020 00:00:00 GMT"
	middle = "Thu, 02 Jan 2020 00:00:00 GMT"
	late   = "Fri, 03 Jan 2020 00:00:00 GMT"
)

// header builds a header from name, value, name, value ….
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestEvaluateStored(t *testing.T) {
	tests := []struct {
		name                     string
		req                      http.Header
		etag, lastModified, date string
		want                     Precondition
	}{
		{"RFC 9111 4.3.2 made before", header("If-Modified-Since", late), "", "", middle, NotModified},
		{"RFC 9111 4.3.2 made at that time", header("If-Modified-Since", middle), "", "", middle, NotModified},
		{"RFC 9111 4.3.2 made after", header("If-Modified-Since", early), "", "", middle, Proceed},
		{"RFC 9111 4.3.2 Last-Modified goes first", header("If-Modified-Since", middle), "", early, late, NotModified},
		{"RFC 9111 4.3.2 If-None-Match goes first", header("If-Modified-Since", late, "If-None-Match", `"b"`), `"a"`, "", early, Proceed},
		{"RFC 9111 4.3.2 no Date either", header("If-Modified-Since", late), "", "", "", Proceed},
		{"RFC 9111 4.3.2 malformed Date", header("If-Modified-Since", late), "", "", "x", Proceed},
		{"RFC 9110 13.1.4 not for If-Unmodified-Since", header("If-Unmodified-Since", early), "", "", middle, Proceed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := EvaluateStored("GET", tt.req, tt.etag, tt.lastModified, tt.date); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEvaluate(t *testing.T) {
	const tag, weak = `"abc"`, `W/"abc"`
	tests := []struct {
		name               string
		method             string
		req                http.Header
		etag, lastModified string
		want               Precondition
	}{
		{"13.2.1 no condition", "GET", header(), tag, middle, Proceed},

		{"13.1.1 If-Match, same", "GET", header("If-Match", tag), tag, "", Proceed},
		{"13.1.1 If-Match, other", "GET", header("If-Match", `"x"`), tag, "", Failed},
		{"13.1.1 If-Match, in a list", "PUT", header("If-Match", `"x", "abc" , "y"`), tag, "", Proceed},
		{"13.1.1 If-Match, on a second line", "PUT", header("If-Match", `"x"`, "If-Match", tag), tag, "", Proceed},
		{"13.1.1 If-Match, *", "PUT", header("If-Match", "*"), "", "", Proceed},
		{"13.1.1 If-Match compares strongly", "GET", header("If-Match", weak), weak, "", Failed},
		{"13.1.1 If-Match, stored tag weak", "GET", header("If-Match", tag), weak, "", Failed},
		{"13.1.1 If-Match, no tag stored", "GET", header("If-Match", tag), "", "", Failed},
		{"13.1.1 If-Match, malformed", "GET", header("If-Match", "abc"), tag, "", Failed},
		{"13.1.1 If-Match, empty", "GET", header("If-Match", ""), tag, "", Failed},

		{"13.1.4 If-Unmodified-Since, not modified", "GET", header("If-Unmodified-Since", middle), "", middle, Proceed},
		{"13.1.4 If-Unmodified-Since, modified", "GET", header("If-Unmodified-Since", early), "", middle, Failed},
		{"13.1.4 If-Unmodified-Since, no date stored", "GET", header("If-Unmodified-Since", early), "", "", Proceed},
		{"13.1.4 If-Unmodified-Since, malformed", "GET", header("If-Unmodified-Since", "yesterday"), "", middle, Proceed},
		{"13.1.4 If-Unmodified-Since, repeated", "GET", header("If-Unmodified-Since", early, "If-Unmodified-Since", early), "", middle, Proceed},
		{"13.2.2 If-Match goes before If-Unmodified-Since", "GET", header("If-Match", tag, "If-Unmodified-Since", early), tag, middle, Proceed},

		{"13.1.2 If-None-Match, same, GET", "GET", header("If-None-Match", tag), tag, "", NotModified},
		{"13.1.2 If-None-Match, same, HEAD", "HEAD", header("If-None-Match", tag), tag, "", NotModified},
		{"13.1.2 If-None-Match, same, PUT", "PUT", header("If-None-Match", tag), tag, "", Failed},
		{"13.1.2 If-None-Match, other", "GET", header("If-None-Match", `"x"`), tag, "", Proceed},
		{"13.1.2 If-None-Match compares weakly", "GET", header("If-None-Match", weak), tag, "", NotModified},
		{"13.1.2 If-None-Match, stored tag weak", "GET", header("If-None-Match", tag), weak, "", NotModified},
		{"13.1.2 If-None-Match, *", "GET", header("If-None-Match", " * "), "", "", NotModified},
		{"13.1.2 If-None-Match, * in a list", "GET", header("If-None-Match", `*, "x"`), tag, "", Proceed},
		{"13.1.2 If-None-Match, list", "GET", header("If-None-Match", `"x","abc"`), tag, "", NotModified},
		{"13.1.2 If-None-Match, comma in a tag", "GET", header("If-None-Match", `"a,b"`), `"a,b"`, "", NotModified},
		{"13.1.2 If-None-Match, obs-text", "GET", header("If-None-Match", "\"abc\xfc\""), "\"abc\xfc\"", "", NotModified},
		{"13.1.2 If-None-Match, malformed before", "GET", header("If-None-Match", `abc, "abc"`), tag, "", NotModified},
		{"13.1.2 If-None-Match, no comma", "GET", header("If-None-Match", `"abc" "x"`), tag, "", Proceed},
		{"13.1.2 If-None-Match, no end", "GET", header("If-None-Match", `"abc`), tag, "", Proceed},
		{"13.1.2 If-None-Match, stored tag malformed", "GET", header("If-None-Match", "abc"), "abc", "", Proceed},
		{"8.8.3 W is upper case", "GET", header("If-None-Match", `w/"abc"`), tag, "", Proceed},

		{"13.1.3 If-Modified-Since, same", "GET", header("If-Modified-Since", middle), "", middle, NotModified},
		{"13.1.3 If-Modified-Since, later", "HEAD", header("If-Modified-Since", late), "", middle, NotModified},
		{"13.1.3 If-Modified-Since, earlier", "GET", header("If-Modified-Since", early), "", middle, Proceed},
		{"13.1.3 If-Modified-Since, other method", "POST", header("If-Modified-Since", late), "", middle, Proceed},
		{"13.1.3 If-Modified-Since, no date stored", "GET", header("If-Modified-Since", late), "", "", Proceed},
		{"13.1.3 If-Modified-Since, malformed", "GET", header("If-Modified-Since", "0"), "", middle, Proceed},
		{"13.1.3 If-Modified-Since, repeated", "GET", header("If-Modified-Since", late, "If-Modified-Since", late), "", middle, Proceed},
		{"13.1.3 stored date malformed", "GET", header("If-Modified-Since", late), "", "soon", Proceed},
		{"5.6.7 rfc850-date", "GET", header("If-Modified-Since", "Thursday, 02-Jan-20 00:00:00 GMT"), "", middle, NotModified},
		{"5.6.7 asctime-date", "GET", header("If-Modified-Since", "Thu Jan  2 00:00:00 2020"), "", middle, NotModified},
		{"13.2.2 If-None-Match goes before If-Modified-Since", "GET", header("If-None-Match", `"x"`, "If-Modified-Since", late), tag, middle, Proceed},
		{"13.2.2 If-None-Match decides alone", "GET", header("If-None-Match", tag, "If-Modified-Since", early), tag, middle, NotModified},
		{"13.2.2 both groups", "GET", header("If-Match", tag, "If-None-Match", tag), tag, middle, NotModified},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := EvaluateStored(tt.method, tt.req, tt.etag, tt.lastModified, ""); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestIfRange(t *testing.T) {
	tests := []struct {
		name               string
		req                http.Header
		etag, lastModified string
		want               bool
	}{
		{"14.2 no If-Range", header(), `"a"`, middle, true},
		{"13.1.5 same tag", header("If-Range", `"a"`), `"a"`, middle, true},
		{"13.1.5 other tag", header("If-Range", `"b"`), `"a"`, middle, false},
		{"13.1.5 weak tag in the request", header("If-Range", `W/"a"`), `"a"`, middle, false},
		{"13.1.5 weak tag stored", header("If-Range", `"a"`), `W/"a"`, middle, false},
		{"13.1.5 weak tags", header("If-Range", `W/"a"`), `W/"a"`, middle, false},
		{"13.1.5 a list is malformed", header("If-Range", `"a", "b"`), `"a"`, middle, false},
		{"13.1.5 same date", header("If-Range", middle), `"a"`, middle, true},
		{"13.1.5 later date is no match", header("If-Range", late), `"a"`, middle, false},
		{"13.1.5 same time, other form", header("If-Range", "Thu Jan  2 00:00:00 2020"), `"a"`, middle, false},
		{"13.1.5 date, none stored", header("If-Range", middle), `"a"`, "", false},
		{"13.1.5 malformed, stored alike", header("If-Range", "soon"), "", "soon", false},
		{"13.1.5 *", header("If-Range", "*"), `"a"`, middle, false},
		{"13.1.5 empty", header("If-Range", ""), "", "", false},
		{"13.1.5 repeated", header("If-Range", `"a"`, "If-Range", `"a"`), `"a"`, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := IfRange(tt.req, tt.etag, tt.lastModified); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestParseDate has every row under RFC 9110 section 5.6.7.
func TestParseDate(t *testing.T) {
	want := time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC)
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"IMF-fixdate", "Thu, 18 Aug 2050 02:01:18 GMT", true},
		{"rfc850-date", "Thursday, 18-Aug-50 02:01:18 GMT", true},
		{"asctime-date", "Thu Aug 18 02:01:18 2050", true},
		{"letter case", "THU, 18 auG 2050 02:01:18 gMT", true},
		{"zone UTC", "Thu, 18 Aug 2050 02:01:18 UTC", false},
		{"zone AEST", "Thu, 18 Aug 2050 02:01:18 AEST", false},
		{"two-digit year", "Thu, 18 Aug 50 02:01:18 GMT", false},
		{"no comma", "Thu 18 Aug 2050 02:01:18 GMT", false},
		{"runs of spaces", "Thu, 18  Aug  2050 02:01:18 GMT", false},
		{"dashes", "Thu, 18-Aug-2050 02:01:18 GMT", false},
		{"full stops", "Thu, 18 Aug 2050 02.01.18 GMT", false},
		{"one-digit hour", "Thu, 18 Aug 2050 2:01:18 GMT", false},
		{"fraction", "Thu, 18 Aug 2050 02:01:18.5 GMT", false},
		{"day name", "Xyz, 18 Aug 2050 02:01:18 GMT", false},
		{"long day name cut short", "Thurs, 18-Aug-50 02:01:18 GMT", false},
		{"32nd", "Thu, 32 Aug 2050 02:01:18 GMT", false},
		{"number", "0", false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseDate(tt.text)
			if ok != tt.ok || ok && !got.Equal(want) {
				t.Errorf("got %v, %v, want ok %v", got, ok, tt.ok)
			}
		})
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add("GET", `"a", W/"b"`, middle, `"a"`, early)
	f.Add("PUT", "*", "0", `W/"b"`, "")
	f.Fuzz(func(t *testing.T, method, tags, date, etag, lastModified string) {
		reading := method == "GET" || method == "HEAD"
		for _, name := range []string{"If-Match", "If-None-Match"} {
			h := header(name, tags, "If-Modified-Since", date, "If-Unmodified-Since", date)
			if EvaluateStored(method, h, etag, lastModified, "") == NotModified && !reading {
				t.Fatalf("%s: 304 to %q", name, method)
			}
		}
		if IfRange(header("If-Range", tags), etag, lastModified) && parseTag(etag).weak && tags != lastModified {
			t.Fatalf("If-Range %q matches weak %q", tags, etag)
		}
		// What matches strongly matches weakly.
		if anyTagMatches([]string{tags}, etag, strongly) && !anyTagMatches([]string{tags}, etag, weakly) {
			t.Fatalf("%q and %q match strongly but not weakly", tags, etag)
		}
	})
}

func FuzzParseDate(f *testing.F) {
	f.Add(middle)
	f.Add("Thursday, 18-Aug-50 02:01:18 GMT")
	f.Add("Thu Aug  8 02:01:18 2050")
	f.Fuzz(func(t *testing.T, text string) {
		date, ok := parseDate(text)
		if !ok {
			return
		}
		again, ok := parseDate(date.UTC().Format(http.TimeFormat))
		if !ok || !again.Equal(date) {
			t.Fatalf("%q is %v, which reads back as %v, %v", text, date, again, ok)
		}
	})
}
