package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// record is the file of what passed when somebody last looked: by suite, then
// by tiers.
type record map[string]map[string]score

// score is what is recorded of one run.
type score struct {
	// Version is the suite's.
	Version string         `json:"version"`
	Counts  map[kind]count `json:"counts"`
	// Failing are the ids of the required and optimal tests that did not
	// pass. Every other one has to.
	Failing map[kind][]string `json:"failing"`
}

// heldKinds are the kinds that a change must not make worse. Checks are there
// to be read: a change that turns one may well be for the better.
var heldKinds = [...]kind{kindRequired, kindOptimal}

// scoreOf is what is recorded of outcomes.
func scoreOf(version string, outcomes []outcome) score {
	s := score{Version: version, Counts: tally(outcomes), Failing: map[kind][]string{}}
	for _, k := range heldKinds {
		s.Failing[k] = failing(outcomes, k)
	}
	return s
}

// regression is why a score is below the recorded one.
type regression struct {
	// lost are tests that fail now and did not.
	lost []string
	// fewer are kinds of which less passed, with the counts.
	fewer []string
}

// Error names what got worse.
func (r *regression) Error() string {
	text := "below the recorded score"
	if len(r.fewer) > 0 {
		text += fmt.Sprintf("; fewer passed: %q", r.fewer)
	}
	if len(r.lost) > 0 {
		text += fmt.Sprintf("; failing, and not recorded as such: %q", r.lost)
	}
	return text
}

// compare gives a *regression where now is worse than the recorded score, and
// else the recorded failures that pass now. Tests are compared one by one, so
// that one lost cannot hide behind another gained; the counts as well, for the
// case that the suite's folder is not the recorded version.
func compare(recorded, now score) (gained []string, err error) {
	worse := &regression{}
	for _, k := range heldKinds {
		for _, id := range now.Failing[k] {
			if !slices.Contains(recorded.Failing[k], id) {
				worse.lost = append(worse.lost, id)
			}
		}
		for _, id := range recorded.Failing[k] {
			if !slices.Contains(now.Failing[k], id) {
				gained = append(gained, id)
			}
		}
		if before, after := recorded.Counts[k], now.Counts[k]; after.Passed < before.Passed {
			worse.fewer = append(worse.fewer, fmt.Sprintf("%s %d, recorded %d", k, after.Passed, before.Passed))
		}
	}
	if len(worse.lost) > 0 || len(worse.fewer) > 0 {
		return gained, worse
	}
	return gained, nil
}

// loadRecord reads the file at path. That there is none is an empty record.
func loadRecord(path string) (record, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r := record{}
	if err := decode(text, &r); err != nil {
		return nil, fmt.Errorf("record %s: %w", path, err)
	}
	return r, nil
}

// loadExclusions reads the file at path: by suite, by id, why that test does
// not count.
func loadExclusions(path string) (map[string]map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var by map[string]map[string]string
	if err := decode(text, &by); err != nil {
		return nil, err
	}
	return by, nil
}

// decode takes one JSON value that has no field unknown here.
func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// set puts a score in its place.
func (r record) set(suite, tiers string, s score) {
	if r[suite] == nil {
		r[suite] = map[string]score{}
	}
	r[suite][tiers] = s
}

// save writes the file, one line an id, so that its history can be read.
func (r record) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
