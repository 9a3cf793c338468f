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

// Images are for their owner and for a group that is let in, since they hold all secrets
// of a machine.
const (
	fileMode = 0o640
	dirMode  = 0o750
)

// Store implements [vmimage.Target]. What an interrupted Store of the same image has
// left is replaced.
func (t *Target) Store(ctx context.Context, image vmimage.Image, content vmimage.Content) (vmimage.Image, error) {
	image.Verified, image.Files = time.Time{}, nil
	err := t.store(ctx, &image, content)
	return image, about("store", image.Machine, image.ID, err)
}

func (t *Target) store(ctx context.Context, image *vmimage.Image, content vmimage.Content) (err error) {
	var names []string
	var size int64
	for _, d := range content.Disks {
		names = append(names, diskFile(d.Name))
		size += d.Source.Size()
	}
	for _, s := range content.Files {
		names = append(names, s.Name)
		size += int64(len(s.Data))
	}
	if image.Machine == "" || !validID(image.ID) {
		return fs.ErrInvalid
	}
	if err := checkNames(names); err != nil {
		return err
	}
	folder := folderOf(image.Machine)
	if err := t.makeFolder(folder); err != nil {
		return err
	}
	release, err := t.lock(folder)
	if err != nil {
		return err
	}
	defer release(&err)
	final, partial := path.Join(folder, image.ID), path.Join(folder, partialPrefix+image.ID)
	if err := t.isFree(final); err != nil {
		return err
	}
	if err := t.root.RemoveAll(partial); err != nil {
		return bare(err)
	}
	t.at("make folder")
	if err := t.root.Mkdir(partial, dirMode); err != nil {
		return bare(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, bare(t.root.RemoveAll(partial)))
		}
	}()
	if err := t.fill(ctx, partial, image, content, size); err != nil {
		return err
	}
	if err := t.isFree(final); err != nil {
		return err
	}
	t.at("rename")
	if err := t.root.Rename(partial, final); err != nil {
		return bare(err)
	}
	t.at("sync machine's folder")
	if err := durable.SyncDir(t.root, folder); err != nil {
		// It would be listed, and be gone after a power cut.
		return errors.Join(err, bare(t.root.Rename(final, partial)))
	}
	t.at("stored")
	return nil
}

// diskFile is the name of a disk's file.
func diskFile(disk string) string { return disk + ".img" }

// makeFolder makes a machine's folder, durably, if it is not there.
func (t *Target) makeFolder(name string) error {
	t.at("make machine's folder")
	err := t.root.Mkdir(name, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return t.isFolder(name)
	}
	if err != nil {
		return bare(err)
	}
	return durable.SyncDir(t.root, ".")
}

// isFree is fs.ErrExist for a name that is taken.
func (t *Target) isFree(name string) error {
	_, err := t.root.Lstat(name)
	switch {
	case err == nil:
		return fs.ErrExist
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return bare(err)
}

// fill writes all files of an image into a folder, durably, image.json last.
func (t *Target) fill(ctx context.Context, folder string, image *vmimage.Image, content vmimage.Content, size int64) error {
	began := time.Now()
	progress := t.opts.progress(image, size)
	for _, d := range content.Disks {
		name := diskFile(d.Name)
		file, err := t.storeDisk(ctx, path.Join(folder, name), image.Machine, d, func(n int64) { progress(name, n) })
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		file.Name, file.Disk = name, d.Name
		image.Files = append(image.Files, file)
	}
	for _, s := range content.Files {
		if err := t.storeSmall(folder, s.Name, s.Data); err != nil {
			return err
		}
		n := int64(len(s.Data))
		image.Files = append(image.Files, vmimage.File{Name: s.Name, Size: n, Allocated: n, SHA256: hexSum(s.Data)})
		progress(s.Name, n)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.storeSmall(folder, sumsName, encodeSums(image.Files)); err != nil {
		return err
	}
	image.Took = time.Since(began)
	data, err := encodeManifest(image)
	if err != nil {
		return err
	}
	if err := t.storeSmall(folder, ManifestName, data); err != nil {
		return err
	}
	t.at("sync folder")
	return durable.SyncDir(t.root, folder)
}

// storeDisk writes a disk.
func (t *Target) storeDisk(ctx context.Context, name, machine string, d vmimage.Disk, progress func(int64)) (file vmimage.File, err error) {
	t.at("create " + path.Base(name))
	f, err := t.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return file, bare(err)
	}
	defer func() { err = errors.Join(err, bare(f.Close())) }()
	older, err := t.newest(ctx, machine, d.Name)
	if err != nil {
		return file, err
	}
	var share cloner
	if older != nil {
		defer older.Close()
		share, _ = older.(cloner)
	}
	return copyDisk(f, d.Source, share, func(source vmimage.Source, to sink) (string, error) {
		return pass(ctx, source, t.stepped(to), progress)
	})
}

// newest is a disk in the newest verified image of a machine; nil if there is none.
func (t *Target) newest(ctx context.Context, machine, name string) (vmimage.Source, error) {
	images, _ := t.imagesOf(ctx, machine) // what is damaged is of no use here, and told of by Images
	for _, i := range slices.Backward(images) {
		at := slices.IndexFunc(i.Files, func(f vmimage.File) bool { return f.Disk == name })
		if i.Verified.IsZero() || at < 0 {
			continue
		}
		f, err := openFile(t.root, path.Join(folderOf(machine), i.ID, i.Files[at].Name))
		if err != nil {
			continue
		}
		return disk.Raw(f)
	}
	return nil, ctx.Err()
}

// storeSmall writes a small file and syncs it.
func (t *Target) storeSmall(folder, name string, data []byte) (err error) {
	t.at("create " + name)
	f, err := t.root.OpenFile(path.Join(folder, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err == nil {
		_, err = f.Write(data)
		t.at("sync " + name)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(bare(err), bare(f.Close()))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, bare(err))
	}
	return nil
}

// stepped has a sink tell of each write.
func (t *Target) stepped(to sink) sink {
	if t.step == nil {
		return to
	}
	return stepped{to, t.step}
}

type stepped struct {
	sink
	step func(string)
}

func (s stepped) data(off int64, p []byte) error {
	s.step(fmt.Sprintf("write at %d", off))
	return s.sink.data(off, p)
}
