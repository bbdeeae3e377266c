package vfs

import (
	"bytes"
	"io"
	"io/fs"
	"sync"
	"syscall"
	"time"
)

// Op names a kind of call that can be made to fail.
type Op string

// The operations of FS and File.
const (
	OpAny     Op = ""
	OpOpen    Op = "open"
	OpRead    Op = "read"
	OpWrite   Op = "write"
	OpStat    Op = "stat"
	OpClose   Op = "close"
	OpRename  Op = "rename"
	OpRemove  Op = "remove"
	OpMkdir   Op = "mkdir"
	OpReadDir Op = "readdir"
	OpChtimes Op = "chtimes"
	OpLock    Op = "lock"
	// OpTruncate, OpAllocate and OpSync are those of File.
	OpTruncate Op = "truncate"
	OpAllocate Op = "allocate"
	OpSync     Op = "sync"
)

// Fault says which calls fail, and how.
type Fault struct {
	// Op is the operation that fails; OpAny for all of them.
	Op Op
	// Path chooses the files by name; nil for all of them. A rename is
	// asked with its old name.
	Path func(name string) bool
	// After is how many matching calls succeed first.
	After int
	// Times is how many matching calls then fail: 0 means 1, and a negative
	// number all from there on.
	Times int
	// Err is what they fail with; nil means syscall.EIO.
	Err error
	// WriteBytes is how much of a failing write reaches the file
	// nevertheless, as when a disk fills up in its middle.
	WriteBytes int
	// Flip lets the call succeed, but one bit of what is read or written is
	// another. Calls that carry no bytes pass.
	Flip bool
}

// Faulty passes calls on to another FS, except those that an injected Fault
// names. A call that fails has not been carried out, WriteBytes aside.
type Faulty struct {
	inner FS

	mu     sync.Mutex // guards what is below
	faults []*Fault
	fired  int
}

// NewFaulty wraps inner. Nothing fails until Inject.
func NewFaulty(inner FS) *Faulty { return &Faulty{inner: inner} }

// Inject adds a fault to those that are already set.
func (f *Faulty) Inject(fault Fault) {
	if fault.Err == nil {
		fault.Err = syscall.EIO
	}
	if fault.Times == 0 {
		fault.Times = 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Heal removes all faults.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Fired counts the calls that have failed on purpose.
func (f *Faulty) Fired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// check counts the call against every fault and returns the one that it
// fails with, or nil.
func (f *Faulty) check(op Op, name string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.faults {
		if !fault.matches(op, name) {
			continue
		}
		if fault.After > 0 {
			fault.After--
			continue
		}
		if fault.Times == 0 {
			continue
		}
		if fault.Times > 0 {
			fault.Times--
		}
		f.fired++
		return fault
	}
	return nil
}

func (fault *Fault) matches(op Op, name string) bool {
	return (fault.Op == OpAny || fault.Op == op) && (fault.Path == nil || fault.Path(name))
}

// fail is check for calls that fail as a whole.
func (f *Faulty) fail(op Op, name string) error {
	if fault := f.check(op, name); fault != nil && !fault.Flip {
		return &fs.PathError{Op: string(op), Path: name, Err: fault.Err}
	}
	return nil
}

// OpenFile implements FS; what it opens fails on demand too.
func (f *Faulty) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := f.fail(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

// Rename implements FS.
func (f *Faulty) Rename(from, to string) error {
	if err := f.fail(OpRename, from); err != nil {
		return err
	}
	return f.inner.Rename(from, to)
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	if err := f.fail(OpRemove, name); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(name string, perm fs.FileMode) error {
	if err := f.fail(OpMkdir, name); err != nil {
		return err
	}
	return f.inner.MkdirAll(name, perm)
}

// ReadDir implements FS.
func (f *Faulty) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.fail(OpReadDir, name); err != nil {
		return nil, err
	}
	return f.inner.ReadDir(name)
}

// Chtimes implements FS.
func (f *Faulty) Chtimes(name string, atime, mtime time.Time) error {
	if err := f.fail(OpChtimes, name); err != nil {
		return err
	}
	return f.inner.Chtimes(name, atime, mtime)
}

// Lock implements FS.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	if err := f.fail(OpLock, name); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

type faultyFile struct {
	File
	fs   *Faulty
	name string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	fault := f.fs.check(OpRead, f.name)
	if fault != nil && !fault.Flip {
		return 0, &fs.PathError{Op: string(OpRead), Path: f.name, Err: fault.Err}
	}
	n, err := f.File.ReadAt(p, off)
	if fault != nil && n > 0 {
		p[n/2] ^= 1
	}
	return n, err
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	fault := f.fs.check(OpWrite, f.name)
	if fault == nil {
		return f.File.WriteAt(p, off)
	}
	if fault.Flip {
		p = bytes.Clone(p) // it is the caller's
		if len(p) > 0 {
			p[len(p)/2] ^= 1
		}
		return f.File.WriteAt(p, off)
	}
	n, err := f.File.WriteAt(p[:min(fault.WriteBytes, len(p))], off)
	if err != nil {
		return n, err
	}
	return n, &fs.PathError{Op: string(OpWrite), Path: f.name, Err: fault.Err}
}

func (f *faultyFile) Stat() (fs.FileInfo, error) {
	if err := f.fs.fail(OpStat, f.name); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.fs.fail(OpStat, f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultyFile) Truncate(bytes int64) error {
	if err := f.fs.fail(OpTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(bytes)
}

func (f *faultyFile) Allocate(off, bytes int64) error {
	if err := f.fs.fail(OpAllocate, f.name); err != nil {
		return err
	}
	return f.File.Allocate(off, bytes)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.fail(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// Close gives the file back even when it fails, as the kernel does.
func (f *faultyFile) Close() error {
	err := f.fs.fail(OpClose, f.name)
	if closeErr := f.File.Close(); err == nil {
		err = closeErr
	}
	return err
}
