package storagetest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"weir/storage"
)

func testMissing(t *testing.T, s storage.Store) {
	wantMissing(t, s, "a")
	if err := s.Delete(storage.KeyOf("a")); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	if err := s.Refresh(storage.KeyOf("a"), Meta("a", 1, 0)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("refreshing what is not there: %v", err)
	}
	wantStats(t, s, 0, 0)
	if s.Stats().BudgetBytes <= 0 {
		t.Error("no budget")
	}
}

func testVisibleOnlyAfterCommit(t *testing.T, s storage.Store) {
	body := Body(1, 1000)
	w := mustCreate(t, s, "a", Meta("a", 1, 1000))
	wantMissing(t, s, "a")
	mustWrite(t, w, body)
	wantMissing(t, s, "a")
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantBody(t, s, "a", 1)
	mustClose(t, w)
	wantBody(t, s, "a", 1)
	if n := s.Stats().Objects; n != 1 {
		t.Errorf("%d objects", n)
	}
}

func testMetaIsKept(t *testing.T, s storage.Store) {
	for _, n := range []int64{0, 1000} {
		mustPut(t, s, "a", 9, n)
		o := mustGet(t, s, "a")
		wantMeta(t, o.Meta(), Meta("a", 9, n))
		if o.Tier() == storage.TierNone {
			t.Error("an object is from no tier")
		}
		mustClose(t, o)
	}
	w := mustCreate(t, s, "unknown", Meta("unknown", 2, -1))
	mustWrite(t, w, Body(2, 777))
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	o := mustGet(t, s, "unknown")
	wantMeta(t, o.Meta(), Meta("unknown", 2, 777)) // Commit sets BodyBytes
	mustClose(t, o)
}

func testReadWhileWriting(t *testing.T, s storage.Store) {
	const size = 200_000
	body := Body(3, size)
	for _, declared := range []int64{size, -1} {
		w := mustCreate(t, s, "a", Meta("a", 3, declared))
		for at := 0; at < size; {
			end := min(at+30_011, size)
			mustWrite(t, w, body[at:end])
			at = end
			got, err := io.ReadAll(io.NewSectionReader(w, 0, 1<<40))
			if err != nil || !bytes.Equal(got, body[:at]) {
				t.Fatalf("after %d bytes: read %d, %v", at, len(got), err)
			}
			if n, err := w.ReadAt(make([]byte, 1), int64(at)); n != 0 || err != io.EOF {
				t.Fatalf("beyond what was written: %d, %v", n, err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(storage.KeyOf("a")); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(w, 0, 1<<40))
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("after commit and delete: read %d, %v", len(got), err)
		}
		mustClose(t, w)
	}
	wantStats(t, s, 0, 0)
}

func testCloseWithoutCommit(t *testing.T, s storage.Store) {
	w := mustCreate(t, s, "a", Meta("a", 1, -1))
	mustWrite(t, w, Body(1, 100_000))
	mustClose(t, w)
	mustClose(t, w) // twice is safe
	wantMissing(t, s, "a")
	wantStats(t, s, 0, 0)

	mustPut(t, s, "a", 2, 5000)
	before := s.Stats().Bytes
	w = mustCreate(t, s, "a", Meta("a", 3, 5000))
	mustWrite(t, w, Body(3, 5000))
	wantBody(t, s, "a", 2)
	mustClose(t, w)
	wantBody(t, s, "a", 2)
	wantStats(t, s, 1, before)
}

func testWriterStates(t *testing.T, s storage.Store) {
	w := mustCreate(t, s, "a", Meta("a", 1, 3))
	mustWrite(t, w, Body(1, 3))
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if w.Commit() == nil {
		t.Error("a second commit succeeded")
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a write after commit succeeded")
	}
	mustClose(t, w)
	wantBody(t, s, "a", 1)
	if _, err := w.Write([]byte("x")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("commit after close: %v", err)
	}
	if _, err := w.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a read after close succeeded")
	}
}

