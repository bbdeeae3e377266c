//go:build !linux

package chaos

import (
	"errors"
	"os/exec"
)

// tie refuses: nodes that are killed and paused must not stay behind when the lab
// itself is killed.
func tie(*exec.Cmd) error {
	return errors.New("weir lab --chaos needs Linux: only there do its nodes end with it however it ends")
}
