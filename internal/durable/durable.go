// Package durable replaces files so that nothing acknowledged is lost: the
// new content is written to a temporary file beside the old one, forced to
// the disk, renamed over the old name, and the folder is forced to the disk.
// (POSIX.1-2024, rename: the name refers to the old or the new file at every
// moment; fsync of the file alone does not make its name durable.)
//
// # Guarantees
//
//   - When WriteFile returns nil, the name holds the new content, also after
//     a power cut.
//   - At every moment the name holds all of the old content or all of the new.
//   - When WriteFile fails before the name is replaced, the old content is
//     untouched and no temporary file is left.
//   - No name leads out of the root.
//
// A crash inside WriteFile can leave one temporary file, whose name begins
// with [TempPrefix]; it never holds anything that was acknowledged. Windows
// has no fsync of a folder: there a new name can be lost in a power cut,
// while content stays old or new.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TempPrefix begins the name of each temporary file. Readers of a folder
// pass over such names; who owns the folder alone may remove them.
const TempPrefix = ".durable-"

// IsTemp reports whether name, with or without its folder, is that of a
// temporary file of this package.
func IsTemp(name string) bool {
	return strings.HasPrefix(filepath.Base(name), TempPrefix)
}

// WriteFile makes data the content of the file name inside root. The folder
// of name must exist. The file gets the mode perm (less the umask), whatever
// the mode of the file it replaces. It is safe for concurrent use; of several
// writers of one name the last to rename wins.
//
// An error means that the name holds the old content, except when the folder
// could not be forced to the disk: then it holds the new content, which a
// power cut may still undo.
func WriteFile(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	temp := filepath.Join(filepath.Dir(name), TempPrefix+rand.Text())
	if err := writeSynced(root, temp, data, perm); err != nil {
		return fmt.Errorf("durable: write %s: %w", name, err)
	}
	if err := root.Rename(temp, name); err != nil {
		return fmt.Errorf("durable: replace %s: %w", name, errors.Join(err, root.Remove(temp)))
	}
	return SyncDir(root, filepath.Dir(name))
}

// SyncDir makes what happened to the names in a folder of root durable: use
// it after renaming or removing files.
func SyncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return fmt.Errorf("durable: sync folder %s: %w", dir, err)
	}
	if err := errors.Join(syncDir(d), d.Close()); err != nil {
		return fmt.Errorf("durable: sync folder %s: %w", dir, err)
	}
	return nil
}

// writeSynced creates a file that did not exist and forces it to the disk.
// It leaves no file behind when it fails.
func writeSynced(root *os.Root, name string, data []byte, perm fs.FileMode) (err error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	// Some file systems report a full disk or quota only here.
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, root.Remove(name))
	}
	return nil
}
