package diskspace

import "golang.org/x/sys/unix"

func stat(path string) (Usage, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return Usage{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Usage{}, err
	}
	// Bsize is the fundamental block size here. See statfs(2) of macOS.
	unit := uint64(fs.Bsize)
	return unixUsage(uint64(uint32(st.Dev)), unit, fs.Blocks, fs.Bfree, fs.Bavail, fs.Files, fs.Ffree), nil
}
