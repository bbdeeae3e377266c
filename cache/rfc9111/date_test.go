package rfc9111

import (
	"net/http"
	"testing"
	"time"
)

// TestParseDate has every row under RFC 9110 section 5.6.7.
func TestParseDate(t *testing.T) {
	near := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC)
	tests := []struct {
		name, text string
		want       time.Time
	}{
		{"IMF-fixdate", "Thu, 18 Aug 2050 02:01:18 GMT", want},
		{"rfc850-date", "Thursday, 18-Aug-50 02:01:18 GMT", want},
		{"asctime-date", "Thu Aug 18 02:01:18 2050", want},
		{"asctime-date, one-digit day", "Thu Aug  8 02:01:18 2050", want.AddDate(0, 0, -10)},
		{"day name in any case", "THU, 18 Aug 2050 02:01:18 GMT", want},
		{"month in any case", "Thu, 18 AUG 2050 02:01:18 GMT", want},
		{"zone in any case", "Thu, 18 Aug 2050 02:01:18 gMT", want},
		{"rfc850-date, 50 years ahead", "Thursday, 18-Aug-75 02:01:18 GMT", want.AddDate(25, 0, 0)},
		{"rfc850-date, more than 50 years ahead", "Thursday, 18-Aug-76 02:01:18 GMT", want.AddDate(-74, 0, 0)},
		{"rfc850-date, last century", "Thursday, 18-Aug-99 02:01:18 GMT", want.AddDate(-51, 0, 0)},
		{"rfc850-date, 29 February", "Tuesday, 29-Feb-00 00:00:00 GMT", time.Date(2000, 2, 29, 0, 0, 0, 0, time.UTC)},
		{"zone UTC", "Thu, 18 Aug 2050 02:01:18 UTC", time.Time{}},
		{"zone AEST", "Thu, 18 Aug 2050 02:01:18 AEST", time.Time{}},
		{"two-digit year", "Thu, 18 Aug 50 02:01:18 GMT", time.Time{}},
		{"no comma", "Thu 18 Aug 2050 02:01:18 GMT", time.Time{}},
		{"runs of spaces", "Thu, 18  Aug  2050 02:01:18 GMT", time.Time{}},
		{"dashes", "Thu, 18-Aug-2050 02:01:18 GMT", time.Time{}},
		{"full stops", "Thu, 18 Aug 2050 02.01.18 GMT", time.Time{}},
		{"one-digit hour", "Thu, 18 Aug 2050 2:01:18 GMT", time.Time{}},
		{"fraction", "Thu, 18 Aug 2050 02:01:18.5 GMT", time.Time{}},
		{"day name that is none", "Xyz, 18 Aug 2050 02:01:18 GMT", time.Time{}},
		{"number", "0", time.Time{}},
		{"minus one", "-1", time.Time{}},
		{"empty", "", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseDate(tt.text, near)
			if ok == tt.want.IsZero() || ok && !got.Equal(tt.want) {
				t.Errorf("got %v, %v, want %v", got, ok, tt.want)
			}
		})
	}
}

func FuzzParseDate(f *testing.F) {
	f.Add("Thu, 18 Aug 2050 02:01:18 GMT", int64(0))
	f.Add("Thursday, 18-Aug-50 02:01:18 GMT", int64(1<<31))
	f.Add("Thu Aug  8 02:01:18 2050", int64(0))
	f.Fuzz(func(t *testing.T, text string, nearSeconds int64) {
		near := time.Unix(nearSeconds%(1<<36), 0) // the years up to 4147
		date, ok := parseDate(text, near)
		if !ok {
			return
		}
		if year := date.Year(); year < 0 || year > 9999 {
			return // cannot be written as an HTTP-date
		}
		again, ok := parseDate(date.UTC().Format(http.TimeFormat), near)
		if !ok || !again.Equal(date) {
			t.Fatalf("%q is %v, which reads back as %v, %v", text, date, again, ok)
		}
	})
}
