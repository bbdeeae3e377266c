// Package sitefiles says which files of a directory are a site's, under which
// keys, and what type of content each is.
package sitefiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"weir/origin"
)

// Max bounds the files and directories below one.
const Max = 1_000_000

// File is one that is to be in a bucket.
type File struct {
	// Key is its name below the directory, with slashes.
	Key string
	// Path opens it.
	Path  string
	Bytes int64
}

// Options say what of a directory counts. The zero value is everything that is
// no junk, and no link out of it.
type Options struct {
	// FollowLinks takes what symbolic links out of the directory lead to, and
	// leaves out links that lead nowhere. Without it both are errors.
	FollowLinks bool
	// HideDots leaves out what begins with a dot, save .well-known.
	HideDots bool
	// Skipped, if set, is told of what is left out, and why, other than junk.
	Skipped func(name string, why error)
	// BytesMax bounds one file. Default 5 GiB, S3's limit for a single upload.
	BytesMax int64
}

// ErrDot is why a file with a name that begins with a dot is left out.
var ErrDot = errors.New("its name begins with a dot")

// listing walks a directory.
type listing struct {
	Options
	root    string // with all links followed
	entries int    // seen so far, of any kind
	files   []File
}

// List finds the regular files below dir, in order of their keys. What version
// control, editors and desktops leave about is passed over.
func List(dir string, o Options) ([]File, error) {
	if o.Skipped == nil {
		o.Skipped = func(string, error) {}
	}
	if o.BytesMax == 0 {
		o.BytesMax = 5 << 30
	}
	root, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("directory %q does not exist", dir)
	}
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if info, err := os.Stat(root); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%q is not a directory", dir)
	}
	l := &listing{Options: o, root: root}
	if err := l.walk(root, "", nil); err != nil {
		return nil, err
	}
	if len(l.files) == 0 {
		return nil, fmt.Errorf("directory %q has no files to upload", dir)
	}
	slices.SortFunc(l.files, func(a, b File) int { return strings.Compare(a.Key, b.Key) })
	return l.files, nil
}

// walk lists one directory. real is its name with all links followed, above are
// those of the directories that led to it.
func (l *listing) walk(real, prefix string, above []string) error {
	if slices.Contains(above, real) {
		return fmt.Errorf("a symbolic link at %q leads back to %q", prefix, real)
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	above = append(slices.Clip(above), real)
	for _, entry := range entries {
		if isJunk(entry.Name()) {
			continue
		}
		if l.entries++; l.entries > Max {
			return fmt.Errorf("directory %q has more than %d entries", l.root, Max)
		}
		if l.HideDots && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".well-known" {
			l.Skipped(path.Join(prefix, entry.Name()), ErrDot)
			continue
		}
		if err := l.add(filepath.Join(real, entry.Name()), path.Join(prefix, entry.Name()), entry, above); err != nil {
			return err
		}
	}
	return nil
}

// add takes one entry: a file into the list, a directory for a walk of its own.
// Sockets, pipes and devices are nothing that a site serves.
func (l *listing) add(name, key string, entry fs.DirEntry, above []string) (err error) {
	if entry.Type()&fs.ModeSymlink != 0 {
		link := name
		name, err = l.follow(link)
		if l.FollowLinks && errors.Is(err, fs.ErrNotExist) {
			// A web server on the directory would answer 404.
			l.Skipped(link, err)
			return nil
		}
		if err != nil {
			return err
		}
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return l.walk(name, key, above)
	case !info.Mode().IsRegular():
		return nil
	}
	// A name that an origin would not serve is an error, so that a site is not
	// uploaded in part.
	if err := origin.CheckKey(key); err != nil {
		return fmt.Errorf("file %q: %w", name, err)
	}
	if info.Size() > l.BytesMax {
		return fmt.Errorf("file %q: its %d bytes are more than the %d that can be uploaded", name, info.Size(), l.BytesMax)
	}
	l.files = append(l.files, File{Key: key, Path: name, Bytes: info.Size()})
	return nil
}

// follow finds where a symbolic link leads. It refuses one that leads nowhere,
// or out of the directory: whoever may write into a site's directory must not
// thereby publish the rest of the machine.
func (l *listing) follow(name string) (string, error) {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", fmt.Errorf("symbolic link %q leads nowhere: %w", name, err)
	}
	if l.FollowLinks || target == l.root || strings.HasPrefix(target, l.root+string(filepath.Separator)) {
		return target, nil
	}
	return "", fmt.Errorf("symbolic link %q leads out of the directory, to %q: copy the file in, or use --follow-links", name, target)
}

// isJunk knows what versioning systems, editors and desktops leave about. Other
// names that begin with a dot are files of the site, such as .well-known.
func isJunk(name string) bool {
	switch name {
	case ".git", ".hg", ".svn", ".DS_Store", "Thumbs.db", "desktop.ini":
		return true
	}
	return strings.HasSuffix(name, "~") ||
		strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".swo") ||
		strings.HasPrefix(name, ".#") || strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#")
}
