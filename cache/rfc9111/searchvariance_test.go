package rfc9111

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// TestParseNoVarySearch has every row under section 4 of the draft.
func TestParseNoVarySearch(t *testing.T) {
	all := NoVarySearch{AllParams: true}
	tests := []struct {
		name, field string
		want        NoVarySearch
	}{
		{"params", "params", all},
		{"params, explicit", "params=?1", all},
		{"params, a list", `params=("a" "b")`, NoVarySearch{Params: []string{"a", "b"}}},
		{"params, false", "params=?0", NoVarySearch{}},
		{"params, an empty list", "params=()", NoVarySearch{}},
		{"except", `params, except=("x")`, NoVarySearch{AllParams: true, Except: []string{"x"}}},
		{"key-order", "key-order", NoVarySearch{KeyOrder: true}},
		{"key-order, false", "key-order=?0", NoVarySearch{}},
		{"all three", `except=("x"), key-order, params`, NoVarySearch{AllParams: true, Except: []string{"x"}, KeyOrder: true}},
		{"encoded names", `params=("%C3%A9+%E6%B0%97")`, NoVarySearch{Params: []string{"é 気"}}},
		{"unknown members", `params, foo=1, bar`, all},
		{"unknown members alone", "unknown-key", NoVarySearch{}},
		{"empty", "", NoVarySearch{}},
		{"no dictionary", "params, &", NoVarySearch{}},
		{"key-order is no boolean", `key-order="a"`, NoVarySearch{}},
		{"key-order is no boolean, beside", `params, key-order=1`, NoVarySearch{}},
		{"params is neither", `params="a"`, NoVarySearch{}},
		{"params has a token", "params=(a)", NoVarySearch{}},
		{"except without params", `except=("x")`, NoVarySearch{}},
		{"except with a list", `params=("a"), except=("x")`, NoVarySearch{}},
		{"except with false", `params=?0, except=("x")`, NoVarySearch{}},
		{"except has a token", "params, except=(x)", NoVarySearch{}},
		{"except is no list", "params, except=?1", NoVarySearch{}},
		{"limits: names", "params=(" + strings.Repeat(`"a" `, searchParamsMax+1) + ")", NoVarySearch{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ParseNoVarySearch(header("No-Vary-Search", tt.field))
			if len(got.Params) == 0 {
				got.Params = nil
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	if !ParseNoVarySearch(header()).IsZero() {
		t.Error("without the field every difference matters")
	}
}

// TestSearchKey has every row under section 5 of the draft.
func TestSearchKey(t *testing.T) {
	order := NoVarySearch{KeyOrder: true}
	params := NoVarySearch{Params: []string{"a", "é 気"}}
	except := NoVarySearch{AllParams: true, Except: []string{"id"}}
	many := strings.Repeat("a=1&", searchPairsMax)
	tests := []struct {
		name string
		n    NoVarySearch
		a, b string
		same bool
	}{
		{"default: equal", NoVarySearch{}, "a=1", "a=1", true},
		{"default: as it stands", NoVarySearch{}, "a=b&&&c", "a=b&c=", false},
		{"order", order, "a=1&b=2", "b=2&a=1", true},
		{"order of one name matters", order, "a=1&a=2", "a=2&a=1", false},
		{"order of one name matters, with others", order, "a=1&b=3&a=2", "b=3&a=1&a=2", true},
		{"order, not given", params, "c=1&d=2", "d=2&c=1", false},
		{"a parameter that does not matter", params, "a=1&b=2", "b=2&a=7&a=9", true},
		{"a parameter that matters", params, "b=1", "b=2", false},
		{"names are decoded", params, "%C3%A9%20気=3&b=1", "é+気=2&b=1", true},
		{"names are decoded, letters", params, "%61=1", "", true},
		{"names have a case", params, "A=1", "", false},
		{"all but one", except, "id=1&x=2", "y=3&id=1", true},
		{"all but one, which differs", except, "id=1", "id=2", false},
		{"all but one, which is absent", except, "id=", "x=1", false},
		{"none left", except, "x=1", "", true},
		{"null and empty", order, "", "&&", true},
		{"percent-decoding", order, "a=x", "%61=%78", true},
		{"UTF-8", order, "a=é", "a=%C3%A9", true},
		{"not UTF-8", order, "a=%f6", "a=%ef%bf%bd", true},
		{"not UTF-8, once and twice", order, "a=%f6%f6", "a=%f6", false},
		{"not UTF-8, one part of two bytes", order, "a=%e2%82", "a=%ef%bf%bd", true},
		{"not UTF-8, a part and what it cannot have", order, "a=%e0%80", "a=%ef%bf%bd%ef%bf%bd", true},
		{"not UTF-8, a part and a letter", order, "a=%f0%9fx", "a=%ef%bf%bdx", true},
		{"no escape", order, "a=%zz", "a=%25zz", true},
		{"no escape at the end", order, "a=%2", "a=%252", true},
		{"empty pairs", order, "a=x&&&&", "a=x", true},
		{"empty value", order, "a=", "a", true},
		{"space", order, "a=%20", "a=+", true},
		{"plus", order, "a=%2B", "a=+", false},
		{"separators in values", order, "a=1%26b=2", "a=1&b=2", false},
		{"equals sign in a value", order, "a=b=c", "a=b%3Dc", true},
		{"equals sign in a name", order, "a%3Db=c", "a=b=c", false},
		{"limits: too many are as they stand", params, many, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a, b := SearchKey(tt.a, tt.n), SearchKey(tt.b, tt.n); (a == b) != tt.same {
				t.Errorf("got %q and %q", a, b)
			}
		})
	}
}

func FuzzNoVarySearch(f *testing.F) {
	f.Add(`params=("a"), key-order`, "a=1&b=%f6", "b=2")
	f.Add(`params, except=("%C3%A9")`, "é=1&&", "%zz")
	f.Fuzz(func(t *testing.T, field, a, b string) {
		n := ParseNoVarySearch(http.Header{"No-Vary-Search": {field}})
		key := SearchKey(a, n)
		if again := SearchKey(key, n); again != key {
			t.Fatalf("%q becomes %q and then %q", a, key, again)
		}
		// Equivalence is kept by what comes after.
		if SearchKey(b, n) == key && SearchKey(a+"&x=1", n) != SearchKey(b+"&x=1", n) && !n.IsZero() {
			t.Fatalf("%q and %q are the same, but not with more after them", a, b)
		}
	})
}
