package memory

import (
	"errors"
	"io"
	"net"
	"testing"
	"unsafe"

	"weir/storage"
	"weir/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(_ *testing.T, budgetBytes int64) storage.Store {
		return New(Options{BudgetBytes: budgetBytes})
	})
}

func TestDefaults(t *testing.T) {
	s := New(Options{})
	if got := s.Stats().BudgetBytes; got != 256<<20 {
		t.Errorf("budget %d", got)
	}
	if _, err := s.Create(storage.Key{}, storagetest.Meta("a", 1, 32<<20+1)); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("an object of more than an eighth of the budget: %v", err)
	}
}

func TestViewIsAUnit(t *testing.T) {
	if n := unsafe.Sizeof(view{}); n != unitBytes {
		t.Errorf("a view takes %d bytes, a unit is %d", n, unitBytes)
	}
	if n := unsafe.Sizeof(piece{}); n != pieceBytes {
		t.Errorf("a piece takes %d bytes, %d are reckoned with", n, pieceBytes)
	}
	if n := unsafe.Sizeof(table{}); n != tableOwnBytes {
		t.Errorf("a table begins with %d bytes, %d are reckoned with", n, tableOwnBytes)
	}
}

func TestUnknownLengthKeepsNoSlack(t *testing.T) {
	known, unknown := New(Options{}), New(Options{})
	for _, n := range []int64{0, 1000, 65536, 70_000} {
		if err := storagetest.Put(known, "a", 1, n); err != nil {
			t.Fatal(err)
		}
		w, err := unknown.Create(storage.KeyOf("a"), storagetest.Meta("a", 1, -1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(storagetest.Body(1, n)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Commit(), w.Close()); err != nil {
			t.Fatal(err)
		}
		if got, want := unknown.Stats().Bytes, known.Stats().Bytes; got != want {
			t.Errorf("%d bytes: %d accounted, %d when the length was known", n, got, want)
		}
	}
}

func TestUnknownLengthInAFullStore(t *testing.T) {
	s := New(Options{BudgetBytes: 100_000, ObjectBytesMax: 80_000})
	w, err := s.Create(storage.KeyOf("a"), storagetest.Meta("a", 1, -1))
	if err != nil {
		t.Fatal(err)
	}
	body := storagetest.Body(1, 78_000) // would have 16 KiB and twice that ahead, if there were room
	for len(body) > 0 {
		n := min(len(body), 1000)
		if _, err := w.Write(body[:n]); err != nil {
			t.Fatal(err)
		}
		body = body[n:]
	}
	if err := errors.Join(w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	o, err := s.Get(storage.KeyOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(storagetest.Check("a", o), o.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsEvictedForWhatCannotFit(t *testing.T) {
	s := New(Options{BudgetBytes: 1 << 20, ObjectBytesMax: 1 << 20})
	for _, name := range []string{"open", "idle"} {
		if err := storagetest.Put(s, name, 1, 300_000); err != nil {
			t.Fatal(err)
		}
	}
	open, err := s.Get(storage.KeyOf("open"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(storage.KeyOf("new"), storagetest.Meta("new", 1, 900_000)); !errors.Is(err, storage.ErrFull) {
		t.Errorf("create: %v", err)
	}
	if got := s.Stats(); got.Objects != 2 || got.Evictions != 0 {
		t.Errorf("%+v", got)
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is only looked at is not used: it goes first when room is needed.
func TestPeekIsNoUse(t *testing.T) {
	s := New(Options{BudgetBytes: 1 << 20, ObjectBytesMax: 1 << 20})
	for i, name := range []string{"first", "second"} {
		if err := storagetest.Put(s, name, uint64(i), 300_000); err != nil {
			t.Fatal(err)
		}
	}
	s.Peek(storage.KeyOf("first"))
	if err := storagetest.Put(s, "third", 3, 600_000); err != nil {
		t.Fatal(err)
	}
	if s.Peek(storage.KeyOf("first")) != nil || s.Peek(storage.KeyOf("second")) == nil {
		t.Error("the object peeked at was evicted after one that came later")
	}
}

func TestWriteToTCP(t *testing.T) {
	s := New(Options{})
	if err := storagetest.Put(s, "a", 1, 300_000); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	o, err := s.Get(storage.KeyOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			_, err = o.WriteTo(c)
			err = errors.Join(err, c.Close())
		}
		sent <- err
	}()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-sent, c.Close()); err != nil || string(got) != string(storagetest.Body(1, 300_000)) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if err := errors.Join(storagetest.Check("a", o), o.Close()); err != nil { // the list of chunks has not been consumed
		t.Fatal(err)
	}
}

func hitStore(tb testing.TB) (*Store, storage.Key) {
	s := New(Options{})
	if err := storagetest.Put(s, "a", 1, 1000); err != nil {
		tb.Fatal(err)
	}
	return s, storage.KeyOf("a")
}

func TestHitAllocatesNothing(t *testing.T) {
	s, k := hitStore(t)
	for name, hit := range map[string]func(){
		"hit":  func() { o, _ := s.Get(k); _, _ = o.WriteTo(io.Discard); _ = o.Close() },
		"miss": func() { _, _ = s.Get(storage.Key{}) },
	} {
		if n := testing.AllocsPerRun(100, hit); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
