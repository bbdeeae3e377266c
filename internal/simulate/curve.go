package simulate

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"

	"weir/storage/evict"
)

// curvePercents are the sizes of a curve, in percent of the footprint.
var curvePercents = []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100}

// point is what one size brings, spent on memory alone and on disk alone.
type point struct {
	Bytes                int64   `json:"bytes"`
	FootprintShare       float64 `json:"footprint_share"`
	MemoryObjectHitRatio float64 `json:"memory_object_hit_ratio"`
	MemoryByteHitRatio   float64 `json:"memory_byte_hit_ratio"`
	DiskObjectHitRatio   float64 `json:"disk_object_hit_ratio"`
	DiskByteHitRatio     float64 `json:"disk_byte_hit_ratio"`
	DiskWriteRatio       float64 `json:"disk_write_ratio"`
}

// curve replays the trace at each size, as many at a time as there are cores.
func curve(ctx context.Context, t *Trace, policy evict.Kind) ([]point, error) {
	points := make([]point, len(curvePercents))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, percent := range curvePercents {
		p := &points[i]
		p.FootprintShare = percent / 100
		p.Bytes = max(1, int64(p.FootprintShare*float64(t.FootprintBytes)))
		group.Go(func() error {
			c, err := Replay(ctx, t, Tiers{Policy: policy, MemoryBytes: p.Bytes})
			p.MemoryObjectHitRatio, p.MemoryByteHitRatio = c.ObjectHitRatio(), c.ByteHitRatio()
			return err
		})
		group.Go(func() error {
			c, err := Replay(ctx, t, Tiers{DiskBytes: p.Bytes})
			p.DiskObjectHitRatio, p.DiskByteHitRatio, p.DiskWriteRatio = c.ObjectHitRatio(), c.ByteHitRatio(), c.DiskWriteRatio()
			return err
		})
	}
	return points, group.Wait()
}
