package rfc9111

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestEndToEnd(t *testing.T) {
	tests := []struct {
		name      string
		got, want http.Header
	}{
		{"RFC 9110 7.6.1 nominated", header("Connection", "a, B", "A", "1", "B", "2", "C", "3"), header("C", "3")},
		{"RFC 9110 7.6.1 several lines", header("Connection", "close", "Connection", " x-a ,", "X-A", "1"), header()},
		{"RFC 9110 7.6.1 known ones", header("Keep-Alive", "x", "Proxy-Connection", "x", "TE", "x", "Trailer", "x", "Transfer-Encoding", "x", "Upgrade", "x"), header()},
		{"3.1 proxy authentication", header("Proxy-Authenticate", "x", "Proxy-Authentication-Info", "x", "Proxy-Authorization", "x"), header()},
		{"RFC 9110 7.6.1 never to be nominated", header("Connection", "cache-control, vary", "Cache-Control", "private", "Vary", "*"), header("Cache-Control", "private", "Vary", "*")},
		{"RFC 9110 7.6.1 all else stays", header("Age", "1", "Via", "x", "Content-Length", "3"), header("Age", "1", "Via", "x", "Content-Length", "3")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			EndToEnd(tt.got)
			if !reflect.DeepEqual(tt.got, tt.want) {
				t.Errorf("got %v, want %v", tt.got, tt.want)
			}
		})
	}
}

func TestStoredFields(t *testing.T) {
	h := header("Age", "1", "Cache-Status", "x", "Proxy-Status", "x", "Connection", "y", "Y", "1",
		"Weir-Stamp", "9", "weir-x", "9", "Via", "1.1 a", "Set-Cookie", "a=b", "Set-Cookie", "c=d")
	before := h.Clone()
	want := header("Via", "1.1 a", "Set-Cookie", "a=b", "Set-Cookie", "c=d")
	if got := StoredFields(h); !reflect.DeepEqual(got, want) {
		t.Errorf("3.1: got %v, want %v", got, want)
	}
	if !reflect.DeepEqual(h, before) {
		t.Errorf("3.1: the argument changed: %v", h)
	}
	if got := StoredFields(nil); got == nil || len(got) != 0 {
		t.Errorf("3.1: got %v of nothing", got)
	}
}

