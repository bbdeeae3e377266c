package evict_test

import (
	"testing"

	"weir/storage/evict"
	"weir/storage/evict/evicttest"
)

// What each policy makes of traces of known character. The default is to be
// best, or next to it, on all of them without being told which it is.
func TestHitRatios(t *testing.T) {
	if testing.Short() {
		t.Skip("replays traces")
	}
	for _, trace := range evicttest.Traces(40_000) {
		footprint := trace.FootprintBytes()
		for _, percent := range []int64{1, 10} {
			got := make(map[evict.Kind]float64)
			gotBytes := make(map[evict.Kind]float64)
			for _, k := range evict.Kinds() {
				budget := footprint * percent / 100
				p := evict.New(k, evict.Options{BudgetBytes: budget})
				got[k], gotBytes[k] = evicttest.Replay(p, budget, trace)
			}
			name, objects := trace.Name, got[evict.KindObjects]
			t.Logf("%-6s %2d%%: object hits: objects %.4f, lru %.4f, s3-fifo %.4f, gdsf %.4f; byte hits: bytes %.4f, lru %.4f, s3-fifo %.4f",
				name, percent, objects, got[evict.KindLRU], got[evict.KindS3FIFO], got[evict.KindGDSF],
				gotBytes[evict.KindBytes], gotBytes[evict.KindLRU], gotBytes[evict.KindS3FIFO])
			if objects <= got[evict.KindLRU] || objects <= got[evict.KindS3FIFO] {
				t.Errorf("%s, %d%%: the default does not beat LRU and S3-FIFO", name, percent)
			}
			if objects < got[evict.KindGDSF]-0.015 {
				t.Errorf("%s, %d%%: the default is behind GDSF", name, percent)
			}
			if most := max(gotBytes[evict.KindLRU], gotBytes[evict.KindS3FIFO]); gotBytes[evict.KindBytes] < most-0.035 {
				t.Errorf("%s, %d%%: the policy for bytes is behind LRU or S3-FIFO on bytes", name, percent)
			}
		}
	}
}

// Where one of the other policies is at home, the default is to be as good, or
// within two points, at any size. It is further behind GDSF only where what is
// large is popular: GDSF trusts what is new at once, and there it deserves that.
func TestHitRatiosOfRivals(t *testing.T) {
	if testing.Short() {
		t.Skip("replays traces")
	}
	for _, trace := range evicttest.Rivals(40_000) {
		behindMax := 0.02
		if trace.Name == "heavy" {
			behindMax = 0.04
		}
		footprint := trace.FootprintBytes()
		for _, percent := range []int64{1, 10, 30} {
			budget := footprint * percent / 100
			hits := func(k evict.Kind) float64 {
				share, _ := evicttest.Replay(evict.New(k, evict.Options{BudgetBytes: budget}), budget, trace)
				return share
			}
			objects, lru, s3, gdsf := hits(evict.KindObjects), hits(evict.KindLRU), hits(evict.KindS3FIFO), hits(evict.KindGDSF)
			t.Logf("%-6s %2d%%: object hits: objects %.4f, lru %.4f, s3-fifo %.4f, gdsf %.4f", trace.Name, percent, objects, lru, s3, gdsf)
			if best := max(lru, s3, gdsf); objects < best-behindMax {
				t.Errorf("%s, %d%%: the default has %.4f, the best of the others %.4f", trace.Name, percent, objects, best)
			}
		}
	}
}
