//go:build unix

package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OpenDir opens what stands for a directory to TryLock: the directory.
func OpenDir(dir string) (*os.File, error) { return os.Open(dir) }

// TryLock locks f, a file or a directory, or returns ErrLocked at once.
func TryLock(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	e := c.Control(func(fd uintptr) {
		for {
			if err = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
				return
			}
		}
	})
	if err == unix.EWOULDBLOCK {
		return ErrLocked
	}
	return errors.Join(e, err)
}
