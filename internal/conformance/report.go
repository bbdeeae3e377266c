package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// printScore shows one run: the counts by kind, and why each required and
// optimal test that did not pass, or not at first, did not.
func printScore(w io.Writer, title string, outcomes []outcome) {
	counts, uncounted := tally(outcomes), len(outcomes)
	var texts []string
	for _, k := range kinds {
		texts = append(texts, fmt.Sprintf("%s %d/%d", k, counts[k].Passed, counts[k].Of))
		uncounted -= counts[k].Of
	}
	if uncounted > 0 {
		texts = append(texts, fmt.Sprintf("%d excluded", uncounted))
	}
	if alone := passedAlone(outcomes); alone > 0 {
		texts = append(texts, fmt.Sprintf("%d of these passed only when run again alone", alone))
	}
	_, _ = fmt.Fprintf(w, "%s: %s\n", title, strings.Join(texts, ", "))
	for _, k := range heldKinds {
		for _, o := range outcomes {
			if o.Kind == k && o.failed() {
				_, _ = fmt.Fprintf(w, "  %-8s %-10s %s: %s\n", k, o.Verdict, o.ID, o.Detail)
			}
			if o.Kind == k && o.First != "" {
				_, _ = fmt.Fprintf(w, "  %-8s %-10s %s: at first %s\n", k, "alone", o.ID, o.First)
			}
		}
	}
}

// passedAlone counts the tests that did not pass beside the others.
func passedAlone(outcomes []outcome) (n int) {
	for _, o := range outcomes {
		if o.First != "" {
			n++
		}
	}
	return n
}

// writeDetails puts every outcome into a JSON file of its own under folder and
// gives the file's path.
func writeDetails(folder, suite, tiers string, outcomes []outcome) (string, error) {
	path := detailsPath(folder, suite, tiers)
	text, err := json.MarshalIndent(outcomes, "", "  ")
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return "", fmt.Errorf("details: %w", err)
	}
	return path, nil
}

func detailsPath(folder, suite, tiers string) string {
	return filepath.Join(folder, suite+"-"+tiers+".json")
}
