package purge_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"weir/purge"
)

func openJournal(t testing.TB, path string, o purge.JournalOptions) *purge.Journal {
	t.Helper()
	j, err := purge.OpenJournal(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func journaled(t testing.TB, j *purge.Journal) []purge.Record {
	t.Helper()
	var list []purge.Record
	for r, err := range j.Records() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

func mustAppend(t testing.TB, j *purge.Journal, records ...purge.Record) {
	t.Helper()
	if err := j.Append(records); err != nil {
		t.Fatal(err)
	}
}

func wantState(t testing.TB, j *purge.Journal, epoch string, applied uint64) {
	t.Helper()
	if e, a, err := j.State(); e != epoch || a != applied || err != nil {
		t.Errorf("state %q %d %v, want %q %d", e, a, err, epoch, applied)
	}
}

func TestJournalKeepsRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	wantState(t, j, "", 0)
	if err := j.Reset("first"); err != nil {
		t.Fatal(err)
	}
	records := []purge.Record{
		rec(1, purge.ScopeURL, purge.ModeSoft, "/a", "//h/b"),
		rec(2, purge.ScopeSite, purge.ModeHard),
		purge.Distrust(300, "why"),
	}
	mustAppend(t, j, records[:2]...)
	mustAppend(t, j, records...) // twice changes nothing
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(records); !errors.Is(err, purge.ErrJournalClosed) {
		t.Errorf("append after close: %v", err)
	}
	if in, err := os.Stat(path); err != nil || in.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", in.Mode(), err)
	}
	j = openJournal(t, path, purge.JournalOptions{})
	wantState(t, j, "first", 300)
	if got := journaled(t, j); !reflect.DeepEqual(got, records) {
		t.Errorf("records\n%+v, want\n%+v", got, records)
	}
	for range j.Records() {
		break // stopping early is no error
	}
	if err := j.Reset("second"); err != nil {
		t.Fatal(err)
	}
	wantState(t, j, "second", 0)
	if got := journaled(t, j); len(got) != 0 {
		t.Errorf("%d records after Reset", len(got))
	}
}

func TestJournalIsLockedAndItsFormatChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	if second, err := purge.OpenJournal(path, purge.JournalOptions{LockTimeout: 60 * time.Millisecond}); err == nil {
		second.Close()
		t.Error("two processes have one journal")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("state")).Put([]byte("format"), []byte("3")) })
	if j, err := purge.OpenJournal(path, purge.JournalOptions{}); err == nil {
		j.Close()
		t.Error("a journal of another format was opened")
	}
}

// change writes to a journal behind its back.
func change(t *testing.T, path string, do func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(do), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFlippedBitInARecordIsDistrusted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	mustAppend(t, j, rec(1, purge.ScopeURL, purge.ModeHard, "/a"), rec(2, purge.ScopeURL, purge.ModeHard, "/b"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, path, func(tx *bbolt.Tx) error {
		b, key := tx.Bucket([]byte("records")), binary.BigEndian.AppendUint64(nil, 2)
		v := append([]byte(nil), b.Get(key)...)
		for i := range v {
			if v[i] == 'b' { // "/b" becomes "/c", which is good JSON
				v[i] ^= 1
			}
		}
		return b.Put(key, v)
	})
	got := journaled(t, openJournal(t, path, purge.JournalOptions{}))
	if len(got) != 2 || got[0].Site != "docs" || got[1].Site != "" || got[1].Version != 2 || got[1].Scope != purge.ScopeAll {
		t.Errorf("records %+v, want the second to be a distrust", got)
	}
}

func TestJournalFoldsTheOldest(t *testing.T) {
	j := openJournal(t, filepath.Join(t.TempDir(), "purges.db"), purge.JournalOptions{TargetsMax: 100})
	for v := uint64(1); v <= 1000; v++ {
		r := rec(v, purge.ScopeURL, purge.ModeSoft, fmt.Sprintf("/%d", v), fmt.Sprintf("/%d?", v))
		r.Site = []string{"docs", "blog"}[v%2]
		mustAppend(t, j, r)
	}
	wantState(t, j, "", 1000)
	got := journaled(t, j)
	cost := 0
	for i, r := range got {
		cost += max(1, len(r.Targets))
		if folded := i < 2; folded != (r.Scope == purge.ScopeSite && r.Mode == purge.ModeHard) {
			t.Errorf("record %d of %d: %+v", i, len(got), r)
		}
	}
	if cost > 100 || cost < 80 {
		t.Errorf("%d targets are left, limit 100", cost)
	}
	x := purge.NewIndex(purge.IndexOptions{})
	x.Apply(got)
	if h, _ := x.Covering("docs", "h", "/8", nil); h < 8 || x.Applied() != 1000 {
		t.Errorf("an old purge is no longer covered: hard = %d", h)
	}
}

func TestJournalTakesABatchLargerThanItself(t *testing.T) {
	j := openJournal(t, filepath.Join(t.TempDir(), "purges.db"), purge.JournalOptions{TargetsMax: 10})
	var many []purge.Record
	for v := uint64(1); v <= 40; v++ {
		many = append(many, rec(v, purge.ScopeTag, purge.ModeHard, "a", "b", "c"))
	}
	mustAppend(t, j, many...)
	wantState(t, j, "", 40)
	x := purge.NewIndex(purge.IndexOptions{})
	x.Apply(journaled(t, j))
	if x.Applied() != 40 {
		t.Errorf("applied %d after replay, want 40", x.Applied())
	}
}
