package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// Verify implements [vmimage.Target]. The *RotError is of the first file that is wrong,
// disks before others. An image of which image.json itself is wrong is from then on, as
// before, an error of Images.
func (t *Target) Verify(ctx context.Context, image vmimage.Image) (vmimage.Image, error) {
	stored, err := t.verify(ctx, image.Machine, image.ID)
	if stored != nil {
		image = *stored
	}
	return image, about("verify", image.Machine, image.ID, err)
}

// verify returns the image as its image.json says it is from now on; nil if that
// cannot be relied on.
func (t *Target) verify(ctx context.Context, machine, id string) (_ *vmimage.Image, err error) {
	folder, err := t.enter(machine, id)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	release, err := t.lock(folderOf(machine))
	if err != nil {
		return nil, err
	}
	defer release(&err)
	image, err := t.read(machine, id)
	if err != nil {
		return nil, &vmimage.RotError{Machine: machine, ID: id, File: ManifestName, Err: err}
	}
	err = t.check(ctx, folder, &image)
	_, rotten := err.(*vmimage.RotError)
	verified := image.Verified
	switch {
	case err == nil:
		image.Verified = t.opts.now().UTC()
	case rotten:
		image.Verified = time.Time{}
	}
	if image.Verified.Equal(verified) {
		return &image, err
	}
	if e := t.write(&image); e != nil {
		image.Verified = verified
		err = errors.Join(err, e)
	}
	return &image, err
}

// check reads all files of an image.
func (t *Target) check(ctx context.Context, folder *os.Root, image *vmimage.Image) error {
	var size int64
	known := []string{ManifestName, sumsName}
	for _, f := range image.Files {
		size += f.Size
		known = append(known, f.Name)
	}
	progress := t.opts.progress(image, size)
	for _, f := range image.Files {
		if err := checkFile(ctx, folder, image, f, func(n int64) { progress(f.Name, n) }); err != nil {
			return err
		}
	}
	sums := encodeSums(image.Files)
	err := checkFile(ctx, folder, image, vmimage.File{Name: sumsName, Size: int64(len(sums)), SHA256: hexSum(sums)}, func(int64) {})
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(folder.FS(), ".")
	if err != nil {
		return bare(err)
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) && !durable.IsTemp(e.Name()) {
			return &vmimage.RotError{Machine: image.Machine, ID: image.ID, File: e.Name(), Err: errors.New("is not of the image")}
		}
	}
	return nil
}

// checkFile reads a file of an image from the disk. Only what ends ctx is another error
// than a *RotError: a file that cannot be read is lost.
func checkFile(ctx context.Context, folder *os.Root, image *vmimage.Image, want vmimage.File, progress func(int64)) error {
	rot := &vmimage.RotError{Machine: image.Machine, ID: image.ID, File: want.Name, Want: want.SHA256}
	f, err := openFile(folder, want.Name)
	if err == nil {
		err = dropCache(f)
		if err == nil {
			rot.Got, err = sum(ctx, f, want.Size, progress)
		}
		err = errors.Join(err, f.Close())
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		rot.Err, rot.Got = err, ""
		return rot
	case rot.Got != rot.Want:
		return rot
	}
	return nil
}

// sum is the SHA-256 of a file that has a size.
func sum(ctx context.Context, f *os.File, size int64, progress func(int64)) (string, error) {
	source, err := disk.Raw(f)
	if err != nil {
		return "", err
	}
	if source.Size() != size {
		return "", wrongSize(source.Size(), size)
	}
	return pass(ctx, source, nil, progress)
}

func wrongSize(got, want int64) error { return fmt.Errorf("has %d bytes, not %d", got, want) }
