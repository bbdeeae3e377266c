package httpcache

import (
	"slices"
	"strings"
	"testing"
)

// Which links are sent ahead of a page; RFC 8288 section 3, RFC 8297 section 2.
func TestHintLinks(t *testing.T) {
	for _, row := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"none", nil, nil},
		{"preload", []string{"</a.css>; rel=preload; as=style"}, []string{"</a.css>; rel=preload; as=style"}},
		{"quoted rel", []string{`</a.js>; as=script; rel="preload modulepreload"`}, []string{`</a.js>; as=script; rel="preload modulepreload"`}},
		{"case", []string{"<https://cdn.test>; REL=PreConnect"}, []string{"<https://cdn.test>; REL=PreConnect"}},
		{"several in a line", []string{"</a>; rel=preload, </b>;rel=next , </c>; rel=preload"}, []string{"</a>; rel=preload", "</c>; rel=preload"}},
		{"several lines", []string{"</a>; rel=preload", "</b>; rel=preload"}, []string{"</a>; rel=preload", "</b>; rel=preload"}},
		{"comma in the target", []string{"</a,b>; rel=preload"}, []string{"</a,b>; rel=preload"}},
		{"comma and semicolon quoted", []string{`</a>; title="x, \"; rel=next"; rel=preload, </b>; rel=preload`}, []string{`</a>; title="x, \"; rel=next"; rel=preload`, "</b>; rel=preload"}},
		{"the first rel counts", []string{"</a>; rel=next; rel=preload"}, nil},
		{"mixed relations", []string{`</a>; rel="preload next"`}, nil},
		{"no rel", []string{"</a>; as=style"}, nil},
		{"no target", []string{"a; rel=preload", "<a; rel=preload", ";;;", `"`}, nil},
		{"too many", []string{strings.Repeat("</a>; rel=preload,", 100)}, slices.Repeat([]string{"</a>; rel=preload"}, hintsMax)},
	} {
		if got := hintLinks(row.lines); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q; want %q", row.name, got, row.want)
		}
	}
}

func FuzzHintLinks(f *testing.F) {
	f.Add(`</a,b>; title="x, \"; rel=next"; rel=preload, </b>; rel="preload"`)
	f.Fuzz(func(t *testing.T, line string) {
		for _, link := range hintLinks([]string{line}) {
			if !strings.Contains(line, link) || !strings.HasPrefix(link, "<") || strings.ContainsAny(link, "\r\n") && !strings.ContainsAny(line, "\r\n") {
				t.Errorf("%q from %q", link, line)
			}
		}
	})
}
