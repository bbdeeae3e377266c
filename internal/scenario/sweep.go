package scenario

import (
	"context"
	"fmt"
	"time"

	"weir/cache"
	"weir/purge"
)

// newSweeper makes a sweeper that forgets whatever it can, whenever it is asked to.
func (r *running) newSweeper() (err error) {
	r.sweeper, err = purge.NewSweeper(purge.SweeperOptions{
		Index: r.index, Journal: r.journal, TargetsMin: 1,
		Sweep: func(ctx context.Context, _ func() bool) (purge.Swept, error) {
			var err error
			r.swept, err = r.engine.Sweep(ctx, cache.SweepOptions{
				Tiers: r.tiers, Retain: r.index.Retain,
				FillHoldMax: time.Nanosecond, // so that what lands late is seen to be late
			})
			return purge.Swept{Epoch: r.swept.Epoch, Version: r.swept.Version, Noted: r.swept.Noted}, err
		},
	})
	return err
}

// sweep has a node sweep its stores and forget every purge that nothing needs
// any more, as a node does by itself once it has a quarter of a million targets.
func (n *node) sweep() (string, error) {
	r := n.running
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.sweeper.Pass(ctx); err != nil {
		return fmt.Sprintf("not completed: %v\n", err), nil
	}
	in := r.index.Stats()
	return fmt.Sprintf("%d compared, %d deleted; forgotten up to %d, %d targets left\n", r.swept.Compared, r.swept.Deleted, in.Swept, in.Targets), nil
}
