// Package disk is what the state of an ingest stands on: a folder whose files are
// written in place, and forced to the disk by word. Package disktest has one in memory
// that fails and crashes on demand.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/obskeep/obskeep/internal/durable"
)

// Disk is a folder. Names are slash-separated, and lead nowhere else. What is
// done is seen at once by this process, and survives a power cut once it is synced.
// It is safe for concurrent use.
type Disk interface {
	// Open opens a file to read and write. If it is not there, it is made with
	// its folders, or with create unset the error is fs.ErrNotExist.
	Open(name string, create bool) (File, error)

	// Rename gives a file a new name, atomically and durably, in place of
	// what had it. Both are in one folder.
	Rename(oldname, newname string) error

	// Remove removes a file. One that is not there is no error.
	Remove(name string) error

	// List returns the names of the files in a folder and its folders, from the top.
	// A folder that is not there has none.
	List(dir string) ([]string, error)

	// AtOnce is how many files are best synced at a time.
	AtOnce() int
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error // with the name of a new file
	Close() error
}

// Dir is the folder of a root.
func Dir(root *os.Root) Disk { return dir{root} }

type dir struct{ root *os.Root }

// AtOnce: that much costs a disk hardly more than one.
func (dir) AtOnce() int { return 32 }

func (d dir) Open(name string, create bool) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if !errors.Is(err, fs.ErrNotExist) || !create {
		return file{File: f}, err
	}
	if err := d.root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	return file{f, d.root, name}, err
}

func (d dir) Rename(oldname, newname string) error {
	if err := d.root.Rename(oldname, newname); err != nil {
		return err
	}
	return durable.SyncDir(d.root, filepath.Dir(newname))
}

func (d dir) Remove(name string) error {
	err := d.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d dir) List(name string) ([]string, error) {
	var names []string
	err := fs.WalkDir(d.root.FS(), name, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	return names, err
}

// file is a file of the operating system. root is set if its name may be new.
type file struct {
	*os.File
	root *os.Root
	name string
}

func (f file) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (f file) Sync() error {
	if err := f.File.Sync(); err != nil || f.root == nil {
		return err
	}
	// The folders may be new as well.
	for dir := filepath.Dir(f.name); ; dir = filepath.Dir(dir) {
		if err := durable.SyncDir(f.root, dir); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}
