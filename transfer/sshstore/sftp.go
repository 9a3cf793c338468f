package sshstore

import (
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

// do runs one request.
func (s *sftpFS) do(ctx context.Context, f func(c *sftp.Client) error) error {
	c, err := s.link.get(ctx)
	if err != nil {
		return err
	}
	_, err = await(ctx, c, func() (struct{}, error) { return struct{}{}, f(c.sftp) }, nil)
	return err
}

// change is do for requests that take space: servers say no more than
// "failure" when there is none.
func (s *sftpFS) change(ctx context.Context, f func(c *sftp.Client) error) error {
	return s.why(ctx, s.do(ctx, f))
}

const (
	statusFailure = 4 // SSH_FX_FAILURE, draft-ietf-secsh-filexfer-02 section 7
	mountReadOnly = 1 // SSH_FXE_STATVFS_ST_RDONLY, OpenSSH PROTOCOL section 4.3
)

// why finds the reason of a failure that the server keeps to itself.
func (s *sftpFS) why(ctx context.Context, err error) error {
	status, ok := errors.AsType[*sftp.StatusError](err)
	if !ok || status.Code != statusFailure {
		return err
	}
	st, e := s.statVFS(ctx, s.dir)
	switch {
	case e != nil:
	case st.Flag&mountReadOnly != 0:
		return fmt.Errorf("%w (%w)", syscall.EROFS, err)
	case st.Bavail == 0, st.Files > 0 && st.Favail == 0:
		return fmt.Errorf("%w (%w)", syscall.ENOSPC, err)
	}
	return err
}

func (s *sftpFS) statVFS(ctx context.Context, full string) (st *sftp.StatVFS, err error) {
	err = s.do(ctx, func(c *sftp.Client) (err error) {
		if _, ok := c.HasExtension("statvfs@openssh.com"); !ok {
			return errors.ErrUnsupported
		}
		st, err = c.StatVFS(full)
		return err
	})
	return st, err
}

func (s *sftpFS) Lstat(ctx context.Context, name string) (info transfer.Info, err error) {
	err = s.do(ctx, func(c *sftp.Client) error {
		fi, err := c.Lstat(s.path(name))
		if err != nil {
			return err
		}
		info, err = s.info(c, name, fi)
		return err
	})
	return info, err
}

func (s *sftpFS) info(c *sftp.Client, name string, fi fs.FileInfo) (info transfer.Info, err error) {
	info = transfer.Info{Name: name, ModTime: fi.ModTime(), Mode: fi.Mode()}
	switch {
	case fi.Mode().IsRegular():
		info.Size = fi.Size()
	case fi.Mode()&fs.ModeSymlink != 0:
		info.Target, err = c.ReadLink(s.path(name))
	}
	return info, err
}

func (s *sftpFS) ReadDir(ctx context.Context, name string) (infos []transfer.Info, err error) {
	err = s.do(ctx, func(c *sftp.Client) error {
		fis, err := c.ReadDirContext(ctx, s.path(name))
		if err != nil {
			return err
		}
		infos = make([]transfer.Info, len(fis))
		var g errgroup.Group
		g.SetLimit(32)
		for i, fi := range fis {
			child := path.Join(name, fi.Name())
			// The names are the server's: none may lead elsewhere.
			if strings.ContainsRune(fi.Name(), '/') || transfer.ValidName(fi.Name()) != nil || fi.Name() == "." {
				return fmt.Errorf("server lists %w %q", transfer.ErrName, fi.Name())
			}
			if fi.Mode()&fs.ModeSymlink == 0 {
				infos[i], _ = s.info(c, child, fi)
				continue
			}
			g.Go(func() (err error) {
				infos[i], err = s.info(c, child, fi)
				if isNotExist(err) {
					infos[i], err = transfer.Info{}, nil // gone meanwhile
				}
				return err
			})
		}
		return g.Wait()
	})
	if err != nil {
		return nil, err
	}
	kept := infos[:0]
	for _, info := range infos {
		if info.Name != "" {
			kept = append(kept, info)
		}
	}
	return kept, nil
}

func (s *sftpFS) Open(ctx context.Context, name string) (fsstore.File, error) {
	return s.open(ctx, name, func(c *sftp.Client) (*sftp.File, error) { return c.Open(s.path(name)) })
}

func (s *sftpFS) Create(ctx context.Context, name string, truncate bool) (fsstore.File, error) {
	flags := os.O_RDWR | os.O_CREATE
	if truncate {
		flags |= os.O_TRUNC
	}
	f, err := s.open(ctx, name, func(c *sftp.Client) (*sftp.File, error) {
		f, err := c.OpenFile(s.path(name), flags)
		if err != nil {
			return nil, err
		}
		if err := f.Chmod(0o600); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	})
	return f, s.why(ctx, err)
}

func (s *sftpFS) open(ctx context.Context, name string, open func(c *sftp.Client) (*sftp.File, error)) (fsstore.File, error) {
	c, err := s.link.get(ctx)
	if err != nil {
		return nil, err
	}
	f, err := await(ctx, c, func() (*sftp.File, error) { return open(c.sftp) }, func(f *sftp.File) { f.Close() })
	if err != nil {
		return nil, err
	}
	return newFile(ctx, s, c, f, name), nil
}

func (s *sftpFS) Replace(ctx context.Context, oldname, newname string) error {
	return s.change(ctx, func(c *sftp.Client) error {
		if _, ok := c.HasExtension("posix-rename@openssh.com"); ok {
			return c.PosixRename(s.path(oldname), s.path(newname))
		}
		// Without it, replacing would mean a moment without either file.
		return c.Rename(s.path(oldname), s.path(newname))
	})
}

func (s *sftpFS) Rename(ctx context.Context, oldname, newname string) error {
	if _, err := s.Lstat(ctx, newname); !isNotExist(err) {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	return s.change(ctx, func(c *sftp.Client) error { return c.Rename(s.path(oldname), s.path(newname)) })
}

func (s *sftpFS) Remove(ctx context.Context, name string) error {
	return s.do(ctx, func(c *sftp.Client) error { return c.Remove(s.path(name)) })
}

func (s *sftpFS) Mkdir(ctx context.Context, name string, perm fs.FileMode) error {
	return s.change(ctx, func(c *sftp.Client) error {
		err := c.Mkdir(s.path(name))
		if err == nil && perm != 0o777 {
			err = c.Chmod(s.path(name), perm)
		}
		return err
	})
}

func (s *sftpFS) Symlink(ctx context.Context, target, name string) error {
	return s.change(ctx, func(c *sftp.Client) error { return c.Symlink(target, s.path(name)) })
}

func (s *sftpFS) SetInfo(ctx context.Context, info transfer.Info) error {
	if info.Mode&fs.ModeSymlink != 0 {
		return errors.ErrUnsupported
	}
	return s.do(ctx, func(c *sftp.Client) error {
		if err := c.Chmod(s.path(info.Name), info.Mode); err != nil {
			return err
		}
		return c.Chtimes(s.path(info.Name), time.Now(), info.ModTime)
	})
}

// SyncDir does nothing: SFTP has no way to.
func (s *sftpFS) SyncDir(context.Context, string) error { return nil }

func (s *sftpFS) CanHash(ctx context.Context) bool { return s.link.hasShell(ctx) }

func (s *sftpFS) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	if !s.CanHash(ctx) {
		return transfer.Prefix{}, errNoShell
	}
	if info, err := s.Lstat(ctx, name); err != nil {
		return transfer.Prefix{}, err
	} else if info.Size < n {
		return transfer.Prefix{}, io.ErrUnexpectedEOF
	}
	out, err := s.link.run(ctx, fmt.Sprintf("head -c %d < %s | sha256sum", n, shellQuote(s.path(name))))
	if err != nil {
		return transfer.Prefix{}, err
	}
	sum, ok := parseSum(out)
	if !ok {
		return transfer.Prefix{}, errNoShell
	}
	return transfer.Prefix{Sum: sum}, nil
}

// CopyPrefix makes newname of the first bytes of oldname, on the far side.
func (s *sftpFS) CopyPrefix(ctx context.Context, oldname, newname string, n int64) error {
	if !s.CanHash(ctx) {
		return errNoShell
	}
	if _, err := s.link.run(ctx, fmt.Sprintf("head -c %d < %s > %s", n, shellQuote(s.path(oldname)), shellQuote(s.path(newname)))); err != nil {
		return err
	}
	info, err := s.Lstat(ctx, newname)
	if err == nil && info.Size != n {
		err = io.ErrShortWrite
	}
	return err
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
