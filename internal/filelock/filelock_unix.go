//go:build unix

package filelock

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenDir opens what stands for a directory to TryLock: the directory.
func OpenDir(dir string) (*os.File, error) { return os.Open(dir) }

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
