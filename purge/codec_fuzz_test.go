package purge

import (
	"context"
	"errors"
	"testing"
)

// FuzzTail damages a tail of three entries in one place. What it gives is what was
// put in, in its order, and if the damage hit an entry before another, all up to that
// one is distrusted.
func FuzzTail(f *testing.F) {
	f.Add(uint16(9), byte(1), []byte("more"))
	f.Add(uint16(70), byte(0x80), []byte{})
	f.Add(uint16(2000), byte(0), []byte{8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, at uint16, flip byte, more []byte) {
		const salt = 7
		var b []byte
		var starts []int
		for version, target := range []string{"/a", "/b", "/c"} {
			r := Record{Version: uint64(version) + 1, Site: "s", Scope: ScopeURL, Targets: []string{target}}
			body, err := EncodeRecord(r)
			if err != nil {
				t.Fatal(err)
			}
			starts = append(starts, len(b))
			b = appendTailEntry(b, r.Version, body, salt)
		}
		end := len(b)
		b = append(b, more[:min(len(more), 1<<10)]...)
		b = append(b, make([]byte, tailHeadBytes)...)
		hit := int(at) < end && flip != 0
		if hit {
			b[at] ^= flip
		}
		distrusted := uint64(0) // up to where nothing is trusted
		seen := map[uint64]bool{}
		for _, r := range decodeTail(b, salt) {
			if r.Scope == ScopeURL && r.Version >= 1 && r.Version <= 3 {
				seen[r.Version] = true
				continue
			}
			distrusted = max(distrusted, r.Version)
		}
		for version, start := range starts {
			last := version == len(starts)-1
			if v := uint64(version) + 1; !seen[v] && v > distrusted && !(hit && last && int(at) >= start) {
				t.Fatalf("entry %d is neither there nor distrusted: damage at %d by %x", v, at, flip)
			}
		}
	})
}

// FuzzSnapshotPage gives a node pages that no control would. It takes none whose
// versions do not rise, or that do not reach the log's tail.
func FuzzSnapshotPage(f *testing.F) {
	f.Add([]byte(`{"epoch":"E","applied":9,"records":[{"version":3,"record":{"site":"s","scope":"url","targets":["/a"]}}]}`))
	f.Add([]byte(`{"epoch":"E","records":[{"version":0,"record":null},{"version":18446744073709551615,"record":{}}]}`))
	f.Add([]byte(`{"epoch":"E","error":"no"}`))
	f.Fuzz(func(t *testing.T, page []byte) {
		asked := 0
		node := &Follower{FollowerOptions: FollowerOptions{Index: NewIndex(IndexOptions{})}}
		node.Snapshot = func(context.Context, []byte) ([]byte, error) {
			if asked++; asked > 1 {
				return []byte(`{"epoch":"E"}`), nil
			}
			return page, nil
		}
		records, err := node.gather(t.Context(), LogState{Epoch: "E", First: 5, Last: 9})
		if err != nil {
			return
		}
		before := uint64(0)
		for _, r := range records {
			if r.Version <= before {
				t.Fatalf("version %d after %d", r.Version, before)
			}
			before = r.Version
		}
		if before < 4 {
			t.Fatalf("taken, though it ends at %d and the log begins at 5", before)
		}
	})
}

// FuzzSnapshotQuestion asks control what no node would.
func FuzzSnapshotQuestion(f *testing.F) {
	j, err := OpenJournal(f.TempDir()+"/purges.db", JournalOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, ErrJournalClosed) {
			f.Error(err)
		}
	})
	f.Add([]byte(`{"epoch":"E","after":17}`))
	f.Add([]byte(`{"epoch":7}`))
	f.Fuzz(func(t *testing.T, question []byte) {
		if len(Snapshots{Journal: j}.Answer(question)) == 0 {
			t.Fatal("no answer")
		}
	})
}
