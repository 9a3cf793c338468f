// Package disk reads the disks of virtual machines where they lie: raw files,
// block devices, and qcow2 files with those beneath them.
//
// A disk is opened for reading alone and no lock is taken: a QEMU that has it open
// is not disturbed. Nobody may write to it while it is read, or what is read is of
// no point in time; for a running machine that is the file beneath an overlay.
//
// # Guarantees
//
//   - A disk reads as qemu-img reads it, byte for byte, or with an error.
//   - The extents of a disk leave out nothing but zeros.
//   - What is not understood in full is refused when it is opened: encryption, data in another
//     file, an image marked as corrupt or not closed in order, a file beneath whose
//     format is not said. Nothing is guessed from content.
//   - A file that ends before its data is an error, never zeros.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/obskeep/obskeep/vmimage"
)

// Open opens a disk of one of the formats "raw" and "qcow2", which are libvirt's
// names. What this package cannot read right in every case is
// [errors.ErrUnsupported].
func Open(path, format string) (vmimage.Source, error) {
	source, err := open(path, format, nil)
	if err != nil {
		return nil, fmt.Errorf("disk: open %s: %w", path, err)
	}
	return source, nil
}

// open opens a disk that lies beneath those in above, as the system names them.
func open(path, format string, above []os.FileInfo) (vmimage.Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, bare(err)
	}
	// Opening a named pipe would wait for a writer.
	if mode := info.Mode(); !mode.IsRegular() && mode.Type() != fs.ModeDevice {
		return nil, fmt.Errorf("neither a file nor a block device: %w", errors.ErrUnsupported)
	}
	for _, a := range above {
		if os.SameFile(a, info) {
			return nil, fmt.Errorf("lies beneath itself: %w", errors.ErrUnsupported)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	var source vmimage.Source
	switch format {
	case "raw":
		source, err = Raw(f)
	case "qcow2":
		source, err = openQcow2(f, append(above, info))
	default:
		err = fmt.Errorf("format %q: %w", format, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return source, nil
}

// clamp is how many of n bytes at off are within size. The error is io.EOF if
// that is not all.
func clamp(n int, off, size int64) (int, error) {
	switch {
	case off < 0:
		return 0, fs.ErrInvalid
	case off >= size:
		return 0, io.EOF
	case int64(n) > size-off:
		return int(size - off), io.EOF
	}
	return n, nil
}

// bare takes the path out of an error: Open tells it.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
