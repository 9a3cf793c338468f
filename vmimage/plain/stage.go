package plain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// ManifestName is what describes an image, in its folder.
const ManifestName = manifestName

// FileNames are the names of all files in the folder of an image, ManifestName last.
func FileNames(image vmimage.Image) []string {
	var names []string
	for _, f := range image.Files {
		names = append(names, f.Name)
	}
	return append(names, sumsName, manifestName)
}

// Name is the name of an image's folder below that of a Target, with a slash in it.
func Name(machine, id string) string { return path.Join(folderOf(machine), id) }

// ParseName is the machine of a folder such as "web01", and the ID too of one such as
// "web01/2026-268T0200Z". ok is false if the folder is of somebody else.
func ParseName(name string) (machine, id string, ok bool) {
	folder, id, below := strings.Cut(name, "/")
	machine, ok = machineOf(folder)
	return machine, id, ok && (!below || validID(id))
}

// ReadManifest reads the description of the image in the folder name, in whatever folder
// of images that lies. An error says why it cannot be relied on.
func ReadManifest(r io.Reader, name string) (vmimage.Image, error) {
	image, err := readManifest(r)
	if err == nil && (Name(image.Machine, image.ID) != name || !validID(image.ID)) {
		err = fmt.Errorf("is of %s/%s", image.Machine, image.ID)
	}
	return image, err
}

// Stage makes, or finds again, the hidden folder in which an image grows that comes from
// elsewhere, and returns its path. In a new one each disk that the newest verified image
// of the machine has too is a link to the file of that image: it takes no room, and a
// transfer that replaces names, and writes into no file, has it as its basis. [Target.Adopt]
// ends it; so do Store of the same image, Clean, and [Target.CleanStages]. An image that is there
// already is fs.ErrExist.
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

func (t *Target) stage(image vmimage.Image) error {
	if image.Machine == "" || !validID(image.ID) {
		return fs.ErrInvalid
	}
	folder, partial := folderOf(image.Machine), stageOf(image)
	if err := t.makeFolder(folder); err != nil {
		return err
	}
	if err := t.isFree(path.Join(folder, image.ID)); err != nil {
		return err
	}
	t.at("make stage")
	err := t.root.Mkdir(partial, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return t.openStage(partial)
	}
	if err != nil {
		return bare(err)
	}
	older, _ := t.imagesOf(context.Background(), image.Machine) // what is damaged is of no use here
	for _, i := range slices.Backward(older) {
		if i.Verified.IsZero() {
			continue
		}
		for _, f := range image.Files {
			if f.Disk != "" && hasFile(i, f.Name) {
				t.at("link " + f.Name)
				// Without it, all of the disk is sent.
				_ = t.root.Link(path.Join(folder, i.ID, f.Name), path.Join(partial, f.Name))
			}
		}
		break
	}
	if err := durable.SyncDir(t.root, partial); err != nil {
		return err
	}
	return durable.SyncDir(t.root, folder)
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

// Adopt reads back every byte of what is staged, from the disk as Verify does, and makes
// it an image: complete, durable, verified and listed when Adopt returns nil, and before
// that not listed at all. Zeros that came as data are made holes first; what is not of
// the image is removed. A file that is wrong or missing is a [*vmimage.RotError], and no
// longer in the stage; all others are. An image that is there already is fs.ErrExist.
func (t *Target) Adopt(ctx context.Context, image vmimage.Image) (vmimage.Image, error) {
	adopted, err := t.adopt(ctx, image)
	return adopted, about("adopt", image.Machine, image.ID, err)
}

func (t *Target) adopt(ctx context.Context, image vmimage.Image) (vmimage.Image, error) {
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
	f, err := openFile(inside, manifestName)
	var staged vmimage.Image
	if err == nil {
		staged, err = ReadManifest(f, Name(image.Machine, image.ID))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return image, &vmimage.RotError{Machine: image.Machine, ID: image.ID, File: manifestName, Err: err}
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
	t.at("replace " + manifestName)
	if err := durable.WriteFile(inside, manifestName, data, fileMode); err != nil {
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

// CleanStages removes, of all machines, what Clean would, but for the stages of images in
// keep, and returns the names of it, below Dir. No store or transfer may be under way.
func (t *Target) CleanStages(ctx context.Context, keep []vmimage.Image) (removed []string, err error) {
	folders, err := t.folders(".")
	if err != nil {
		return nil, fmt.Errorf("plain: clean %s: %w", t.Dir(), err)
	}
	for _, folder := range folders {
		if _, ok := machineOf(folder); !ok {
			continue
		}
		kept := func(name string) bool {
			return slices.ContainsFunc(keep, func(i vmimage.Image) bool { return stageOf(i) == path.Join(folder, name) })
		}
		names, err := t.leftovers(folder)
		for _, name := range slices.DeleteFunc(names, kept) {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				t.at("remove " + name)
				err = bare(t.root.RemoveAll(path.Join(folder, name)))
			}
			if err == nil {
				err = durable.SyncDir(t.root, path.Join(folder, path.Dir(name)))
				removed = append(removed, path.Join(folder, name))
			}
		}
		if err != nil {
			return removed, fmt.Errorf("plain: clean %s/%s: %w", t.Dir(), folder, err)
		}
	}
	return removed, nil
}
