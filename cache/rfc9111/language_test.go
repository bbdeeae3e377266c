package rfc9111

import (
	"net/http"
	"strings"
	"testing"
)

func TestVariantByLanguage(t *testing.T) {
	long := strings.Repeat("a,", 40)
	tests := []struct {
		name string
		a, b string
		same bool
	}{
		{"4.1 order of one weight", "en, de", "de, en", true},
		{"4.1 case", "en, de-AT", "eN, De-aT", true},
		{"4.1 white space", "en, de", " en ,   de", true},
		{"4.1 weight of 1", "en;q=1.000, de;q=0.50", "en,de; q=0.5", true},
		{"4.1 order goes by weight", "de;q=0.5, en", "en, de;q=0.5", true},
		{"4.1 empty members", "en,,de,", "en,de", true},
		{"4.1 other weights", "en, de;q=0.5", "en, de;q=0.4", false},
		{"4.1 preference", "en, de;q=0.5", "de, en;q=0.5", false},
		{"4.1 refused is not the same as not named", "en", "en, de;q=0", false},
		{"4.1 another language", "en, de", "en, fr", false},
		{"4.1 more languages", "en, de", "en", false},
		{"4.1 twice: as it stands", "en, de, en;q=0.5", "de, en, en;q=0.5", false},
		{"4.1 malformed: as it stands", "en, d e", "d e, en", false},
		{"4.1 malformed weight: as it stands", "en;q=2, de", "de, en;q=2", false},
		{"4.1 malformed: white space all the same", "en;q=2, de", "en;q=2,de", true},
		{"4.1 too many: as they stand", long + "x", "x," + long, false},
	}
	fields := []string{"accept-language"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := new(Policy).Variant(fields, header("Accept-Language", tt.a)), new(Policy).Variant(fields, header("Accept-Language", tt.b))
			if (a == b) != tt.same {
				t.Errorf("got %q and %q", a, b)
			}
		})
	}
	if got := new(Policy).Variant(fields, header("Accept-Language", "EN-us;q=0.80", "Accept-Language", "de, fr;q=0.0")); got != "accept-language=21:de,en-us;q=0.8,fr;q=0;" {
		t.Errorf("got %q", got)
	}
}

// TestLanguage has a site that has German, English and Brazilian Portuguese.
func TestLanguage(t *testing.T) {
	p := Policy{Languages: []string{"de", "en", "pt-BR"}}
	tests := []struct{ name, field, want string }{
		{"RFC 9110 12.5.4 one", "en", "en"},
		{"RFC 9110 12.5.4 any case", "EN", "en"},
		{"RFC 9110 12.5.4 weights", "en;q=0.5, de", "de"},
		{"RFC 9110 12.5.4 weights, other order", "de;q=0.5, en", "en"},
		{"RFC 9110 12.5.4 equal weights: the site's order", "en, de", "de"},
		{"RFC 9110 12.5.4 a language that the site has not", "fr, en;q=0.1", "en"},
		{"RFC 9110 12.5.4 none that the site has", "fr", ""},
		{"RFC 9110 12.5.4 refused", "de;q=0", ""},
		{"RFC 9110 12.5.4 any", "*", "de"},
		{"RFC 9110 12.5.4 any other", "de;q=0.5, *;q=0.9", "en"},
		{"RFC 9110 12.5.4 any but", "*, de;q=0", "en"},
		{"RFC 9110 12.5.4 empty", "", ""},
		{"RFC 9110 12.5.4 malformed members", "en;q=7, x y, de;q=0.1", "de"},
		{"RFC 4647 3.3.1 a range that begins the tag", "pt", "pt-BR"},
		{"RFC 4647 3.3.1 no subtag", "p", ""},
		{"RFC 4647 3.4 a range that goes on", "de-AT-1996", "de"},
		{"RFC 4647 3.4 a range that goes on another way", "pt-PT", ""},
		{"RFC 4647 3.3.1 the longest range", "pt;q=0.1, pt-br;q=0.9, en;q=0.5", "pt-BR"},
		{"RFC 4647 3.3.1 a range itself before one that goes on", "de;q=0.1, de-AT, en;q=0.5", "en"},
		{"RFC 4647 3.4 two that go on", "de-AT;q=0.1, de-CH;q=0.9, en;q=0.5", "de"},
		{"RFC 4647 3.4 two that go on, other order", "de-CH;q=0.9, de-AT;q=0.1, en;q=0.5", "de"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := header("Accept-Language", tt.field)
			if got := p.Language(h); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			// The origin sees what the variant says.
			variant := p.Variant([]string{"accept-encoding", "accept-language"}, h)
			p.Negotiate(h)
			if got := h.Get("Accept-Language"); got != tt.want {
				t.Errorf("the origin sees %q", got)
			}
			if again := p.Variant([]string{"accept-encoding", "accept-language"}, h); again != variant {
				t.Errorf("variant %q becomes %q", variant, again)
			}
		})
	}
	h := header("Accept-Language", "de-AT, fr;q=0.5")
	if n := testing.AllocsPerRun(100, func() { p.Language(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNegotiate(t *testing.T) {
	h := header("Accept-Encoding", "gzip, deflate", "Accept-Encoding", "br", "Accept-Language", "fr, en")
	p := Policy{}
	p.Negotiate(h)
	if got := h.Values("Accept-Encoding"); len(got) != 1 || got[0] != "br, gzip" {
		t.Errorf("got %q", got)
	}
	if got := h.Get("Accept-Language"); got != "fr, en" {
		t.Errorf("a site without languages: got %q", got)
	}
}

func FuzzLanguage(f *testing.F) {
	f.Add("de-AT;q=0.5, *", "en")
	f.Add("EN, en;q=0.1", ",;q=,")
	f.Fuzz(func(t *testing.T, a, b string) {
		fields := []string{"accept-encoding", "accept-language"}
		sites := []Policy{{}, {Languages: []string{"de", "en", "pt-BR"}}}
		for _, p := range sites {
			h := http.Header{"Accept-Language": {a, b}, "Accept-Encoding": {b, a}}
			variant := p.Variant(fields, h)
			p.Negotiate(h)
			if again := p.Variant(fields, h); again != variant {
				t.Fatalf("%q becomes %q", variant, again)
			}
		}
		// The one spelling is its own, and order within it is free.
		if ranges, ok := languageRanges([]string{a}); ok {
			once := string(appendLanguages(nil, []string{a}))
			if again := string(appendLanguages(nil, []string{once})); again != once {
				t.Fatalf("%q becomes %q", once, again)
			}
			members := strings.Split(once, ",")
			for i, j := 0, len(members)-1; i < j; i, j = i+1, j-1 {
				members[i], members[j] = members[j], members[i]
			}
			if turned := string(appendLanguages(nil, []string{strings.Join(members, ",")})); turned != once {
				t.Fatalf("%q turned round is %q (%v)", once, turned, ranges)
			}
		}
	})
}
