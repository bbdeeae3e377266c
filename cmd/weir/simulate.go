package main

import (
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"weir/internal/simulate"
	"weir/storage/evict"
)

type simulateCommand struct {
	Trace  string        `arg:"" help:"The trace: lines of 'time id size', or an access log; plain, zstd or gzip. - for standard input."`
	Memory simulate.Size `help:"The memory tier, such as 512MiB, or 1% of the footprint." placeholder:"SIZE"`
	Disk   simulate.Size `help:"The disk tier, such as 10GiB, or 30% of the footprint." placeholder:"SIZE"`
	Policy evict.Kind    `help:"What the memory keeps: objects (default), bytes, lru, s3-fifo or gdsf." placeholder:"NAME"`
	Curve  curveFlag     `help:"Print the hit ratio by cache size too, and draw it, in curve.svg or in the .svg file that follows."`
	JSON   bool          `help:"Print JSON."`
}

func (c simulateCommand) Run(env *environment) error {
	return simulate.Run(env.ctx, simulate.Options{
		TracePath: c.Trace, Stdin: os.Stdin, Memory: c.Memory, Disk: c.Disk, Policy: c.Policy,
		Curve: c.Curve.set, CurvePath: c.Curve.path, JSON: c.JSON,
	}, env.out, env.errors)
}

// curveFlag is a flag that may have a value. A word that follows is one if it
// names an SVG file; else it is the trace.
type curveFlag struct {
	set  bool
	path string
}

// IsBool implements kong.BoolMapperValue: the flag stands alone too.
func (*curveFlag) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (f *curveFlag) Decode(ctx *kong.DecodeContext) error {
	f.set = true
	next := ctx.Scan.Peek()
	path, isText := next.Value.(string)
	if isText && (next.Type == kong.FlagValueToken || strings.HasSuffix(path, ".svg")) {
		ctx.Scan.Pop()
		f.path = path
	}
	return nil
}
