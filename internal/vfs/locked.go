package vfs

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Locked says whether somebody holds a lock file, without getting in the way of
// who wants it. Only Linux tells; elsewhere it is false.
func Locked(name string) bool {
	status, err := os.Stat(name)
	if err != nil {
		return false
	}
	file, isUnix := status.Sys().(*syscall.Stat_t)
	locks, err := os.Open("/proc/locks")
	if err != nil || !isUnix {
		return false
	}
	defer locks.Close() // only read
	// 1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF, with the device in
	// hexadecimal, which some file systems give otherwise than stat does.
	inode := fmt.Sprintf(":%d", file.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 6 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], inode) {
			return true
		}
	}
	return false
}