func testDeclaredLength(t *testing.T, s storage.Store) {
	for _, test := range []struct {
		name           string
		declared, sent int64
		want           error
	}{
		{"exact", 10, 10, nil},
		{"none", 0, 0, nil},
		{"short", 10, 9, storage.ErrLength},
		{"nothing of it", 10, 0, storage.ErrLength},
		{"long", 10, 11, storage.ErrLength},
		{"anything beyond none", 0, 1, storage.ErrLength},
		{"short by a block", 65536 * 2, 65536, storage.ErrLength},
		{"not declared", -1, 70_000, nil},
		{"not declared, none", -1, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := mustCreate(t, s, test.name, Meta(test.name, 1, test.declared))
			n, err := w.Write(Body(1, test.sent))
			if err != nil && (!errors.Is(err, test.want) || n != 0) {
				t.Errorf("write: %d, %v", n, err)
			}
			if err := w.Commit(); !errors.Is(err, test.want) {
				t.Errorf("commit: %v, want %v", err, test.want)
			}
			mustClose(t, w)
			if test.want == nil {
				wantBody(t, s, test.name, 1)
			} else {
				wantMissing(t, s, test.name)
			}
		})
	}
}

func testReadAtEdges(t *testing.T, s storage.Store) {
	const block = 64 << 10
	for id, size := range []int64{0, 1, block - 1, block, block + 1, 3 * block, 3*block + 17} {
		mustPut(t, s, "a", uint64(id), size)
		wantBody(t, s, "a", uint64(id))
		o := mustGet(t, s, "a")
		body := Body(uint64(id), size)
		for _, off := range []int64{0, 1, block - 1, block, block + 1, size - 1, size, size + 1, 1 << 50} {
			for _, length := range []int64{0, 1, 2, block, block + 1, 2 * block, size, size + 1} {
				checkReadAt(t, o, body, off, length)
			}
		}
		if n, err := o.ReadAt(make([]byte, 1), -1); n != 0 || err == nil {
			t.Errorf("negative offset: %d, %v", n, err)
		}
		mustClose(t, o)
	}
}

func checkReadAt(t *testing.T, r io.ReaderAt, body []byte, off, length int64) {
	t.Helper()
	if off < 0 {
		return
	}
	size := int64(len(body))
	want := body[min(off, size):min(off+length, size)]
	p := make([]byte, length)
	n, err := r.ReadAt(p, off)
	if !bytes.Equal(p[:n], want) {
		t.Fatalf("ReadAt(%d bytes, %d) of %d: got %d bytes, want %d", length, off, size, n, len(want))
	}
	switch { // io.ReaderAt leaves open what a full read that ends at the end says
	case int64(n) < length && err != io.EOF, int64(n) == length && err != nil && err != io.EOF:
		t.Fatalf("ReadAt(%d bytes, %d) of %d: %d, %v", length, off, size, n, err)
	}
}

func testReplace(t *testing.T, s storage.Store) {
	mustPut(t, s, "a", 1, 100_000)
	single := s.Stats().Bytes
	old := mustGet(t, s, "a")
	mustPut(t, s, "a", 2, 100_000)
	wantBody(t, s, "a", 2)
	if err := Check("a", old); err != nil {
		t.Errorf("the old object, still open: %v", err)
	}
	if got := s.Stats(); got.Objects != 1 || got.Bytes <= single {
		t.Errorf("while the old one is open: %+v; one object takes %d", got, single)
	}
	mustClose(t, old)
	wantStats(t, s, 1, single)
}

func testDeleteWhileOpen(t *testing.T, s storage.Store) {
	mustPut(t, s, "a", 1, 100_000)
	first, second := mustGet(t, s, "a"), mustGet(t, s, "a")
	if err := s.Delete(storage.KeyOf("a")); err != nil {
		t.Fatal(err)
	}
	wantMissing(t, s, "a")
	for _, o := range []storage.Object{first, second} {
		if s.Stats().Bytes < 100_000 {
			t.Error("an object that is open is not accounted for")
		}
		if err := Check("a", o); err != nil {
			t.Error(err)
		}
		mustClose(t, o)
	}
	wantStats(t, s, 0, 0)
}

func testRefresh(t *testing.T, s storage.Store) {
	k := storage.KeyOf("a")
	mustPut(t, s, "a", 1, 70_000)
	refreshed := Meta("a", 1, 70_000)
	refreshed.Stamp, refreshed.Header = 5, []byte("Age: none\r\n")
	if err := s.Refresh(k, refreshed); err != nil {
		t.Fatal(err)
	}
	o := mustGet(t, s, "a")
	want := Meta("a", 1, 70_000)
	want.Stamp, want.Header = 5, []byte("Age: none\r\n")
	wantMeta(t, o.Meta(), want)
	if got := o.Checked().Load(); got != 5 {
		t.Errorf("checked starts at %d, want the new stamp", got)
	}
	mustClose(t, o)
	wantBody(t, s, "a", 1)

	if err := s.Refresh(k, Meta("a", 2, 70_000)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("refresh of another body: %v", err)
	}
	mustPut(t, s, "a", 3, 10)
	if err := s.Refresh(k, Meta("a", 1, 70_000)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("refresh of a body that was replaced: %v", err)
	}
	wantBody(t, s, "a", 3)
	if err := s.Delete(k); err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(k, Meta("a", 3, 10)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("refresh after delete: %v", err)
	}
	wantMissing(t, s, "a")
	wantStats(t, s, 0, 0)
}

