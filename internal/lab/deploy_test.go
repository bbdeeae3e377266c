package lab_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/deploy"
	"weir/internal/lab"
	"weir/internal/lab/bucket"
	"weir/internal/lab/miniotest"
	"weir/purge"
)

// webSite is a release: pages that name three assets each by their fingerprints.
// style.css has none, and says which release it is of.
func webSite(t *testing.T, number int) string {
	files := map[string]string{"404.html": "lost", "style.css": fmt.Sprint("style ", number)}
	for _, page := range []string{"index.html", "docs/index.html", "about.html"} {
		text := fmt.Sprintf("<!-- release %d -->\n", number)
		for i := range 3 {
			name := fmt.Sprintf("/assets/%d-%s-%d.%08xa.js", i, strings.NewReplacer("/", "-", ".html", "").Replace(page), i, 0x10000000+number)
			text += fmt.Sprintf("<script src=%q></script>\n", name)
			files[strings.TrimPrefix(name, "/")] = fmt.Sprintf("release %d, asset %d of %s", number, i, page)
		}
		files[page] = text
	}
	return site(t, files)
}

var (
	releaseOf = regexp.MustCompile(`<!-- release (\d+) -->`)
	assetsOf  = regexp.MustCompile(`src="([^"]+)"`)
	pages     = []string{"/", "/docs/", "/about.html", "/index.html", "/docs/?utm=1"}
)

// deployOptions finds a lab's bucket as the commands do.
func deployOptions(t *testing.T, l *lab.Lab) deploy.Options {
	s3 := l.Ready.S3
	return deploy.Options{
		Site: l.Ready.Site, Assets: purge.DefaultAssets(), Out: t.Output(),
		Control: purge.Client{URL: l.Ready.Control, Token: l.Ready.Token},
		Bucket: bucket.S3URL{Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: s3.Prefix, Region: s3.Region,
			AccessKey: s3.AccessKey, SecretKey: string(s3.SecretKey), Secure: s3.Secure},
	}
}

// visitors load pages with their assets, as browsers do, through every PoP.
type visitors struct {
	t     *testing.T
	all   []client
	end   chan struct{}
	wait  sync.WaitGroup
	loads atomic.Int64
	seen  sync.Map // releases
	// mixed counts pages of one release beside a style.css of another: it was
	// asked for after the page, and a switch may have come in between.
	styled atomic.Int64
	mixed  atomic.Int64
}

func visit(t *testing.T, l *lab.Lab) *visitors {
	v := &visitors{t: t, all: clients(t, l.Ready), end: make(chan struct{})}
	for _, c := range v.all {
		v.wait.Go(func() {
			for {
				select {
				case <-v.end:
					return
				case <-time.After(10 * time.Millisecond): // others use the machine as well
					v.load(c)
				}
			}
		})
	}
	return v
}

func (v *visitors) stop() {
	close(v.end)
	v.wait.Wait()
}

// load loads a page, and its assets through the same PoP and through another: the
// router may send a client elsewhere at any time.
func (v *visitors) load(c client) {
	path := pages[rand.IntN(len(pages))]
	page := v.get(c, path)
	number := releaseOf.FindStringSubmatch(page)
	assets := assetsOf.FindAllStringSubmatch(page, -1)
	if number == nil || len(assets) != 3 {
		v.t.Errorf("%s %s: %.100q", c.name, path, page)
		return
	}
	v.seen.Store(number[1], true)
	other := v.all[rand.IntN(len(v.all))]
	for _, asset := range assets {
		for _, via := range []client{c, other} {
			if got := v.get(via, asset[1]); !strings.HasPrefix(got, "release "+number[1]+",") {
				v.t.Errorf("%s: %s of release %s names %s, which by %s is %.60q", c.name, path, number[1], asset[1], via.name, got)
			}
		}
	}
	v.styled.Add(1)
	if style := v.get(c, "/style.css"); style != "style "+number[1] {
		v.mixed.Add(1)
	}
	v.loads.Add(1)
}

