package rsync

import "io/fs"

const nonBlock = 0

// fileID tells a file from all others of a machine.
type fileID struct{}

// stat is what Go's FileInfo does not tell, nor Windows.
type stat struct {
	id           fileID
	dev          uint64
	nlink        uint64
	uid, gid     uint32
	major, minor uint32
}

func statOf(fs.FileInfo) stat { return stat{nlink: 1} }
