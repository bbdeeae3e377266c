// Package simulate is what `weir simulate` does and prints: it replays a trace
// through the policies that a node's stores use, without bodies, so that a user
// sees what a size of memory or disk would bring before buying it.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"weir/storage/evict"
)

// Options say what to replay through what. TracePath, and one of Memory, Disk
// and Curve, are required.
type Options struct {
	// TracePath is a file that Read understands, or "-" for Stdin.
	TracePath string
	Stdin     io.Reader
	// Memory and Disk are the tiers; a zero one is not there.
	Memory, Disk Size
	// Policy is the memory's. Default evict.KindObjects.
	Policy evict.Kind
	// Curve asks for the hit ratio at each of a range of sizes, too.
	Curve bool
	// CurvePath is where the curve is drawn, as SVG. Default "curve.svg".
	CurvePath string
	// JSON prints one JSON object instead of tables.
	JSON bool
}

func (o Options) withDefaults() (Options, error) {
	if o.TracePath == "" {
		return o, errors.New("simulate: Options.TracePath is required")
	}
	if o.Memory.IsZero() && o.Disk.IsZero() && !o.Curve {
		return o, errors.New("nothing to simulate: --memory, --disk or --curve is needed")
	}
	if o.CurvePath == "" {
		o.CurvePath = "curve.svg"
	}
	return o, nil
}

// Run replays a trace and prints to out what it comes to. Lines of the trace
// that make no sense are told to problems, the first ten with their numbers.
func Run(ctx context.Context, o Options, out, problems io.Writer) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	trace, err := open(ctx, o)
	if err != nil {
		return err
	}
	tell(problems, o.TracePath, trace)
	r := report{
		Trace: filepath.Base(o.TracePath), Requests: trace.Requests(), Objects: trace.Objects,
		FootprintBytes: trace.FootprintBytes, SkippedLines: trace.Bad, PassedRequests: trace.Passed, Policy: o.Policy,
		MemoryBytes: o.Memory.of(trace.FootprintBytes), DiskBytes: o.Disk.of(trace.FootprintBytes),
	}
	if r.MemoryBytes > 0 || r.DiskBytes > 0 {
		counts, err := Replay(ctx, trace, Tiers{Policy: o.Policy, MemoryBytes: r.MemoryBytes, DiskBytes: r.DiskBytes})
		if err != nil {
			return err
		}
		r.ratios = ratiosOf(counts)
	}
	if o.Curve {
		if r.Curve, err = curve(ctx, trace, o.Policy); err != nil {
			return err
		}
		if err := os.WriteFile(o.CurvePath, drawn(r), 0o644); err != nil {
			return fmt.Errorf("simulate: draw the curve: %w", err)
		}
		r.CurvePath = o.CurvePath
	}
	if o.JSON {
		return r.printJSON(out)
	}
	return r.printTables(out)
}

func open(ctx context.Context, o Options) (*Trace, error) {
	from := o.Stdin
	if o.TracePath != "-" {
		file, err := os.Open(o.TracePath)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	trace, err := Read(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.TracePath, err)
	}
	return trace, nil
}

// tell names the lines that were skipped. That it cannot be read is no reason
// to stop.
func tell(w io.Writer, path string, t *Trace) {
	for _, p := range t.Problems {
		_, _ = fmt.Fprintf(w, "weir: %s: %s\n", path, p)
	}
	if t.Bad > len(t.Problems) {
		_, _ = fmt.Fprintf(w, "weir: %s: %d lines were skipped, of which the first %d are named\n", path, t.Bad, len(t.Problems))
	}
}
