package filelock

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// OpenDir opens what stands for a directory to TryLock: a file in it.
func OpenDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
}

// TryLock locks f, which must be a file, or returns ErrLocked at once. A byte
// far beyond any content is locked, so that others can read the file.
func TryLock(f *os.File) error {
	at := far
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if err == windows.ERROR_LOCK_VIOLATION {
		return ErrLocked
	}
	return err
}

func unlock(f *os.File) error {
	at := far
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

// far is where the byte is that is locked.
var far = windows.Overlapped{OffsetHigh: 1 << 30}
