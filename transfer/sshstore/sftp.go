package sshstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// sftpFS is an [fsstore.FS] on an SFTP session.
type sftpFS struct {
	link *link
	dir  string
}

func (s *sftpFS) path(name string) string { return path.Join(s.dir, name) }

// request runs f on the session. The result is handed over: who gives up does
// not share it with an f that is still running.
func request[T any](ctx context.Context, s *sftpFS, f func(c *sftp.Client) (T, error)) (T, error) {
	c, err := s.link.get(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return await(ctx, c, func() (T, error) { return f(c.sftp) }, nil)
}

// do is request for what has no result.
func (s *sftpFS) do(ctx context.Context, f func(c *sftp.Client) error) error {
	_, err := request(ctx, s, func(c *sftp.Client) (struct{}, error) { return struct{}{}, f(c) })
	return err
}

// change is do for requests that take space in the directory of name.
func (s *sftpFS) change(ctx context.Context, name string, f func(c *sftp.Client) error) error {
	return s.why(ctx, name, s.do(ctx, f))
}

const (
	mountReadOnly = 1       // SSH_FXE_STATVFS_ST_RDONLY, OpenSSH PROTOCOL section 4.3
	almostNothing = 1 << 20 // bytes: more than any request takes
)

// why finds the reason of a failure, which servers keep to themselves.
func (s *sftpFS) why(ctx context.Context, name string, err error) error {
	status, ok := errors.AsType[*sftp.StatusError](err)
	if !ok || status.Code != statusFailure {
		return err
	}
	st, e := s.statVFS(ctx, s.path(path.Dir(name)))
	switch {
	case e != nil:
	case st.Flag&mountReadOnly != 0:
		return fmt.Errorf("%w (%w)", syscall.EROFS, err)
	case st.Bavail*st.Frsize < almostNothing, st.Files > 0 && st.Favail == 0:
		return fmt.Errorf("%w (%w)", syscall.ENOSPC, err)
	}
	return err
}

// statVFS describes the file system of full, or of what would hold it.
func (s *sftpFS) statVFS(ctx context.Context, full string) (*sftp.StatVFS, error) {
	for {
		st, err := request(ctx, s, func(c *sftp.Client) (*sftp.StatVFS, error) {
			if _, ok := c.HasExtension("statvfs@openssh.com"); !ok {
				return nil, fmt.Errorf("the server does not tell how full its disks are: %w", errors.ErrUnsupported)
			}
			return c.StatVFS(full)
		})
		if !isNotExist(err) || full == path.Dir(full) {
			return st, err
		}
		full = path.Dir(full)
	}
}

func (s *sftpFS) Lstat(ctx context.Context, name string) (transfer.Info, error) {
	return request(ctx, s, func(c *sftp.Client) (transfer.Info, error) {
		lstat := c.Lstat
		if name == "." {
			lstat = c.Stat // the store may be named by a link to it
		}
		fi, err := lstat(s.path(name))
		if err != nil {
			return transfer.Info{}, err
		}
		return s.info(c, name, fi)
	})
}

var errServerLies = errors.New("not to be believed")

func (s *sftpFS) info(c *sftp.Client, name string, fi fs.FileInfo) (info transfer.Info, err error) {
	info = transfer.Info{Name: name, ModTime: fi.ModTime(), Mode: fi.Mode()}
	switch {
	case fi.Size() < 0:
		return info, fmt.Errorf("a size of %d bytes is %w", uint64(fi.Size()), errServerLies)
	case fi.Mode().IsRegular():
		info.Size = fi.Size()
	case fi.Mode()&fs.ModeSymlink != 0:
		info.Target, err = c.ReadLink(s.path(name))
	}
	return info, err
}

// ReadDir lists what it can if something in a directory cannot be described.
func (s *sftpFS) ReadDir(ctx context.Context, name string) ([]transfer.Info, error) {
	type listing struct {
		infos  []transfer.Info
		failed error
	}
	l, err := request(ctx, s, func(c *sftp.Client) (l listing, err error) {
		fis, err := c.ReadDirContext(ctx, s.path(name))
		if err != nil {
			return l, err
		}
		all, errs := make([]transfer.Info, len(fis)), make([]error, len(fis))
		var g errgroup.Group
		g.SetLimit(32)
		for i, fi := range fis {
			// The names are the server's: none may lead elsewhere. The client
			// has cut all before the last slash.
			if fi.Name() == "." || transfer.ValidName(fi.Name()) != nil {
				errs[i] = fmt.Errorf("server lists %w %q", transfer.ErrName, fi.Name())
				continue
			}
			describe := func() error {
				all[i], errs[i] = s.info(c, path.Join(name, fi.Name()), fi)
				return nil
			}
			if fi.Mode()&fs.ModeSymlink == 0 {
				_ = describe() // it has noted its error
			} else {
				g.Go(describe)
			}
		}
		_ = g.Wait()
		for i, err := range errs {
			switch {
			case err == nil:
				l.infos = append(l.infos, all[i])
			case isNotExist(err): // gone meanwhile
			case isAnswer(err):
				l.failed = errors.Join(l.failed, fmt.Errorf("%q: %w", fis[i].Name(), err))
			default:
				return l, err
			}
		}
		return l, nil
	})
	return l.infos, cmp.Or(err, l.failed)
}

func (s *sftpFS) Open(ctx context.Context, name string) (fsstore.File, error) {
	f, err := s.open(ctx, name, false, func(c *sftp.Client) (*sftp.File, error) { return c.Open(s.path(name)) })
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *sftpFS) Create(ctx context.Context, name string, perm fs.FileMode, truncate bool) (fsstore.File, error) {
	flags := os.O_RDWR | os.O_CREATE
	if truncate {
		flags |= os.O_TRUNC
	}
	var f *file
	err := s.inTop(ctx, name, func() (err error) {
		f, err = s.open(ctx, name, true, func(c *sftp.Client) (*sftp.File, error) {
			// Exclusive: a link that somebody has put there is not followed.
			f, err := c.OpenFile(s.path(name), flags|os.O_EXCL)
			if status, ok := errors.AsType[*sftp.StatusError](err); ok && status.Code == statusFailure {
				fi, e := c.Lstat(s.path(name))
				switch {
				case e != nil: // it was not that
					return nil, err
				case !fi.Mode().IsRegular():
					return nil, fmt.Errorf("%s: %w", path.Base(name), fs.ErrExist)
				}
				f, err = c.OpenFile(s.path(name), flags)
			}
			if err != nil {
				return nil, err
			}
			if err := f.Chmod(perm); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return f, nil
		})
		return err
	})
	if err != nil {
		return nil, s.why(ctx, name, err)
	}
	f.mode = perm
	return f, nil
}

func (s *sftpFS) open(ctx context.Context, name string, write bool, open func(c *sftp.Client) (*sftp.File, error)) (*file, error) {
	c, err := s.link.get(ctx)
	if err != nil {
		return nil, err
	}
	f, err := await(ctx, c, func() (*sftp.File, error) { return open(c.sftp) }, func(f *sftp.File) { f.Close() })
	if err != nil {
		return nil, err
	}
	return newFile(ctx, s, c, f, name, write), nil
}

// inTop makes the top of the store if f finds that it is not there.
func (s *sftpFS) inTop(ctx context.Context, name string, f func() error) error {
	err := f()
	if isNotExist(err) && path.Dir(name) == "." {
		if err := s.do(ctx, func(c *sftp.Client) error { return c.MkdirAll(s.path(".")) }); err != nil {
			return err
		}
		err = f()
	}
	return err
}

func (s *sftpFS) Replace(ctx context.Context, oldname, newname string) error {
	return s.change(ctx, newname, func(c *sftp.Client) error {
		if _, ok := c.HasExtension("posix-rename@openssh.com"); ok {
			return c.PosixRename(s.path(oldname), s.path(newname))
		}
		err := c.Rename(s.path(oldname), s.path(newname))
		if err != nil {
			if _, e := c.Lstat(s.path(newname)); e == nil {
				// To remove it first would mean a moment without either.
				err = fmt.Errorf("the server cannot replace a file in one step: %w (%w)", errors.ErrUnsupported, err)
			}
		}
		return err
	})
}

func (s *sftpFS) Rename(ctx context.Context, oldname, newname string) error {
	if _, err := s.Lstat(ctx, newname); !isNotExist(err) {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	return s.change(ctx, newname, func(c *sftp.Client) error { return c.Rename(s.path(oldname), s.path(newname)) })
}

func (s *sftpFS) Remove(ctx context.Context, name string) error {
	return s.change(ctx, name, func(c *sftp.Client) error { return c.Remove(s.path(name)) })
}

func (s *sftpFS) Mkdir(ctx context.Context, name string, perm fs.FileMode) error {
	return s.inTop(ctx, name, func() error {
		return s.change(ctx, name, func(c *sftp.Client) error {
			err := c.Mkdir(s.path(name))
			if err == nil && perm != 0o777 {
				err = c.Chmod(s.path(name), perm)
			}
			return err
		})
	})
}

func (s *sftpFS) Symlink(ctx context.Context, target, name string) error {
	return s.inTop(ctx, name, func() error {
		return s.change(ctx, name, func(c *sftp.Client) error { return c.Symlink(target, s.path(name)) })
	})
}

func (s *sftpFS) SetInfo(ctx context.Context, info transfer.Info) error {
	if info.Mode&fs.ModeSymlink != 0 {
		return errors.ErrUnsupported
	}
	return s.change(ctx, info.Name, func(c *sftp.Client) error {
		if err := c.Chmod(s.path(info.Name), info.Mode); err != nil {
			return err
		}
		return c.Chtimes(s.path(info.Name), time.Now(), info.ModTime)
	})
}

// SyncDir does nothing: SFTP has no way to.
func (s *sftpFS) SyncDir(context.Context, string) error { return nil }

// Sub costs nothing: the server walks the whole way each time.
func (s *sftpFS) Sub(_ context.Context, dir string) (fsstore.FS, error) {
	return &sftpFS{link: s.link, dir: s.path(dir)}, nil
}

func (s *sftpFS) Close() error { return nil }

func (s *sftpFS) CanHash(ctx context.Context) bool { return s.link.hasShell(ctx) }

func (s *sftpFS) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	if !s.CanHash(ctx) {
		return transfer.Prefix{}, noShell(ctx)
	}
	info, err := s.Lstat(ctx, name)
	if err == nil && info.Size == n {
		// All of it costs less than so much of it; but it may grow meanwhile.
		sum, err := s.link.hashPrefix(ctx, s.path(name), -1)
		if err != nil {
			return transfer.Prefix{}, err
		}
		if info, err = s.Lstat(ctx, name); err == nil && info.Size == n {
			return transfer.Prefix{Sum: sum}, nil
		}
	}
	switch {
	case err != nil:
		return transfer.Prefix{}, err
	case info.Size < n:
		return transfer.Prefix{}, io.ErrUnexpectedEOF
	}
	sum, err := s.link.hashPrefix(ctx, s.path(name), n)
	return transfer.Prefix{Sum: sum}, err
}

// CopyFile writes all of oldname into newname, on the far side, which does not
// tell whether they share their blocks.
func (s *sftpFS) CopyFile(ctx context.Context, oldname, newname string, share bool) error {
	if share {
		return errors.ErrUnsupported
	}
	from, to := s.path(oldname), s.path(newname)
	if !s.CanHash(ctx) {
		return s.why(ctx, newname, s.copyData(ctx, from, to))
	}
	// Only some have --reflink, which makes it one request on some disks. Others
	// begin to write at once what has to be durable later.
	_, err := s.link.run(ctx, fmt.Sprintf("cp --reflink=auto -- %s %s 2>/dev/null || cat < %[1]s > %[2]s || exit\nsync -d %[2]s </dev/null >/dev/null 2>&1 &\n",
		shellQuote(from), shellQuote(to)))
	return err
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
