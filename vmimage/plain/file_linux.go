package plain

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// punch makes a range of a file a hole.
func punch(f *os.File, off, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// dropCache makes the next read of a file come from the disk.
func dropCache(f *os.File) error {
	if err := f.Sync(); err != nil { // what is not written yet is not dropped
		return bare(err)
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// behind is how many bytes are written before the disk is told to begin with
// them, so that little is left for fsync to wait for.
const behind = 8 << 20

// writeBehind has what was written from begun to end go to the disk, if it is worth
// it, and returns up to where that was told.
func writeBehind(f *os.File, begun, end int64) int64 {
	if end-begun < behind {
		return begun
	}
	_ = unix.SyncFileRange(int(f.Fd()), begun, end-begun, unix.SYNC_FILE_RANGE_WRITE) // only advice
	return end
}

// openDirect opens an open file once more, to be written without the memory of the
// system; nil where that cannot be had.
func openDirect(f *os.File) *os.File {
	direct, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	return direct
}
