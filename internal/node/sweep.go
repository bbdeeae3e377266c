package node

import (
	"context"
	"log/slog"

	"weir/cache"
	"weir/purge"
)

// A sweep reads the front of each object on disk: at sweepPerSecond an hour for 18
// million, and a few hundredths of a core. When there are so many purges that the
// index fills up it goes at sweepUrgentPerSecond.
const (
	sweepPerSecond       = 5_000
	sweepUrgentPerSecond = 100_000
)

// sweep is purge.SweeperOptions.Sweep.
func (t *tier) sweep(ctx context.Context, urgent func() bool) (purge.Swept, error) {
	o := cache.SweepOptions{Retain: t.index.Retain, Pace: func() int {
		if urgent() {
			return sweepUrgentPerSecond
		}
		return sweepPerSecond
	}}
	if t.disk != nil {
		o.Tiers = append(o.Tiers, t.disk)
	}
	if t.memory != nil {
		o.Tiers = append(o.Tiers, t.memory)
	}
	r, err := t.engine.Sweep(ctx, o)
	level := slog.LevelDebug
	if r.Deleted > 0 {
		level = slog.LevelInfo
	}
	t.log.Log(ctx, level, "stores swept", "compared", r.Compared, "deleted", r.Deleted, "version", r.Version)
	return purge.Swept{Epoch: r.Epoch, Version: r.Version, Noted: r.Noted}, err
}
