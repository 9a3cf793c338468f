// Package fsstore is what the stores on a file system have in common, local
// or remote: hidden uploads that resume and become visible whole.
//
// Beside the file that it will be, an upload lies under a reserved name made
// of the hash of its own, ".obskeep-part-<32 hex>". For an upload worth
// resuming a second file ".obskeep-kept-<32 hex>" says how far it has come: see
// state.go. What a crash leaves are these two; the next upload of the same
// name uses them and takes them away. A symbolic link is made as
// ".obskeep-link-<32 hex>", so that no upload can ever be written through one.
package fsstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
	"sync"

	"github.com/obskeep/obskeep/transfer"
)

const (
	partPrefix = transfer.ReservedPrefix + "part-"
	keptPrefix = transfer.ReservedPrefix + "kept-"
	linkPrefix = transfer.ReservedPrefix + "link-"
)

// FS is a file system as a [Store] needs it. Names are valid by
// [transfer.ValidName]. No method follows a symbolic link in the last element
// of a name.
type FS interface {
	Lstat(ctx context.Context, name string) (transfer.Info, error)
	ReadDir(ctx context.Context, name string) ([]transfer.Info, error)
	Open(ctx context.Context, name string) (File, error)
	Create(ctx context.Context, name string, perm fs.FileMode, truncate bool) (File, error) // for reading and writing; it gets mode perm
	Replace(ctx context.Context, oldname, newname string) error
	Rename(ctx context.Context, oldname, newname string) error // fs.ErrExist if newname is there
	Remove(ctx context.Context, name string) error
	Mkdir(ctx context.Context, name string, perm fs.FileMode) error
	Symlink(ctx context.Context, target, name string) error
	SetInfo(ctx context.Context, info transfer.Info) error
	SyncDir(ctx context.Context, name string) error
	CanHash(ctx context.Context) bool // whether HashPrefix is supported
	transfer.Hasher

	// Sub is the directory dir as a file system of its own, so that the way to
	// it is gone once for many files. It may say only later that there is none.
	Sub(ctx context.Context, dir string) (FS, error)
	io.Closer // of what Sub returned
}

// File is an open file of an [FS]. WriteAt may return before the bytes are
// written, but has no use for them after it has; an error comes with a later
// call at the latest with Flush.
type File interface {
	io.WriterAt
	io.Closer
	Flush(ctx context.Context) error
	Sync(ctx context.Context) error // errors.ErrUnsupported if there is no way
	Stat(ctx context.Context) (transfer.Info, error)
	SetInfo(ctx context.Context, info transfer.Info) error
	Truncate(ctx context.Context, size int64) error
	Reader(ctx context.Context, off int64) io.Reader
}

// Store is a [transfer.Tree] on an FS.
type Store struct {
	FS FS

	mu      sync.Mutex
	uploads map[string]bool    // names being uploaded
	dirs    map[string]*subdir // by name; those with uploads in them
}

// subdir is a directory with uploads in it.
type subdir struct {
	FS
	name string
	uses int
}

// Reserve takes names for uploads that the store itself does not make. The
// function that it returns gives them back.
func (s *Store) Reserve(names []string) (release func(), err error) {
	n := 0
	release = func() {
		for _, name := range names[:n] {
			s.end(name)
		}
	}
	for _, name := range names {
		if err := s.begin(name); err != nil {
			release()
			return nil, err
		}
		n++
	}
	return release, nil
}

// begin takes a name for an upload.
func (s *Store) begin(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads[name] {
		return fmt.Errorf("%w: %s", transfer.ErrBusy, name)
	}
	if s.uploads == nil {
		s.uploads, s.dirs = make(map[string]bool), make(map[string]*subdir)
	}
	s.uploads[name] = true
	return nil
}

func (s *Store) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, name)
}

// enter opens the directory dir, or returns the one that other uploads use.
func (s *Store) enter(ctx context.Context, dir string) (*subdir, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dirs[dir]
	if d == nil {
		sub, err := s.FS.Sub(ctx, dir)
		if err != nil {
			return nil, err
		}
		d = &subdir{FS: sub, name: dir}
		s.dirs[dir] = d
	}
	d.uses++
	return d, nil
}

func (s *Store) leave(d *subdir) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.uses--; d.uses > 0 {
		return nil
	}
	if s.dirs[d.name] == d {
		delete(s.dirs, d.name)
	}
	return d.Close()
}

// gone keeps other uploads from entering a directory that has been removed.
func (s *Store) gone(d *subdir) error {
	s.mu.Lock()
	if s.dirs[d.name] == d {
		delete(s.dirs, d.name)
	}
	s.mu.Unlock()
	return s.leave(d)
}

func (s *Store) Stat(ctx context.Context, name string) (transfer.Info, error) {
	if err := transfer.ValidName(name); err != nil {
		return transfer.Info{}, err
	}
	return s.FS.Lstat(ctx, name)
}

func (s *Store) Open(ctx context.Context, name string, off int64) (io.ReadCloser, error) {
	if err := transfer.ValidName(name); err != nil {
		return nil, err
	}
	f, err := s.FS.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &reader{Reader: f.Reader(ctx, off), ctx: ctx, f: f}
	if at, ok := f.(io.ReaderAt); ok {
		return readerAt{r, at}, nil
	}
	return r, nil
}

type readerAt struct {
	*reader
	io.ReaderAt
}

type reader struct {
	io.Reader
	ctx context.Context
	f   File
}

func (r *reader) Stat() (transfer.Info, error) { return r.f.Stat(r.ctx) }
func (r *reader) Close() error                 { return r.f.Close() }

