package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
)

// againTestsMax bounds how many tests are run again. When more than these
// differ from the record, a loaded machine is no explanation.
const againTestsMax = 60

// again runs alone, one after the other, the tests whose failure would be news,
// and gives outcomes that take the second verdict for the first. The suite runs
// up to a hundred tests at a time, and many of them live from a response that
// is fresh for a second or two: on a loaded machine one may fail that nothing
// is wrong with. One that fails twice has failed. It is the same weir still, so
// that one which the first run has left in a bad state does not get away.
func (p plan) again(ctx context.Context, base string, first map[string]result, recorded score) ([]outcome, error) {
	outcomes := p.judge(first)
	ids := suspects(outcomes, recorded)
	if len(ids) > againTestsMax {
		return outcomes, nil
	}
	second := maps.Clone(first)
	for _, id := range ids {
		out, err := p.suite.clientOutput(ctx, base, id)
		if err == nil {
			second[id], err = parseAlone(out)
		}
		if err != nil {
			return nil, fmt.Errorf("suite: %s alone: %w", id, err)
		}
	}
	settled := p.judge(second)
	for i, before := range outcomes {
		if before.failed() && settled[i].Verdict == verdictPass {
			settled[i].First = fmt.Sprintf("%s: %s", before.Verdict, before.Detail)
		}
	}
	return settled, nil
}

// suspects gives the ids of the required and optimal tests that failed and are
// not recorded as failing, and of the tests that failed below them.
func suspects(outcomes []outcome, recorded score) []string {
	expected, by := map[string]bool{}, map[string]outcome{}
	for _, o := range outcomes {
		by[o.ID] = o
	}
	for _, k := range heldKinds {
		for _, id := range recorded.Failing[k] {
			expected[id] = true
		}
	}
	var ids []string
	seen := map[string]bool{}
	var suspect func(id string)
	suspect = func(id string) {
		o, known := by[id]
		if !known || seen[id] || !o.failed() {
			return
		}
		seen[id] = true
		for _, below := range o.DependsOn {
			suspect(below)
		}
		ids = append(ids, id)
	}
	for _, k := range heldKinds {
		for _, o := range outcomes {
			if o.Kind == k && !expected[o.ID] {
				suspect(o.ID)
			}
		}
	}
	return ids
}

// parseAlone reads how the client tells of a test that it ran alone: behind a
// headline, a symbol and what went wrong.
func parseAlone(out []byte) (result, error) {
	const headline = "==== Results"
	start := bytes.LastIndex(out, []byte(headline))
	if start < 0 {
		return result{}, errors.New("the client told no result: " + tail(out))
	}
	_, line, _ := strings.Cut(string(out[start:]), "\n")
	symbol, detail, found := strings.Cut(line, " - ")
	if detail = strings.TrimSpace(detail); !found {
		return result{}, fmt.Errorf("no result: %q", line)
	}
	switch symbol {
	case "✅", "Y":
		return result{passed: true}, nil
	case "🔹":
		return result{class: "Setup", detail: detail}, nil
	case "↻":
		return result{class: "Setup", detail: "retry"}, nil
	case "⁉️":
		return result{class: "AbortError", detail: detail}, nil
	default:
		return result{class: "Assertion", detail: detail}, nil
	}
}
