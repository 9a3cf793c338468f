package dirstore

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer"
)

// CommitAll implements [transfer.GroupCommitter] with two syncfs(2) for a
// group: one before the files get their names, one after.
func (s *Store) CommitAll(ctx context.Context, uploads []transfer.Upload, readBack bool) []error {
	if len(uploads) == 1 {
		return []error{uploads[0].Commit(ctx, readBack)}
	}
	return s.CommitGroup(ctx, uploads, readBack, func() error { return unix.Syncfs(int(s.top.Fd())) })
}

// DropCache makes the next read come from the disk, once the file is synced.
func (f *file) DropCache() { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