func (s *Store) List(ctx context.Context, dir string) iter.Seq2[transfer.Info, error] {
	return func(yield func(transfer.Info, error) bool) {
		err := transfer.ValidName(dir)
		var infos []transfer.Info
		if err == nil {
			infos, err = s.FS.ReadDir(ctx, dir)
		}
		for _, info := range infos {
			if IsHidden(info.Name) {
				continue
			}
			if !yield(info, nil) {
				return
			}
		}
		if err != nil {
			yield(transfer.Info{}, err)
		}
	}
}

func (s *Store) Remove(ctx context.Context, name string) error {
	if err := validBelow(name); err != nil {
		return err
	}
	if err := s.removeUploads(ctx, name); err != nil {
		return err
	}
	if err := s.FS.Remove(ctx, name); err != nil {
		return err
	}
	return s.FS.SyncDir(ctx, path.Dir(name))
}

// removeUploads empties a directory of what interrupted uploads left, which
// nobody sees but which keeps it from being removed.
func (s *Store) removeUploads(ctx context.Context, name string) error {
	info, err := s.FS.Lstat(ctx, name)
	if err != nil || !info.Mode.IsDir() {
		return err
	}
	infos, err := s.FS.ReadDir(ctx, name)
	for _, info := range infos {
		if !IsHidden(info.Name) {
			return err
		}
	}
	for _, info := range infos {
		err = errors.Join(err, s.removeAll(ctx, info))
	}
	return err
}

func (s *Store) removeAll(ctx context.Context, info transfer.Info) error {
	if info.Mode.IsDir() {
		infos, err := s.FS.ReadDir(ctx, info.Name)
		for _, info := range infos {
			err = errors.Join(err, s.removeAll(ctx, info))
		}
		if err != nil {
			return err
		}
	}
	return s.FS.Remove(ctx, info.Name)
}

func (s *Store) Mkdir(ctx context.Context, info transfer.Info) error {
	if err := transfer.ValidName(info.Name); err != nil {
		return err
	}
	return s.mkdir(ctx, info.Name, info.Mode.Perm())
}

// mkdir makes a directory and those above it, each durable in the one above.
func (s *Store) mkdir(ctx context.Context, name string, perm fs.FileMode) error {
	if name == "." {
		return nil
	}
	err := s.FS.Mkdir(ctx, name, perm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.mkdir(ctx, path.Dir(name), 0o777); err != nil {
			return err
		}
		err = s.FS.Mkdir(ctx, name, perm)
	}
	if err == nil {
		return s.FS.SyncDir(ctx, path.Dir(name))
	}
	// Servers differ in how they say that a directory is there already.
	if info, e := s.FS.Lstat(ctx, name); e == nil && info.Mode.IsDir() {
		return nil
	}
	return err
}

func (s *Store) Symlink(ctx context.Context, info transfer.Info) error {
	if err := validBelow(info.Name); err != nil {
		return err
	}
	dir := path.Dir(info.Name)
	if err := s.mkdir(ctx, dir, 0o777); err != nil {
		return err
	}
	part := path.Join(dir, hidden(linkPrefix, info.Name))
	if err := s.FS.Remove(ctx, part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.FS.Symlink(ctx, info.Target, part); err != nil {
		return err
	}
	link := info
	link.Name, link.Mode = part, info.Mode.Perm()|fs.ModeSymlink
	if err := s.FS.SetInfo(ctx, link); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return errors.Join(err, s.FS.Remove(ctx, part))
	}
	if err := s.FS.Replace(ctx, part, info.Name); err != nil {
		return errors.Join(err, s.FS.Remove(ctx, part))
	}
	return s.FS.SyncDir(ctx, dir)
}

func (s *Store) SetInfo(ctx context.Context, info transfer.Info) error {
	if err := transfer.ValidName(info.Name); err != nil {
		return err
	}
	return s.FS.SetInfo(ctx, info)
}

func (s *Store) Rename(ctx context.Context, oldname, newname string) error {
	if err := errors.Join(validBelow(oldname), validBelow(newname)); err != nil {
		return err
	}
	if err := s.FS.Rename(ctx, oldname, newname); err != nil {
		return err
	}
	err := s.FS.SyncDir(ctx, path.Dir(newname))
	if path.Dir(oldname) != path.Dir(newname) {
		err = errors.Join(err, s.FS.SyncDir(ctx, path.Dir(oldname)))
	}
	return err
}

func (s *Store) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	if err := transfer.ValidName(name); err != nil {
		return transfer.Prefix{}, err
	}
	return s.FS.HashPrefix(ctx, name, n)
}

// validBelow is ValidName for what can be made and removed: not the top.
func validBelow(name string) error {
	if name == "." {
		return transfer.ErrName
	}
	return transfer.ValidName(name)
}

// hidden is the reserved name, in the directory of name, for something that
// belongs to name. It is short enough whatever the length of name.
func hidden(prefix, name string) string {
	sum := sha256.Sum256([]byte(path.Base(name)))
	return prefix + hex.EncodeToString(sum[:16])
}

// Leftovers are the names of what an interrupted upload of name may have left.
func Leftovers(name string) []string {
	dir := path.Dir(name)
	return []string{path.Join(dir, hidden(partPrefix, name)), path.Join(dir, hidden(keptPrefix, name))}
}

// StagePrefix begins the names of directories in which a store may gather many
// uploads.
const StagePrefix = transfer.ReservedPrefix + "push-"

// IsHidden reports whether a name is that of an upload on its way.
func IsHidden(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, partPrefix) || strings.HasPrefix(base, keptPrefix) || strings.HasPrefix(base, linkPrefix) ||
		strings.Contains("/"+name, "/"+StagePrefix)
}
