// Package filelock takes the kernel's lock on an open file. The lock ends when
// the file is closed, and with the process however it ends: there are no stale
// locks. It holds between processes and between two openings in one process.
package filelock

import "errors"

// ErrLocked is returned for a file that somebody else has locked.
var ErrLocked = errors.New("locked")
