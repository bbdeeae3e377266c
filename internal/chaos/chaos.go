// Package chaos is `weir lab --chaos`: a whole weir over real sockets, each node a
// process of its own, with faults injected by a schedule that a seed draws, and
// what readers see held against the promises about purges (internal/history).
//
//	writers ──► control ◄─╌╌─ shields, PoPs        ╌╌ a link of the lab: it can be cut,
//	readers ──► PoPs ──╌╌──► shields ──► origin       silent or slow
//
// The lab's own process has the origin, whose content counts, the links, the
// writers and readers, and the checker. Nodes are killed (SIGKILL), paused
// (SIGSTOP) and restarted, and end with the lab however it ends. A seed fixes the
// cluster, the faults and when they come, and what writers and readers choose;
// how these meet in real time differs from run to run.
package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options is what `weir lab --chaos` is given.
type Options struct {
	// PoPs and Shields are how many there are: 1 to 12, 1 to 5. Default 3 and 2.
	PoPs, Shields int
	// For is how long faults are injected; 0 until ctx ends.
	For time.Duration
	// Seed draws everything that can be drawn.
	Seed uint64
	// WhenLagging is the nodes' when_lagging; "" to have it drawn.
	WhenLagging string
	// State is where the nodes' files go, in a folder of their own that stays;
	// "" for a temporary one, which stays only if something is to be looked at.
	State string
	// Program is the weir that nodes run: an executable. Default this one.
	Program string
	// Command is how that is called, for the line that says how to replay.
	Command string
	// JSON has the summary written as one JSON object.
	JSON bool
	// Out receives the summary, Live a line a second. Default: discard.
	Out, Live io.Writer
}

const (
	popsMax    = 12
	shieldsMax = 5
	// readyTimeout bounds the start of the nodes, and the time that they have to
	// be well once all faults have ended.
	readyTimeout = 30 * time.Second
	// violationsMax ends a run: more of them say no more.
	violationsMax = 20
)

func (o Options) withDefaults() (Options, error) {
	o.PoPs, o.Shields = cmp.Or(o.PoPs, 3), cmp.Or(o.Shields, 2)
	if o.PoPs < 1 || o.PoPs > popsMax {
		return o, fmt.Errorf("--pops %d: want 1 to %d", o.PoPs, popsMax)
	}
	if o.Shields < 1 || o.Shields > shieldsMax {
		return o, fmt.Errorf("--shields %d: want 1 to %d", o.Shields, shieldsMax)
	}
	if o.For < 0 {
		return o, fmt.Errorf("--chaos-for %s: want a time, or 0 for no end", o.For)
	}
	if o.Program == "" {
		var err error
		if o.Program, err = os.Executable(); err != nil {
			return o, err
		}
	}
	o.Command = cmp.Or(o.Command, "weir")
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Live == nil {
		o.Live = io.Discard
	}
	return o, nil
}

// ErrBroken says that the run has found violations; the summary shows them.
var ErrBroken = errors.New("a promise was broken")

// Run plays the chaos, writes its summary and gives ErrBroken if a promise was
// broken. It ends early, in order, when ctx does.
func Run(ctx context.Context, o Options) (err error) {
	if o, err = o.withDefaults(); err != nil {
		return err
	}
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(err != nil && ctx.Err() == nil || errors.Is(err, ErrBroken))) }()
	starting, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := w.startAll(starting); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	w.report.began()
	w.load(ctx)
	_, _ = fmt.Fprintln(o.Live, "all faults are over: looking at what is left")
	if !w.report.tooMany() {
		w.aftermath(context.WithoutCancel(ctx))
	}
	return w.report.write(o)
}

// load injects faults, reads and writes, until the time is over, ctx ends or
// nothing more is to be learned.
func (w *world) load(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if w.o.For > 0 {
		ctx, cancel = context.WithTimeout(ctx, w.o.For)
		defer cancel()
	}
	var running sync.WaitGroup
	for i := range writersCount {
		running.Go(func() { newWriter(w, i).run(ctx) })
	}
	for i, p := range w.pops {
		for j := range readersEach * len(protocols) {
			random := w.random(readerStream + uint64(i*readersEach*len(protocols)+j))
			running.Go(func() { newReader(w, p, protocols[j%len(protocols)], random).run(ctx) })
		}
	}
	running.Go(func() { w.pollNodes(ctx) })
	running.Go(func() { w.injectAll(ctx) })
	running.Go(func() { w.report.live(ctx, w.o.Live, cancel) })
	running.Wait()
}

// Streams of random numbers: each user has one of its own, so that what it draws
// does not depend on who came first.
const (
	worldStream = iota
	scheduleStream
	originStream
	writerStream
	readerStream = 1 << 8
)

func (w *world) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(w.o.Seed, stream)) }

// stateFolder makes the folder of a run.
func stateFolder(o Options) (string, error) {
	if o.State != "" {
		if err := os.MkdirAll(o.State, 0o700); err != nil {
			return "", err
		}
	}
	dir, err := os.MkdirTemp(o.State, "weir-chaos-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
