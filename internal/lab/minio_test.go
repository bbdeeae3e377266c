package lab_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"weir"
	"weir/internal/lab"
	"weir/internal/lab/miniotest"
	"weir/purge"
)

// pythonDocs is where Debian's package python3-doc puts its HTML: a real site
// of about a thousand files, links to shared scripts among them.
const pythonDocs = "/usr/share/doc/python3-doc/html"

// The end-to-end suite once more, with a real MinIO as the origin.
func TestOnMinIO(t *testing.T) {
	store := miniotest.Start(t)
	origin := func(bucket string) string {
		keys := url.UserPassword(store.AccessKey, store.SecretKey)
		return fmt.Sprintf("s3://%s@%s/%s", keys, store.Endpoint, bucket)
	}
	t.Run("sample site", func(t *testing.T) {
		l := start(t, lab.Options{Origin: origin("sample")})
		checkEveryFile(t, l, weir.SampleSite())
		if strings.Contains(l.Table()+fmt.Sprint(l.Ready), store.SecretKey) {
			t.Error("the lab tells the origin's secret")
		}
	})
	t.Run("a bucket that is there is left as it is", func(t *testing.T) {
		l := start(t, lab.Options{Origin: origin("sample"), Site: site(t, map[string]string{"index.html": "mine"})})
		stop(t, l)
		l = start(t, lab.Options{Origin: origin("sample")})
		if got := clients(t, l.Ready)[0].do(t, "GET", "/"); got.body != "mine" {
			t.Errorf("%q; want what the bucket had", got.body)
		}
	})
	t.Run("tiers and purges", func(t *testing.T) {
		l := start(t, lab.Options{Origin: origin("tiers"), Site: site(t, map[string]string{"index.html": "home", "a.txt": "a", "404.html": "lost"})})
		all := clients(t, l.Ready)
		ams, iad := of(all, "ams")[0], of(all, "iad")[0]
		wantTier(t, "first", ams.do(t, "GET", "/a.txt"), "ams", "fwd=uri-miss", "stored")
		wantTier(t, "second", ams.do(t, "GET", "/a.txt"), "ams", "hit", "detail=memory")
		wantTier(t, "second PoP", iad.do(t, "GET", "/a.txt"), "shield", "hit")
		control := purge.Client{URL: l.Ready.Control, Token: l.Ready.Token}
		if _, err := control.Wait(t.Context(), purge.Request{Site: "lab", Scope: purge.ScopeURL, Targets: []string{"/a.txt"}}, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		wantTier(t, "purged", ams.do(t, "GET", "/a.txt"), "shield", "fwd=miss", "fwd-status=200")
		for _, path := range []string{"/nothing", "/a.txt/", "/a.txt/x"} {
			if got := ams.do(t, "GET", path); got.StatusCode != 404 || got.body != "lost" {
				t.Errorf("%s: %d %q", path, got.StatusCode, got.body)
			}
		}
	})
	t.Run("a real site", func(t *testing.T) {
		if _, err := os.Stat(pythonDocs); err != nil {
			t.Skip("Debian's python3-doc is not installed: apt-get install python3-doc")
		}
		l := start(t, lab.Options{Origin: origin("docs"), Site: pythonDocs})
		checkEveryFile(t, l, linked{pythonDocs})
	})
}

// linked is a directory in which links count as what they lead to.
type linked struct{ folder string }

func (l linked) Open(name string) (fs.File, error) { return os.DirFS(l.folder).Open(name) }

func (l linked) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(os.DirFS(l.folder), name)
	for i, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		info, err := os.Stat(l.folder + "/" + name + "/" + e.Name())
		if err != nil {
			return nil, err
		}
		entries[i] = fs.FileInfoToDirEntry(info)
	}
	return entries, err
}
