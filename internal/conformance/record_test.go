package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	recorded := score{
		Counts:  map[kind]count{kindRequired: {8, 10}, kindOptimal: {5, 5}, kindCheck: {9, 9}},
		Failing: map[kind][]string{kindRequired: {"a", "b"}},
	}
	for _, row := range []struct {
		name   string
		now    score
		gained []string
		wrong  []string // parts of the error; none: no error
	}{
		{"the same", recorded, nil, nil},
		{"one gained", score{
			Counts:  map[kind]count{kindRequired: {9, 10}, kindOptimal: {5, 5}},
			Failing: map[kind][]string{kindRequired: {"b"}},
		}, []string{"a"}, nil},
		{"one gained hides none lost", score{
			Counts:  map[kind]count{kindRequired: {8, 10}, kindOptimal: {5, 5}},
			Failing: map[kind][]string{kindRequired: {"b", "c"}},
		}, []string{"a"}, []string{`"c"`}},
		{"an optimal one lost", score{
			Counts:  map[kind]count{kindRequired: {8, 10}, kindOptimal: {4, 5}},
			Failing: map[kind][]string{kindRequired: {"a", "b"}, kindOptimal: {"o"}},
		}, nil, []string{`"o"`, "optimal 4, recorded 5"}},
		{"checks are not held", score{
			Counts:  map[kind]count{kindRequired: {8, 10}, kindOptimal: {5, 5}, kindCheck: {0, 9}},
			Failing: map[kind][]string{kindRequired: {"a", "b"}},
		}, nil, nil},
		{"tests that are gone", score{
			Counts:  map[kind]count{kindRequired: {7, 9}, kindOptimal: {5, 5}},
			Failing: map[kind][]string{kindRequired: {"a", "b"}},
		}, nil, []string{"required 7, recorded 8"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			gained, err := compare(recorded, row.now)
			if !slices.Equal(gained, row.gained) {
				t.Errorf("gained %q, want %q", gained, row.gained)
			}
			if (err == nil) != (len(row.wrong) == 0) {
				t.Fatalf("error %v, want %q", err, row.wrong)
			}
			for _, part := range row.wrong {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %v has no %q", err, part)
				}
			}
		})
	}
}

func TestRecordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scores.json")
	empty, err := loadRecord(path)
	if err != nil || len(empty) != 0 {
		t.Fatalf("no file: %v, %v", empty, err)
	}
	want := scoreOf("0.4.5", []outcome{
		{test: test{ID: "a", Kind: kindRequired}, Verdict: verdictFail},
		{test: test{ID: "b", Kind: kindOptimal}, Verdict: verdictPass},
	})
	empty.set("npm", "edge", want)
	if err := empty.save(path); err != nil {
		t.Fatal(err)
	}
	got, err := loadRecord(path)
	if err != nil || !reflect.DeepEqual(got["npm"]["edge"], want) {
		t.Errorf("read back %v, %v; want %v", got, err, want)
	}
	if err := os.WriteFile(path, []byte(`{"npm": {"edge": {"versio": "1"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadRecord(path); err == nil {
		t.Error("an unknown field: no error")
	}
}

// The files that the repository has are ones that the program can read, and
// each exclusion says why.
func TestRepositoryFiles(t *testing.T) {
	folder := filepath.Join("..", "..", "testdata", "conformance")
	recorded, err := loadRecord(filepath.Join(folder, "scores.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range layouts {
		for _, tier := range tiers {
			if got := recorded[s.name][tier.name]; got.Counts[kindRequired].Of == 0 || got.Counts[kindOptimal].Of == 0 {
				t.Errorf("suite %s, %s: no score is recorded", s.name, tier.name)
			}
		}
	}
	excluded, err := loadExclusions(filepath.Join(folder, "excluded.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, reasons := range excluded {
		if !slices.ContainsFunc(layouts, func(s suite) bool { return s.name == name }) {
			t.Errorf("exclusions for %q, which is no suite", name)
		}
		for id, reason := range reasons {
			if reason == "" {
				t.Errorf("%s: excluded without a reason", id)
			}
		}
	}
}