func testRefreshWhileOpen(t *testing.T, s storage.Store) {
	mustPut(t, s, "a", 1, 1000)
	single := s.Stats().Bytes
	old := mustGet(t, s, "a")
	for stamp := uint64(2); stamp < 5; stamp++ {
		m := Meta("a", 1, 1000)
		m.Stamp = stamp
		if err := s.Refresh(storage.KeyOf("a"), m); err != nil {
			t.Fatal(err)
		}
	}
	wantMeta(t, old.Meta(), Meta("a", 1, 1000))
	if err := Check("a", old); err != nil {
		t.Error(err)
	}
	now := mustGet(t, s, "a")
	if got := now.Meta().Stamp; got != 4 {
		t.Errorf("stamp %d", got)
	}
	mustClose(t, now)
	mustClose(t, old)
	wantStats(t, s, 1, single)
}

func testChecked(t *testing.T, s storage.Store) {
	mustPut(t, s, "a", 7, 1000)
	a := mustGet(t, s, "a")
	if got := a.Checked().Load(); got != 7 {
		t.Errorf("starts at %d, want the stamp", got)
	}
	b := mustGet(t, s, "a")
	b.Checked().Store(9)
	mustClose(t, a)
	mustClose(t, b)
	c := mustGet(t, s, "a")
	if got := c.Checked().Load(); got != 9 {
		t.Errorf("%d, want what another opening stored", got)
	}
	mustClose(t, c)
}

func testPeek(t *testing.T, s storage.Store) {
	k := storage.KeyOf("a")
	if got := s.Peek(k); got != nil {
		t.Errorf("nothing is stored: %v", got)
	}
	w := mustCreate(t, s, "a", Meta("a", 7, 1000))
	if got := s.Peek(k); got != nil {
		t.Errorf("nothing is committed: %v", got)
	}
	mustClose(t, w)
	mustPut(t, s, "a", 7, 1000)
	refreshed := Meta("a", 7, 1000)
	refreshed.Stamp = 8
	if err := s.Refresh(k, refreshed); err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	copies := s.Peek(k)
	if len(copies) == 0 {
		t.Fatal("the object is not there")
	}
	for _, c := range copies {
		wantMeta(t, c.Meta, refreshed)
		if c.Tier == storage.TierNone {
			t.Error("a copy is in no tier")
		}
	}
	o := mustGet(t, s, "a")
	if o.Tier() != copies[0].Tier {
		t.Errorf("Get finds it in %s, Peek first in %s", o.Tier(), copies[0].Tier)
	}
	mustClose(t, o)
	if after := s.Stats(); after != before {
		t.Errorf("stats %+v, %+v before", after, before)
	}
	if err := s.Delete(k); err != nil {
		t.Fatal(err)
	}
	if got := s.Peek(k); got != nil {
		t.Errorf("it was deleted: %v", got)
	}
}

func testClear(t *testing.T, s storage.Store) {
	for _, name := range []string{"a", "b", "c"} {
		mustPut(t, s, name, 1, 10_000)
	}
	if n := s.Stats().Objects; n != 3 {
		t.Errorf("%d objects, want 3", n)
	}
	open := mustGet(t, s, "a")
	w := mustCreate(t, s, "d", Meta("d", 4, 100))
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		wantMissing(t, s, name)
	}
	if err := Check("a", open); err != nil {
		t.Errorf("open while cleared: %v", err)
	}
	mustClose(t, open)
	mustWrite(t, w, Body(4, 100)) // begun before, committed after
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	wantBody(t, s, "d", 4)
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	wantStats(t, s, 0, 0)
}

func testClosed(t *testing.T, s storage.Store) {
	mustPut(t, s, "a", 1, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(storage.KeyOf("a")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("get: %v", err)
	}
	if got := s.Peek(storage.KeyOf("a")); got != nil {
		t.Errorf("peek: %v", got)
	}
	if _, err := s.Create(storage.KeyOf("a"), Meta("a", 1, 10)); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("create: %v", err)
	}
}
