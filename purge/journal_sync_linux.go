package purge

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData brings what was written to the disk, and of the file's own data no more
// than it takes to read that.
func syncData(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		for failed = unix.EINTR; failed == unix.EINTR; {
			failed = unix.Fdatasync(int(fd))
		}
	})
	if err == nil {
		err = failed
	}
	return err
}
