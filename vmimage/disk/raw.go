package disk

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/obskeep/obskeep/vmimage"
)

// Raw is the disk of which an open file or block device is the content. Closing it
// closes the file.
func Raw(f *os.File) (vmimage.Source, error) {
	size, err := f.Seek(0, io.SeekEnd) // Stat knows no size of block devices
	if err != nil {
		return nil, bare(err)
	}
	return &raw{f, size}, nil
}

type raw struct {
	f    *os.File
	size int64
}

func (r *raw) Size() int64  { return r.size }
func (r *raw) Close() error { return r.f.Close() }

func (r *raw) ReadAt(p []byte, off int64) (int, error) {
	n, end := clamp(len(p), off, r.size)
	if n == 0 {
		return 0, end
	}
	n, err := r.f.ReadAt(p[:n], off)
	switch {
	case err == io.EOF:
		err = fmt.Errorf("%s: %w", r.f.Name(), io.ErrUnexpectedEOF) // it was longer
	case err == nil:
		err = end
	}
	return n, err
}

func (r *raw) Extents() iter.Seq2[vmimage.Extent, error] {
	return func(yield func(vmimage.Extent, error) bool) {
		for off := int64(0); off < r.size; {
			start, end, err := nextData(r.f, off)
			if errors.Is(err, errors.ErrUnsupported) {
				start, end, err = off, r.size, nil
			}
			if err != nil {
				yield(vmimage.Extent{}, fmt.Errorf("disk: extents of %s: %w", r.f.Name(), bare(err)))
				return
			}
			end = min(end, r.size)
			if start >= end || !yield(vmimage.Extent{Off: start, Len: end - start}, nil) {
				return
			}
			off = end
		}
	}
}

// Clone makes the file to, which is empty, share all blocks of the disk.
// [errors.ErrUnsupported] where that cannot be had.
func (r *raw) Clone(to *os.File) error { return clone(to, r.f) }
