package plain

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/obskeep/obskeep/internal/filelock"
)

// lockName is the file in a machine's folder by which programs keep out of each other's
// way. It stays; the lock on it goes with the process that has it, however that ends.
const lockName = ".lock"

// BusyError says that another program is at work on the images of a machine.
type BusyError struct {
	Dir   string // the machine's folder
	Owner string // "pid 7 on server since 2026-09-25 02:00:00Z: backupvms"
}

func (e *BusyError) Error() string { return e.Dir + " is in use by " + e.Owner }

// held is a lock that this program has.
type held struct {
	users   int
	file    *os.File
	release func() error
}

// Lock keeps other programs from changing the images of a machine until release is
// called. If one is at work on them the error is a [*BusyError]. Each call that changes
// images does so itself for as long as it takes; Lock is for what lies between two of
// them, such as a transfer into a stage.
func (t *Target) Lock(machine string) (release func() error, err error) {
	folder := folderOf(machine)
	var unlock func(*error)
	if err = t.makeFolder(folder); err == nil {
		unlock, err = t.lock(folder)
	}
	if err != nil {
		return nil, fmt.Errorf("plain: lock %s: %w", machine, err)
	}
	return func() (err error) {
		unlock(&err)
		return err
	}, nil
}

// lock locks a machine's folder, which must exist. It may be locked several times. What
// goes wrong in its release is joined to an error.
func (t *Target) lock(folder string) (release func(*error), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.locks[folder]
	if h == nil {
		if h, err = t.hold(folder); err != nil {
			return nil, err
		}
		t.locks[folder] = h
	}
	h.users++
	return func(err *error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if h.users--; h.users > 0 {
			return
		}
		delete(t.locks, folder)
		also(err, errors.Join(h.release(), bare(h.file.Close())))
	}, nil
}

// also joins an error to another, which stays what it is if there is none.
func also(err *error, e error) {
	if e != nil {
		*err = errors.Join(*err, e)
	}
}

func (t *Target) hold(folder string) (*held, error) {
	f, err := t.root.OpenFile(path.Join(folder, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", lockName, bare(err))
	}
	release, err := filelock.Hold(f)
	if e, ok := errors.AsType[*filelock.HeldError](err); ok {
		err = &BusyError{filepath.Join(t.Dir(), folder), e.Owner}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &held{file: f, release: release}, nil
}
