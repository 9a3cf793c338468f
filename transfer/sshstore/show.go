package sshstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"path"
	"slices"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// show gives the files that are whole their names.
func (t *taking) show(ctx context.Context, files []*taken) error {
	if t.clean && !t.doubt {
		if err := each(ctx, folders(files), t.showFolder); err != nil {
			return err
		}
	}
	if err := each(ctx, files, t.showFile); err != nil {
		return err
	}
	if err := t.sync(ctx); err != nil {
		return err
	}
	for _, f := range files {
		if f.shown {
			t.clear(ctx, path.Join(t.dir, f.Name))
			f.Done([sha256.Size]byte(f.hash.Sum(nil)))
		}
		t.clean = t.clean && f.shown
	}
	return nil
}

// clear removes what an upload of a file has left that was cut before the far
// side could be had to take it.
func (t *taking) clear(ctx context.Context, name string) {
	for _, left := range fsstore.Leftovers(name) {
		t.mu.Lock()
		known := t.hidden[left]
		delete(t.hidden, left)
		t.mu.Unlock()
		if !known {
			continue
		}
		if err := t.fs.Remove(ctx, left); err != nil {
			t.link.config.logger().Debug("not removed", "file", left, "err", err)
		}
	}
}

// each calls f for all, many at a time. Whatever concerns one alone will be met
// by whoever sends it alone.
func each[T any](ctx context.Context, all []T, f func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for _, v := range all {
		g.Go(func() error {
			if err := f(ctx, v); errors.Is(err, transfer.ErrLost) {
				return err
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

func (t *taking) showFile(ctx context.Context, f *taken) error {
	if !f.whole || f.shown {
		return nil
	}
	from := path.Join(t.stage, f.Name)
	if t.doubt {
		now, err := t.fs.Lstat(ctx, from)
		if err != nil || now.Mode != f.Mode|readable || uint32(now.ModTime.Unix()) != uint32(f.ModTime.Unix()) {
			return err
		}
	}
	if f.Mode&readable == 0 {
		err := t.fs.change(ctx, from, func(c *sftp.Client) error { return c.Chmod(t.fs.path(from), f.Mode) })
		if err != nil {
			return err
		}
	}
	err := t.fs.Replace(ctx, from, path.Join(t.dir, f.Name))
	f.shown = err == nil
	return err
}

// folder is a directory of a batch.
type folder struct {
	name  string
	files []*taken
	mixed bool // not only of files to be shown as they are
}

// folders are the directories, but the topmost, that hold nothing but files to
// be shown as they are.
func folders(files []*taken) []*folder {
	all := make(map[string]*folder)
	get := func(name string) *folder {
		if all[name] == nil {
			all[name] = &folder{name: name, mixed: name == "."}
		}
		return all[name]
	}
	for _, f := range files {
		in := get(path.Dir(f.Name))
		in.files = append(in.files, f)
		in.mixed = in.mixed || !f.whole || f.Mode&readable == 0
		for up := in.name; up != "."; {
			up = path.Dir(up)
			get(up).mixed = true
		}
	}
	return slices.DeleteFunc(slices.Collect(maps.Values(all)), func(f *folder) bool { return f.mixed })
}

// showFolder shows all files of a folder in one step, if the destination has
// nothing in it: then the folder takes its place.
func (t *taking) showFolder(ctx context.Context, f *folder) error {
	from, to := path.Join(t.stage, f.name), path.Join(t.dir, f.name)
	err := t.fs.change(ctx, to, func(c *sftp.Client) error {
		if _, ok := c.HasExtension("posix-rename@openssh.com"); !ok {
			return errors.ErrUnsupported
		}
		ours, err1 := c.Lstat(t.fs.path(from))
		theirs, err2 := c.Lstat(t.fs.path(to))
		if err := cmp.Or(err1, err2); err != nil {
			return err
		}
		a, b := ours.Sys().(*sftp.FileStat), theirs.Sys().(*sftp.FileStat)
		if !theirs.IsDir() || a.UID != b.UID || a.GID != b.GID {
			return errors.ErrUnsupported
		}
		if err := c.Chmod(t.fs.path(from), theirs.Mode()); err != nil {
			return err
		}
		return c.PosixRename(t.fs.path(from), t.fs.path(to)) // fails unless theirs is empty
	})
	if err == nil {
		for _, file := range f.files {
			file.shown = true
		}
	}
	return err
}
