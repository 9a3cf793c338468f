package transfer

import (
	"io/fs"
	"syscall"
	"time"
)

// IdentityOf is the Identity of a file of this machine that os.Stat or
// [os.File.Stat] has described; zero for what is none, and on systems other
// than Linux.
func IdentityOf(fi fs.FileInfo) Identity {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return Identity{}
	}
	return Identity{uint64(st.Dev), st.Ino, time.Unix(st.Ctim.Unix())}
}
