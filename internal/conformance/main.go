// Command conformance runs the public suite of HTTP cache tests
// (github.com/http-tests/cache-tests) against weir and compares what passes
// with what is recorded. `make conformance` calls it.
//
// In the order a run goes: the suite and its programs (suite.go, origin.go),
// weir in front of the suite's origin server (run.go), the verdict on each test
// (score.go), a second chance for those that differ from the record (again.go),
// what is recorded and held against it (record.go), and what a reader sees
// (report.go). other.go scores caches that are not weir, and peers.go puts them
// beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// What libraries say through package log is a debug line, as in cmd/weir.
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// command reads the flags and runs what they ask for.
func command(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	o := options{out: out}
	flags.StringVar(&o.suite, "suite", "", "folder of the suite: the npm package or a checkout of its repository")
	flags.StringVar(&o.record, "record", "testdata/conformance/scores.json", "file with the recorded scores")
	flags.StringVar(&o.excluded, "excluded", "testdata/conformance/excluded.json", "file with the tests that do not count, and why")
	flags.BoolVar(&o.update, "update", false, "write the scores of this run to the record, whatever they are")
	flags.StringVar(&o.details, "details", "", "folder for a file per run with the verdict on each test; default none")
	flags.StringVar(&o.tiers, "tiers", "", "run these tiers alone: edge or edge-shield")
	flags.StringVar(&o.only, "id", "", "run this test alone, show its requests and responses, and compare nothing")
	flags.BoolVar(&o.defaults, "defaults", false, "give the site weir's default policy, and compare nothing")
	flags.StringVar(&o.against, "against", "", "score the cache at this URL in place of weir, and compare nothing")
	flags.IntVar(&o.originPort, "origin-port", 8000, "port of the origin server, with -against")
	flags.StringVar(&o.results, "results", "", "score this file, which the suite's client printed, in place of a run, and compare nothing")
	flags.BoolVar(&o.peers, "peers", false, "show the last run in the folder of -details beside the other caches' results in the suite's folder")
	flags.StringVar(&o.node, "node", "node", "the Node.js program")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.suite == "" || flags.NArg() > 0 {
		flags.Usage()
		return errors.New("-suite is required, and takes one folder")
	}
	if o.tiers != "" && !slices.ContainsFunc(tiers[:], func(t tier) bool { return t.name == o.tiers }) {
		return fmt.Errorf("-tiers %s: there are no such ones", o.tiers)
	}
	return run(ctx, o)
}
