//go:build planted

package scenario

import (
	"testing"

	"weir/internal/planted"
)

// TestPlanted shows that the simulation finds bugs: each of those that this
// build has on purpose. Without one, the same scripts find nothing.
func TestPlanted(t *testing.T) {
	const scripts = 2000
	for _, bug := range planted.Bugs {
		t.Run(string(bug), func(t *testing.T) {
			t.Setenv("WEIR_PLANTED", string(bug))
			for i := range uint64(scripts) {
				if err := simulate(t, generate(*seed+i)); err != nil {
					t.Logf("found by seed %d: %v", *seed+i, err)
					return
				}
			}
			t.Errorf("%d scripts have not found it", scripts)
		})
	}
}
