package script

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/obskeep/obskeep/internal/filelock"
	"github.com/obskeep/obskeep/transfer"
)

// BusyError says who has the lock.
type BusyError struct{ Owner string }

func (e *BusyError) Error() string { return "already running: " + e.Owner }

// Lock takes the kernel's lock on a directory by a hidden file in it, and
// writes down who has it. It is released by calling release, or by the kernel
// when the process ends. The error of a lock that is taken is a [*BusyError].
func Lock(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, transfer.ReservedPrefix+"lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := filelock.TryLock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, filelock.ErrLocked) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		owner, err := io.ReadAll(io.LimitReader(f, 1000))
		if err != nil || len(owner) == 0 {
			return nil, &BusyError{"somebody has " + f.Name()}
		}
		return nil, &BusyError{strings.TrimSpace(string(owner))}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "pid %d on %s since %s: %s\n", os.Getpid(), Host(),
			time.Now().UTC().Format("2006-01-02 15:04:05Z"), strings.Join(os.Args, " "))
	}
	if err != nil {
		// The lock holds all the same, only nobody can tell who has it: a full
		// disk must not keep a run from making room.
		_ = f.Truncate(0)
	}
	return func() {
		_ = f.Truncate(0) // nobody has it now
		f.Close()
	}, nil
}
