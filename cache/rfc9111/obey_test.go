package rfc9111

import (
	"net/http"
	"strings"
	"testing"
)

func TestParseDirectiveSet(t *testing.T) {
	tests := []struct {
		names []string
		want  DirectiveSet
		ok    bool
	}{
		{nil, 0, true},
		{[]string{"safe"}, ObeySafe, true},
		{[]string{"all"}, ObeyAll, true},
		{[]string{"none"}, ObeyNone, true},
		{[]string{"No-Cache", "max-age"}, ObeyNoCache | ObeyMaxAge, true},
		{[]string{"safe", "pragma"}, ObeySafe | ObeyPragma, true},
		{[]string{"no-cash"}, 0, false},
		{[]string{"all", ""}, 0, false},
	}
	for _, tt := range tests {
		got, err := ParseDirectiveSet(tt.names)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %v, %v", tt.names, got, err)
		}
	}
	for _, known := range directiveNames {
		again, err := ParseDirectiveSet(strings.Split(known.set.String(), ","))
		if err != nil || again != known.set {
			t.Errorf("%s reads back as %v, %v", known.set, again, err)
		}
	}
	if got := DirectiveSet(0).String(); got != "safe" {
		t.Errorf("the zero value is named %q", got)
	}
}

func TestRequestDirectives(t *testing.T) {
	all := header(cacheControl, "no-store, no-cache, only-if-cached, max-age=1, min-fresh=2", cacheControl, "max-stale=3")
	pragma := header("Pragma", "x, No-Cache")
	tests := []struct {
		name string
		req  http.Header
		obey DirectiveSet
		want Directives
	}{
		{"5.2.1 none given", header(), ObeyAll, Directives{}},
		{"5.2.1 the default", all, 0, Directives{NoStore: true, OnlyIfCached: true}},
		{"5.2.1 safe", all, ObeySafe, Directives{NoStore: true, OnlyIfCached: true}},
		{"5.2.1 all", all, ObeyAll, Directives{NoStore: true, OnlyIfCached: true, NoCache: true, MaxAge: seconds(1), MinFresh: seconds(2), MaxStale: seconds(3)}},
		{"5.2.1 none", all, ObeyNone, Directives{}},
		{"5.2.1.1 max-age alone", all, ObeyMaxAge, Directives{MaxAge: seconds(1)}},
		{"5.2.1.2 max-stale alone", all, ObeyMaxStale, Directives{MaxStale: seconds(3)}},
		{"5.2.1.3 min-fresh alone", all, ObeyMinFresh, Directives{MinFresh: seconds(2)}},
		{"5.2.1.4 no-cache alone", all, ObeyNoCache, Directives{NoCache: true}},
		{"5.4 Pragma", pragma, ObeyAll, Directives{NoCache: true}},
		{"5.4 Pragma, not obeyed", pragma, ObeyAll &^ ObeyPragma, Directives{}},
		{"5.4 Pragma, no-cache not obeyed", pragma, ObeyPragma, Directives{}},
		{"5.4 Pragma, the default", pragma, 0, Directives{}},
		{"5.4 Pragma, another", header("Pragma", "foo"), ObeyAll, Directives{}},
		{"5.4 Pragma has no other directive", header("Pragma", "no-store, max-age=0"), ObeyAll, Directives{}},
		{"5.4 Pragma beside Cache-Control", header("Pragma", "no-cache", cacheControl, "max-age=1"), ObeyAll, Directives{MaxAge: seconds(1)}},
		{"5.4 Pragma beside an empty Cache-Control", header("Pragma", "no-cache", cacheControl, ""), ObeyAll, Directives{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := RequestDirectives(tt.req, Policy{Obey: tt.obey}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestObeying(t *testing.T) {
	s := NewStored(200, header(cacheControl, "max-age=60"), received, received, Policy{})
	req := ParseCacheControl([]string{"no-cache"})
	if got := s.Reuse(received, req, Policy{Obey: ObeyNone}, false); got != Fresh {
		t.Errorf("5.2.1.4, not obeyed: got %v", got)
	}
	if got := s.Reuse(received, req, Policy{Obey: ObeyNoCache}, false); got != Revalidate {
		t.Errorf("5.2.1.4, obeyed: got %v", got)
	}
	noStore := header(cacheControl, "no-store")
	fresh := header(cacheControl, "max-age=60")
	if got := Storable("GET", noStore, 200, fresh, Policy{Obey: ObeyNoCache}); got != CanStore {
		t.Errorf("5.2.1.5, not obeyed: got %v", got)
	}
	if got := Storable("GET", noStore, 200, fresh, Policy{Obey: ObeyNoStore}); got != RefusedRequestNoStore {
		t.Errorf("5.2.1.5, obeyed: got %v", got)
	}
}

// What a site does not obey is not there, and what it obeys is what the field
// says.
func FuzzRequestDirectives(f *testing.F) {
	f.Add("no-cache, max-age=1", true, "no-cache", uint16(ObeyAll))
	f.Add("", false, "x, No-Cache", uint16(ObeySafe))
	f.Fuzz(func(t *testing.T, cc string, given bool, pragma string, obey uint16) {
		req := header("Pragma", pragma)
		if given {
			req.Set(cacheControl, cc)
		}
		set := DirectiveSet(obey)
		got, all := RequestDirectives(req, Policy{Obey: set}), RequestDirectives(req, Policy{Obey: ObeyAll})
		if got.NoCache && !all.NoCache || got.NoStore && !all.NoStore || got.OnlyIfCached && !all.OnlyIfCached {
			t.Fatalf("%v gives %+v, all %+v", set, got, all)
		}
		none := RequestDirectives(req, Policy{Obey: ObeyNone})
		if none.NoCache || none.NoStore || none.OnlyIfCached || none.MaxAge.Given || none.MinFresh.Given || none.MaxStale.Given {
			t.Fatalf("nothing is obeyed, and this is there: %+v", none)
		}
		if written := ParseCacheControl([]string{cc}); given && (all.NoStore != written.NoStore || all.MaxAge != written.MaxAge) {
			t.Fatalf("%q gives %+v", cc, all)
		}
	})
}
