package script

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	unlock, err := filelock.Hold(f)
	if held, ok := errors.AsType[*filelock.HeldError](err); ok {
		err = &BusyError{held.Owner}
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		_ = unlock() // at the end of the process it is given free anyway
		f.Close()
	}, nil
}
