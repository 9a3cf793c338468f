package plain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage"
)

// Target is a folder of images. It is a [vmimage.Target].
type Target struct {
	root *os.Root
	opts *Options
	step func(string) // told of each step on the disk before it is done; nil but in tests

	mu    sync.Mutex
	locks map[string]*held // by folder of a machine
}

// Options are what a Target can be told.
type Options struct {
	// Progress is called while an image is stored, verified or restored, on the
	// goroutine of the caller, and once at the end of each file. Nil means never.
	Progress func(Progress)

	// Now gives the time at which an image was verified. Nil means [time.Now].
	Now func() time.Time
}

// Progress is how far a call has come with an image.
type Progress struct {
	Machine, ID string
	File        string // the one at work
	Done, Size  int64  // bytes of all files, holes counted
}

func (o *Options) now() time.Time {
	if o == nil || o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// progress counts up to the size of an image.
func (o *Options) progress(i *vmimage.Image, size int64) func(file string, n int64) {
	if o == nil || o.Progress == nil {
		return func(string, int64) {}
	}
	p := Progress{Machine: i.Machine, ID: i.ID, Size: size}
	return func(file string, n int64) {
		p.File = file
		p.Done += n
		o.Progress(p)
	}
}

// Open opens the folder dir, which must exist. Close the Target when it is done with.
func Open(dir string, opts *Options) (*Target, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("plain: the folder for images, %s, is not there (is its disk mounted?): %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("plain: %w", err)
	}
	return &Target{root: root, opts: opts, locks: make(map[string]*held)}, nil
}

// Close releases the folder.
func (t *Target) Close() error { return t.root.Close() }

// Dir is the folder, as given to Open.
func (t *Target) Dir() string { return t.root.Name() }

// Images are all complete images, by machine and ID. Each whose image.json cannot be
// relied on, or is missing, is an error beside them.
func (t *Target) Images(ctx context.Context) ([]vmimage.Image, error) {
	folders, err := t.folders(".")
	if err != nil {
		return nil, fmt.Errorf("plain: images in %s: %w", t.Dir(), err)
	}
	var images []vmimage.Image
	var errs []error
	for _, folder := range folders {
		machine, ok := machineOf(folder)
		if !ok {
			continue
		}
		found, err := t.imagesOf(ctx, machine)
		images = append(images, found...)
		errs = append(errs, err)
	}
	slices.SortFunc(images, func(a, b vmimage.Image) int {
		return cmp.Or(strings.Compare(a.Machine, b.Machine), strings.Compare(a.ID, b.ID))
	})
	if err := errors.Join(errs...); err != nil {
		return images, fmt.Errorf("plain: %w", err)
	}
	return images, nil
}

// imagesOf are the images of a machine, by ID.
func (t *Target) imagesOf(ctx context.Context, machine string) (images []vmimage.Image, err error) {
	folder := folderOf(machine)
	ids, err := t.folders(folder)
	if err != nil {
		return nil, fmt.Errorf("images of %s: %w", machine, err)
	}
	var errs []error
	for _, id := range ids {
		if !validID(id) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return images, err
		}
		image, err := t.read(machine, id)
		if err != nil {
			errs = append(errs, &vmimage.RotError{Machine: machine, ID: id, File: ManifestName, Err: err})
			continue
		}
		images = append(images, image)
	}
	return images, errors.Join(errs...)
}

// folders are the names of the folders in a folder, links left out, sorted.
func (t *Target) folders(name string) ([]string, error) {
	entries, err := fs.ReadDir(t.root.FS(), name)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, bare(err)
}

// read reads the image.json of an image.
func (t *Target) read(machine, id string) (vmimage.Image, error) {
	f, err := openFile(t.root, path.Join(folderOf(machine), id, ManifestName))
	if err != nil {
		return vmimage.Image{}, err
	}
	defer f.Close()
	image, err := readManifest(f)
	if err == nil && (image.Machine != machine || image.ID != id) {
		err = fmt.Errorf("is of %s/%s", image.Machine, image.ID)
	}
	return image, err
}

// write replaces the image.json of an image, durably.
func (t *Target) write(image *vmimage.Image) error {
	data, err := encodeManifest(image)
	if err != nil {
		return err
	}
	t.at("replace " + ManifestName)
	return durable.WriteFile(t.root, path.Join(folderOf(image.Machine), image.ID, ManifestName), data, fileMode)
}

// enter opens the folder of an image.
func (t *Target) enter(machine, id string) (*os.Root, error) {
	if !validID(id) {
		return nil, fmt.Errorf("ID %q: %w", id, fs.ErrInvalid)
	}
	folder := folderOf(machine)
	for _, name := range []string{folder, path.Join(folder, id)} {
		if err := t.isFolder(name); err != nil {
			return nil, err
		}
	}
	root, err := t.root.OpenRoot(path.Join(folder, id))
	return root, bare(err)
}

// isFolder is nil for a folder, not a link to one.
func (t *Target) isFolder(name string) error {
	switch info, err := t.root.Lstat(name); {
	case err != nil:
		return bare(err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder: %w", name, fs.ErrInvalid)
	}
	return nil
}

func (t *Target) at(step string) {
	if t.step != nil {
		t.step(step)
	}
}

// openFile opens a regular file, not one that a link leads to.
func openFile(root *os.Root, name string) (*os.File, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, bare(err)
	}
	if !before.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(before, info) {
		return nil, errors.Join(errNotRegular, err, f.Close())
	}
	return f, nil
}

var errNotRegular = errors.New("not a regular file")

// about says which image an error is about, once.
func about(what, machine, id string, err error) error {
	if _, ok := err.(*vmimage.RotError); ok || err == nil {
		return err
	}
	return fmt.Errorf("plain: %s %s/%s: %w", what, machine, id, err)
}

// bare takes the path out of an error, which has the folder in it that this package
// was told of by another name.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
