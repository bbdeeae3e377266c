// Package vfs is the file system that the disk tier runs on, as an interface
// with what that tier needs and no more: OS is the real one, Faulty fails on
// demand so that tests can ask what a bad disk does.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// ErrLocked says that another open store, of this or another process, holds
// the lock file.
var ErrLocked = errors.New("locked by another process")

// FS is a file system. All methods may be called from many goroutines, and
// their errors are those of package os.
type FS interface {
	// OpenFile opens or creates a file; flag is as for os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename moves a file in one step, replacing what is at the new name.
	Rename(from, to string) error
	// Remove deletes a file. Files that are open stay readable.
	Remove(name string) error
	// MkdirAll creates a directory and its parents where they are missing.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Chtimes sets a file's times of access and change.
	Chtimes(name string, atime, mtime time.Time) error
	// Lock creates the file and locks it until the Closer is closed or the
	// process ends. ErrLocked, at once, if somebody else holds it.
	Lock(name string) (io.Closer, error)
}

// File is one open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	// Size gives the length in bytes, also that of a block device, where Stat
	// says 0.
	Size() (int64, error)
	// Truncate sets the file's length in bytes.
	Truncate(bytes int64) error
	// Allocate reserves space for bytes from an offset on, where the file
	// system can, and makes the file at least that long where it does.
	Allocate(off, bytes int64) error
	// Sync waits until what was written is on stable storage.
	Sync() error
}

// OS gives the operating system's own file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File in a File is not nil
	}
	return osFile{f}, nil
}

// osFile is a file of the operating system.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	status, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if status.Mode()&fs.ModeDevice == 0 {
		return status.Size(), nil
	}
	return f.Seek(0, io.SeekEnd) // nothing here reads or writes at the file's own offset
}

func (f osFile) Allocate(off, bytes int64) error { return allocate(f.File, off, bytes) }

func (osFS) Rename(from, to string) error                      { return os.Rename(from, to) }
func (osFS) Remove(name string) error                          { return os.Remove(name) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error      { return os.MkdirAll(name, perm) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)        { return os.ReadDir(name) }
func (osFS) Chtimes(name string, atime, mtime time.Time) error { return os.Chtimes(name, atime, mtime) }

// Lock uses flock, which the kernel gives back when the process dies, however
// it dies: no stale lock ever has to be cleared by hand.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f, nil
}
