// Package dirstore keeps objects in a local directory.
//
// # Guarantees
//
//   - No name leads out of the directory, whatever symbolic links lie in it or
//     are put there meanwhile: everything happens inside an [os.Root].
//   - Symbolic links are listed and made as links, and never read through.
//   - What is committed has been fsynced, and its directory after it.
//     (Windows cannot fsync a directory.)
//   - An upload that another process has begun is left alone. (Not on Windows.)
//   - Folders that their owner may not write into can be removed.
//   - Long runs of zeros become holes where the file system has them.
package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// Store is a directory. It is a [transfer.Tree], [transfer.Hasher],
// [transfer.Identifier], [transfer.Clock] and [diskspace.Stater], on Linux a
// [transfer.GroupCommitter], and its uploads are [transfer.Prover]. Times are kept
// to the nanosecond.
type Store struct {
	transfer.Tree // of the directory
	fs            *fsstore.Store
	root          *os.Root
	top           *os.File // open all the time, for syncfs to tell it of every error
}

// Open opens the directory dir, which must exist.
func Open(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("dirstore: %w", err)
	}
	top, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("dirstore: %w", errors.Join(err, root.Close()))
	}
	fs := &fsstore.Store{FS: rootFS{root}}
	return &Store{fs, fs, root, top}, nil
}

// Close releases the directory.
func (s *Store) Close() error { return errors.Join(s.top.Close(), s.root.Close()) }

// Path is the directory's name, as given to Open.
func (s *Store) Path() string { return s.root.Name() }

// HashPrefix implements [transfer.Hasher] by reading the file.
func (s *Store) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	return s.fs.HashPrefix(ctx, name, n)
}

// Usage implements [diskspace.Stater].
func (s *Store) Usage(_ context.Context, name string) (diskspace.Usage, error) {
	if err := transfer.ValidName(name); err != nil {
		return diskspace.Usage{}, err
	}
	return diskspace.Stat(path.Join(s.root.Name(), name))
}

// RemoveAll removes name with all that is in it, durably. Folders in it that
// their owner may not write into, or list, are opened to the owner first.
func (s *Store) RemoveAll(_ context.Context, name string) error {
	if err := transfer.ValidName(name); err != nil {
		return err
	}
	err := s.root.RemoveAll(name)
	if errors.Is(err, fs.ErrPermission) {
		if err = s.unlock(name); err == nil {
			err = s.root.RemoveAll(name)
		}
	}
	if err != nil {
		return bare(err)
	}
	if err := durable.SyncDir(s.root, path.Dir(name)); !errors.Is(err, fs.ErrNotExist) {
		return bare(err)
	}
	return nil // gone with all above it
}

// unlock lets the owner of name and of the folders in it do everything there.
func (s *Store) unlock(name string) error {
	fi, err := s.root.Lstat(name)
	if err != nil || !fi.IsDir() {
		return err
	}
	if fi.Mode()&0o700 != 0o700 {
		if err := s.root.Chmod(name, fi.Mode()|0o700); err != nil {
			return err
		}
	}
	dir, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, s.unlock(path.Join(name, e.Name())))
		}
	}
	return err
}

// RemoveReserved removes from the folder dir and those below it, durably, what
// has a name of the library's own (transfer.ReservedPrefix): what interrupted
// uploads have left, which List does not show. The folders keep their modes and
// times. It is for a folder into which nothing is being uploaded.
func (s *Store) RemoveReserved(ctx context.Context, dir string) error {
	if err := transfer.ValidName(dir); err != nil {
		return err
	}
	files := rootFS{s.root}
	was, err := files.Lstat(ctx, dir)
	if err != nil {
		return err
	}
	infos, err := files.ReadDir(ctx, dir)
	opened := false
	for _, info := range infos {
		switch {
		case strings.HasPrefix(path.Base(info.Name), transfer.ReservedPrefix):
			if !opened {
				opened = true
				open := was
				open.Mode |= 0o700
				err = errors.Join(err, files.SetInfo(ctx, open))
			}
			err = errors.Join(err, s.RemoveAll(ctx, info.Name))
		case info.Mode.IsDir():
			err = errors.Join(err, s.RemoveReserved(ctx, info.Name))
		}
	}
	if opened {
		err = errors.Join(err, files.SetInfo(ctx, was))
	}
	return err
}

// Identify implements [transfer.Identifier], on Linux.
func (s *Store) Identify(_ context.Context, name string) (transfer.Identity, error) {
	if err := transfer.ValidName(name); err != nil {
		return transfer.Identity{}, err
	}
	fi, err := s.root.Lstat(name)
	if err != nil {
		return transfer.Identity{}, bare(err)
	}
	return transfer.IdentityOf(fi), nil
}

// Now implements [transfer.Clock] by the clock of this machine.
func (s *Store) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// bare takes the names out of an error: they are told by those who know which
// file they wanted.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// OpenKept implements [transfer.KeptOpener].
func (s *Store) OpenKept(ctx context.Context, info transfer.Info) (transfer.Basis, error) {
	return s.fs.OpenKept(ctx, info)
}
