package bucket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	filesMax    = 1_000_000 // files and directories below one
	keyBytesMax = 1024      // S3's limit
	bytesMax    = 5 << 30   // of one file: S3's limit for a single upload
)

// file is one that is to be in the bucket.
type file struct {
	key   string // slash-separated, below the directory
	path  string
	bytes int64
}

// listing walks a directory.
type listing struct {
	root        string // with all links followed
	followLinks bool
	skipped     func(link string, err error)
	entries     int // seen so far, of any kind
	files       []file
}

// listFiles finds the regular files below dir, in order of their keys.
func listFiles(dir string, followLinks bool, skipped func(link string, err error)) ([]file, error) {
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
	l := &listing{root: root, followLinks: followLinks, skipped: skipped}
	if err := l.walk(root, "", nil); err != nil {
		return nil, err
	}
	if len(l.files) == 0 {
		return nil, fmt.Errorf("directory %q has no files to upload", dir)
	}
	slices.SortFunc(l.files, func(a, b file) int { return strings.Compare(a.key, b.key) })
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
		if l.entries++; l.entries > filesMax {
			return fmt.Errorf("directory %q has more than %d entries", l.root, filesMax)
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
		if l.followLinks && errors.Is(err, fs.ErrNotExist) {
			// A web server on the directory would answer 404.
			l.skipped(link, err)
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
	if err := checkKey(key); err != nil {
		return fmt.Errorf("file %q: %w", name, err)
	}
	if info.Size() > bytesMax {
		return fmt.Errorf("file %q: its %d bytes are more than the %d that S3 takes in one upload", name, info.Size(), int64(bytesMax))
	}
	l.files = append(l.files, file{key: key, path: name, bytes: info.Size()})
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
	if l.followLinks || target == l.root || strings.HasPrefix(target, l.root+string(filepath.Separator)) {
		return target, nil
	}
	return "", fmt.Errorf("symbolic link %q leads out of the directory, to %q: copy the file in, or allow links", name, target)
}

// checkKey refuses names that an S3 origin would not serve, so that a site is
// not uploaded in part.
func checkKey(key string) error {
	switch {
	case !utf8.ValidString(key):
		return errors.New("its name is not UTF-8")
	case strings.ContainsFunc(key, unicode.IsControl) || strings.Contains(key, `\`):
		return errors.New("its name has a control character or a backslash")
	case len(key) > keyBytesMax:
		return fmt.Errorf("its name of %d bytes is longer than %d", len(key), keyBytesMax)
	}
	return nil
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
