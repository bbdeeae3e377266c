package chaos

import (
	"os/exec"
	"syscall"
)

// tie makes the kernel kill the process when the thread that starts it ends,
// which is that of the spawner, and keeps it out of the reach of a Ctrl-C that
// is meant for the lab.
func tie(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return nil
}
