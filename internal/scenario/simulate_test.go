package scenario

import (
	"flag"
	"fmt"
	"testing"
)

var (
	seeds = flag.Int("seeds", 200, "how many scripts TestSimulation draws and plays")
	seed  = flag.Uint64("seed", 1, "the first of their seeds")
)

// TestSimulation plays scripts that nobody wrote: promises P1 to P5 hold on
// every one of them.
func TestSimulation(t *testing.T) {
	for i := range uint64(*seeds) {
		t.Run(fmt.Sprint(*seed+i), func(t *testing.T) {
			t.Parallel()
			Simulate(t, *seed+i)
		})
	}
}
