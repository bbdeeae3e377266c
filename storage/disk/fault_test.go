package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/storagetest"
)

// script uses a store in every way and knows, for each name, which bodies may
// be read from it. A miss is allowed at any time; other bytes never are, and nor
// is what was replaced or deleted before.
type script struct {
	t       *testing.T
	allowed map[string]map[uint64]bool
	nextID  uint64
	// damage is for disks that write or read other bytes than they are given: where
	// that hits a deletion or replacement, what was there before is found.
	damage bool
	ever   map[string]map[uint64]bool
}

func newScript(t *testing.T) *script {
	return &script{t: t, allowed: map[string]map[uint64]bool{}, ever: map[string]map[uint64]bool{}}
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
	for at := 0; at < len(body); at += 20_000 {
		end := min(at+20_000, len(body))
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
		if c.ever[name] == nil {
			c.ever[name] = map[uint64]bool{}
		}
		c.ever[name][id] = true
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

func (c *script) check(s *Store, names ...string) {
	c.t.Helper()
	for _, name := range names {
		o, err := s.Get(storage.KeyOf(name))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			c.t.Errorf("get %s: %v", name, err)
			continue
		}
		if id := o.Meta().BodyID; !c.allowed[name][id] && !(c.damage && c.ever[name][id]) {
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

// run is the script: the log comes round in it. It ends early if the store cannot
// be opened.
func (c *script) run(o Options) {
	s, err := Open(o)
	if err != nil {
		return
	}
	c.put(s, "a", 10_000, true)
	c.put(s, "b", 30_000, false)
	c.refresh(s, "b")
	c.put(s, "a", 15_000, true) // replaces
	c.check(s, "a", "b", "c")
	time.Sleep(2 * flushAfter)
	c.put(s, "c", 28_000, true)
	c.remove(s, "a")
	c.refresh(s, "c")
	_ = s.Close()

	if s, err = Open(o); err != nil {
		return
	}
	c.check(s, "a", "b", "c")
	for i := range 9 {
		c.put(s, fmt.Sprint(i%4), 25_000, true)
		c.check(s, "b")
	}
	c.remove(s, "c")
	time.Sleep(2 * flushAfter)
	c.put(s, "a", 1000, true)
	_ = s.Clear() // it may fail, but for this Store everything has gone
	clear(c.allowed)
	c.put(s, "b", 2000, true)
	_ = s.Close()
}

// TestEveryOperationFailsOnce runs the script with its first operation failing,
// then its second, and so on until there is none left to fail.
func TestEveryOperationFailsOnce(t *testing.T) {
	faults := []vfs.Fault{{Err: syscall.EIO}, {Op: vfs.OpWrite, Flip: true}, {Op: vfs.OpRead, Flip: true}}
	for _, op := range []vfs.Op{vfs.OpOpen, vfs.OpWrite, vfs.OpAllocate, vfs.OpMkdir} {
		faults = append(faults, vfs.Fault{Op: op, Err: syscall.ENOSPC, WriteBytes: 1000})
	}
	for _, fault := range faults {
		for _, onDevice := range []bool{false, true} {
			for after := 0; failOnce(t, fault, after, onDevice); after++ {
				if t.Failed() {
					return
				}
			}
		}
	}
}

func failOnce(t *testing.T, fault vfs.Fault, after int, onDevice bool) (fired bool) {
	dir, device := t.TempDir(), ""
	if onDevice {
		device = makeDevice(t, filepath.Join(t.TempDir(), "device"), 256<<10)
	}
	synctest.Test(t, func(t *testing.T) {
		c, faulty := newScript(t), vfs.NewFaulty(vfs.OS())
		c.damage = fault.Flip
		fault.After = after
		faulty.Inject(fault)
		o := Options{Dir: dir, Device: device, BudgetBytes: 256 << 10, AdmitAll: true, FS: faulty}
		c.run(o)
		fired = faulty.Fired() > 0
		faulty.Heal()
		s := mustOpen(t, o)
		c.check(s, "a", "b", "c", "0", "1", "2", "3")
		if used := bytesIn(t, dir); used > o.BudgetBytes {
			t.Errorf("%d bytes of files", used)
		}
		if t.Failed() {
			t.Logf("with %q operation %d failing with %v, flip %t, device %q", fault.Op, after, fault.Err, fault.Flip, device)
		}
		mustClose(t, s)
	})
	return fired
}

func TestHealth(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	steps := []struct {
		name   string
		errors int
		after  time.Duration
		want   State
	}{
		{"nothing", 0, 0, StateOnline},
		{"one error", 1, 0, StateFailing},
		{"long ago", 0, 2 * time.Minute, StateOnline},
		{"not enough", errorsMax - 1, 0, StateFailing},
		{"a pause begins anew", errorsMax - 1, 2 * time.Minute, StateFailing},
		{"one more", 1, time.Second, StateOffline},
		{"for good", 0, time.Hour, StateOffline},
	}
	var h health
	now := start
	for _, step := range steps {
		now = now.Add(step.after)
		for range step.errors {
			h.note(syscall.EIO, now)
		}
		if got := h.report("dir", now).State; got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

// A disk that fails again and again goes out of service; the other one goes on,
// and what the first one has is not believed when it comes back.
func TestOfflineDirectory(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.OS())
		o := Options{Dir: dirs[0], BudgetBytes: 4 << 20, More: []Directory{{Path: dirs[1], BudgetBytes: 4 << 20}}, AdmitAll: true, FS: faulty}
		s := mustOpen(t, o)
		for i := range 20 {
			mustPut(t, s, fmt.Sprint(i), uint64(i), 10_000)
		}
		time.Sleep(2 * flushAfter)
		faulty.Inject(vfs.Fault{Op: vfs.OpWrite, Times: -1, Path: func(name string) bool { return strings.HasPrefix(name, dirs[0]+"/") }})
		for i := range 3 * errorsMax {
			_ = storagetest.Put(s, fmt.Sprint(i), 100+uint64(i), 10_000)
			time.Sleep(2 * flushAfter)
		}
		synctest.Wait()
		if got := s.Health(); got[0].State != StateOffline || got[1].State != StateOnline {
			t.Errorf("health: %+v", got)
		}
		found := 0
		for i := range 3 * errorsMax {
			k := storage.KeyOf(fmt.Sprint(i))
			_, err := s.Get(k)
			if (err == nil) != (s.memberOf(k) == 1) {
				t.Errorf("%d, in directory %d: %v", i, s.memberOf(k), err)
			}
			if err == nil {
				found++
			}
			if err := s.Delete(k); err != nil && s.memberOf(k) == 1 {
				t.Error(err)
			}
		}
		if found == 0 {
			t.Error("the other directory has nothing")
		}
		_ = s.Close()
		faulty.Heal()
		s = mustOpen(t, o)
		if got := s.Stats().Objects; got != 0 {
			t.Errorf("%d objects came back", got)
		}
		mustClose(t, s)
	})
}

func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.OS())
		faulty.Inject(vfs.Fault{Op: vfs.OpAllocate, Err: syscall.ENOSPC, Times: -1})
		s := mustOpen(t, Options{Dir: dir, BudgetBytes: 4 << 20, FS: faulty, AdmitAll: true})
		if err := storagetest.Put(s, "a", 1, 1000); !errors.Is(err, storage.ErrFull) {
			t.Errorf("put: %v, want ErrFull", err)
		}
		faulty.Heal()
		time.Sleep(2 * retryAfter)
		mustPut(t, s, "a", 2, 1000)
		wantBody(t, s, "a", 2)
		if got := s.Health()[0]; got.State != StateOnline {
			t.Errorf("health: %+v", got)
		}
		mustClose(t, s)
	})
}

