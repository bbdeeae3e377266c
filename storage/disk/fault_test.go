package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/storagetest"
)

// script uses a store in every way and knows, for each name, which bodies may
// be read from it. A miss is allowed at any time; other bytes never are.
type script struct {
	t       *testing.T
	allowed map[string]map[uint64]bool
	nextID  uint64
}

func (c *script) put(s *Store, name string, size int64, declared bool) {
	c.nextID++
	id := c.nextID
	m := storagetest.Meta(name, id, size)
	if !declared {
		m.BodyBytes = -1
	}
	w, err := s.Create(storage.KeyOf(name), m)
	if err != nil {
		return
	}
	defer w.Close()
	body := storagetest.Body(id, size)
	for at := 0; at < len(body); at += 50_000 {
		end := min(at+50_000, len(body))
		if n, err := w.Write(body[at:end]); err != nil {
			if n != 0 {
				c.t.Errorf("a write that failed took %d bytes", n)
			}
			if w.Commit() == nil {
				c.t.Error("committed after a write that failed")
			}
			break
		}
		got := make([]byte, end)
		if n, err := w.ReadAt(got, 0); !bytes.Equal(got[:n], body[:n]) || (err == nil && n != end) {
			c.t.Errorf("while writing: %d of %d bytes, %v", n, end, err)
		}
	}
	if w.Commit() == nil {
		c.allowed[name] = map[uint64]bool{id: true}
	}
}

func (c *script) remove(s *Store, name string) {
	if s.Delete(storage.KeyOf(name)) == nil {
		c.allowed[name] = nil
	}
}

func (c *script) refresh(s *Store, name string) {
	o, err := s.Get(storage.KeyOf(name))
	if err != nil {
		return
	}
	m := *o.Meta()
	_ = o.Close()
	m.Stamp++
	_ = s.Refresh(storage.KeyOf(name), &m)
}

func (c *script) check(s *Store) {
	for _, name := range []string{"a", "b", "c"} {
		o, err := s.Get(storage.KeyOf(name))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			c.t.Errorf("get %s: %v", name, err)
			continue
		}
		if id := o.Meta().BodyID; !c.allowed[name][id] {
			c.t.Errorf("%s: body %d, allowed %v", name, id, c.allowed[name])
		}
		got := make([]byte, o.Meta().BodyBytes)
		n, _ := o.ReadAt(got, 0) // it may fail, but not give other bytes
		if !bytes.Equal(got[:n], storagetest.Body(o.Meta().BodyID, int64(len(got)))[:n]) {
			c.t.Errorf("%s: other bytes", name)
		}
		_ = o.Close()
	}
	if got := s.Stats(); got.Bytes > got.BudgetBytes || got.Bytes < 0 {
		c.t.Errorf("%+v", got)
	}
}

// run is the script. It ends early if the store cannot be opened.
func (c *script) run(o Options) {
	s, err := Open(o)
	if err != nil {
		return
	}
	c.put(s, "a", 10_000, true)
	c.put(s, "b", 70_000, false)
	c.refresh(s, "b")
	c.put(s, "a", 15_000, true) // replaces
	c.put(s, "c", 80_000, true) // evicts
	c.check(s)
	c.remove(s, "c")
	c.put(s, "b", 20_000, true)
	_ = s.Close()

	if s, err = Open(o); err != nil {
		return
	}
	c.check(s)
	c.put(s, "c", 80_000, true)
	c.check(s)
	_ = s.Close()
}

// TestEveryOperationFailsOnce runs the script with its first operation failing,
// then its second, and so on until there is none left to fail.
func TestEveryOperationFailsOnce(t *testing.T) {
	faults := []vfs.Fault{{Err: syscall.EIO}}
	for _, op := range []vfs.Op{vfs.OpOpen, vfs.OpWrite, vfs.OpRename, vfs.OpMkdir} {
		faults = append(faults, vfs.Fault{Op: op, Err: syscall.ENOSPC, WriteBytes: 1000})
	}
	for _, fault := range faults {
		for after := 0; ; after++ {
			dir := t.TempDir()
			c := &script{t: t, allowed: map[string]map[uint64]bool{}}
			faulty := vfs.NewFaulty(vfs.OS())
			fault.After = after
			faulty.Inject(fault)
			o := Options{Dir: dir, BudgetBytes: 140_000, ObjectBytesMax: 100_000, FS: faulty}
			c.run(o)
			if faulty.Fired() == 0 {
				break
			}
			s := mustOpen(t, o)
			c.check(s)
			wantFilesAccounted(t, s, dir)
			_ = s.Close()
			if t.Failed() {
				t.Fatalf("with %s operation %d failing with %v", fault.Op, after, fault.Err)
			}
		}
	}
}

