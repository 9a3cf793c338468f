package dirstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// GroupSize implements [transfer.GroupCommitter] within the number of files that
// this process may have open.
func (s *Store) GroupSize() int {
	const most, least = 1024, 16
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) != nil {
		return least
	}
	return int(min(most, max(least, files.Cur/4)))
}

// CommitAll implements [transfer.GroupCommitter] with two syncfs(2) for a
// group: one before the files get their names, one after. What lies on another
// file system than the store's top is committed one by one.
func (s *Store) CommitAll(ctx context.Context, uploads []transfer.Upload, readBack bool) []error {
	errs := make([]error, len(uploads))
	var group []transfer.Upload
	var of []int // the place of each in uploads
	here := make(map[string]bool)
	for i, up := range uploads {
		dir := path.Dir(up.(*fsstore.Upload).Name())
		if _, ok := here[dir]; !ok {
			here[dir] = s.sameDevice(dir)
		}
		if here[dir] && len(uploads) > 1 {
			group, of = append(group, up), append(of, i)
		} else {
			errs[i] = up.Commit(ctx, readBack)
		}
	}
	if len(group) == 0 {
		return errs
	}
	for i, err := range s.fs.CommitGroup(ctx, group, readBack, func([]string) error { return unix.Syncfs(int(s.top.Fd())) }) {
		errs[of[i]] = err
	}
	return errs
}

// sameDevice reports whether dir is on the file system of the top.
func (s *Store) sameDevice(dir string) bool {
	a, err1 := s.top.Stat()
	b, err2 := s.root.Stat(dir)
	return err1 == nil && err2 == nil && a.Sys().(*syscall.Stat_t).Dev == b.Sys().(*syscall.Stat_t).Dev
}

// clone makes a file share the blocks of another.
func clone(to, from *os.File) error {
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err != nil {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return nil
}

// DropCache makes the next read come from the disk, once the file is synced.
func (f *file) DropCache() {
	c, err := f.SyscallConn()
	if err == nil {
		_ = c.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) }) // only advice
	}
}

// behind is how many bytes are written before the disk is told to begin with
// them, so that little is left for fsync to wait for.
const behind = 8 << 20

func (f *file) writeBehind(end int64) {
	if end-f.begun < behind {
		return
	}
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) {
			_ = unix.SyncFileRange(int(fd), f.begun, end-f.begun, unix.SYNC_FILE_RANGE_WRITE) // only advice
		})
	}
	f.begun = end
}
