package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// runOther scores a cache that is not weir: one that runs elsewhere and has the
// suite's origin server behind it, or one whose results are in a file. It holds
// nothing against the record.
func runOther(ctx context.Context, o options, s *suite) error {
	p, err := o.plan(ctx, s)
	if err != nil {
		return err
	}
	name, results, err := o.other(ctx, s)
	if err != nil {
		return err
	}
	outcomes := p.judge(results)
	printScore(o.out, fmt.Sprintf("%s (suite: %s %s)", name, s.name, s.version), outcomes)
	return o.tell(s, name, outcomes)
}

// other gives the results of a cache and what to call it.
func (o options) other(ctx context.Context, s *suite) (name string, results map[string]result, err error) {
	if o.results != "" {
		out, err := os.ReadFile(o.results)
		if err != nil {
			return "", nil, fmt.Errorf("results: %w", err)
		}
		results, err = parseResults(out)
		return strings.TrimSuffix(filepath.Base(o.results), ".json"), results, err
	}
	u, err := url.Parse(o.against)
	if err != nil || u.Host == "" {
		return "", nil, fmt.Errorf("-against %s: want http://HOST:PORT", o.against)
	}
	origin, err := s.startOrigin(ctx, o.originPort, io.Discard)
	if err != nil {
		return "", nil, err
	}
	results, err = s.runClient(ctx, o.against)
	return strings.ReplaceAll(u.Host, ":", "-"), results, errors.Join(err, origin.close())
}
