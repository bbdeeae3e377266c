package disk

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/vfs"
	"weir/storage"
	"weir/storage/storagetest"
)

// makeDevice makes a file of a fixed length.
func makeDevice(t *testing.T, path string, n int64) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, n)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDeviceIsWarmAndKeepsItsLength(t *testing.T) {
	const size = 4<<20 + 12345
	dir, device := t.TempDir(), makeDevice(t, filepath.Join(t.TempDir(), "device"), size)
	useDevice(t, dir, device, size)
	status, err := os.Stat(device)
	if err != nil || status.Size() != size {
		t.Errorf("the device has %d bytes, had %d: %v", status.Size(), size, err)
	}
	if _, err := os.Stat(filepath.Join(dir, logFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a log beside the device: %v", err)
	}
}

// useDevice fills a device more than once, and finds after a restart and from
// outside what is there.
func useDevice(t *testing.T, dir, device string, size int64) {
	t.Helper()
	o := Options{Dir: dir, Device: device, AdmitAll: true}
	s := mustOpen(t, o)
	if got := s.Stats().BudgetBytes; got != size {
		t.Errorf("budget of %d bytes, want all %d", got, size)
	}
	for i := range uint64(200) {
		mustPut(t, s, string(rune('a'+i%26)), i+1, 50_000)
	}
	if _, err := Open(o); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := Open(Options{Dir: t.TempDir(), Device: device}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("two directories on one device: %v", err)
	}
	if err := Format(device, true); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("formatted while in use: %v", err)
	}
	before := s.Stats().Objects
	mustClose(t, s)
	i, _, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for object := range i.Objects() {
		var b bytes.Buffer
		if err := i.WriteBody(object, &b); err != nil || b.Len() != 50_000 {
			t.Errorf("%s: %d bytes, %v", object.Key, b.Len(), err)
		}
		seen++
	}
	_ = i.Close()
	s = mustOpen(t, o)
	if got := s.Stats().Objects; got != before || got != seen || got == 0 {
		t.Errorf("%d objects, %d from outside, were %d", got, seen, before)
	}
	wantBody(t, s, string(rune('a'+199%26)), 200)
	mustClose(t, s)
}

func TestDeviceWithDataIsLeftAlone(t *testing.T) {
	const size = 8 << 20
	for _, row := range []struct {
		name string
		at   int64
	}{{"a boot sector", 510}, {"the end of the first stretch", probeBytes - 1}, {"a label at the end", size - 1}} {
		device := makeDevice(t, filepath.Join(t.TempDir(), "device"), size)
		f, err := os.OpenFile(device, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte{0x80}, row.at)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(device)
		o := Options{Dir: t.TempDir(), Device: device}
		if _, err := Open(o); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "weir cache format --erase "+device) {
			t.Errorf("%s: %v", row.name, err)
		}
		if err := Format(device, false); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: format: %v", row.name, err)
		}
		if after, _ := os.ReadFile(device); !bytes.Equal(before, after) {
			t.Errorf("%s: the device was written to", row.name)
		}
		if err := Format(device, true); err != nil {
			t.Errorf("%s: format --erase: %v", row.name, err)
		}
		mustClose(t, mustOpen(t, o))
	}
}

func TestDeviceErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	small := makeDevice(t, filepath.Join(dir, "small"), 1<<20)
	for _, row := range []struct {
		o    Options
		want string
	}{
		{Options{Device: filepath.Join(dir, "none")}, "name a block device, or make a file: fallocate"},
		{Options{Device: small, BudgetBytes: 2 << 20}, "has 1048576 bytes, and the budget is 2097152"},
		{Options{Device: makeDevice(t, filepath.Join(dir, "tiny"), 100)}, "too small"},
		{Options{Device: dir}, "neither a block device nor a file"},
		{Options{Device: os.DevNull}, "neither a block device nor a file"},
	} {
		row.o.Dir = t.TempDir()
		if _, err := Open(row.o); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.o.Device, err, row.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a device that was not there has been made")
	}
}

// What a directory and a device have is only believed together.
func TestDeviceThatWasChanged(t *testing.T) {
	folder := t.TempDir()
	device := func(name string) string { return filepath.Join(folder, name) }
	makeDevice(t, device("a"), 4<<20)
	makeDevice(t, device("b"), 4<<20)
	dir := t.TempDir()
	put := func(on string) {
		s := mustOpen(t, Options{Dir: dir, Device: on, BudgetBytes: 4 << 20, AdmitAll: true})
		wantBody(t, s, "x", 0)
		mustPut(t, s, "x", 1, 1000)
		mustClose(t, s)
	}
	find := func(on string, id uint64) {
		s := mustOpen(t, Options{Dir: dir, Device: on, BudgetBytes: 4 << 20, AdmitAll: true})
		wantBody(t, s, "x", id)
		mustClose(t, s)
	}
	put("") // a log in the directory
	put(device("a"))
	put(device("b")) // another device
	put("")          // none any more
	put(device("a")) // it is another's by now
	if err := os.Rename(device("a"), device("c")); err != nil {
		t.Fatal(err)
	}
	find(device("c"), 1) // the same under another name
	if err := Format(device("c"), false); err != nil {
		t.Fatal(err)
	}
	find(device("c"), 0) // formatted
	put(device("c"))
	if i, _, err := Inspect(dir); err != nil {
		t.Error(err)
	} else {
		if _, found := i.Find(storage.KeyOf("x")); !found {
			t.Error("not found from outside")
		}
		_ = i.Close()
	}
	if err := os.RemoveAll(filepath.Join(dir, tableFile)); err != nil {
		t.Fatal(err)
	}
	find(device("c"), 0) // the table is gone, and with it what to believe
}

func TestDeviceOfAnotherVersion(t *testing.T) {
	device := makeDevice(t, filepath.Join(t.TempDir(), "device"), 4<<20)
	label := encodeLabel(1)
	label[8] = 2
	copy(label[labelSumAt:], sumOfLabel(label))
	if err := os.WriteFile(device, append(label, make([]byte, 4<<20-labelBytes)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: t.TempDir(), Device: device}); !errors.Is(err, ErrFormat) {
		t.Errorf("%v, want ErrFormat", err)
	}
	if err := Format(device, false); !errors.Is(err, ErrFormat) {
		t.Errorf("format: %v, want ErrFormat", err)
	}
	if err := Format(device, true); err != nil {
		t.Error(err)
	}
}

// A block device that is no file: one of the kernel's loop devices, where the
// test may make one.
func TestBlockDevice(t *testing.T) {
	const size = 16 << 20
	backing := makeDevice(t, filepath.Join(t.TempDir(), "backing"), size)
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", backing).Output()
	if err != nil {
		t.Skipf("no loop device: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	useDevice(t, t.TempDir(), device, size)
	storagetest.Run(t, func(t *testing.T, budgetBytes int64) storage.Store {
		if err := Format(device, true); err != nil {
			t.Fatal(err)
		}
		return mustOpen(t, Options{Dir: t.TempDir(), Device: device, BudgetBytes: min(budgetBytes, size), AdmitAll: true})
	})
}

func FuzzLabel(f *testing.F) {
	f.Add(encodeLabel(0))
	f.Add(encodeLabel(7))
	f.Add([]byte(labelMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		salt, err := decodeLabel(b)
		if err == nil && !bytes.Equal(encodeLabel(salt)[:labelSumAt+4], b[:labelSumAt+4]) {
			t.Errorf("%x is not what is written for %x", b, salt)
		}
	})
}
