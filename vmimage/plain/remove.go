package plain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage"
)

// Remove implements [vmimage.Target]. An error after the image is no longer listed says
// that some of its bytes are left; Clean removes them.
func (t *Target) Remove(ctx context.Context, image vmimage.Image) error {
	return about("remove", image.Machine, image.ID, t.remove(ctx, image.Machine, image.ID))
}

func (t *Target) remove(ctx context.Context, machine, id string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	inside, err := t.enter(machine, id)
	if err != nil {
		return err
	}
	if err := inside.Close(); err != nil {
		return bare(err)
	}
	folder := folderOf(machine)
	release, err := t.lock(folder)
	if err != nil {
		return err
	}
	defer release(&err)
	partial := path.Join(folder, partialPrefix+id)
	if err := t.root.RemoveAll(partial); err != nil {
		return bare(err)
	}
	t.at("rename")
	if err := t.root.Rename(path.Join(folder, id), partial); err != nil {
		return bare(err)
	}
	t.at("sync machine's folder")
	if err := durable.SyncDir(t.root, folder); err != nil {
		return err
	}
	t.at("delete")
	if err := t.root.RemoveAll(partial); err != nil {
		return bare(err)
	}
	t.at("sync deletion")
	return durable.SyncDir(t.root, folder)
}

// Clean implements [vmimage.Target]. The names are below the machine's folder.
func (t *Target) Clean(ctx context.Context, machine string) ([]string, error) {
	names, err := t.clean(ctx, folderOf(machine))
	if err != nil {
		err = fmt.Errorf("plain: clean up after %s: %w", machine, err)
	}
	return names, err
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
		names, err := t.clean(ctx, folder, keep...)
		for _, name := range names {
			removed = append(removed, path.Join(folder, name))
		}
		if err != nil {
			return removed, fmt.Errorf("plain: clean %s/%s: %w", t.Dir(), folder, err)
		}
	}
	return removed, nil
}

// clean returns the names, below a machine's folder, of what it has removed.
func (t *Target) clean(ctx context.Context, folder string, keep ...vmimage.Image) (removed []string, err error) {
	if err := t.isFolder(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	names, err := t.leftovers(folder)
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(keep, func(i vmimage.Image) bool { return stageOf(i) == path.Join(folder, name) })
	})
	if err != nil || len(names) == 0 {
		return nil, err
	}
	release, err := t.lock(folder)
	if err != nil {
		return nil, err
	}
	defer release(&err)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		t.at("remove " + name)
		if err := t.root.RemoveAll(path.Join(folder, name)); err != nil {
			return removed, fmt.Errorf("%s: %w", name, bare(err))
		}
		if err := durable.SyncDir(t.root, path.Join(folder, path.Dir(name))); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	return removed, nil
}

// leftovers are the names, below a machine's folder, of what is of no image.
func (t *Target) leftovers(folder string) (names []string, err error) {
	folders, err := t.folders(folder)
	if err != nil {
		return nil, err
	}
	for _, id := range folders {
		if rest, ok := strings.CutPrefix(id, partialPrefix); ok && validID(rest) {
			names = append(names, id)
		}
		if !validID(id) {
			continue
		}
		entries, err := fs.ReadDir(t.root.FS(), path.Join(folder, id))
		if err != nil {
			return nil, bare(err)
		}
		for _, e := range entries {
			if durable.IsTemp(e.Name()) {
				names = append(names, path.Join(id, e.Name()))
			}
		}
	}
	return names, nil
}