func wantFilesAccounted(t *testing.T, s *Store, dir string) {
	t.Helper()
	used := int64(0)
	for _, size := range files(t, dir) {
		used += roundUp(size)
	}
	if got := s.Stats().Bytes; got != used {
		t.Errorf("%d bytes accounted, the files take %d", got, used)
	}
}

// TestDeadDisk lets every operation of a kind fail for good, then heals it.
func TestDeadDisk(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpAny, vfs.OpOpen, vfs.OpRead, vfs.OpWrite, vfs.OpRename, vfs.OpRemove, vfs.OpStat, vfs.OpClose, vfs.OpChtimes} {
		dir := t.TempDir()
		faulty := vfs.NewFaulty(vfs.OS())
		s := mustOpen(t, Options{Dir: dir, BudgetBytes: 140_000, ObjectBytesMax: 100_000, FS: faulty})
		c := &script{t: t, allowed: map[string]map[uint64]bool{}}
		c.put(s, "a", 40_000, true)
		faulty.Inject(vfs.Fault{Op: op, Times: -1})
		for range 4 {
			c.put(s, "b", 20_000, false)
			c.refresh(s, "a")
			c.put(s, "c", 80_000, true)
			c.remove(s, "a")
			c.check(s)
		}
		faulty.Heal()
		for range 20 { // some calls may go by until all that could not be removed is
			c.put(s, "a", 80_000, true)
			c.put(s, "b", 50_000, true)
			c.check(s)
		}
		wantBody(t, s, "b", c.nextID)
		wantFilesAccounted(t, s, dir)
		if t.Failed() {
			t.Fatalf("with %q failing", op)
		}
	}
}

func TestErrorsOfTheFileSystemAreWrapped(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.OS())
	s := mustOpen(t, Options{Dir: t.TempDir(), FS: faulty})
	m := func() *storage.Meta { return storagetest.Meta("a", 1, 1000) }
	steps := []struct {
		op vfs.Op
		do func(w storage.Writer) error
	}{
		{vfs.OpWrite, func(w storage.Writer) error { _, err := w.Write(storagetest.Body(1, 1000)); return err }},
		{vfs.OpRename, func(w storage.Writer) error {
			_, err := w.Write(storagetest.Body(1, 1000))
			return errors.Join(err, w.Commit())
		}},
	}
	for _, step := range steps {
		w, err := s.Create(storage.KeyOf("a"), m())
		if err != nil {
			t.Fatal(err)
		}
		faulty.Inject(vfs.Fault{Op: step.op, Err: syscall.ENOSPC})
		if err := step.do(w); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", step.op, err)
		}
		if w.Commit() == nil {
			t.Errorf("%s: committed afterwards", step.op)
		}
		_ = w.Close()
		wantBody(t, s, "a", 0)
	}
	faulty.Inject(vfs.Fault{Op: vfs.OpOpen, Err: syscall.EIO})
	if _, err := s.Create(storage.KeyOf("a"), m()); !errors.Is(err, syscall.EIO) {
		t.Errorf("create: %v", err)
	}
	if got := s.Stats(); got.Bytes != 0 || got.Objects != 0 {
		t.Errorf("%+v", got)
	}
}

// TestFlippedBits flips one bit after another in stored files, with the store
// open and across a restart: no wrong byte, no meta that was never stored.
func TestFlippedBits(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	corrupt := int64(0)
	for i := range uint64(150) {
		mustPut(t, s, "a", i, 70_000)
		e := s.entries[storage.KeyOf("a")]
		path := s.bodyPath(i, e.bodyN)
		if i%2 == 0 {
			path = s.metaPath(e.key, e.metaN)
		}
		flipBit(t, path, random)
		if i%3 == 0 {
			_ = s.Close()
			s = mustOpen(t, Options{Dir: dir})
			corrupt = 0
		}
		o, err := s.Get(storage.KeyOf("a"))
		if err == nil {
			got := make([]byte, 70_000)
			n, readErr := o.ReadAt(got, 0)
			if readErr == nil || !errors.Is(readErr, storage.ErrCorrupt) || !bytes.Equal(got[:n], storagetest.Body(i, 70_000)[:n]) {
				t.Fatalf("flip %d: read %d bytes, %v", i, n, readErr)
			}
			if len(bytes.Trim(got[n:], "\x00")) > 0 {
				t.Fatalf("flip %d: bytes that failed their checksum are in the buffer", i)
			}
			var out bytes.Buffer
			if _, err := o.WriteTo(&out); !errors.Is(err, storage.ErrCorrupt) || !bytes.HasPrefix(storagetest.Body(i, 70_000), out.Bytes()) {
				t.Fatalf("flip %d: WriteTo %d bytes, %v", i, out.Len(), err)
			}
			_ = o.Close()
		} else if !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("flip %d: get: %v", i, err)
		}
		wantBody(t, s, "a", 0)
		if corrupt++; s.Stats().Corrupt != corrupt {
			t.Fatalf("flip %d: %d counted as corrupt, want %d", i, s.Stats().Corrupt, corrupt)
		}
	}
	if got := files(t, dir); len(got) != 0 || s.Stats().Bytes != 0 {
		t.Errorf("left: %v, %+v", got, s.Stats())
	}
}

