package ca

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run runs a program of the machine, if there is one of that name.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not on this machine", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestOpenSSLAccepts asks another implementation of RFC 5280 about the name
// constraints, strictly.
func TestOpenSSLAccepts(t *testing.T) {
	authority := open(t, t.TempDir())
	server(t, authority)
	leaf := filepath.Join(authority.dir, "server.pem")
	for _, name := range []string{"localhost", "lab.test", "www.lab.test"} {
		checkOpenSSL(t, authority, leaf, "-verify_hostname", name)
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		checkOpenSSL(t, authority, leaf, "-verify_ip", ip)
	}
}

func checkOpenSSL(t *testing.T, authority *CA, leaf, how, name string) {
	t.Helper()
	args := []string{"verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", authority.File(), how, name, leaf}
	if out, err := run(t, "openssl", args...); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

func TestOpenSSLRefusesOtherNames(t *testing.T) {
	authority := open(t, t.TempDir())
	for _, name := range []string{"www.example.com", "10.0.0.1"} {
		data, err := authority.makeLeaf([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		leaf := filepath.Join(t.TempDir(), "leaf.pem")
		if err := os.WriteFile(leaf, data, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := run(t, "openssl", "verify", "-CAfile", authority.File(), leaf)
		if err == nil || !strings.Contains(out, "permitted subtree violation") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestCurlAccepts(t *testing.T) {
	authority := open(t, t.TempDir())
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{server(t, authority)}}
	srv.StartTLS()
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "www.lab.test"} {
		out, err := run(t, "curl", "-sS", "--max-time", "10", "--cacert", authority.File(),
			"--connect-to", "::127.0.0.1:"+port, "https://"+host+":"+port+"/")
		if err != nil || out != "hello" {
			t.Errorf("%s: %v %s", host, err, out)
		}
	}
}

// FuzzKept holds that no content of a kept file makes Open or Server panic, and
// that no leaf but the authority's own is ever used.
func FuzzKept(f *testing.F) {
	authority, err := Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	own, err := authority.makeLeaf(labNames[:])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("rubbish"))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: []byte("x")}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: []byte{0x30, 0}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := decodeKey(data); (key == nil) == (err == nil) {
			t.Errorf("key %v, error %v", key, err)
		}
		if cert, err := decodeCert(data); (cert == nil) == (err == nil) {
			t.Errorf("certificate %v, error %v", cert, err)
		}
		leaf, err := authority.useLeaf(data, labNames[:])
		if err == nil && leaf.Leaf.CheckSignatureFrom(authority.cert) != nil {
			t.Errorf("used a leaf that the authority did not sign: %v", leaf.Leaf.Subject)
		}
	})
}
