package plain

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// Stage makes, or finds again, the hidden folder in which an image grows that comes from
// elsewhere, and returns its path. In a new one each disk that the newest verified image
// of the machine has too is a link to the file of that image, and each that it has not is a
// file of zeros: they take no room, and a transfer that replaces names, and writes into no
// file, has them as its basis. [Target.Adopt]
// ends it; so do Store of the same image, Clean, and [Target.CleanStages]. An image that is there
// already is fs.ErrExist. Whoever fills a stage has the [Target.Lock] of its machine.
func (t *Target) Stage(image vmimage.Image) (dir string, err error) {
	if err := t.stage(image); err != nil {
		return "", about("stage", image.Machine, image.ID, err)
	}
	return filepath.Join(t.Dir(), filepath.FromSlash(stageOf(image))), nil
}

// stageOf is the folder in which an image grows.
func stageOf(image vmimage.Image) string {
	return path.Join(folderOf(image.Machine), partialPrefix+image.ID)
}

func (t *Target) stage(image vmimage.Image) (err error) {
	if image.Machine == "" || !validID(image.ID) {
		return fs.ErrInvalid
	}
	folder, partial := folderOf(image.Machine), stageOf(image)
	if err := t.makeFolder(folder); err != nil {
		return err
	}
	release, err := t.lock(folder)
	if err != nil {
		return err
	}
	defer release(&err)
	if err := t.isFree(path.Join(folder, image.ID)); err != nil {
		return err
	}
	t.at("make stage")
	err = t.root.Mkdir(partial, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return t.openStage(partial)
	}
	if err != nil {
		return bare(err)
	}
	var older vmimage.Image
	all, _ := t.imagesOf(context.Background(), image.Machine) // what is damaged is of no use here
	for _, i := range all {
		if !i.Verified.IsZero() {
			older = i
		}
	}
	for _, f := range image.Files {
		// Without a basis, all of the disk is sent.
		name := path.Join(partial, f.Name)
		switch {
		case f.Disk == "":
		case hasFile(older, f.Name):
			t.at("link " + f.Name)
			_ = t.root.Link(path.Join(folder, older.ID, f.Name), name)
		default:
			t.at("begin " + f.Name)
			_ = t.blank(name, f.Size)
		}
	}
	if err := durable.SyncDir(t.root, partial); err != nil {
		return err
	}
	return durable.SyncDir(t.root, folder)
}

// blank makes a file that is one hole, of a time that no disk has.
func (t *Target) blank(name string, size int64) error {
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close(), t.root.Chtimes(name, time.Time{}, time.Unix(0, 0)))
}

func hasFile(image vmimage.Image, name string) bool {
	return slices.ContainsFunc(image.Files, func(f vmimage.File) bool { return f.Name == name })
}

// openStage lets us write into a stage that a transfer may have given another mode.
func (t *Target) openStage(partial string) error {
	if err := t.isFolder(partial); err != nil {
		return err
	}
	return bare(t.root.Chmod(partial, dirMode))
}

// Linked are the names of the files in the stage of an image that are still those of
// another image, as Stage has linked them: nobody may change their modes or times.
func (t *Target) Linked(image vmimage.Image) (names []string, err error) {
	names, err = t.linked(image)
	return names, about("stage of", image.Machine, image.ID, err)
}

func (t *Target) linked(image vmimage.Image) (names []string, err error) {
	folder := folderOf(image.Machine)
	ids, err := t.folders(folder)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(t.root.FS(), stageOf(image))
	if err != nil {
		return nil, bare(err)
	}
	for _, e := range entries {
		info, err := t.root.Lstat(path.Join(stageOf(image), e.Name()))
		if err != nil {
			return nil, bare(err)
		}
		other := func(id string) bool {
			if !validID(id) {
				return false
			}
			of, err := t.root.Lstat(path.Join(folder, id, e.Name()))
			return err == nil && os.SameFile(of, info)
		}
		if info.Mode().IsRegular() && slices.ContainsFunc(ids, other) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Staged is how many bytes the stage of an image takes, but for what it shares with other
// images; 0 if there is none.
func (t *Target) Staged(image vmimage.Image) (int64, error) {
	n, err := t.staged(image)
	return n, about("stage of", image.Machine, image.ID, err)
}

func (t *Target) staged(image vmimage.Image) (bytes int64, err error) {
	if err := t.isFolder(stageOf(image)); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	linked, err := t.linked(image)
	if err != nil {
		return 0, err
	}
	entries, err := fs.ReadDir(t.root.FS(), stageOf(image))
	if err != nil {
		return 0, bare(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || slices.Contains(linked, e.Name()) {
			continue
		}
		f, err := openFile(t.root, path.Join(stageOf(image), e.Name()))
		if err != nil {
			return 0, err
		}
		source, err := disk.Raw(f)
		var n int64
		if err == nil {
			n, err = dataOf(source)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		bytes += n
	}
	return bytes, nil
}
