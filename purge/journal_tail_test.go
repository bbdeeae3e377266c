package purge_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"weir/purge"
)

// killed copies a journal as kill -9 leaves it, with the tail as change makes it.
func killed(t *testing.T, path string, change func(tail []byte)) *purge.Journal {
	t.Helper()
	to := filepath.Join(t.TempDir(), "purges.db")
	for _, suffix := range []string{"", ".tail"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if suffix != "" && change != nil {
			change(b)
		}
		if err := os.WriteFile(to+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return openJournal(t, to, purge.JournalOptions{})
}

// wantRecords wants the records from 1 on, up to a version.
func wantRecords(t *testing.T, j *purge.Journal, last uint64) {
	t.Helper()
	wantState(t, j, "e", last)
	got := journaled(t, j)
	for i, r := range got {
		if r.Version != uint64(i+1) || r.Scope != purge.ScopeURL {
			t.Fatalf("record %d is %+v", i, r)
		}
	}
	if len(got) != int(last) {
		t.Fatalf("%d records, want %d", len(got), last)
	}
}

// tailEnd is where the bytes in a tail end.
func tailEnd(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path + ".tail")
	if err != nil {
		t.Fatal(err)
	}
	return len(bytes.TrimRight(b, "\x00"))
}

// What was appended is there after a kill, whether it is in the tail or not yet; and a
// write that a power cut has torn is not.
func TestTailAfterKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	if err := j.Reset("e"); err != nil {
		t.Fatal(err)
	}
	last := 0 // where the last record begins
	for v := uint64(1); v <= 30; v++ {
		last = tailEnd(t, path)
		mustAppend(t, j, rec(v, purge.ScopeURL, purge.ModeHard, fmt.Sprintf("/%d", v)))
		if v%10 == 0 {
			wantRecords(t, killed(t, path, nil), v)
		}
	}
	for cut := last; cut < tailEnd(t, path); cut += 13 {
		wantRecords(t, killed(t, path, func(tail []byte) { clear(tail[cut:]) }), 29)
	}
	j = killed(t, path, nil)
	mustAppend(t, j, rec(31, purge.ScopeURL, purge.ModeHard, "/31"))
	wantRecords(t, j, 31)
}

// A flipped bit in the tail must not undo the purges behind it, nor the one that it
// is in.
func TestDamagedTailIsDistrusted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	for v := uint64(1); v <= 9; v++ {
		mustAppend(t, j, rec(v, purge.ScopeURL, purge.ModeHard, fmt.Sprintf("/%d", v)))
	}
	damaged := killed(t, path, func(tail []byte) { tail[bytes.Index(tail, []byte(`"/4"`))+1] ^= 1 })
	wantState(t, damaged, "", 9)
	x := purge.NewIndex(purge.IndexOptions{})
	x.Apply(journaled(t, damaged))
	for target, least := range map[string]uint64{"/1": 1, "/4": 4, "/9": 9} {
		if h, _ := x.Covering("docs", "h", target, nil); h < least {
			t.Errorf("%s is covered by %d", target, h)
		}
	}
}

// A tail counts for the journal that it was written for, until that has taken it over.
func TestTailOfAnotherJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	mustAppend(t, j, rec(5, purge.ScopeURL, purge.ModeHard, "/old"))
	old, err := os.ReadFile(path + ".tail")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Reset("e"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, rec(1, purge.ScopeURL, purge.ModeHard, "/new"))
	wantRecords(t, killed(t, path, nil), 1)
	if err := os.Remove(path); err != nil { // as a damaged one is moved away
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".tail", old, 0o600); err != nil {
		t.Fatal(err)
	}
	wantState(t, openJournal(t, path, purge.JournalOptions{}), "", 0)
}

// The tail is as long as it is, however much is appended.
func TestTailIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	if err := j.Reset("e"); err != nil {
		t.Fatal(err)
	}
	v := uint64(0)
	for _, n := range []int{1, 3000, 1, 100, 9000, 2, 500} {
		r := rec(v+1, purge.ScopeURL, purge.ModeHard)
		for i := range n {
			r.Targets = append(r.Targets, fmt.Sprintf("/%d/%d", v, i))
		}
		v++
		mustAppend(t, j, r)
		if in, err := os.Stat(path + ".tail"); err != nil || in.Size() != 256<<10 {
			t.Errorf("the tail has %d bytes, %v", in.Size(), err)
		}
		wantRecords(t, killed(t, path, nil), v)
	}
}

// Without its tail a journal is damaged: nobody knows what was in it.
func TestJournalWithoutItsTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	j := openJournal(t, path, purge.JournalOptions{})
	mustAppend(t, j, rec(1, purge.ScopeURL, purge.ModeHard, "/a"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and the attempt makes it no better
		if err := os.Truncate(path+".tail", 0); err != nil {
			t.Fatal(err)
		}
		if j, err := purge.OpenJournal(path, purge.JournalOptions{}); err == nil {
			j.Close()
			t.Error("opened without its tail")
		}
	}
	if err := os.Remove(path + ".tail"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if j, err := purge.OpenJournal(path, purge.JournalOptions{}); err == nil {
			j.Close()
			t.Error("opened without its tail")
		}
	}
}
