package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// Adopt reads back every byte of what is staged, from the disk as Verify does, and makes
// it an image: complete, durable, verified and listed when Adopt returns nil, and before
// that not listed at all. Zeros that came as data are made holes first; what is not of
// the image is removed. A file that is wrong or missing is a [*vmimage.RotError], and no
// longer in the stage; all others are. An image that is there already is fs.ErrExist.
func (t *Target) Adopt(ctx context.Context, image vmimage.Image) (vmimage.Image, error) {
	adopted, err := t.adopt(ctx, image)
	return adopted, about("adopt", image.Machine, image.ID, err)
}

func (t *Target) adopt(ctx context.Context, image vmimage.Image) (_ vmimage.Image, err error) {
	if image.Machine == "" || !validID(image.ID) {
		return image, fs.ErrInvalid
	}
	folder, partial := folderOf(image.Machine), stageOf(image)
	final := path.Join(folder, image.ID)
	for _, check := range []error{t.isFolder(folder), t.openStage(partial), t.isFree(final)} {
		if check != nil {
			return image, check
		}
	}
	release, err := t.lock(folder)
	if err != nil {
		return image, err
	}
	defer release(&err)
	inside, err := t.root.OpenRoot(partial)
	if err != nil {
		return image, bare(err)
	}
	defer inside.Close()
	staged, err := t.complete(ctx, inside, image)
	if rot, ok := err.(*vmimage.RotError); ok {
		t.at("remove " + rot.File)
		e := bare(inside.RemoveAll(rot.File))
		if e = errors.Join(e, durable.SyncDir(t.root, partial)); e != nil {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return image, err
	}
	t.at("rename")
	if err := t.root.Rename(partial, final); err != nil {
		return image, bare(err)
	}
	t.at("sync machine's folder")
	if err := durable.SyncDir(t.root, folder); err != nil {
		// It would be listed, and be gone after a power cut.
		return image, errors.Join(err, bare(t.root.Rename(final, partial)))
	}
	t.at("adopted")
	return staged, nil
}

// complete makes of a stage all of an image but its name.
func (t *Target) complete(ctx context.Context, inside *os.Root, image vmimage.Image) (vmimage.Image, error) {
	f, err := openFile(inside, ManifestName)
	var staged vmimage.Image
	if err == nil {
		staged, err = ReadManifest(f, Name(image.Machine, image.ID))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return image, &vmimage.RotError{Machine: image.Machine, ID: image.ID, File: ManifestName, Err: err}
	}
	entries, err := fs.ReadDir(inside.FS(), ".")
	if err != nil {
		return image, bare(err)
	}
	known := FileNames(staged)
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			t.at("remove " + e.Name())
			if err := inside.RemoveAll(e.Name()); err != nil {
				return image, bare(err)
			}
		}
	}
	linked, err := t.linked(image)
	if err != nil {
		return image, err
	}
	for i := range staged.Files {
		f := &staged.Files[i]
		if f.Disk == "" {
			continue
		}
		if f.Allocated, err = dig(ctx, inside, *f, !slices.Contains(linked, f.Name)); errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
			return image, &vmimage.RotError{Machine: image.Machine, ID: image.ID, File: f.Name, Want: f.SHA256, Err: err}
		} else if err != nil {
			return image, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	staged.Verified = time.Time{}
	if err := t.check(ctx, inside, &staged); err != nil {
		return image, err
	}
	for _, name := range known {
		t.at("sync " + name)
		if err := syncFile(inside, name); err != nil {
			return image, fmt.Errorf("%s: %w", name, err)
		}
	}
	staged.Verified = t.opts.now().UTC()
	data, err := encodeManifest(&staged)
	if err != nil {
		return image, err
	}
	t.at("replace " + ManifestName)
	if err := durable.WriteFile(inside, ManifestName, data, fileMode); err != nil {
		return image, err
	}
	t.at("sync folder")
	return staged, durable.SyncDir(inside, ".")
}

// dig makes pages of zeros holes if the file of a disk takes more than it did where it
// comes from, unless it is the file of another image too, and returns what it takes, in
// bytes. Its time stays.
func dig(ctx context.Context, inside *os.Root, want vmimage.File, own bool) (allocated int64, err error) {
	f, err := openFile(inside, want.Name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, bare(f.Close())) }()
	source, err := disk.Raw(f)
	if err != nil {
		return 0, err
	}
	allocated, err = dataOf(source)
	if err != nil || !own || allocated <= want.Allocated+want.Allocated/16 {
		return allocated, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, bare(err)
	}
	w, err := inside.OpenFile(want.Name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) {
		return allocated, nil // it has the mode that it has elsewhere
	}
	if err != nil {
		return 0, bare(err)
	}
	defer func() { err = errors.Join(err, bare(w.Close())) }()
	_, err = pass(ctx, source, &sparse{f: w, below: same}, func(int64) {})
	if errors.Is(err, errors.ErrUnsupported) {
		return allocated, nil
	}
	if err == nil {
		err = bare(inside.Chtimes(want.Name, time.Time{}, info.ModTime()))
	}
	if err != nil {
		return 0, err
	}
	return dataOf(source)
}

// dataOf is how much of a disk is not holes, in bytes.
func dataOf(source vmimage.Source) (n int64, err error) {
	for e, err := range source.Extents() {
		if err != nil {
			return 0, err
		}
		n += e.Len
	}
	return n, nil
}

func syncFile(inside *os.Root, name string) error {
	f, err := inside.OpenFile(name, os.O_RDWR, 0) // Windows syncs no other
	if errors.Is(err, fs.ErrPermission) {
		f, err = inside.Open(name)
	}
	if err != nil {
		return bare(err)
	}
	return errors.Join(bare(f.Sync()), bare(f.Close()))
}
