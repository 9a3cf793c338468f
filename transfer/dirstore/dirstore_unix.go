//go:build unix

package dirstore

import (
	"errors"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/internal/filelock"
	"github.com/obskeep/obskeep/transfer"
)

// lock takes the kernel's lock on an open file, which ends with the file. It
// insists for a moment: a file that was closed just now is still open in a child
// process that has been forked, but not executed its program yet.
func lock(f *os.File) error {
	for end := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := filelock.TryLock(f)
		if !errors.Is(err, filelock.ErrLocked) {
			return err
		}
		if time.Now().After(end) {
			return transfer.ErrBusy
		}
	}
}

// linkTime sets the time of a link itself.
func (r rootFS) linkTime(info transfer.Info) error {
	dir, err := r.root.Open(path.Dir(info.Name))
	if err != nil {
		return bare(err)
	}
	defer dir.Close()
	t, err := unix.TimeToTimespec(info.ModTime)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(dir.Fd()), path.Base(info.Name), []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}
