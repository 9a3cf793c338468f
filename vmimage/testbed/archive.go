package testbed

import (
	"bytes"
	"fmt"
	"os"
)

// archive is a file system as the kernel takes it at boot: a cpio archive in the "new
// ASCII format" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
// All in it belongs to root and may be read and run by everybody.
type archive struct {
	bytes.Buffer
	inode int
}

// The kinds of files, as in inode(7).
const (
	kindDir  = 0o040000
	kindFile = 0o100000
	kindLink = 0o120000
)

func (a *archive) dir(name string)               { a.add(name, kindDir, nil) }
func (a *archive) file(name string, data []byte) { a.add(name, kindFile, data) }
func (a *archive) link(name, to string)          { a.add(name, kindLink, []byte(to)) }
func (a *archive) end()                          { a.add("TRAILER!!!", 0, nil) }

func (a *archive) copy(name, from string) error {
	data, err := os.ReadFile(from)
	if err == nil {
		a.file(name, data)
	}
	return err
}

func (a *archive) add(name string, kind int, data []byte) {
	a.inode++
	a.WriteString("070701")
	for _, field := range []int{
		a.inode, kind | 0o755, 0, 0, 1, 0, // inode, mode, uid, gid, links, modification time
		len(data), 0, 0, 0, 0, // size; device of the file system; device of the file
		len(name) + 1, 0, // of the name with its zero; checksum
	} {
		fmt.Fprintf(a, "%08X", field)
	}
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

// pad fills up to a multiple of four bytes.
func (a *archive) pad() {
	a.Write(make([]byte, -a.Len()&3))
}
