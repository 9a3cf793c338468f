package diskspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Usage is the state of one volume at one moment.
type Usage struct {
	// Volume is equal for two paths on one volume: the device number, or on
	// Windows the volume's serial number. Volumes that share their space, as
	// the subvolumes of btrfs and the datasets of ZFS, differ.
	Volume uint64

	Total uint64 // bytes
	Free  uint64 // bytes, counting those only root may use
	Avail uint64 // bytes an ordinary process may use

	// Inodes is how many more files can be made. It says nothing if
	// TotalInodes is zero: the number of files has no limit of its own, as on
	// btrfs, vfat, and all volumes of Windows.
	Inodes      uint64
	TotalInodes uint64
}

// Stater measures a volume that [Stat] cannot see, such as that of a store on
// another machine. The path is in the store's own terms, and need not exist
// yet. The error is errors.ErrUnsupported if the store cannot tell. Usage may
// be called concurrently.
type Stater interface {
	Usage(ctx context.Context, path string) (Usage, error)
}

// Stat measures the local volume that path is on, or would be on: if path does
// not exist, its nearest parent that does is asked. It counts as statvfs(3)
// does, on Windows as GetDiskFreeSpaceEx; quotas count where the system's
// answer reflects them. The error is errors.ErrUnsupported on systems other
// than Linux, Darwin and Windows. It may be called concurrently.
func Stat(path string) (Usage, error) {
	u, err := statNearest(path)
	if err != nil {
		return Usage{}, fmt.Errorf("diskspace: %w", err)
	}
	return u, nil
}

func statNearest(path string) (Usage, error) {
	nearest, err := filepath.Abs(path)
	if err != nil {
		return Usage{}, err
	}
	for {
		// Lstat, so that a link to a volume that is not mounted is an error, and
		// not taken for the volume of the link.
		_, err := os.Lstat(nearest)
		parent := filepath.Dir(nearest)
		if !errors.Is(err, fs.ErrNotExist) || parent == nearest {
			break
		}
		nearest = parent
	}
	u, err := stat(nearest)
	if err != nil {
		return Usage{}, &fs.PathError{Op: "stat", Path: nearest, Err: err}
	}
	return u, nil
}

// unixUsage is the Usage that a statfs in blocks of unit bytes stands for. A
// user-space file system may claim any number of blocks, and a full one less
// than none for ordinary users.
func unixUsage(volume, unit, blocks, free, avail, inodes, freeInodes uint64) Usage {
	return Usage{
		Volume:      volume,
		Total:       multiply(blocks, unit),
		Free:        multiply(free, unit),
		Avail:       multiply(min(avail, free), unit),
		Inodes:      freeInodes,
		TotalInodes: inodes,
	}
}
