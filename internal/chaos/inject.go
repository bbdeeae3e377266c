package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// injectAll plays the schedule until ctx ends, and then mends everything.
func (w *world) injectAll(ctx context.Context) {
	var pops, shields []string
	for _, p := range w.pops {
		pops = append(pops, p.name)
	}
	for _, s := range w.shields {
		shields = append(shields, s.name)
	}
	began := time.Now()
	drawn := newSchedule(w.random(scheduleStream), pops, shields)
	things := make(map[string]*sync.Mutex)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		f := drawn.next()
		if !sleep(ctx, time.Until(began.Add(f.from))) {
			return
		}
		var taken []*sync.Mutex
		for _, thing := range f.takes() {
			if things[thing] == nil {
				things[thing] = new(sync.Mutex)
			}
			taken = append(taken, things[thing])
		}
		running.Go(func() {
			// The schedule leaves time between two faults of one thing. If the
			// machine was slower than that, the second waits.
			for _, lock := range taken {
				lock.Lock()
				defer lock.Unlock()
			}
			if ctx.Err() == nil {
				w.inject(ctx, f)
			}
		})
	}
}

// inject has one fault in force for its time.
func (w *world) inject(ctx context.Context, f fault) {
	if f.kind == ambushed && !w.awaitReceipt(ctx, f.node) {
		return
	}
	e := w.ledger.begin(f)
	defer w.ledger.end(e)
	switch f.kind {
	case killed, restarted, paused, ambushed, cornered:
		w.injectProcess(ctx, f)
	case logCut, logSilent, logSlow:
		injectLink(ctx, w.logLinks[f.node], f)
	case wayCut, waySilent, waySlow:
		injectLink(ctx, w.wayLinks[way{f.node, f.peer}], f)
	case originSlow, originBad, originDrop:
		w.origin.set(manner{delay: f.delay, pause: f.delay, failing: f.kind == originBad, dropped: f.kind == originDrop})
		sleep(ctx, f.lasts)
		w.origin.set(manner{})
	}
}

func injectLink(ctx context.Context, l *link, f fault) {
	switch f.kind {
	case logCut, wayCut:
		l.set(linkCut, 0)
	case logSilent, waySilent:
		l.set(linkSilent, 0)
	default:
		l.set(linkUp, f.delay)
	}
	sleep(ctx, f.lasts)
	l.set(linkUp, 0)
}

func (w *world) injectProcess(ctx context.Context, f fault) {
	c := w.nodes[f.node]
	switch f.kind {
	case paused:
		c.pause()
		sleep(ctx, f.lasts)
		c.resume()
	case killed:
		c.kill()
		sleep(ctx, f.lasts)
		w.restart(ctx, c)
	case restarted:
		c.stop()
		sleep(ctx, f.lasts)
		w.restart(ctx, c)
	case cornered:
		log := w.logLinks[f.peer]
		c.kill()
		sleep(ctx, standInTime)
		log.set(linkSilent, 0)
		sleep(ctx, f.lasts-standInTime)
		log.set(linkUp, 0)
		w.restart(ctx, c)
	case ambushed:
		log := w.logLinks[f.node]
		log.set(linkCut, 0)
		c.kill()
		w.restart(ctx, c)
		sleep(ctx, f.lasts)
		log.set(linkUp, 0)
	}
}

// restart starts a node and waits until it answers. That it is well as well is
// asked at the end of the run.
func (w *world) restart(ctx context.Context, c *child) {
	if err := c.start(); err != nil {
		w.report.broken(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	if err := c.await(ctx, 0); err != nil {
		w.report.broken(fmt.Errorf("%w; its log ends:\n%s", err, c.lastLines()))
	}
}
