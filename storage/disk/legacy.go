package disk

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"weir/internal/vfs"
)

// removeLegacy removes what the first layout of this store has left in dir: two
// files an object, in bodies/xx/*.body and objects/xx/*.meta. They would take
// room beyond the budget. Whatever has another name stays.
func removeLegacy(fsys vfs.FS, dir string, log *slog.Logger) error {
	removed := 0
	for _, kind := range []struct{ folder, suffix string }{{"bodies", ".body"}, {"objects", ".meta"}} {
		top := filepath.Join(dir, kind.folder)
		subs, err := fsys.ReadDir(top)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, sub := range subs {
			n, err := removeLegacyFiles(fsys, filepath.Join(top, sub.Name()), sub, kind.suffix)
			if err != nil {
				return err
			}
			removed += n
		}
		_ = fsys.Remove(top) // it stays if something else is in it
	}
	if removed > 0 {
		log.Warn("disk: files of an older weir were removed: what they had is fetched again", "dir", dir, "files", removed)
	}
	return nil
}

func removeLegacyFiles(fsys vfs.FS, folder string, entry fs.DirEntry, suffix string) (removed int, err error) {
	if !entry.IsDir() || len(entry.Name()) != 2 {
		return 0, nil
	}
	files, err := fsys.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != suffix && ext != ".temp" {
			continue
		}
		if err := fsys.Remove(filepath.Join(folder, f.Name())); err != nil {
			return removed, err
		}
		removed++
	}
	_ = fsys.Remove(folder)
	return removed, nil
}
