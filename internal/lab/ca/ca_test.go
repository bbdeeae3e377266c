package ca

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *CA {
	t.Helper()
	authority, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func server(t *testing.T, authority *CA, hosts ...string) tls.Certificate {
	t.Helper()
	leaf, err := authority.Server(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestLeafIsGoodForEachName(t *testing.T) {
	authority := open(t, t.TempDir())
	leaf := server(t, authority).Leaf
	for name, good := range map[string]bool{
		"localhost":       true,
		"127.0.0.1":       true,
		"::1":             true,
		"lab.test":        true,
		"www.lab.test":    true,
		"a.b.lab.test":    false, // a wildcard is one label
		"www.example.com": false,
		"127.0.0.2":       false,
		"10.0.0.1":        false,
	} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: authority.Pool(), DNSName: name})
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life != leafLife+backdate {
		t.Errorf("the leaf lasts %v", life)
	}
}

// TestConstraints holds that the authority is of no use beyond the lab, even to
// somebody who has its key.
func TestConstraints(t *testing.T) {
	authority := open(t, t.TempDir())
	for name, good := range map[string]bool{
		"pop.ams.lab.test":  true,
		"foo.localhost":     true,
		"127.101.0.1":       true,
		"www.example.com":   false,
		"notlab.test":       false,
		"test":              false,
		"*.com":             false,
		"10.0.0.1":          false,
		"::2":               false,
		"2001:db8::1":       false,
		"::ffff:192.0.2.33": false,
	} {
		_, err := authority.Server(name)
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(authority.dir, "*.pem"))
	if len(files) != 2+3 {
		t.Errorf("a certificate that nobody may accept was kept: %q", files)
	}
}

func TestCertificate(t *testing.T) {
	authority := open(t, t.TempDir())
	cert := authority.cert
	if _, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !cert.IsCA || !cert.MaxPathLenZero || !cert.PermittedDNSDomainsCritical {
		t.Errorf("%+v", cert)
	}
	if years := cert.NotAfter.Year() - cert.NotBefore.Year(); years != caYears {
		t.Errorf("it lasts %d years", years)
	}
	if other := open(t, t.TempDir()); other.cert.Subject.String() == cert.Subject.String() {
		t.Errorf("two authorities have one name: %s", cert.Subject)
	}
}

func TestFilesAreKeptAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	first := open(t, dir)
	leaf := server(t, first)
	second := open(t, dir)
	if !second.cert.Equal(first.cert) || !server(t, second).Leaf.Equal(leaf.Leaf) {
		t.Error("a second opening made something new")
	}
	for name, want := range map[string]os.FileMode{caFile: 0o644, keyFile: 0o600, "server.pem": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", name, got, want)
		}
	}
	if first.File() != filepath.Join(dir, "ca.pem") {
		t.Errorf("File() = %s", first.File())
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("files left behind: %v", entries)
	}
}

func TestConcurrentOpening(t *testing.T) {
	dir := t.TempDir()
	leaves := make([]*x509.Certificate, 8)
	var wg sync.WaitGroup
	for i := range leaves {
		wg.Go(func() {
			authority, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			leaf, err := authority.Server()
			if err != nil {
				t.Error(err)
				return
			}
			leaves[i] = leaf.Leaf
		})
	}
	wg.Wait()
	pool := open(t, dir).Pool()
	for i, leaf := range leaves {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "localhost"}); err != nil {
			t.Errorf("opener %d: %v", i, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("files left behind: %v", entries)
	}
}

func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		authority := open(t, dir)
		first := server(t, authority).Leaf
		time.Sleep(59 * 24 * time.Hour)
		if !server(t, authority).Leaf.Equal(first) {
			t.Error("renewed with 31 days left")
		}
		time.Sleep(2 * 24 * time.Hour)
		second := server(t, authority).Leaf
		if second.Equal(first) {
			t.Error("not renewed with 29 days left")
		}
		time.Sleep(10 * 366 * 24 * time.Hour)
		_, err := Open(dir)
		if err == nil || !strings.Contains(err.Error(), "ca.pem is damaged: it ended at 20") {
			t.Errorf("an authority that has ended: %v", err)
		}
	})
}

func TestDamage(t *testing.T) {
	other := open(t, t.TempDir())
	foreign, err := os.ReadFile(other.File())
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"certificate cut off": {func(dir string) error { return os.Truncate(filepath.Join(dir, caFile), 100) },
			"/ca.pem is damaged: no CERTIFICATE in it: delete it, and it is made anew"},
		"certificate of another": {func(dir string) error { return os.WriteFile(filepath.Join(dir, caFile), foreign, 0o644) },
			"/ca.pem is damaged: it does not belong to ca-key.pem: delete both"},
		"key empty": {func(dir string) error { return os.Truncate(filepath.Join(dir, keyFile), 0) },
			"/ca-key.pem is damaged: no PRIVATE KEY in it: delete it and ca.pem"},
		"key lost": {func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) },
			"/ca.pem has lost its key ca-key.pem: delete ca.pem to make a new authority"},
		"key is a folder": {func(dir string) error {
			return os.Rename(t.TempDir(), mustRemove(t, filepath.Join(dir, keyFile)))
		}, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir)
			if err := row.damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil || !strings.HasSuffix(err.Error(), row.want) {
				t.Errorf("got %v, want …%s", err, row.want)
			}
		})
	}
}

func mustRemove(t *testing.T, path string) string {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCrashBetweenTheTwoFiles: the key is there, its certificate not yet.
func TestCrashBetweenTheTwoFiles(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	mustRemove(t, first.File())
	second := open(t, dir)
	if !second.key.Equal(first.key) {
		t.Error("the key was replaced")
	}
	leaf := server(t, second).Leaf
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: first.Pool()}); err != nil {
		t.Errorf("who trusted the old certificate does not trust the new one's leaves: %v", err)
	}
}

func TestDamagedLeafIsReplaced(t *testing.T) {
	dir := t.TempDir()
	authority := open(t, dir)
	server(t, authority)
	path := filepath.Join(dir, "server.pem")
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf := server(t, authority)
	if kept := server(t, authority); !kept.Leaf.Equal(leaf.Leaf) {
		t.Error("not kept")
	}
	// A leaf of another authority in its place is no better.
	foreign, err := open(t, t.TempDir()).makeLeaf(labNames[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server(t, authority).Leaf.Verify(x509.VerifyOptions{Roots: authority.Pool()}); err != nil {
		t.Error(err)
	}
}

func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil || !strings.HasPrefix(err.Error(), "lab CA: ") {
		t.Errorf("got %v", err)
	}
}

func TestHandshake(t *testing.T) {
	authority := open(t, t.TempDir())
	client, served := net.Pipe()
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(served, &tls.Config{Certificates: []tls.Certificate{server(t, authority)}})
		done <- conn.Handshake()
	}()
	conn := tls.Client(client, &tls.Config{RootCAs: authority.Pool(), ServerName: "ams.lab.test"})
	if err := conn.Handshake(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = client.Close()
	_ = served.Close()
}
