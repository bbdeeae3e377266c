package node

import (
	"testing"

	"weir/internal/config"
	"weir/storage/evict"
)

// The configuration, which knows no other part, has the policies' names itself.
func TestEvictionNames(t *testing.T) {
	names := []config.Eviction{
		config.EvictionObjects, config.EvictionBytes, config.EvictionLRU, config.EvictionS3FIFO, config.EvictionGDSF,
	}
	for i, kind := range evict.Kinds() {
		if i >= len(names) || string(names[i]) != kind.String() {
			t.Errorf("the configuration has no name for %s", kind)
		}
	}
	if len(names) != len(evict.Kinds()) {
		t.Errorf("%d names for %d policies", len(names), len(evict.Kinds()))
	}
}
