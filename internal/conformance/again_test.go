package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSuspects(t *testing.T) {
	outcomes := []outcome{
		{test: test{ID: "passed", Kind: kindRequired}, Verdict: verdictPass},
		{test: test{ID: "known", Kind: kindOptimal}, Verdict: verdictFail},
		{test: test{ID: "look", Kind: kindCheck}, Verdict: verdictFail},
		{test: test{ID: "base", Kind: kindCheck}, Verdict: verdictError},
		{test: test{ID: "middle", Kind: kindCheck, DependsOn: []string{"base", "passed"}}, Verdict: verdictDependency},
		{test: test{ID: "above", Kind: kindRequired, DependsOn: []string{"middle", "unknown"}}, Verdict: verdictDependency},
		{test: test{ID: "excluded", Kind: kindRequired}, Verdict: verdictExcluded},
		{test: test{ID: "circle", Kind: kindOptimal, DependsOn: []string{"circle"}}, Verdict: verdictDependency},
	}
	recorded := score{Failing: map[kind][]string{kindOptimal: {"known"}}}
	if got, want := suspects(outcomes, recorded), []string{"base", "middle", "above", "circle"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What many tests have in common is not the machine's fault: none of them is
// run again, so that no client is needed here.
func TestTooManyForASecondChance(t *testing.T) {
	var tests []test
	results := map[string]result{}
	for range againTestsMax + 1 {
		id := strings.Repeat("x", len(tests)+1)
		tests = append(tests, test{ID: id})
		results[id] = result{class: "Assertion"}
	}
	outcomes, err := plan{tests: tests}.again(t.Context(), "", results, score{})
	if err != nil || len(failing(outcomes, kindRequired)) != againTestsMax+1 {
		t.Errorf("%d outcomes, %v", len(outcomes), err)
	}
}

func TestParseAlone(t *testing.T) {
	for _, row := range []struct {
		out, verdict, detail string // verdict "": no result
	}{
		{"Running a\n\x1b[0;32m==== Results\x1b[0m\n✅ - \n", "pass", ""},
		{"==== Results\nY - \n", "pass", ""},
		{"==== Results\n✅ - of the first\n==== Results\n⛔️ - Response 2 comes from cache\n", "fail", "Response 2 comes from cache"},
		{"==== Results\n⚠️ - body is \"a\nb\", not \"c - d\"\n", "fail", "body is \"a\nb\", not \"c - d\""},
		{"==== Results\nN - no\n", "fail", "no"},
		{"==== Results\n🔹 - Response 1 status is 502, not 200\n", "setup", "Response 1 status is 502, not 200"},
		{"==== Results\n↻ - retry\n", "retry", ""},
		{"==== Results\n⁉️ - This operation was aborted\n", "error", "AbortError: This operation was aborted"},
		{"==== Results\n", "", ""},
		{"Running a\n", "", ""},
	} {
		r, err := parseAlone([]byte(row.out))
		if (err != nil) != (row.verdict == "") {
			t.Errorf("%q: error %v", row.out, err)
		}
		if err != nil {
			continue
		}
		if v, detail := ownVerdict(map[string]result{"id": r}, "id"); string(v) != row.verdict || detail != row.detail {
			t.Errorf("%q: %s %q, want %s %q", row.out, v, detail, row.verdict, row.detail)
		}
	}
}

func FuzzParseAlone(f *testing.F) {
	for _, seed := range []string{"==== Results\n✅ - \n", "==== Results\n↻ - retry", "==== Results", "x - y", "==== Results\n - "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		r, err := parseAlone(out)
		if v, _ := ownVerdict(map[string]result{"id": r}, "id"); (v == verdictPass) != r.passed || err != nil && r.passed {
			t.Errorf("%s, %v: %+v", v, err, r)
		}
	})
}
