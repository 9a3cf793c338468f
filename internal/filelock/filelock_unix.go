//go:build unix

package filelock

import (
	"os"

	"golang.org/x/sys/unix"
)

// TryLock locks f, a file or a directory, or returns ErrLocked at once.
func TryLock(f *os.File) error {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return ErrLocked
		default:
			return err
		}
	}
}
