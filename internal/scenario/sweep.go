package scenario

import (
	"context"
	"fmt"
	"time"

	"weir/cache"
	"weir/purge"
)

// sweep has a node sweep its stores and forget every purge that nothing needs
// any more, as a node does by itself once it has a quarter of a million targets.
func (n *node) sweep() (string, error) {
	r := n.running
	var result cache.SweepResult
	s, err := purge.NewSweeper(purge.SweeperOptions{
		Index: r.index, Journal: r.journal, TargetsMin: 1,
		Sweep: func(ctx context.Context, _ bool) (string, uint64, error) {
			var err error
			result, err = r.engine.Sweep(ctx, cache.SweepOptions{
				Tiers: r.tiers, Retain: r.index.Retain,
				FillHoldMax: time.Nanosecond, // so that what lands late is seen to be late
			})
			return result.Epoch, result.Version, err
		},
	})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Pass(ctx); err != nil {
		return fmt.Sprintf("not completed: %v\n", err), nil
	}
	in := r.index.Stats()
	return fmt.Sprintf("%d compared, %d deleted; forgotten up to %d, %d targets left\n", result.Compared, result.Deleted, in.Swept, in.Targets), nil
}
