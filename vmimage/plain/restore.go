package plain

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/internal/filelock"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// Restore writes the files of an image into the folder dir, which must exist, and
// verifies them as it reads them. A file that is not as it was stored is a
// [*vmimage.RotError], one that dir has already, with other content, fs.ErrExist; nothing that
// was written is then left. What it wrote is durable when it returns nil. A
// crash leaves files whose names begin with ".partial-", and perhaps some of the image, whole;
// Restore called again removes those, leaves these as they are, and goes on.
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
		return &vmimage.RotError{Machine: machine, ID: id, File: ManifestName, Err: err}
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	r := restoring{Target: t, image: &image, from: from, to: to, prefix: partialPrefix + id + "-"}
	if err := r.removeLeft(); err != nil {
		return err
	}
	r.prefix += rand.Text() + "-"
	defer func() { also(&err, r.end(err == nil)) }()
	if err := r.write(ctx); err != nil {
		return err
	}
	for _, name := range r.wrote {
		t.at("name " + name)
		if err := nameNew(to, r.prefix+name, name); err != nil {
			return fmt.Errorf("%s in %s: %w", name, dir, bare(err))
		}
		r.named++
	}
	return durable.SyncDir(to, ".")
}

// restoring is an image on its way into a folder.
type restoring struct {
	*Target
	image    *vmimage.Image
	from, to *os.Root
	prefix   string // of temporary names

	// wrote are the files that were written. The first few, which are named, have their
	// names, the others temporary ones. All are open and locked, so that no other Restore
	// takes them for what a crash has left.
	wrote []string
	named int
	open  []*os.File
}

// removeLeft removes what a crash has left of the image: what nobody has locked.
func (r *restoring) removeLeft() error {
	entries, err := fs.ReadDir(r.to.FS(), ".")
	if err != nil {
		return bare(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), r.prefix) || !e.Type().IsRegular() {
			continue
		}
		f, err := r.to.OpenFile(e.Name(), os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), bare(err))
		}
		locked := filelock.TryLock(f) // if not, another Restore is at work, or nobody can tell
		err = bare(f.Close())
		if err == nil && locked == nil {
			err = bare(r.to.Remove(e.Name()))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

// write writes all files that the folder has not yet under temporary names.
func (r *restoring) write(ctx context.Context) error {
	var size int64
	for _, f := range r.image.Files {
		size += f.Size
	}
	progress := r.opts.progress(r.image, size)
	for _, f := range r.image.Files {
		told := func(n int64) { progress(f.Name, n) }
		if _, err := r.to.Lstat(f.Name); err == nil {
			switch err := checkFile(ctx, r.to, r.image, f, told); {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				return fmt.Errorf("%s in %s: %w", f.Name, r.to.Name(), fs.ErrExist)
			}
			continue
		}
		if err := r.file(ctx, f, told); err != nil {
			return err
		}
	}
	return nil
}

// end removes what was written, unless all is done.
func (r *restoring) end(done bool) (err error) {
	for _, f := range r.open {
		err = errors.Join(err, f.Close())
	}
	if done {
		return err
	}
	for _, name := range r.wrote[:r.named] {
		err = errors.Join(err, r.to.Remove(name))
	}
	for _, name := range r.wrote[r.named:] {
		err = errors.Join(err, r.to.Remove(r.prefix+name))
	}
	return err
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

// file writes a file under a temporary name and syncs it. It is a *RotError if its
// content is not what it was.
func (r *restoring) file(ctx context.Context, file vmimage.File, progress func(int64)) error {
	rot := &vmimage.RotError{Machine: r.image.Machine, ID: r.image.ID, File: file.Name, Want: file.SHA256}
	f, err := openFile(r.from, file.Name)
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
	r.at("create " + file.Name)
	w, err := r.to.OpenFile(r.prefix+file.Name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	r.wrote, r.open = append(r.wrote, file.Name), append(r.open, w)
	_ = filelock.TryLock(w) // where there are no locks, nothing is taken for a crash's
	wrote, err := copyDisk(w, source, nil, func(source vmimage.Source, to sink) (string, error) {
		return pass(ctx, source, r.stepped(to), progress)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name, err)
	}
	if rot.Got = wrote.SHA256; rot.Got != rot.Want {
		return rot
	}
	return nil
}
