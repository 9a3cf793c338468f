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
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// Store is a directory. It is a [transfer.Tree], [transfer.Hasher],
// [transfer.Clock] and [diskspace.Stater], on Linux a [transfer.GroupCommitter],
// and its uploads are [transfer.Copier]. Times are kept to the nanosecond.
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

// Now implements [transfer.Clock] by the clock of this machine.
func (s *Store) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// rootFS is an [fsstore.FS]. Local disks do not wait for a context; what
// takes long asks for it now and then.
type rootFS struct{ root *os.Root }

func (r rootFS) Lstat(_ context.Context, name string) (transfer.Info, error) {
	fi, err := r.root.Lstat(name)
	if err != nil {
		return transfer.Info{}, bare(err)
	}
	return r.info(name, fi)
}

func (r rootFS) info(name string, fi fs.FileInfo) (info transfer.Info, err error) {
	info = transfer.Info{Name: name, ModTime: fi.ModTime(), Mode: fi.Mode()}
	switch {
	case fi.Mode().IsRegular():
		info.Size = fi.Size()
	case fi.Mode()&fs.ModeSymlink != 0:
		info.Target, err = r.root.Readlink(name)
	}
	return info, bare(err)
}

func (r rootFS) ReadDir(ctx context.Context, name string) ([]transfer.Info, error) {
	dir, err := r.root.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	infos := make([]transfer.Info, 0, len(entries))
	for _, e := range entries {
		fi, e2 := e.Info()
		var info transfer.Info
		if e2 == nil {
			info, e2 = r.info(path.Join(name, e.Name()), fi)
		}
		switch {
		case errors.Is(e2, fs.ErrNotExist): // gone meanwhile
		case e2 != nil:
			err = errors.Join(err, e2)
		default:
			infos = append(infos, info)
		}
	}
	return infos, bare(err)
}

func (r rootFS) Open(_ context.Context, name string) (fsstore.File, error) {
	return r.open(name)
}

func (r rootFS) Create(_ context.Context, name string, perm fs.FileMode, truncate bool) (fsstore.File, error) {
	f, err := r.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NONBLOCK, perm)
	if errors.Is(err, fs.ErrExist) {
		f, err = r.root.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, bare(err)
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// Whoever had the lock may have given the file its name and gone; or it is
	// a link that somebody has put there.
	fi, ok := r.is(name, f)
	if !ok {
		return nil, errors.Join(transfer.ErrBusy, f.Close())
	}
	if truncate && fi.Size() > 0 {
		err = f.Truncate(0)
	}
	if fi.Mode() != perm {
		err = errors.Join(err, f.Chmod(perm))
	}
	if err != nil {
		return nil, errors.Join(bare(err), f.Close())
	}
	return &file{File: f, root: r.root, name: name, mode: perm}, nil
}

// open opens a regular file. O_NONBLOCK keeps a named pipe that has taken its
// place from holding us up.
func (r rootFS) open(name string) (*file, error) {
	f, err := r.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bare(err)
	}
	fi, ok := r.is(name, f)
	if !ok {
		return nil, errors.Join(fmt.Errorf("not a regular file: %w", errors.ErrUnsupported), f.Close())
	}
	return &file{File: f, root: r.root, name: name, mode: fi.Mode()}, nil
}

// is reports whether name itself, not what it may link to, is the regular
// file f, and describes it.
func (r rootFS) is(name string, f *os.File) (fs.FileInfo, bool) {
	a, err1 := r.root.Lstat(name)
	b, err2 := f.Stat()
	return a, err1 == nil && err2 == nil && a.Mode().IsRegular() && os.SameFile(a, b)
}

func (r rootFS) Replace(_ context.Context, oldname, newname string) error {
	return bare(r.root.Rename(oldname, newname))
}

func (r rootFS) Rename(_ context.Context, oldname, newname string) error {
	// A directory with something in it would not be replaced in any case.
	if _, err := r.root.Lstat(newname); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return bare(err)
	}
	return bare(r.root.Rename(oldname, newname))
}

func (r rootFS) SyncDir(_ context.Context, name string) error {
	return bare(durable.SyncDir(r.root, name))
}