func TestUpdates(t *testing.T) {
	tests := []struct {
		name   string
		stored http.Header
		by     http.Header
		want   bool
	}{
		{"4.3.4 same strong tag", header("Etag", `"a"`), header("Etag", `"a"`), true},
		{"4.3.4 other tag", header("Etag", `"a"`), header("Etag", `"b"`), false},
		{"4.3.4 weak tags", header("Etag", `W/"a"`), header("Etag", `W/"a"`), true},
		{"4.3.4 weak stored, strong received", header("Etag", `W/"a"`), header("Etag", `"a"`), true},
		{"4.3.4 same tag, other date", header("Etag", `"a"`, "Last-Modified", date1), header("Etag", `"a"`, "Last-Modified", date2), true},
		{"4.3.4 same date", header("Last-Modified", date1), header("Last-Modified", date1), true},
		{"4.3.4 same date, other form", header("Last-Modified", date1), header("Last-Modified", "Wednesday, 01-Jan-20 00:00:00 GMT"), true},
		{"4.3.4 other date", header("Last-Modified", date1), header("Last-Modified", date2), false},
		{"4.3.4 no validator received", header("Etag", `"a"`), header(), true},
		{"4.3.4 tag received, only a date stored", header("Last-Modified", date1), header("Etag", `"a"`), false},
		{"4.3.4 tag received, same date", header("Last-Modified", date1), header("Etag", `"a"`, "Last-Modified", date1), true},
		{"4.3.4 only a date received, no date stored", header("Etag", `"a"`), header("Last-Modified", date1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Updates(tt.stored, tt.by); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestUpdateStored(t *testing.T) {
	tests := []struct {
		name             string
		stored, by, want http.Header
	}{
		{"3.2 replaced", header("A", "1"), header("A", "2"), header("A", "2")},
		{"3.2 all lines replaced", header("A", "1", "A", "2"), header("A", "3"), header("A", "3")},
		{"3.2 added", header("A", "1"), header("B", "2"), header("A", "1", "B", "2")},
		{"3.2 kept", header("A", "1"), header(), header("A", "1")},
		{"3.2 Content-Type", header("Content-Type", "a/b"), header("Content-Type", "c/d"), header("Content-Type", "c/d")},
		{"3.2 Content-Length", header("Content-Length", "36"), header("Content-Length", "0"), header("Content-Length", "36")},
		{"3.2 Content-Length, none stored", header(), header("Content-Length", "0"), header()},
		{"3.2 Content-Encoding", header("Content-Encoding", "gzip"), header("Content-Encoding", "br"), header("Content-Encoding", "gzip")},
		{"3.2 Content-Range", header(), header("Content-Range", "bytes 0-1/2"), header()},
		{"4.3.4 ETag stays", header("Etag", `W/"a"`), header("Etag", `"a"`), header("Etag", `W/"a"`)},
		{"3.2 ETag added", header("A", "1"), header("Etag", `"a"`), header("A", "1", "Etag", `"a"`)},
		{"3.1 not stored", header("A", "1"), header("Connection", "x", "X", "1", "Age", "9", "Weir-Stamp", "1"), header("A", "1")},
		{"7.3 Set-Cookie", header("A", "1"), header("Set-Cookie", "a=b"), header("A", "1")},
		{"7.3 Set-Cookie, public", header("Cache-Control", "public"), header("Set-Cookie", "a=b"), header("Cache-Control", "public", "Set-Cookie", "a=b")},
		{"7.3 Set-Cookie, stored too", header("Set-Cookie", "a=b"), header("Set-Cookie", "a=c"), header("Set-Cookie", "a=c")},
		{"7.3 Set-Cookie, no longer public", header("Cache-Control", "public"), header("Cache-Control", "max-age=1", "Set-Cookie", "a=b"), header("Cache-Control", "max-age=1")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.stored.Clone()
			if got := updateStored(tt.stored, tt.by, Policy{}); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if !reflect.DeepEqual(tt.stored, before) {
				t.Errorf("the argument changed: %v", tt.stored)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	stored := header("Cache-Control", "max-age=60", "Date", "Tue, 31 Dec 2019 00:00:00 GMT", "Etag", `"a"`)

	fields, s := Refresh(200, stored, header("Date", date1, "Age", "7", "Cache-Control", "max-age=90"), sent, received, Policy{})
	if fields.Get("Date") != date1 || fields.Values("Age") != nil || fields.Get("Etag") != `"a"` {
		t.Errorf("3.2: fields %v", fields)
	}
	if s.InitialAge != 9*time.Second || s.Lifetime != 90*time.Second {
		t.Errorf("4.3.4: %+v", s)
	}

	fields, s = Refresh(200, stored, header(), sent, received, Policy{})
	if got, want := fields.Get("Date"), "Wed, 01 Jan 2020 00:00:02 GMT"; got != want {
		t.Errorf("RFC 9110 6.6.1: Date %q, want %q", got, want)
	}
	if s.InitialAge != 2*time.Second || s.Lifetime != time.Minute {
		t.Errorf("4.3.4, no Date: %+v", s)
	}
}

// However Connection is written, nothing of this connection is left, what says
// who may share the message stays, and a second time changes nothing.
func FuzzEndToEnd(f *testing.F) {
	f.Add("a, B", "keep-alive", "X-A")
	f.Add(", ,close", "cache-control,\tvary", "Vary")
	f.Fuzz(func(t *testing.T, one, two, name string) {
		h := header("Connection", one, "Connection", two, "Cache-Control", "private", "Vary", "*", name, "x")
		before := h.Clone()
		EndToEnd(h)
		for _, field := range hopByHop {
			if _, left := h[field]; left {
				t.Fatalf("%s is left", field)
			}
		}
		if h["Cache-Control"] == nil || h["Vary"] == nil {
			t.Fatalf("left of %v: %v", before, h)
		}
		again := h.Clone()
		EndToEnd(again)
		if !reflect.DeepEqual(again, h) {
			t.Fatalf("%v becomes %v", h, again)
		}
	})
}
