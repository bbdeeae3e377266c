package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"weir/internal/ready"
)

// awaitReady asks every node until it says that it is well.
func (l *Lab) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	c := l.config
	urls := []string{c.Control.URL, "http://" + l.router.Addr()}
	for _, s := range c.Shields {
		urls = append(urls, s.URL)
	}
	for _, p := range c.PoPs {
		urls = append(urls, "http://"+p.Admin)
	}
	for _, url := range urls {
		if err := l.awaitWell(ctx, url+"/healthz"); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) awaitWell(ctx context.Context, url string) error {
	for {
		err := well(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case failed := <-l.running.failed:
			return failed
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func well(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, strings.TrimSpace(string(said)))
	}
	return nil
}

// announce writes the ready file, and the one by which other commands find a
// running lab.
func (l *Lab) announce(context.Context) error {
	c := l.config
	l.Ready = ready.File{
		Site: siteName, Origin: l.Ready.Origin, Control: c.Control.URL,
		Token: string(c.Tokens.API), Router: "http://" + l.router.Addr(), CAFile: l.authority.File(),
		PID: os.Getpid(),
	}
	if s3 := l.bucketKeys; s3 != nil {
		l.Ready.S3 = &ready.S3{
			Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: s3.Prefix, Region: s3.Region,
			AccessKey: s3.AccessKey, SecretKey: ready.Secret(s3.SecretKey), Secure: s3.Secure,
		}
	}
	for i, s := range c.Shields {
		if i == 0 {
			l.Ready.Shield = s.URL
		}
		l.Ready.Shields = append(l.Ready.Shields, s.URL)
	}
	for _, p := range c.PoPs {
		l.Ready.PoPs = append(l.Ready.PoPs, ready.PoP{
			Name: p.Name, Region: p.Region, HTTP: p.PublicHTTP, HTTPS: p.PublicHTTPS, Admin: "http://" + p.Admin,
		})
	}
	if path := l.sharedFile(); path != "" {
		l.shared = true
		if err := errors.Join(l.Ready.Write(path), l.shareCA(path)); err != nil {
			l.o.Log.Warn("other commands will not find this lab by themselves", "error", err)
		}
	}
	if err := l.Ready.Write(filepath.Join(l.state, readyName)); err != nil {
		return err
	}
	if l.o.ReadyFile == "" {
		return nil
	}
	return l.Ready.Write(l.o.ReadyFile)
}

// shareCA puts a copy of the authority's certificate beside the shared file, so
// that a command line can name it whatever the state directory is.
func (l *Lab) shareCA(shared string) error {
	pem, err := os.ReadFile(l.authority.File())
	if err != nil {
		return err
	}
	return os.WriteFile(sharedCA(shared), pem, 0o600)
}

func sharedCA(shared string) string { return filepath.Join(filepath.Dir(shared), "lab-ca.pem") }

// sharedFile is "" for a lab that is not to be found, and while another one
// that still runs is.
func (l *Lab) sharedFile() string {
	path := ready.DefaultPath()
	if l.o.NoShare || path == "" {
		return ""
	}
	other, err := ready.Read(path)
	if err == nil && other.PID != 0 && other.PID != os.Getpid() && syscall.Kill(other.PID, 0) == nil {
		return ""
	}
	return path
}

// unannounce takes the files away, so that nobody looks for a lab that is gone.
func (l *Lab) unannounce() {
	if l.Ready.PID == 0 {
		return
	}
	if shared := l.sharedFile(); shared != "" {
		if now, err := ready.Read(shared); err == nil && now.PID == l.Ready.PID {
			_ = os.Remove(sharedCA(shared))
		}
		_ = ready.RemoveIfOwn(shared)
	}
	_ = ready.RemoveIfOwn(filepath.Join(l.state, readyName))
	if l.o.ReadyFile != "" {
		_ = ready.RemoveIfOwn(l.o.ReadyFile)
	}
}

// Table says what listens where, and what to try.
func (l *Lab) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nweir lab: site %q, %d PoPs, state in %s\n\n", l.Ready.Site, len(l.Ready.PoPs), l.state)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, "  "+strings.Join(cells, "\t")) }
	row("part", "region", "HTTP", "HTTPS (HTTP/1.1, 2, 3)", "health, metrics")
	for i, p := range l.Ready.PoPs {
		row(p.Name, l.config.PoPs[i].Region, p.HTTP, p.HTTPS, p.Admin)
	}
	row("router", "", l.Ready.Router, "", l.Ready.Router)
	for _, s := range l.config.Shields {
		row(s.Name, s.Region, s.URL, "", s.URL)
	}
	row("control", homeRegion, l.Ready.Control, "", l.Ready.Control)
	row("origin", homeRegion, l.Ready.Origin)
	_ = w.Flush()
	if l.released {
		b.WriteString("\nThe bucket has releases: what is served is what was deployed last (weir releases).\n")
	}
	first := l.Ready.PoPs[0]
	fmt.Fprintf(&b, `
try, in another terminal:

  curl -i %s/
  curl -i --cacert %s %s/
  %s

Ctrl-C stops everything.

`, first.HTTP, l.Ready.CAFile, first.HTTPS, l.purgeLine())
	return b.String()
}

// purgeLine is a command that works in another terminal: it names the ready
// file where the lab cannot be found without.
func (l *Lab) purgeLine() string {
	line := l.o.Command + " purge "
	if !l.shared {
		line += "--ready-file " + filepath.Join(l.state, readyName) + " "
	}
	return line + "url /"
}
