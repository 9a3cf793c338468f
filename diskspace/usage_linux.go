package diskspace

import "golang.org/x/sys/unix"

func stat(path string) (Usage, error) {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &fs) }); err != nil {
		return Usage{}, err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Stat(path, &st) }); err != nil {
		return Usage{}, err
	}
	// Blocks count in fragments, not in Bsize, the preferred size of a transfer;
	// file systems that know no fragments may leave Frsize zero. See statvfs(3).
	unit := uint64(fs.Frsize)
	if unit == 0 {
		unit = uint64(fs.Bsize)
	}
	return unixUsage(uint64(st.Dev), unit, fs.Blocks, fs.Bfree, fs.Bavail, fs.Files, fs.Ffree), nil
}

// retry calls f until it is not interrupted by a signal, as network file
// systems may be.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
