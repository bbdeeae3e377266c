package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	tests := []test{
		{ID: "base"},
		{ID: "named", Kind: kindRequired, DependsOn: []string{"base"}},
		{ID: "better", Kind: kindOptimal, DependsOn: []string{"named", "base"}},
		{ID: "look", Kind: kindCheck, DependsOn: []string{"better"}},
		{ID: "lost", DependsOn: []string{"unknown"}},
		{ID: "circle-a", DependsOn: []string{"circle-b"}},
		{ID: "circle-b", DependsOn: []string{"circle-a"}},
	}
	pass := result{passed: true}
	for _, row := range []struct {
		name    string
		results map[string]result
		want    map[string]verdict // of those that are no pass
	}{
		{"all true: only what depends on nothing known falls",
			map[string]result{"base": pass, "named": pass, "better": pass, "look": pass, "lost": pass, "circle-a": pass, "circle-b": pass},
			map[string]verdict{"lost": verdictDependency, "circle-a": verdictDependency, "circle-b": verdictDependency}},
		{"a failure takes down all above it",
			map[string]result{"base": {class: "Assertion", detail: "no"}, "named": pass, "better": pass, "look": pass},
			map[string]verdict{"base": verdictFail, "named": verdictDependency, "better": verdictDependency, "look": verdictDependency,
				"lost": verdictMissing, "circle-a": verdictMissing, "circle-b": verdictMissing}},
		{"a failed dependency outweighs a failure of its own",
			map[string]result{"base": pass, "named": {class: "Setup", detail: "no"}, "better": {class: "Assertion"}, "look": {class: "TypeError", detail: "no"}},
			map[string]verdict{"named": verdictSetup, "better": verdictDependency, "look": verdictDependency,
				"lost": verdictMissing, "circle-a": verdictMissing, "circle-b": verdictMissing}},
		{"the kinds of failure",
			map[string]result{"base": {class: "Setup", detail: "retry"}, "named": {class: "AbortError", detail: "late"}, "lost": {}},
			map[string]verdict{"base": verdictRetry, "named": verdictDependency, "better": verdictMissing, "look": verdictMissing,
				"lost": verdictDependency, "circle-a": verdictMissing, "circle-b": verdictMissing}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := map[string]verdict{}
			for i, o := range judge(tests, row.results) {
				if o.ID != tests[i].ID {
					t.Fatalf("outcome %d is of %s, want %s", i, o.ID, tests[i].ID)
				}
				if o.Verdict != verdictPass {
					got[o.ID] = o.Verdict
				}
			}
			if !maps.Equal(got, row.want) {
				t.Errorf("got  %v\nwant %v", got, row.want)
			}
		})
	}
}

func TestOwnVerdict(t *testing.T) {
	for _, row := range []struct {
		json, verdict, detail string
	}{
		{`true`, "pass", ""},
		{`false`, "fail", "the client reported false"},
		{`["Assertion", "Response 2 comes from cache"]`, "fail", "Response 2 comes from cache"},
		{`["Setup", "Response 1 status is 502, not 200"]`, "setup", "Response 1 status is 502, not 200"},
		{`["Setup", "retry"]`, "retry", ""},
		{`["AbortError", "This operation was aborted"]`, "error", "AbortError: This operation was aborted"},
		{`["unknown"]`, "error", "unknown: "},
	} {
		var r result
		if err := json.Unmarshal([]byte(row.json), &r); err != nil {
			t.Errorf("%s: %v", row.json, err)
			continue
		}
		if v, detail := ownVerdict(map[string]result{"id": r}, "id"); string(v) != row.verdict || detail != row.detail {
			t.Errorf("%s: %s %q, want %s %q", row.json, v, detail, row.verdict, row.detail)
		}
	}
	for _, bad := range []string{`[]`, `1`, `"true"`, `{}`, `[1]`} {
		if err := json.Unmarshal([]byte(bad), new(result)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestTallyAndExclude(t *testing.T) {
	outcomes := []outcome{
		{test: test{ID: "b", Kind: kindRequired}, Verdict: verdictFail},
		{test: test{ID: "a", Kind: kindRequired}, Verdict: verdictSetup},
		{test: test{ID: "c", Kind: kindRequired}, Verdict: verdictPass},
		{test: test{ID: "d", Kind: kindOptimal}, Verdict: verdictPass},
		{test: test{ID: "e", Kind: kindCheck}, Verdict: verdictFail},
	}
	if got := failing(outcomes, kindRequired); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("failing %q", got)
	}
	without := exclude(outcomes, map[string]string{"b": "turned round", "c": "dropped"})
	if got := failing(without, kindRequired); !slices.Equal(got, []string{"a"}) {
		t.Errorf("failing without those excluded %q", got)
	}
	for _, row := range []struct {
		outcomes []outcome
		want     map[kind]count
	}{
		{outcomes, map[kind]count{kindRequired: {1, 3}, kindOptimal: {1, 1}, kindCheck: {0, 1}}},
		{without, map[kind]count{kindRequired: {0, 1}, kindOptimal: {1, 1}, kindCheck: {0, 1}}},
	} {
		if got := tally(row.outcomes); !maps.Equal(got, row.want) {
			t.Errorf("tally %v, want %v", got, row.want)
		}
	}
}

func TestCheckExclusions(t *testing.T) {
	tests := []test{{ID: "a"}, {ID: "b"}}
	for _, row := range []struct {
		id, reason string
		good       bool
	}{{"a", "dropped", true}, {"a", "", false}, {"gone", "dropped", false}} {
		if err := checkExclusions(tests, map[string]string{row.id: row.reason}); (err == nil) != row.good {
			t.Errorf("%q because of %q: %v", row.id, row.reason, err)
		}
	}
}

func TestParseResults(t *testing.T) {
	for _, row := range []struct {
		name, out, wrong string
		ids              int
	}{
		{"alone", "{\n  \"a\": true\n}\n", "", 1},
		{"after warnings", "ERROR: {\n\n{\n  \"a\": true,\n  \"b\": [\"Setup\", \"retry\"]\n}\n", "", 2},
		{"none", "Running a\nok\n", "printed no results", 0},
		{"nothing", "", "printed no results", 0},
		{"cut off", "{\n  \"a\": tr", "results of its client", 0},
		{"no result", "{\n  \"a\": 3\n}", "neither true nor a list", 0},
	} {
		results, err := parseResults([]byte(row.out))
		if row.wrong == "" && err != nil || row.wrong != "" && (err == nil || !strings.Contains(err.Error(), row.wrong)) {
			t.Errorf("%s: error %v, want %q", row.name, err, row.wrong)
		}
		if len(results) != row.ids {
			t.Errorf("%s: %d results, want %d", row.name, len(results), row.ids)
		}
	}
}

func FuzzParseResults(f *testing.F) {
	for _, seed := range []string{"{\n  \"a\": true\n}\n", "x\n{\n  \"a\": [\"Setup\", \"retry\"]\n}", "{", "\n{\n", "{\"a\": []}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		results, err := parseResults(out)
		if err == nil && results == nil && !strings.Contains(string(out), "null") {
			t.Error("neither results nor an error")
		}
		for id, r := range results {
			if v, _ := ownVerdict(results, id); (v == verdictPass) != r.passed || v == verdictMissing {
				t.Errorf("%q: %s of %+v", id, v, r)
			}
		}
	})
}
