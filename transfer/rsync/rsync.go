package rsync

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Conn is the two streams to a peer: an SSH session, the standard input and
// output of a program.
type Conn interface {
	io.ReadWriter

	// Close ends Read and Write, also those under way.
	io.Closer
}

// Version is the newest version of the protocol spoken here, and minVersion
// the oldest.
const (
	Version    = 32
	minVersion = 29
)

// Stats count one session. Size = Matched + Literal for what was sent.
type Stats struct {
	Files   int   // regular files listed
	Size    int64 // bytes of all files listed
	Sent    int   // files whose data were sent
	Matched int64 // bytes of these that the receiver had
	Literal int64 // bytes of these that were sent
	Made    int   // directories, links and special files made
	Deleted int   // files and directories removed
}

// Result is what a session did.
type Result struct {
	Stats
	Skipped []Skip   // what was not asked for or cannot be kept
	Failed  []Failed // in the order in which they failed
	Remote  []string // what the far side had to say, escaped
}

// Skip is an entry that was left out, and why.
type Skip struct{ Name, Reason string }

// Failed is an entry that could not be transferred.
type Failed struct {
	Name string
	Err  error
}

func (f Failed) Error() string { return quote(f.Name) + ": " + f.Err.Error() }
func (f Failed) Unwrap() error { return f.Err }

// Code is an exit code of rsync.
type Code int

const (
	CodeUsage       Code = 1
	CodeProtocol    Code = 2
	CodeFiles       Code = 3
	CodeUnsupported Code = 4
	CodeStream      Code = 12
	CodePartial     Code = 23
	CodeVanished    Code = 24
	CodeMaxDelete   Code = 25
	CodeTimeout     Code = 30
)

// Error says that a session came to no good end. Which files are affected is
// in the [Result]: an Error of CodePartial or CodeVanished means that all
// others were transferred.
type Error struct {
	Code   Code
	Err    error
	Remote []string // what the far side had to say, escaped
}

func (e *Error) Error() string {
	text := fmt.Sprintf("rsync: %v (code %d)", e.Err, e.Code)
	if len(e.Remote) > 0 {
		text += "; the far side says: " + strings.Join(e.Remote, "; ")
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// ErrNotRsync is returned when what is at the other end is no rsync.
var ErrNotRsync = errors.New("no rsync at the other end")

// ErrCorrupt is returned for a file whose bytes are not those sent, twice.
var ErrCorrupt = errors.New("the file's checksum is wrong")

// quote makes a name or a text of the far side safe to show.
func quote(s string) string {
	q := strconv.Quote(s)
	if q == `"`+s+`"` {
		return s
	}
	return q
}
