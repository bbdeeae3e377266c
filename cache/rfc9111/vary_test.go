package rfc9111

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestVaryFields(t *testing.T) {
	many := make([]string, 17)
	for i := range many {
		many[i] = "x-" + string(rune('a'+i))
	}
	tests := []struct {
		name  string
		lines []string
		want  []string
		star  bool
	}{
		{"4.1 none", nil, nil, false},
		{"4.1 empty", []string{"", " , "}, nil, false},
		{"4.1 one", []string{"Accept-Encoding"}, []string{"accept-encoding"}, false},
		{"4.1 sorted, once each", []string{"Foo, Bar", "foo,,BAZ "}, []string{"bar", "baz", "foo"}, false},
		{"4.1 *", []string{"*"}, nil, true},
		{"4.1 * in a list", []string{"Foo, *"}, nil, true},
		{"4.1 * on a second line", []string{"", "*"}, nil, true},
		{"4.1 no field name", []string{"foo bar"}, nil, true},
		{"4.1 as many as allowed", []string{strings.Join(many[:16], ",")}, many[:16], false},
		{"4.1 too many", []string{strings.Join(many, ",")}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, star := VaryFields(http.Header{"Vary": tt.lines})
			if !slices.Equal(got, tt.want) || star != tt.star {
				t.Errorf("got %q, %v, want %q, %v", got, star, tt.want, tt.star)
			}
		})
	}
}

func TestVariant(t *testing.T) {
	foo := func(lines ...string) http.Header { return http.Header{"Foo": lines} }
	tests := []struct {
		name string
		a, b http.Header
		same bool
	}{
		{"4.1 equal", foo("1"), foo("1"), true},
		{"4.1 different", foo("1"), foo("2"), false},
		{"4.1 absent and absent", header(), header("Other", "x"), true},
		{"4.1 absent and empty", header(), foo(""), false},
		{"4.1 absent and present", header(), foo("1"), false},
		{"4.1 case matters", foo("a"), foo("A"), false},
		{"4.1 order matters", foo("1, 2"), foo("2, 1"), false},
		{"4.1 white space around members", foo("1,2"), foo(" 1,\t 2 "), true},
		{"4.1 white space within members", foo("1 2"), foo("1  2"), false},
		{"4.1 lines combined", foo("1", "2"), foo("1, 2"), true},
		{"4.1 quoted white space", foo(`"a, b"`), foo(`"a,b"`), false},
		{"4.1 quoted, escaped quote", foo(`"\", b"`), foo(`"\",b"`), false},
		{"4.1 after a quoted string", foo(`"a" , b`), foo(`"a",b`), true},
		{"4.1 quote without end", foo(`"a, b`), foo(`"a,b`), false},
		{"4.1 empty members stay", foo("1,,2"), foo("1,2"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := new(Policy).Variant([]string{"foo"}, tt.a), new(Policy).Variant([]string{"foo"}, tt.b)
			if (a == b) != tt.same {
				t.Errorf("got %q and %q", a, b)
			}
		})
	}
}

func TestVariantText(t *testing.T) {
	got := new(Policy).Variant([]string{"accept", "x"}, header("Accept", "a, b"))
	if want := "accept=3:a,b;x-;"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := new(Policy).Variant(nil, header("Accept", "a")); got != "" {
		t.Errorf("no fields: got %q", got)
	}
}

func FuzzVaryFields(f *testing.F) {
	f.Add("Foo, *", "bar")
	f.Fuzz(func(t *testing.T, a, b string) {
		fields, star := VaryFields(http.Header{"Vary": {a, b}})
		if star && fields != nil || len(fields) > varyFieldsMax || !slices.IsSorted(fields) {
			t.Fatalf("got %q, %v", fields, star)
		}
		again, star := VaryFields(http.Header{"Vary": fields})
		if star || !slices.Equal(again, fields) {
			t.Fatalf("%q reads back as %q, %v", fields, again, star)
		}
	})
}

// Two requests have the same variant only if their normalised values are the
// same, one by one.
func FuzzVariant(f *testing.F) {
	f.Add("1,2", "x", " 1 , 2", "x")
	f.Add(`1;bar=1:x`, "", "1", `x;bar=1:x`)
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string) {
		fields := []string{"bar", "foo"}
		a := new(Policy).Variant(fields, http.Header{"Bar": {a1}, "Foo": {a2}})
		b := new(Policy).Variant(fields, http.Header{"Bar": {b1}, "Foo": {b2}})
		normal := func(line string) string { return string(appendNormalised(nil, []string{line})) }
		if (a == b) != (normal(a1) == normal(b1) && normal(a2) == normal(b2)) {
			t.Fatalf("%q and %q", a, b)
		}
		if once := normal(a1); normal(once) != once {
			t.Fatalf("%q normalises to %q and then %q", a1, once, normal(once))
		}
	})
}