func flipBit(t *testing.T, path string, random *rand.Rand) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[random.IntN(len(b))] ^= 1 << random.IntN(8)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFlippedBitWhileWriting(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	w, err := s.Create(storage.KeyOf("a"), storagetest.Meta("a", 1, 70_000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(storagetest.Body(1, 70_000)); err != nil {
		t.Fatal(err)
	}
	flipBit(t, w.(*writer).bodyPath(), rand.New(rand.NewPCG(1, 1)))
	if _, err := w.ReadAt(make([]byte, 70_000), 0); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("read: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("commit: %v", err)
	}
	_ = w.Close()
	wantBody(t, s, "a", 0)
}

func TestTruncatedFiles(t *testing.T) {
	for _, suffix := range []string{metaSuffix, bodySuffix} {
		for _, size := range []int64{0, 1, 47, 300, 65_536, 69_999} {
			for _, restart := range []bool{false, true} {
				dir := t.TempDir()
				s := mustOpen(t, Options{Dir: dir})
				mustPut(t, s, "a", 1, 70_000)
				for path, whole := range files(t, dir) {
					if strings.HasSuffix(path, suffix) && size < whole {
						if err := os.Truncate(path, size); err != nil {
							t.Fatal(err)
						}
					} else if strings.HasSuffix(path, suffix) {
						_ = s.Delete(storage.KeyOf("a")) // a meta file is shorter than that
					}
				}
				if restart {
					_ = s.Close()
					s = mustOpen(t, Options{Dir: dir})
				}
				wantBody(t, s, "a", 0)
			}
		}
	}
}

func TestTruncatedWhileOpen(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustPut(t, s, "a", 1, 200_000)
	o, err := s.Get(storage.KeyOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := os.Truncate(s.bodyPath(1, s.entries[storage.KeyOf("a")].bodyN), 100_000); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(o, 0, 200_000))
	if !errors.Is(err, storage.ErrCorrupt) || !bytes.HasPrefix(storagetest.Body(1, 200_000), got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wantBody(t, s, "a", 0)
}

// TestKilledMidWrite copies the directory again and again while the store is
// used, and opens each copy: what a kill -9 at that moment leaves, and worse,
// since the copy is not of one moment.
func TestKilledMidWrite(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, BudgetBytes: 1 << 20, ObjectBytesMax: 200_000})
	var floor [4]atomic.Uint64 // the body of each name whose commit had returned
	var done atomic.Bool
	var users sync.WaitGroup
	for i := range floor {
		users.Go(func() {
			name := fmt.Sprint(i)
			for id := uint64(1); !done.Load(); id++ {
				if err := storagetest.Put(s, name, id, int64(id%7)*25_000); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				floor[i].Store(id)
				m := storagetest.Meta(name, id, int64(id%7)*25_000)
				m.Stamp = 1 << 40
				if err := s.Refresh(storage.KeyOf(name), m); err != nil && !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("refresh: %v", err)
				}
			}
		})
	}
	for range 15 {
		var before [4]uint64
		for i := range floor {
			before[i] = floor[i].Load()
		}
		copied := t.TempDir()
		copyLive(t, dir, copied)
		killed := mustOpen(t, Options{Dir: copied, BudgetBytes: 1 << 20, ObjectBytesMax: 200_000})
		for i := range floor {
			o, err := killed.Get(storage.KeyOf(fmt.Sprint(i)))
			if err != nil {
				continue
			}
			if o.Meta().BodyID < before[i] {
				t.Errorf("%d: body %d came back after %d", i, o.Meta().BodyID, before[i])
			}
			if err := errors.Join(storagetest.Check(fmt.Sprint(i), o), o.Close()); err != nil {
				t.Error(err)
			}
		}
		wantFilesAccounted(t, killed, copied)
		_ = killed.Close()
	}
	done.Store(true)
	users.Wait()
}

// copyLive copies a directory that is changing meanwhile.
func copyLive(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, relative), 0o700)
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, os.WriteFile(filepath.Join(to, relative), b, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAbandoned opens a directory whose store was never closed.
func TestAbandoned(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustPut(t, s, "a", 1, 100_000)
	o, err := s.Get(storage.KeyOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	w, err := s.Create(storage.KeyOf("b"), storagetest.Meta("b", 2, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(storagetest.Body(2, 50_000)); err != nil {
		t.Fatal(err)
	}
	_ = s.lock.Close() // the kernel does that when a process dies

	s = mustOpen(t, Options{Dir: dir})
	wantBody(t, s, "a", 1)
	wantBody(t, s, "b", 0)
	wantFilesAccounted(t, s, dir)
}
