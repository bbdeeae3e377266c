// Package s3server is the lab's own S3 store: versitygw's S3 front and POSIX
// backend in this process, on a TCP port. It checks signatures (AWS Signature
// Version 4), and has what a static site's bucket needs: buckets, single and
// multipart uploads, reads with ranges and conditions, listings and deletes.
// Everything else is answered with NotImplemented.
//
// On disk a server is one directory:
//
//	DIR/buckets/BUCKET/KEY   objects, one plain file each
//	DIR/meta/...             what is known of them, only where the file system
//	                         keeps no extended attributes
//
// When Close returns, everything is gone but what Lingering names.
package s3server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const (
	connsMax          = 1024
	requestsMax       = 1024
	multipartPartsMax = 10000
	bindAttemptsMax   = 8
	answerTimeout     = 5 * time.Second
)

// Lingering names the functions of the goroutines that the front's HTTP library
// leaves behind, for tests that look for leaks. The first keeps the time for Date
// fields, one for all servers, and never ends. The second, one a server, sees at
// its next waking that the server is closed, within ten seconds.
func Lingering() []string {
	return []string{
		"github.com/valyala/fasthttp.updateServerDate.func1",
		"github.com/valyala/fasthttp.(*workerPool).Start.func2",
	}
}

// Options says where a server keeps its objects and who may have them.
type Options struct {
	// Dir is where buckets and their objects are kept. It is made if it is
	// not there.
	Dir string
	// Listen is the address to serve on. Default "127.0.0.1:0": a free port.
	Listen string
	// Region is the one that signatures must be made for. Default "us-east-1".
	Region string
	// AccessKey and SecretKey are the one account, which owns everything.
	AccessKey, SecretKey string
	// Log is told when the server starts and stops. Default: nobody is.
	Log *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("no directory given")
	}
	if o.AccessKey == "" || o.SecretKey == "" {
		return o, errors.New("access key and secret key are both needed")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Server is a running S3 store.
type Server struct {
	addr    string
	log     *slog.Logger
	backend *rooted
	api     *s3api.S3ApiServer
	served  chan struct{} // closed when the serving goroutine has ended
	err     error         // why it ended; read after served

	closing sync.Once
	closed  chan struct{} // closed when Close has done all it does
	closeIs error         // what Close returns; read after closed
}

// Start serves the directory and returns once requests are answered; ctx bounds
// the wait for that and nothing later. While it runs, the process's working
// directory is another for a moment: versitygw's backend changes it, and Start
// changes it back.
func Start(ctx context.Context, opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("start S3 server: %w", err)
	}
	for range bindAttemptsMax {
		var s *Server
		if s, err = serve(ctx, opts); err == nil {
			s.log.Debug("S3 server started", "addr", s.addr, "dir", opts.Dir, "sidecar", s.backend.sidecar)
			return s, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || !wantsFreePort(opts.Listen) {
			break
		}
	}
	return nil, fmt.Errorf("start S3 server on %s in %q: %w", opts.Listen, opts.Dir, err)
}

func wantsFreePort(listen string) bool {
	_, port, err := net.SplitHostPort(listen)
	return err == nil && port == "0"
}

// freePort replaces port 0 by a free one. versitygw binds by itself and does not
// say which port it got, so the number has to be known before; should another
// process take it in between, Start tries again with another.
func freePort(listen string) (string, error) {
	if !wantsFreePort(listen) {
		return listen, nil
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// serve starts one goroutine that serves until Close. It returns when the first
// request has been answered: a shutdown before that would not be noticed.
func serve(ctx context.Context, opts Options) (*Server, error) {
	addr, err := freePort(opts.Listen)
	if err != nil {
		return nil, err
	}
	backend, err := openRooted(opts.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{addr: addr, log: opts.Log, backend: backend, served: make(chan struct{}), closed: make(chan struct{})}
	listening := make(chan struct{})
	root := auth.Account{Access: opts.AccessKey, Secret: opts.SecretKey, Role: auth.RoleAdmin}
	s.api, err = s3api.New(backend, middlewares.RootUserConfig{Access: root.Access, Secret: root.Secret},
		opts.Region, auth.NewIAMServiceSingle(root), nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithMpMaxParts(multipartPartsMax),
		s3api.WithConcurrencyLimiter(connsMax, requestsMax), s3api.WithOnListen(func() { close(listening) }))
	if err != nil {
		backend.Shutdown()
		return nil, err
	}
	go func() {
		defer close(s.served)
		s.err = s.api.ServeMultiPort([]string{addr})
	}()
	select {
	case <-s.served:
		backend.Shutdown()
		return nil, s.err
	case <-listening:
	}
	if err := s.answers(ctx); err != nil {
		// The context may be over, which must not leave a server behind.
		return nil, errors.Join(err, s.stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// answers waits for the response to one unsigned request.
func (s *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("first request: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// Addr is the "host:port" that the server listens on.
func (s *Server) Addr() string { return s.addr }

// Close stops listening, waits for the requests under way and for the serving
// goroutine, and closes the directory. Clients that are still reading hold it up
// for at most ten seconds, versitygw's own limit, so close them first: a client
// whose idle connection is closed here may also log an unexpected response. When
// ctx ends before that, Close returns its error and the rest is done behind it.
// A second Close waits for the same and returns the same.
func (s *Server) Close(ctx context.Context) error {
	err := s.stop(ctx)
	s.log.Debug("S3 server stopped", "addr", s.addr, "err", err)
	if err != nil {
		return fmt.Errorf("close S3 server on %s: %w", s.addr, err)
	}
	return nil
}

func (s *Server) stop(ctx context.Context) error {
	s.closing.Do(func() {
		go func() {
			defer close(s.closed)
			s.closeIs = s.api.ShutDown()
			<-s.served // Its error now is that the listener has been closed.
			s.backend.Shutdown()
		}()
	})
	select {
	case <-s.closed:
		return s.closeIs
	case <-ctx.Done():
		return ctx.Err()
	}
}
