package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"weir/internal/config"
	"weir/internal/lab"
)

// options is what the command line says.
type options struct {
	suite, record, excluded, details, tiers, only, node string
	against, results                                    string

	originPort       int
	update, defaults bool
	peers            bool
	out              io.Writer
}

// plan is what a run is judged by.
type plan struct {
	suite *suite
	tests []test
	// excluded says by id why a test does not count.
	excluded map[string]string
}

// judge gives the outcome of each test.
func (p plan) judge(results map[string]result) []outcome {
	return exclude(judge(p.tests, results), p.excluded)
}

// tier is one way in which weir stands between the suite's client and its
// origin server.
type tier struct {
	name  string
	start lab.Options
}

// tiers are those that are run, each with a weir of its own.
var tiers = [...]tier{
	{name: "edge", start: lab.Options{NoShield: true}},
	{name: "edge-shield"},
}

// run runs the suite against weir and compares, or updates, the record.
func run(ctx context.Context, o options) error {
	s, err := openSuite(ctx, o.suite, o.node)
	if err != nil {
		return err
	}
	if o.only != "" {
		return runOne(ctx, o, s)
	}
	if o.against != "" || o.results != "" {
		return runOther(ctx, o, s)
	}
	if o.peers {
		return runPeers(ctx, o, s)
	}
	recorded, err := loadRecord(o.record)
	if err != nil {
		return err
	}
	p, err := o.plan(ctx, s)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range tiers {
		if !o.wants(t.name) {
			continue
		}
		outcomes, err := o.measure(ctx, t, p, recorded[s.name][t.name])
		if err != nil {
			return err
		}
		printScore(o.out, fmt.Sprintf("%s (suite: %s %s)", t.name, s.name, s.version), outcomes)
		if o.defaults {
			errs = append(errs, o.tell(s, t.name+"-defaults", outcomes))
			continue
		}
		now := scoreOf(s.version, outcomes)
		errs = append(errs, o.settle(s, t.name, recorded, now), o.tell(s, t.name, outcomes))
		recorded.set(s.name, t.name, now)
	}
	if o.update && !o.defaults {
		errs = append(errs, recorded.save(o.record))
	}
	return errors.Join(errs...)
}

// wants says whether the tiers of that name are to be run.
func (o options) wants(tiers string) bool { return o.tiers == "" || o.tiers == tiers }

// plan reads the suite's tests, and which of them do not count.
func (o options) plan(ctx context.Context, s *suite) (plan, error) {
	tests, err := s.tests(ctx)
	if err != nil {
		return plan{}, err
	}
	excluded, err := loadExclusions(o.excluded)
	if err == nil {
		err = checkExclusions(tests, excluded[s.name])
	}
	if err != nil {
		return plan{}, fmt.Errorf("%s: %w", o.excluded, err)
	}
	return plan{suite: s, tests: tests, excluded: excluded[s.name]}, nil
}

// settle compares a score with the recorded one, unless that is to be replaced.
func (o options) settle(s *suite, tiers string, recorded record, now score) error {
	if o.update {
		return nil
	}
	before, exists := recorded[s.name][tiers]
	if !exists {
		return fmt.Errorf("%s: %s has no score for suite %s yet: run again with -update", tiers, o.record, s.name)
	}
	if before.Version != now.Version {
		_, _ = fmt.Fprintf(o.out, "  the recorded score is of version %s\n", before.Version)
	}
	gained, err := compare(before, now)
	if len(gained) > 0 {
		_, _ = fmt.Fprintf(o.out, "  better than recorded: %s (-update records it)\n", strings.Join(gained, " "))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", tiers, err)
	}
	return nil
}

// tell writes the verdict on each test to a file, if there is a folder for it.
func (o options) tell(s *suite, tiers string, outcomes []outcome) error {
	if o.details == "" {
		return nil
	}
	path, err := writeDetails(o.details, s.name, tiers, outcomes)
	if err == nil {
		_, _ = fmt.Fprintln(o.out, "  each test's verdict is in", path)
	}
	return err
}

// measure runs the whole suite against a new weir.
func (o options) measure(ctx context.Context, t tier, p plan, recorded score) (outcomes []outcome, err error) {
	err = o.withWeir(ctx, p.suite, t.start, io.Discard, func(base string) error {
		results, err := p.suite.runClient(ctx, base)
		if err != nil {
			return err
		}
		if o.defaults {
			outcomes = p.judge(results)
			return nil
		}
		outcomes, err = p.again(ctx, base, results, recorded)
		return err
	})
	return outcomes, err
}

// oneByOne is a writer for several goroutines.
type oneByOne struct {
	mu sync.Mutex
	to io.Writer
}

func (w *oneByOne) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// runOne shows one test: what each side sent, as the suite itself tells it.
func runOne(ctx context.Context, o options, s *suite) error {
	o.out = &oneByOne{to: o.out} // the origin's words come beside the client's
	for _, t := range tiers {
		if !o.wants(t.name) {
			continue
		}
		_, _ = fmt.Fprintf(o.out, "%s\n", t.name)
		err := o.withWeir(ctx, s, t.start, o.out, func(base string) error {
			out, err := s.clientOutput(ctx, base, o.only)
			_, _ = o.out.Write(out)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// everyRule is the policy of a site that leaves nothing of the RFC out: weir's
// defaults are stricter with cookies, and deaf to most of what clients say.
func everyRule(p *config.Policy) {
	p.ShareSetCookie = true
	p.Obey = []string{"all"}
	p.Languages = []string{"de", "en"}
}

// withWeir calls do with the URL of a weir whose origin is the suite's server.
// The store is empty at the start and gone at the end. originLog receives what
// the server says.
func (o options) withWeir(ctx context.Context, s *suite, how lab.Options, originLog io.Writer, do func(base string) error) (err error) {
	origin, err := s.startOrigin(ctx, 0, originLog)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, origin.close()) }()
	how.Origin, how.PoPs, how.NoDelay, how.NoShare = origin.url, 1, true, true
	if !o.defaults {
		how.Policy = everyRule
	}
	weir, err := lab.Start(ctx, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, weir.Close()) }()
	return do(weir.Ready.PoPs[0].HTTP)
}
