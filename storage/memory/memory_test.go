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

func TestOwnRecordsAreAccounted(t *testing.T) {
	const mapShareBytes = 40 // key, pointer and the share of an empty slot
	if used := unsafe.Sizeof(item{}) + mapShareBytes; used > itemBytes {
		t.Errorf("an item takes %d bytes, %d are accounted", used, itemBytes)
	}
	if used := unsafe.Sizeof(view{}); used > viewOwnBytes {
		t.Errorf("a view takes %d bytes, %d are accounted", used, viewOwnBytes)
	}
	for _, n := range []int64{1, 7, 9, 1025, 5000, 18433, 27265, 32769, 40961, 65535, chunkBytes} {
		if got := int64(cap(append([]byte(nil), make([]byte, n)...))); got+chunkOwnBytes > chunkCost(n)+8 {
			t.Errorf("the allocator gives %d bytes for %d, %d are accounted", got, n, chunkCost(n))
		}
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

func TestUnknownLengthInAFullStoreIsCutWithoutACopy(t *testing.T) {
	m := storagetest.Meta("a", 1, -1)
	s := New(Options{BudgetBytes: itemBytes + viewBytes(m) + chunkCost(chunkBytes), ObjectBytesMax: chunkBytes})
	w, err := s.Create(storage.KeyOf("a"), m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(storagetest.Body(1, 5000)); err != nil {
		t.Fatal(err)
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

func BenchmarkHit(b *testing.B) {
	s, k := hitStore(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o, err := s.Get(k)
			if err != nil {
				b.Error(err)
				return
			}
			_ = o.Close()
		}
	})
}
