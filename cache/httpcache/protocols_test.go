package httpcache

import (
	"net/http"
	"strings"
	"testing"
)

// Which protocols a request may switch to; RFC 9110 section 7.8.
func TestUpgradeOf(t *testing.T) {
	for _, row := range []struct {
		name, connection, upgrade, want string
	}{
		{"7.8 one", "upgrade", "websocket", "websocket"},
		{"7.8 any case", "Keep-Alive, UPGRADE", "WebSocket", "WebSocket"},
		{"7.8 with a version", "upgrade", "echo/2", "echo/2"},
		{"7.8 several", "upgrade", "a,, b", "a, b"},
		{"7.8 not named in Connection", "keep-alive", "websocket", ""},
		{"7.8 those of this hop", "upgrade", "h2c, TLS/1.0, HTTP/2.0, a", "a"},
		{"7.8 malformed", "upgrade", "a b, /1, c/d/e", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &http.Request{ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Connection": {row.connection}, "Upgrade": {row.upgrade}}}
			if got := upgradeOf(r); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// What is asked for upstream had been asked for, is none of this hop's, and
// may be chosen.
func FuzzUpgradeOf(f *testing.F) {
	f.Add("upgrade", "websocket, h2c", "websocket")
	f.Add("close,Upgrade ", "a/1,,b", "a/1, b")
	f.Fuzz(func(t *testing.T, connection, upgrade, chosen string) {
		r := &http.Request{ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Connection": {connection}, "Upgrade": {upgrade}}}
		kept := upgradeOf(r)
		if kept == "" {
			return
		}
		if !offered(upgrade, kept) || !offered(kept, kept) {
			t.Fatalf("%q of %q was not offered", kept, upgrade)
		}
		for member := range strings.SplitSeq(kept, ", ") {
			name, _, _ := strings.Cut(member, "/")
			if !isToken(name) || ofThisHop(name) {
				t.Fatalf("%q is asked for", member)
			}
		}
		if offered(kept, chosen) && !offered(upgrade, chosen) {
			t.Fatalf("%q may be chosen, and nobody asked for it", chosen)
		}
	})
}
