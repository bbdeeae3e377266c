package vfs

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// Crashing passes calls on to another FS and remembers what the writes since a
// file's last Sync have replaced, so that Crash can make what a power cut at
// this moment may leave.
type Crashing struct {
	FS
	// after, if set, is called after every write, Sync, Allocate and
	// Truncate, with no lock held.
	after func()

	mu     sync.Mutex // guards what is below
	undone map[string][]unsynced
}

// unsynced is a write that is not known to be on stable storage, with the bytes
// that were there before. Beyond the end of the file these are zeros.
type unsynced struct {
	off    int64
	before []byte
}

// NewCrashing wraps inner; after may be nil.
func NewCrashing(inner FS, after func()) *Crashing {
	return &Crashing{FS: inner, after: after, undone: make(map[string][]unsynced)}
}

// Crash copies directory from to directory to as a power cut may leave it: of
// what was not synced, any sectors may be missing, as random says. Files that
// were not written through c are copied as they are. A nil random keeps
// everything, as a process that is killed does.
func (c *Crashing) Crash(from, to string, random *rand.Rand) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	if random == nil {
		return nil
	}
	for name, writes := range c.undone {
		inside, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if err := undo(filepath.Join(to, inside), writes, random); err != nil {
			return err
		}
	}
	return nil
}

// undo takes back some of the writes, the newest first, sector by sector.
func undo(path string, writes []unsynced, random *rand.Rand) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // a copy, and nothing is lost with it
	for i := len(writes) - 1; i >= 0; i-- {
		kept := random.IntN(3) // 0: all is lost; 1: some; 2: nothing
		for w := writes[i]; len(w.before) > 0 && kept != 2; {
			n := min(int64(len(w.before)), sectorBytes-w.off%sectorBytes)
			if kept == 0 || random.IntN(2) == 0 {
				if _, err := f.WriteAt(w.before[:n], w.off); err != nil {
					return err
				}
			}
			w.off, w.before = w.off+n, w.before[n:]
		}
	}
	return nil
}

// Rename implements FS. It does not happen while Crash copies.
func (c *Crashing) Rename(from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.FS.Rename(from, to)
	if err == nil {
		c.undone[to] = c.undone[from]
		delete(c.undone, from)
	}
	return err
}

// Remove implements FS, likewise.
func (c *Crashing) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.FS.Remove(name)
	if err == nil {
		delete(c.undone, name)
	}
	return err
}

// OpenFile implements FS.
func (c *Crashing) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	file, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &crashingFile{File: file, fs: c, name: name}, nil
}

type crashingFile struct {
	File
	fs   *Crashing
	name string
}

func (f *crashingFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.remember(p, off)
	f.fs.happened()
	return n, err
}

func (f *crashingFile) remember(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	before := make([]byte, len(p))
	_, _ = f.File.ReadAt(before, off) // what is beyond the end stays zero
	f.fs.undone[f.name] = append(f.fs.undone[f.name], unsynced{off: off, before: before})
	return f.File.WriteAt(p, off)
}

func (f *crashingFile) Sync() error {
	f.fs.mu.Lock()
	err := f.File.Sync()
	if err == nil {
		delete(f.fs.undone, f.name)
	}
	f.fs.mu.Unlock()
	f.fs.happened()
	return err
}

func (f *crashingFile) Allocate(off, bytes int64) error {
	defer f.fs.happened()
	return f.File.Allocate(off, bytes)
}

func (f *crashingFile) Truncate(bytes int64) error {
	defer f.fs.happened()
	return f.File.Truncate(bytes)
}

func (c *Crashing) happened() {
	if c.after != nil {
		c.after()
	}
}
