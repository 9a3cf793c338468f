package fsstore

import (
	"cmp"
	"context"
	"errors"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/transfer"
)

// CommitGroup commits many uploads of the store. syncAll makes all that was
// written to the file systems of the named files durable; if it returns
// errors.ErrUnsupported, the files are synced one by one.
func (s *Store) CommitGroup(ctx context.Context, uploads []transfer.Upload, readBack bool, syncAll func(names []string) error) []error {
	errs := make([]error, len(uploads))
	each := func(f func(u *Upload) error) {
		var g errgroup.Group
		g.SetLimit(32) // disks and servers like to have several requests to choose from
		for i, up := range uploads {
			if errs[i] == nil {
				g.Go(func() error {
					errs[i] = cmp.Or(ctx.Err(), f(up.(*Upload)))
					return nil
				})
			}
		}
		_ = g.Wait() // the errors are those of the uploads
	}
	// oneOfEach returns a file for each directory: all that can be mounted.
	oneOfEach := func(name func(u *Upload) string) (names []string) {
		seen := make(map[*subdir]bool)
		for i, up := range uploads {
			if u := up.(*Upload); errs[i] == nil && !seen[u.dir] {
				seen[u.dir] = true
				names = append(names, path.Join(u.dir.name, name(u)))
			}
		}
		return names
	}
	each(func(u *Upload) error { return u.seen(u.finish(ctx)) })
	synced := make(chan error, 1)
	parts := oneOfEach(func(u *Upload) string { return u.part })
	go func() { synced <- syncAll(parts) }()
	each(func(u *Upload) error {
		if readBack && !u.dropsCache() {
			return u.readBack(ctx)
		}
		return nil
	})
	err := <-synced
	each(func(u *Upload) error {
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			if err := u.sync(ctx); err != nil {
				return err
			}
		case err != nil:
			return u.seen(err)
		}
		if readBack && u.dropsCache() {
			return u.readBack(ctx)
		}
		return nil
	})
	each(func(u *Upload) error { return u.show(ctx) })
	err = syncAll(oneOfEach(func(u *Upload) string { return u.base }))
	each(func(u *Upload) error {
		if errors.Is(err, errors.ErrUnsupported) {
			return u.dir.SyncDir(ctx, ".")
		}
		return err
	})
	return errs
}
