package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// spawner starts processes from one thread that lives as long as it does: they
// are tied to it (see tie).
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}

// child is a node, which is a process while it is up.
type child struct {
	w                   *world
	name, role, address string
	url                 string // of its /healthz; control's API besides
	log                 string // control's: the address of the purge log
	file                string // its configuration

	// mu guards what follows.
	mu     sync.Mutex
	cmd    *exec.Cmd // nil while it is down
	ended  chan struct{}
	wanted bool // its end is ours
}

func newChild(w *world, name, role, address string) *child {
	return &child{w: w, name: name, role: role, address: address, url: "http://" + address}
}

func (c *child) logFile() string { return c.w.path(c.name + ".log") }

// start starts the process on the files that the last one left.
func (c *child) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	out, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	args := []string{c.role, "--config", c.file}
	if c.role != "control" {
		args = append(args, "--name", c.name)
	}
	cmd := exec.Command(c.w.o.Program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := tie(cmd); err != nil {
		return err
	}
	if err := c.w.spawner.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	c.cmd, c.ended, c.wanted = cmd, make(chan struct{}), false
	go c.watch(cmd, c.ended)
	return nil
}

// watch waits for the end of a process, and reports one that nobody wanted.
func (c *child) watch(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	c.mu.Lock()
	wanted := c.wanted
	c.cmd = nil
	c.mu.Unlock()
	if !wanted {
		c.w.report.crashed(c, err)
	}
	close(ended)
}

// signal sends a signal to the process, if there is one. The end of the process
// after it is ours if it is meant to end it.
func (c *child) signal(s syscall.Signal, ends bool) (ended chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	c.wanted = c.wanted || ends
	_ = c.cmd.Process.Signal(s)
	return c.ended
}

// kill ends the process as kill -9 does, and returns when it is gone.
func (c *child) kill() { <-c.signal(syscall.SIGKILL, true) }

// stopTimeout is what a node has for an orderly end: docs/operating.md says five
// seconds; the machine may be busy.
const stopTimeout = 10 * time.Second

// stop ends the process in order, and reports one that takes too long.
func (c *child) stop() {
	select {
	case <-c.signal(syscall.SIGTERM, true):
	case <-time.After(stopTimeout):
		c.w.report.broken(fmt.Errorf("%s: did not end within %s of SIGTERM", c.name, stopTimeout))
		c.kill()
	}
}

// end is the end of a run: nothing that was paused stays so.
func (c *child) end() {
	c.signal(syscall.SIGCONT, false)
	select {
	case <-c.signal(syscall.SIGTERM, true):
	case <-time.After(stopTimeout):
		c.kill()
	}
}

func (c *child) pause()  { c.signal(syscall.SIGSTOP, false) }
func (c *child) resume() { c.signal(syscall.SIGCONT, false) }

// await waits until /healthz answers with the status, or with any if that is 0.
func (c *child) await(ctx context.Context, status int) error {
	said := "it does not answer"
	for {
		if got, err := c.health(ctx); err == nil {
			if status == 0 || got == status {
				return nil
			}
			said = fmt.Sprintf("its /healthz answers %d", got)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %s: %w", c.name, said, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *child) health(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/healthz", nil)
	if err != nil {
		return 0, err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

// lastLines are the end of what the node has logged.
func (c *child) lastLines() string {
	const linesMax = 10
	text, err := os.ReadFile(c.logFile())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-linesMax):], []byte("\n")))
}
