package vfs

import (
	"errors"
	"os"
	"syscall"
)

// allocate reserves space, so that writing there later cannot find the file
// system full. A file system that cannot reserve is left to find out.
func allocate(f *os.File, off, n int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, off, n)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return nil
		case err != nil:
			return &os.PathError{Op: string(OpAllocate), Path: f.Name(), Err: err}
		}
		return nil
	}
}
