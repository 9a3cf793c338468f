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
	err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// unlock gives f free, also while a process that is just being started has it open too.
func unlock(f *os.File) error { return flock(f, unix.LOCK_UN) }

func flock(f *os.File, how int) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	e := c.Control(func(fd uintptr) {
		for {
			if err = unix.Flock(int(fd), how); err != unix.EINTR {
				return
			}
		}
	})
	return errors.Join(e, err)
}
