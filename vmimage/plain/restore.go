package plain

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// Restore writes the files of an image into the folder dir, which must exist, and
// verifies them as it reads them. A file that is not as it was stored is a
// [*vmimage.RotError], one that dir has already fs.ErrExist; dir then holds no file of
// the image. What it wrote is durable when it returns nil. A crash leaves files whose
// names begin with ".partial-".
func (t *Target) Restore(ctx context.Context, image vmimage.Image, dir string) error {
	return about("restore", image.Machine, image.ID, t.restore(ctx, image.Machine, image.ID, dir))
}

func (t *Target) restore(ctx context.Context, machine, id, dir string) (err error) {
	from, err := t.enter(machine, id)
	if err != nil {
		return err
	}
	defer from.Close()
	image, err := t.read(machine, id)
	if err != nil {
		return &vmimage.RotError{Machine: machine, ID: id, File: manifestName, Err: err}
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	var size int64
	for _, f := range image.Files {
		if _, err := to.Lstat(f.Name); err == nil {
			return fmt.Errorf("%s in %s: %w", f.Name, dir, fs.ErrExist)
		}
		size += f.Size
	}
	progress := t.opts.progress(&image, size)
	prefix := partialPrefix + rand.Text() + "-"
	var wrote []string
	defer func() {
		if err == nil {
			wrote = wrote[:0]
		}
		for _, name := range wrote {
			if e := to.Remove(name); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	for _, f := range image.Files {
		wrote = append(wrote, prefix+f.Name)
		if err := t.restoreFile(ctx, from, to, prefix+f.Name, &image, f, func(n int64) { progress(f.Name, n) }); err != nil {
			return err
		}
	}
	for _, f := range image.Files {
		t.at("name " + f.Name)
		if err := nameNew(to, prefix+f.Name, f.Name); err != nil {
			return fmt.Errorf("%s in %s: %w", f.Name, dir, bare(err))
		}
		wrote = append(wrote, f.Name)
	}
	return durable.SyncDir(to, ".")
}

// nameNew gives a file a name that no other has.
func nameNew(root *os.Root, temp, name string) error {
	// A rename would replace a file that has come meanwhile.
	err := root.Link(temp, name)
	if err == nil {
		return root.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return fs.ErrExist
	}
	// Not all file systems have links.
	if _, err := root.Lstat(name); err == nil {
		return fs.ErrExist
	}
	return root.Rename(temp, name)
}

// restoreFile writes a file under a temporary name and syncs it. It is a *RotError if
// its content is not what it was.
func (t *Target) restoreFile(ctx context.Context, from, to *os.Root, temp string, image *vmimage.Image, file vmimage.File, progress func(int64)) (err error) {
	rot := &vmimage.RotError{Machine: image.Machine, ID: image.ID, File: file.Name, Want: file.SHA256}
	f, err := openFile(from, file.Name)
	if err != nil {
		rot.Err = err
		return rot
	}
	source, err := disk.Raw(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer source.Close()
	if source.Size() != file.Size {
		rot.Err = wrongSize(source.Size(), file.Size)
		return rot
	}
	t.at("create " + file.Name)
	w, err := to.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	wrote, err := copyDisk(w, source, nil, func(source vmimage.Source, to sink) (string, error) {
		return pass(ctx, source, to, progress)
	})
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("%s: %w", file.Name, err)
	}
	if rot.Got = wrote.SHA256; rot.Got != rot.Want {
		return rot
	}
	return nil
}
