//go:build unix

package dirstore

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer"
)

// lock takes the kernel's lock on an open file, which ends with the file.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return transfer.ErrBusy
	}
	return err
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
