package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/storage"
	"weir/storage/storagetest"
)

// TestCheckpointOfHalfAnIndex closes a store while it loads. What is known of it by
// then is no checkpoint: it would vouch for regions that nobody has looked into.
func TestCheckpointOfHalfAnIndex(t *testing.T) {
	o := Options{Dir: t.TempDir(), BudgetBytes: 4 << 20, AdmitAll: true, LoadWait: time.Minute}
	s := mustOpen(t, o)
	const names, versions = 40, 3
	for id := uint64(1); id <= names*versions; id++ {
		mustPut(t, s, fmt.Sprint(id%names), id, 20_000)
	}
	mustClose(t, s)
	checkpoint := filepath.Join(o.Dir, checkpointFile)
	for range 30 {
		if err := os.Remove(checkpoint); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		hasty := o
		hasty.LoadWait = -1
		s = mustOpen(t, hasty)
		s.members[0].volume.sinceCheckpoint.Store(1) // so that it writes one if it may
		mustClose(t, s)
		s = mustOpen(t, o)
		for name := range uint64(names) {
			want := uint64(names*(versions-1)) + name
			if name == 0 {
				want += names
			}
			got, err := s.Get(storage.KeyOf(fmt.Sprint(name)))
			if err != nil {
				t.Fatalf("%d: %v", name, err)
			}
			if id := got.Meta().BodyID; id != want {
				t.Errorf("%d: body %d, want %d", name, id, want)
			}
			if err := storagetest.Check(fmt.Sprint(name), got); err != nil {
				t.Error(err)
			}
			_ = got.Close()
		}
		mustClose(t, s)
		if t.Failed() {
			return
		}
	}
}