// TestCrashAtEveryWrite makes what a power cut leaves at each write, sync and
// allocation of a script, and wants nothing wrong from it, and everything that was
// synced before.
func TestCrashAtEveryWrite(t *testing.T) {
	t.Run("directory", func(t *testing.T) { crashAtEveryWrite(t, t.TempDir(), "") })
	t.Run("device", func(t *testing.T) {
		dir := t.TempDir()
		crashAtEveryWrite(t, dir, makeDevice(t, filepath.Join(dir, "device"), 2<<20))
	})
}

// crashAtEveryWrite wants the device, if there is one, in dir.
func crashAtEveryWrite(t *testing.T, dir, device string) {
	var mu sync.Mutex
	type crash struct {
		dir   string
		floor uint64 // what was stored up to here was synced
		last  uint64
	}
	var crashes []crash
	var floor, last uint64
	random := rand.New(rand.NewPCG(3, 4))
	var c *vfs.Crashing
	c = vfs.NewCrashing(vfs.OS(), func() {
		mu.Lock()
		defer mu.Unlock()
		to := filepath.Join(t.TempDir(), "copy")
		var r *rand.Rand
		if len(crashes)%3 > 0 {
			r = random
		}
		if err := c.Crash(dir, to, r); err != nil {
			t.Error(err)
		}
		crashes = append(crashes, crash{to, floor, last})
	})
	o := Options{BudgetBytes: 2 << 20, AdmitAll: true}
	synctest.Test(t, func(t *testing.T) {
		o := o
		o.Dir, o.Device, o.FS = dir, device, c
		s := mustOpen(t, o)
		for i := range uint64(24) {
			// Every name has one version that is even and, later, one that is odd.
			name := fmt.Sprint(i / 2 % 6)
			mustPut(t, s, name, i+1, int64(i%4)*17_000)
			mu.Lock()
			last = i + 1
			mu.Unlock()
			if i%5 == 4 {
				time.Sleep(flushAfter + 2*syncAfter)
				synctest.Wait()
				mu.Lock()
				floor = i + 1
				mu.Unlock()
			}
		}
		mustClose(t, s)
	})
	for n, crash := range crashes {
		o.Dir = crash.dir
		if device != "" {
			o.Device = filepath.Join(crash.dir, filepath.Base(device))
		}
		s := mustOpen(t, o)
		for name := range uint64(6) {
			checkCrash(t, s, name, crash.floor, crash.last+1)
		}
		mustPut(t, s, "after", 1, 50_000)
		wantBody(t, s, "after", 1)
		mustClose(t, s)
		if t.Failed() {
			t.Fatalf("crash %d of %d: %+v", n, len(crashes), crash)
		}
	}
	if len(crashes) < 20 {
		t.Errorf("only %d crashes", len(crashes))
	}
}

// checkCrash wants the newest version of a name that was synced, or a later one.
func checkCrash(t *testing.T, s *Store, name, floor, last uint64) {
	t.Helper()
	newest, torn := uint64(0), false // torn: a later version may have lost its body, and is a miss
	for i := range last {
		switch {
		case i/2%6 != name:
		case i < floor:
			newest = i + 1
		default:
			torn = true
		}
	}
	o, err := s.Get(storage.KeyOf(fmt.Sprint(name)))
	if err != nil {
		if newest > 0 && !torn {
			t.Errorf("%d: body %d was synced: %v", name, newest, err)
		}
		return
	}
	id := o.Meta().BodyID
	err = storagetest.Check(fmt.Sprint(name), o)
	if errors.Is(err, storage.ErrCorrupt) && id > floor {
		err = nil // its block did not reach the disk, and none of it was given out
	}
	if err != nil || id < newest || id > last || (id-1)/2%6 != name {
		t.Errorf("%d: body %d, synced was %d, the last one %d: %v", name, id, newest, last, err)
	}
	_ = o.Close()
}
