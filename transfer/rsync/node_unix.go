//go:build unix

package rsync

import (
	"fmt"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

// umask is that of the process, which can only be read by setting it.
var umask = func() os.FileMode {
	m := unix.Umask(0o077)
	unix.Umask(m)
	return os.FileMode(m)
}()

// at runs f with the descriptor of the directory of name.
func at(root *os.Root, name string, f func(dir int, base string) error) error {
	d, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	c, err := d.SyscallConn()
	if err != nil {
		return err
	}
	if e := c.Control(func(fd uintptr) { err = f(int(fd), path.Base(name)) }); e != nil {
		return e
	}
	return err
}

// linkTime sets the time of a link itself.
func linkTime(root *os.Root, name string, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return at(root, name, func(dir int, base string) error {
		return unix.UtimesNanoAt(dir, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

var nodeTypes = map[uint32]uint32{modePipe: syscall.S_IFIFO, modeSocket: syscall.S_IFSOCK, modeChar: syscall.S_IFCHR, modeBlock: syscall.S_IFBLK}

// makeNode makes a device, a pipe or a socket.
func makeNode(root *os.Root, name string, e *flist.Entry) error {
	kind, ok := nodeTypes[e.Mode&modeType]
	if !ok {
		return fmt.Errorf("a file of type %o: %w", e.Mode&modeType, os.ErrInvalid)
	}
	dev := uint64(0)
	if e.Extra != nil {
		dev = unix.Mkdev(e.Extra.Major, e.Extra.Minor)
	}
	return at(root, name, func(dir int, base string) error { return mknodat(dir, base, kind|0o600, dev) })
}
