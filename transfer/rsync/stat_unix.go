//go:build unix

package rsync

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

const nonBlock = syscall.O_NONBLOCK

// fileID tells a file from all others of a machine.
type fileID struct{ dev, ino uint64 }

// stat is what Go's FileInfo does not tell.
type stat struct {
	id           fileID
	dev          uint64 // that it is on
	nlink        uint64
	uid, gid     uint32
	major, minor uint32
}

func statOf(fi fs.FileInfo) stat {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return stat{nlink: 1}
	}
	return stat{
		id: fileID{uint64(st.Dev), st.Ino}, dev: uint64(st.Dev), nlink: uint64(st.Nlink), uid: st.Uid, gid: st.Gid,
		major: unix.Major(uint64(st.Rdev)), minor: unix.Minor(uint64(st.Rdev)),
	}
}
