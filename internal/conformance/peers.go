package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// peer is a cache whose results the suite's repository keeps.
type peer struct {
	name, file string
	outcomes   []outcome
}

// peers are the reverse proxies among them, in the order of the table.
var peers = [...]peer{
	{name: "httpd", file: "apache"}, {name: "ATS", file: "trafficserver"}, {name: "Squid", file: "squid"},
	{name: "Souin", file: "caddy"}, {name: "Varnish", file: "varnish"}, {name: "nginx", file: "nginx"},
	{name: "HAProxy", file: "haproxy"},
}

// comparedGroups are the groups of tests that caches differ in most, and
// comparedPrefix the tests of another one.
var comparedGroups = []string{"partial", "cdn-cache-control", "stale", "update304", "invalidation"}

const comparedPrefix = "vary-normalise-lang"

// runPeers shows, in Markdown, weir's last run beside the results of other
// caches that the suite's folder has.
func runPeers(ctx context.Context, o options, s *suite) error {
	p, err := o.plan(ctx, s)
	if err != nil {
		return err
	}
	weir := peer{name: "weir"}
	text, err := os.ReadFile(detailsPath(o.details, s.name, tiers[0].name))
	if err == nil {
		err = decode(text, &weir.outcomes)
	}
	if err != nil {
		return fmt.Errorf("weir's last run: %w", err)
	}
	if len(weir.outcomes) != len(p.tests) {
		return errors.New("weir's last run was of another version of the suite")
	}
	columns := []peer{weir}
	for _, c := range peers {
		out, err := os.ReadFile(filepath.Join(s.dir, "results", c.file+".json"))
		if err != nil {
			return fmt.Errorf("results of %s: %w", c.name, err)
		}
		results, err := parseResults(out)
		if err != nil {
			return fmt.Errorf("results of %s: %w", c.name, err)
		}
		c.outcomes = p.judge(results)
		columns = append(columns, c)
	}
	printPeers(o.out, columns)
	return nil
}

// printPeers shows the scores, what the first column alone passes, and the
// compared groups test by test.
func printPeers(w io.Writer, columns []peer) {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	row := func(cells ...string) { _, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	head := func(title string) {
		row(slices.Concat([]string{title}, names)...)
		row(slices.Repeat([]string{"---"}, len(names)+1)...)
	}
	head("")
	for _, k := range kinds {
		cells := []string{string(k)}
		for _, c := range columns {
			cells = append(cells, fmt.Sprint(tally(c.outcomes)[k].Passed))
		}
		row(cells...)
	}
	for _, k := range heldKinds {
		_, _ = fmt.Fprintf(w, "\n%s, %s alone: %s\n", k, names[0], strings.Join(alone(columns, k), " "))
	}
	_, _ = fmt.Fprintln(w)
	head("test")
	for i, o := range columns[0].outcomes {
		if !o.compared() {
			continue
		}
		cells := []string{fmt.Sprintf("`%s` (%s)", o.ID, o.Kind)}
		for _, c := range columns {
			cells = append(cells, map[bool]string{true: "pass", false: "–"}[c.outcomes[i].Verdict == verdictPass])
		}
		row(cells...)
	}
}

// compared says whether the test has a row.
func (o outcome) compared() bool {
	return slices.Contains(heldKinds[:], o.Kind) &&
		(slices.Contains(comparedGroups, o.Group) || strings.HasPrefix(o.ID, comparedPrefix))
}

// alone gives the tests of a kind that the first column passes and no other.
// All have the same tests in the same order.
func alone(columns []peer, k kind) (ids []string) {
	for i, o := range columns[0].outcomes {
		passes := func(c peer) bool { return c.outcomes[i].Verdict == verdictPass }
		if o.Kind == k && passes(columns[0]) && !slices.ContainsFunc(columns[1:], passes) {
			ids = append(ids, o.ID)
		}
	}
	return ids
}
