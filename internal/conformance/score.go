package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// kind is what a test's result means.
type kind string

// The kinds, in the order in which they are told.
const (
	kindRequired kind = "required" // the RFC demands it; the kind of a test that names none
	kindOptimal  kind = "optimal"  // a good cache does it
	kindCheck    kind = "check"    // caches differ: neither answer is wrong
)

var kinds = [...]kind{kindRequired, kindOptimal, kindCheck}

// test is what scoring must know of one test.
type test struct {
	ID        string   `json:"id"`
	Group     string   `json:"group"`
	Name      string   `json:"name"`
	Kind      kind     `json:"kind"`
	DependsOn []string `json:"depends_on"`
}

// result is what the client reports of one test: true, or the name of an error
// and its message.
type result struct {
	passed bool
	class  string
	detail string
}

// UnmarshalJSON reads true, or [name, message].
func (r *result) UnmarshalJSON(text []byte) error {
	var passed bool
	if json.Unmarshal(text, &passed) == nil {
		*r = result{passed: passed}
		return nil
	}
	var failure []string
	if err := json.Unmarshal(text, &failure); err != nil || len(failure) == 0 {
		return errors.New("a result is neither true nor a list of an error's name and message")
	}
	*r = result{class: failure[0]}
	if len(failure) > 1 {
		r.detail = failure[1]
	}
	return nil
}

// verdict is how a test ended once its dependencies are looked at. Only
// verdictPass counts.
type verdict string

// The verdicts.
const (
	verdictPass       verdict = "pass"
	verdictFail       verdict = "fail"       // the cache did something else
	verdictSetup      verdict = "setup"      // what comes before the point of the test went wrong
	verdictRetry      verdict = "retry"      // the origin saw a request twice
	verdictError      verdict = "error"      // the client got no response
	verdictDependency verdict = "dependency" // a test that it depends on did not pass
	verdictMissing    verdict = "missing"    // the client did not report it
	verdictExcluded   verdict = "excluded"   // it is not counted; see exclude
)

// outcome is one test and how it ended.
type outcome struct {
	test
	Verdict verdict `json:"verdict"`
	// Detail is the client's message, or the dependencies that did not pass.
	Detail string `json:"detail,omitempty"`
	// First is what was wrong in the first run, of a test that passed alone.
	First string `json:"first,omitempty"`
}

// judge gives the outcome of each test, in their order. A result of true counts
// only if every test that this one depends on passed, and so on up.
func judge(tests []test, results map[string]result) []outcome {
	j := judgement{tests: make(map[string]test, len(tests)), results: results, known: map[string]outcome{}}
	for _, t := range tests {
		j.tests[t.ID] = t
	}
	outcomes := make([]outcome, 0, len(tests))
	for _, t := range tests {
		outcomes = append(outcomes, j.outcome(t))
	}
	return outcomes
}

type judgement struct {
	tests   map[string]test
	results map[string]result
	known   map[string]outcome
}

func (j *judgement) outcome(t test) outcome {
	if o, known := j.known[t.ID]; known {
		return o
	}
	if t.Kind == "" {
		t.Kind = kindRequired
	}
	o := outcome{test: t}
	// Stands while the dependencies are looked at: a circle passes nowhere.
	o.Verdict, o.Detail = verdictDependency, "depends on itself"
	j.known[t.ID] = o
	o.Verdict, o.Detail = ownVerdict(j.results, t.ID)
	if failed := j.failedDependencies(t); o.Verdict != verdictMissing && len(failed) > 0 {
		o.Verdict, o.Detail = verdictDependency, fmt.Sprint(failed)
	}
	j.known[t.ID] = o
	return o
}

func (j *judgement) failedDependencies(t test) []string {
	return slices.DeleteFunc(slices.Clone(t.DependsOn), func(id string) bool {
		other, exists := j.tests[id]
		return exists && j.outcome(other).Verdict == verdictPass
	})
}

// ownVerdict is the verdict on a test by its own result alone.
func ownVerdict(results map[string]result, id string) (verdict, string) {
	r, reported := results[id]
	switch {
	case !reported:
		return verdictMissing, ""
	case r.passed:
		return verdictPass, ""
	case r.class == "Setup" && r.detail == "retry":
		return verdictRetry, ""
	case r.class == "Setup":
		return verdictSetup, r.detail
	case r.class == "Assertion":
		return verdictFail, r.detail
	case r.class == "":
		return verdictFail, "the client reported false"
	default:
		return verdictError, r.class + ": " + r.detail
	}
}

// checkExclusions wants every excluded id to be a test, and to have a reason:
// such a list must not outlive its causes.
func checkExclusions(tests []test, reasons map[string]string) error {
	for id, reason := range reasons {
		if !slices.ContainsFunc(tests, func(t test) bool { return t.ID == id }) {
			return fmt.Errorf("%q is excluded, and the suite has no such test", id)
		}
		if reason == "" {
			return fmt.Errorf("%q is excluded without a reason", id)
		}
	}
	return nil
}

// exclude takes tests out of the count, by id and with the reason.
func exclude(outcomes []outcome, reasons map[string]string) []outcome {
	kept := slices.Clone(outcomes)
	for i := range kept {
		if reason, excluded := reasons[kept[i].ID]; excluded {
			kept[i].Verdict, kept[i].Detail = verdictExcluded, reason
		}
	}
	return kept
}

// count is how many tests of a kind passed, of those that are counted.
type count struct {
	Passed int `json:"passed"`
	Of     int `json:"of"`
}

// tally counts the outcomes by kind.
func tally(outcomes []outcome) map[kind]count {
	counts := map[kind]count{}
	for _, o := range outcomes {
		if o.Verdict == verdictExcluded {
			continue
		}
		c := counts[o.Kind]
		c.Of++
		if o.Verdict == verdictPass {
			c.Passed++
		}
		counts[o.Kind] = c
	}
	return counts
}

// failed says that the outcome counts and is no pass.
func (o outcome) failed() bool { return o.Verdict != verdictPass && o.Verdict != verdictExcluded }

// failing gives the ids of a kind that did not pass, sorted; never nil.
func failing(outcomes []outcome, k kind) []string {
	ids := []string{}
	for _, o := range outcomes {
		if o.Kind == k && o.failed() {
			ids = append(ids, o.ID)
		}
	}
	slices.Sort(ids)
	return ids
}