func (r rootFS) Remove(_ context.Context, name string) error { return bare(r.root.Remove(name)) }

func (r rootFS) Mkdir(_ context.Context, name string, perm fs.FileMode) error {
	return bare(r.root.Mkdir(name, perm))
}

func (r rootFS) Symlink(_ context.Context, target, name string) error {
	return bare(r.root.Symlink(target, name))
}

func (r rootFS) SetInfo(_ context.Context, info transfer.Info) error {
	if info.Mode&fs.ModeSymlink != 0 {
		return r.linkTime(info)
	}
	return bare(errors.Join(
		r.root.Chmod(info.Name, info.Mode),
		r.root.Chtimes(info.Name, time.Time{}, info.ModTime),
	))
}

func (r rootFS) Sub(_ context.Context, dir string) (fsstore.FS, error) {
	sub, err := r.root.OpenRoot(dir)
	if err != nil {
		return nil, bare(err)
	}
	return rootFS{sub}, nil
}

func (r rootFS) Close() error { return r.root.Close() }

func (r rootFS) CanHash(context.Context) bool { return true }

func (r rootFS) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	f, err := r.open(name)
	if err != nil {
		return transfer.Prefix{}, err
	}
	defer f.Close()
	return transfer.HashReader(ctx, f, n)
}

// CopyFile writes all of oldname into newname, which share their blocks where the
// file system can; if share is set, only there.
func (r rootFS) CopyFile(ctx context.Context, oldname, newname string, share bool) error {
	from, err := r.open(oldname)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := r.root.OpenFile(newname, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return bare(err)
	}
	if _, ok := r.is(newname, to); !ok { // a link that somebody has put there
		return errors.Join(transfer.ErrBusy, to.Close())
	}
	err = clone(to, from.File)
	if errors.Is(err, errors.ErrUnsupported) && !share {
		for err = nil; err == nil; {
			if err = ctx.Err(); err == nil {
				_, err = io.CopyN(to, from.File, 64<<20)
			}
		}
		if err == io.EOF {
			err = nil
		}
	}
	return bare(errors.Join(err, to.Close()))
}

// file is an open regular file.
type file struct {
	*os.File
	root *os.Root
	name string
	mode fs.FileMode

	begun int64 // bytes that the disk has been told to write
	hole  int64 // where the hole behind the end of the file is to end
}

// holeMin is from how many zeros on it is worth asking whether they can be a
// hole, bytes.
const holeMin = 32 << 10

// WriteAt leaves a hole for zeros behind the end.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if len(p) >= holeMin && p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) {
		fi, err := f.File.Stat()
		if err != nil {
			return 0, err
		}
		if off >= fi.Size() {
			f.hole = max(f.hole, off+int64(len(p)))
			return len(p), nil
		}
	}
	n, err := f.File.WriteAt(p, off)
	f.writeBehind(off + int64(n))
	return n, err
}

// Flush makes a hole behind the end part of the file.
func (f *file) Flush(context.Context) error {
	if f.hole == 0 {
		return nil
	}
	fi, err := f.File.Stat()
	if err == nil && fi.Size() < f.hole {
		err = f.File.Truncate(f.hole)
	}
	f.hole = 0
	return err
}

func (f *file) Sync(context.Context) error { return f.File.Sync() }

func (f *file) Stat(context.Context) (transfer.Info, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return transfer.Info{}, err
	}
	return transfer.Info{Name: f.name, Size: fi.Size(), ModTime: fi.ModTime(), Mode: fi.Mode()}, nil
}

func (f *file) SetInfo(_ context.Context, info transfer.Info) error {
	if info.Mode != f.mode {
		if err := f.File.Chmod(info.Mode); err != nil {
			return err
		}
		f.mode = info.Mode
	}
	return bare(f.root.Chtimes(f.name, time.Time{}, info.ModTime))
}

func (f *file) Truncate(_ context.Context, size int64) error { return f.File.Truncate(size) }

func (f *file) Reader(_ context.Context, off int64) io.Reader {
	return io.NewSectionReader(f.File, off, 1<<63-1-off)
}

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
