package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// originTimeout bounds the origin server's start, and its end.
const originTimeout = 15 * time.Second

// originServer is the suite's own origin server, as a process.
type originServer struct {
	url     string
	process *exec.Cmd
	cancel  context.CancelFunc
	dir     string
}

// startOrigin starts the suite's origin server on a port, or with 0 on a free
// one. log receives what it says. It must be closed.
func (s *suite) startOrigin(ctx context.Context, port int, log io.Writer) (_ *originServer, err error) {
	o := &originServer{}
	ctx, o.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = fmt.Errorf("suite: its origin server: %w", errors.Join(err, o.close()))
		}
	}()
	// The server gives out the files of the folder it runs in, and listens on
	// every address: it gets an empty one.
	if o.dir, err = os.MkdirTemp("", "weir-conformance-"); err != nil {
		return nil, err
	}
	said := &originOutput{log: log, listening: make(chan string, 1)}
	process := exec.CommandContext(ctx, s.node, filepath.Join(s.dir, s.server))
	process.Dir = o.dir
	process.Env = append(os.Environ(),
		"npm_config_protocol=http", "npm_config_port="+strconv.Itoa(port), "npm_config_pidfile="+filepath.Join(o.dir, "pid"))
	process.Stdout, process.Stderr = said, said // one writer: exec then writes from one goroutine
	process.WaitDelay = time.Second
	if err = process.Start(); err != nil {
		return nil, err
	}
	o.process = process
	select {
	case address := <-said.listening:
		o.url, err = loopbackURL(address)
		return o, err
	case <-time.After(originTimeout):
		return nil, fmt.Errorf("it did not say within %v where it listens", originTimeout)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// originOutput passes on what the server says, and finds the line in it that
// says where it listens.
type originOutput struct {
	log       io.Writer
	listening chan string // receives the URL, once; has room for it
	line      []byte      // the last line, while it is incomplete
	found     bool
}

func (o *originOutput) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case o.found:
		case c != '\n':
			o.line = append(o.line, c)
		default:
			o.look(string(o.line))
			o.line = o.line[:0]
		}
	}
	return o.log.Write(p)
}

func (o *originOutput) look(line string) {
	if address, ok := strings.CutPrefix(line, "Listening on "); ok {
		o.found = true
		o.listening <- address
	}
}

// loopbackURL is how a server on this machine is reached that says that it
// listens on every address.
func loopbackURL(listening string) (string, error) {
	u, err := url.Parse(listening)
	if err != nil || u.Port() == "" {
		return "", fmt.Errorf("%q is no address that it can be reached at", listening)
	}
	return "http://" + net.JoinHostPort("127.0.0.1", u.Port()), nil
}

// close ends the server and removes its folder.
func (o *originServer) close() error {
	o.cancel()
	if o.process != nil {
		_ = o.process.Wait() // it was killed, so it always has an error
	}
	if o.dir == "" {
		return nil
	}
	return os.RemoveAll(o.dir)
}
