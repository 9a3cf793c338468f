package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

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
