package filelock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// HeldError says who has a file that [Hold] was to lock. It is [ErrLocked].
type HeldError struct{ Owner string } // "pid 7 on web01 since 2026-09-25 02:00:00Z: backup -v"

func (e *HeldError) Error() string        { return "in use by " + e.Owner }
func (e *HeldError) Is(target error) bool { return target == ErrLocked }

// Hold locks f, which must be a file open for reading and writing, as TryLock does, and
// writes into it who has it. If somebody else has it the error is a *HeldError. release
// empties the file and gives it free; f stays open.
func Hold(f *os.File) (release func() error, err error) {
	if err := TryLock(f); errors.Is(err, ErrLocked) {
		return nil, heldBy(f)
	} else if err != nil {
		return nil, err
	}
	// Where it cannot be written down, on a full disk perhaps, the lock holds all the same.
	host, _ := os.Hostname()
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "pid %d on %s since %s: %s\n", os.Getpid(), host,
		time.Now().UTC().Format("2006-01-02 15:04:05Z"), strings.Join(os.Args, " "))
	return func() error {
		_ = f.Truncate(0) // only what is said of it; the lock is what counts
		return unlock(f)
	}, nil
}

// heldBy tells who has a file.
func heldBy(f *os.File) error {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1000))
	if owner := strings.TrimSpace(string(text)); err == nil && owner != "" {
		return &HeldError{owner}
	}
	return &HeldError{"another process"}
}