func (v *visitors) get(c client, path string) string {
	resp, err := c.http.Get(c.base + path)
	if err != nil {
		v.t.Errorf("%s %s: %v", c.name, path, err)
		return ""
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		v.t.Errorf("%s %s: %s, %v", c.name, path, resp.Status, err)
	}
	return string(body)
}

// onlyRelease holds that no PoP answers from another release.
func (v *visitors) onlyRelease(number string) {
	v.t.Helper()
	for _, c := range v.all {
		for _, path := range pages {
			if got := releaseOf.FindStringSubmatch(v.get(c, path)); got == nil || got[1] != number {
				v.t.Errorf("%s %s: %q after the receipts of release %s", c.name, path, got, number)
			}
		}
		if got := v.get(c, "/style.css"); got != "style "+number {
			v.t.Errorf("%s: %q after the receipts of release %s", c.name, got, number)
		}
	}
}

// While releases come and go, clients of every PoP, over every version of HTTP,
// see whole ones: the assets that a page names are there, and are that page's.
// When a deploy returns, no PoP has anything of the one before.
func TestReleasesAreAtomic(t *testing.T) {
	t.Run("with the regions' delays", func(t *testing.T) { testReleasesAreAtomic(t, 6, lab.Options{Shields: 2}) })
	t.Run("without", func(t *testing.T) { testReleasesAreAtomic(t, 3, lab.Options{Shields: 2, NoDelay: true}) })
	t.Run("without shields", func(t *testing.T) { testReleasesAreAtomic(t, 3, lab.Options{NoShield: true, NoDelay: true}) })
	t.Run("on MinIO", func(t *testing.T) {
		store := miniotest.Start(t)
		testReleasesAreAtomic(t, 3, lab.Options{Shields: 2, NoDelay: true,
			Origin: fmt.Sprintf("s3://%s@%s/released", url.UserPassword(store.AccessKey, store.SecretKey), store.Endpoint)})
	})
}

func testReleasesAreAtomic(t *testing.T, switches int, o lab.Options) {
	o.NoShare, o.Log = true, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: logLevel()}))
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, l) })
	options := deployOptions(t, l)
	releases := []string{webSite(t, 1), webSite(t, 2), webSite(t, 3)}
	if err := deploy.Run(t.Context(), options, releases[0]); err != nil {
		t.Fatal(err)
	}
	v := visit(t, l)
	defer v.stop()
	v.onlyRelease("1")
	for i := range switches {
		if i%3 == 2 {
			if err := deploy.Rollback(t.Context(), options, 0); err != nil {
				t.Fatal(err)
			}
			v.onlyRelease(fmt.Sprint((i-1)%3 + 1))
			continue
		}
		if err := deploy.Run(t.Context(), options, releases[(i+1)%3]); err != nil {
			t.Fatal(err)
		}
		v.onlyRelease(fmt.Sprint((i+1)%3 + 1))
		time.Sleep(200 * time.Millisecond) // for pages to be loaded between two
	}
	seen := 0
	v.seen.Range(func(any, any) bool { seen++; return true })
	if seen != 3 || v.loads.Load() < 20 {
		t.Errorf("%d releases seen in %d loads: that says little", seen, v.loads.Load())
	}
	t.Logf("%d loads; %d of %d pages beside a style.css of another release", v.loads.Load(), v.mixed.Load(), v.styled.Load())
}

// A lab that is started again with a bucket that has releases serves the last.
func TestReleasesOutliveTheLab(t *testing.T) {
	state := t.TempDir()
	l := start(t, lab.Options{State: state})
	options := deployOptions(t, l)
	if err := deploy.Run(t.Context(), options, webSite(t, 7)); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	var log bytes.Buffer
	l = start(t, lab.Options{State: state, Site: site(t, map[string]string{"index.html": "other"}), Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, c := range clients(t, l.Ready) {
		if got := c.do(t, "GET", "/"); !strings.Contains(got.body, "release 7") {
			t.Errorf("%s: %q", c.name, got.body)
		}
	}
	if !strings.Contains(l.Table(), "The bucket has releases") || !strings.Contains(log.String(), "--site is not served") {
		t.Errorf("nobody is told: %s\n%s", l.Table(), &log)
	}
}
