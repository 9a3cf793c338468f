package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// Config says what is fetched to where. Source and Keeper are required.
type Config struct {
	Source transfer.Store // the folder of images on the server

	// Keeper keeps the images here, and says which of them stay. Its Target is a
	// [*plain.Target].
	Keeper vmimage.Keeper

	// Expect is how old the newest image of a machine may be. Zero means that
	// nobody asks.
	Expect time.Duration

	// Transfer adjusts the copying; what is copied, and how it is verified, is
	// set here. Nil means the defaults.
	Transfer *transfer.Options

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
}

// Fetcher fetches images. One Run at a time: the caller locks the target.
type Fetcher struct {
	c      Config
	target *plain.Target
}

// New checks the configuration.
func New(c Config) (*Fetcher, error) {
	target, ok := c.Keeper.Target.(*plain.Target)
	switch {
	case c.Source == nil || c.Keeper.Target == nil:
		return nil, errors.New("fetch: Source and the Keeper's Target are required")
	case !ok:
		return nil, fmt.Errorf("fetch: a target is wanted that is a folder of plain images, not %T", c.Keeper.Target)
	case c.Expect < 0:
		return nil, fmt.Errorf("fetch: an image is expected every %v: that is negative", c.Expect)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Fetcher{c, target}, nil
}

// DamagedError says that an image cannot be relied on.
type DamagedError struct {
	Machine, ID string
	Here        bool  // not at the source
	Err         error // what is wrong with its description; nil: it is not verified
}

func (e *DamagedError) Error() string {
	why := "is not verified"
	if e.Err != nil {
		why = "is damaged: " + e.Err.Error()
	}
	if e.Here {
		return fmt.Sprintf("%s/%s here %s; remove its folder to have it fetched again", e.Machine, e.ID, why)
	}
	return fmt.Sprintf("%s/%s at the source %s, and is not fetched", e.Machine, e.ID, why)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// atSource are the images at the source that are verified there, and what else has the name of
// one.
func (f *Fetcher) atSource(ctx context.Context) (images []vmimage.Image, damaged []*DamagedError, err error) {
	machines, err := f.folders(ctx, ".")
	if err != nil {
		return nil, nil, fmt.Errorf("source: %w", err)
	}
	for _, folder := range machines {
		machine, _, ok := plain.ParseName(folder)
		if !ok {
			continue
		}
		names, err := f.folders(ctx, folder)
		if err != nil {
			return nil, nil, fmt.Errorf("source: %s: %w", folder, err)
		}
		for _, name := range names {
			_, id, ok := plain.ParseName(name)
			if !ok {
				continue
			}
			image, err := f.describe(ctx, name)
			switch {
			case errors.Is(err, transfer.ErrLost) || ctx.Err() != nil:
				return nil, nil, fmt.Errorf("source: %s: %w", name, err)
			case errors.Is(err, fs.ErrNotExist) && f.isGone(ctx, name):
			case err != nil || image.Verified.IsZero():
				damaged = append(damaged, &DamagedError{Machine: machine, ID: id, Err: err})
			default:
				images = append(images, image)
			}
		}
	}
	return images, damaged, nil
}

// folders are the names of the folders in a folder of the source, sorted.
func (f *Fetcher) folders(ctx context.Context, dir string) (names []string, err error) {
	for info, err := range f.c.Source.List(ctx, dir) {
		if errors.Is(err, fs.ErrNotExist) && dir != "." {
			return nil, nil // its last image was removed since, and somebody tidies up
		}
		if err != nil {
			return nil, err
		}
		if info.Mode.IsDir() && !strings.HasPrefix(path.Base(info.Name), ".") {
			names = append(names, info.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// describe reads the description of an image at the source.
func (f *Fetcher) describe(ctx context.Context, name string) (vmimage.Image, error) {
	file := path.Join(name, plain.ManifestName)
	info, err := f.c.Source.Stat(ctx, file)
	if err == nil && !info.Mode.IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return vmimage.Image{}, fmt.Errorf("%s: %w", plain.ManifestName, err)
	}
	r, err := f.c.Source.Open(ctx, file, 0)
	if err != nil {
		return vmimage.Image{}, fmt.Errorf("%s: %w", plain.ManifestName, err)
	}
	image, err := plain.ReadManifest(r, name)
	if err = errors.Join(err, r.Close()); err != nil {
		return vmimage.Image{}, fmt.Errorf("%s: %w", plain.ManifestName, err)
	}
	return image, nil
}

// isGone reports whether the source has a folder no more.
func (f *Fetcher) isGone(ctx context.Context, name string) bool {
	_, err := f.c.Source.Stat(ctx, name)
	return errors.Is(err, fs.ErrNotExist)
}

// here are the images here, and what cannot be relied on.
func (f *Fetcher) here(ctx context.Context) (images []vmimage.Image, damaged []*DamagedError, err error) {
	images, err = f.target.Images(ctx)
	rots := rotsOf(err)
	if err != nil && (len(rots) == 0 || ctx.Err() != nil) {
		return nil, nil, fmt.Errorf("target: %w", err)
	}
	for _, i := range images {
		if i.Verified.IsZero() {
			damaged = append(damaged, &DamagedError{Machine: i.Machine, ID: i.ID, Here: true})
		}
	}
	for _, rot := range rots {
		damaged = append(damaged, &DamagedError{rot.Machine, rot.ID, true, rot})
	}
	return images, damaged, nil
}

// rotsOf are those that err joins.
func rotsOf(err error) (rots []*vmimage.RotError) {
	switch err := err.(type) {
	case *vmimage.RotError:
		return []*vmimage.RotError{err}
	case interface{ Unwrap() error }:
		return rotsOf(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			rots = append(rots, rotsOf(err)...)
		}
	}
	return rots
}
