package sitefiles_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/internal/sitefiles"
)

func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func keys(files []sitefiles.File) (all []string) {
	for _, f := range files {
		all = append(all, f.Key)
	}
	return all
}

func TestNamesThatBeginWithADot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "index.html", ".env", ".secret/key", ".well-known/acme/x", "docs/.htaccess", ".git/config")
	var skipped []string
	files, err := sitefiles.List(dir, sitefiles.Options{HideDots: true, Skipped: func(name string, why error) {
		if !errors.Is(why, sitefiles.ErrDot) {
			t.Errorf("%s: %v", name, why)
		}
		skipped = append(skipped, name)
	}})
	if got := keys(files); err != nil || !slices.Equal(got, []string{".well-known/acme/x", "index.html"}) {
		t.Errorf("%q, %v", got, err)
	}
	if !slices.Equal(skipped, []string{".env", ".secret", "docs/.htaccess"}) {
		t.Errorf("left out: %q", skipped)
	}
	files, err = sitefiles.List(dir, sitefiles.Options{})
	if got := keys(files); err != nil || !slices.Equal(got, []string{".env", ".secret/key", ".well-known/acme/x", "docs/.htaccess", "index.html"}) {
		t.Errorf("with them: %q, %v", got, err)
	}
}

func TestNamesThatNoOriginServes(t *testing.T) {
	for name, want := range map[string]string{
		".weir/pointer": "kept for releases", "a/.weir/x": "kept for releases", "a%2fb": "escape", `a\b`: "backslash", "caf\xe9": "UTF-8",
	} {
		dir := t.TempDir()
		write(t, dir, name)
		if _, err := sitefiles.List(dir, sitefiles.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	dir := t.TempDir()
	write(t, dir, "four")
	if _, err := sitefiles.List(dir, sitefiles.Options{BytesMax: -1}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a file above the limit: %v", err)
	}
}

func TestContentTypes(t *testing.T) {
	for name, want := range map[string]string{
		"index.html": "text/html; charset=utf-8", "A.HTM": "text/html; charset=utf-8", "site.css": "text/css; charset=utf-8",
		"app.3f9a.js": "text/javascript; charset=utf-8", "x.mjs": "text/javascript; charset=utf-8", "x.json": "application/json", "app.js.map": "application/json",
		"x.svg": "image/svg+xml; charset=utf-8", "x.png": "image/png", "x.jpg": "image/jpeg", "x.webp": "image/webp", "x.avif": "image/avif", "x.gif": "image/gif",
		"favicon.ico": "image/x-icon", "x.woff": "font/woff", "x.woff2": "font/woff2", "x.ttf": "font/ttf", "x.txt": "text/plain; charset=utf-8",
		"x.xml": "application/xml; charset=utf-8", "x.pdf": "application/pdf", "x.wasm": "application/wasm", "x.mp4": "video/mp4", "x.webm": "video/webm",
		"x.zip": "application/zip", "x.tar.gz": "application/gzip", "noending": "application/octet-stream", "x.unheard-of": "application/octet-stream", "a.b/c": "application/octet-stream",
	} {
		if got := sitefiles.ContentType(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
