package disk

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/lima-vm/go-qcow2reader/image"
	qcow "github.com/lima-vm/go-qcow2reader/image/qcow2"
	"github.com/lima-vm/go-qcow2reader/log"

	"github.com/obskeep/obskeep/vmimage"
)

// qcow2 is the disk in a qcow2 file, read by a library that is kept from what it
// does not do right: see checkHeader and beneath.
type qcow2 struct{ *qcow.Qcow2 }

func openQcow2(f *os.File, above []os.FileInfo) (vmimage.Source, error) {
	base, err := checkHeader(f)
	if err != nil {
		return nil, err
	}
	setUp()
	var below *beneath
	img, err := qcow.Open(f, func(ra io.ReaderAt, format image.Type) (image.Image, error) {
		// The library has opened it to learn whether it is there.
		if err := ra.(io.Closer).Close(); err != nil {
			return unread{}, err
		}
		below, err = openBeneath(base, string(format), above)
		if err != nil {
			return unread{}, err
		}
		return below, nil
	})
	if err != nil {
		return nil, err
	}
	if err := img.Readable(); err != nil {
		return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	if img.HeaderFieldsV3 != nil && img.IncompatibleFeatures&extendedL2 != 0 {
		return openExtended(qcow2{img}, f, below)
	}
	return &qcow2{img}, nil
}

// checkHeader refuses what the library would read wrong, or at the cost of all
// memory, and returns the path of the file beneath, if there is one. The fields and
// their limits are those of QEMU's docs/interop/qcow2.txt and block/qcow2.h.
func checkHeader(f *os.File) (base string, err error) {
	const (
		v2Len   = 72
		v3Len   = 104
		magic   = 0x514649fb // "QFI\xfb"
		maxL1   = 32 << 20 / 8
		maxSize = 1<<63 - 1
	)
	var h [v3Len]byte
	n, err := f.ReadAt(h[:], 0)
	if err != nil && err != io.EOF {
		return "", bare(err)
	}
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(h[at:]) }
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(h[at:]) }
	version := u32(4)
	if n < v2Len || u32(0) != magic || version >= 3 && n < v3Len {
		return "", fmt.Errorf("not a qcow2 file: %w", errors.ErrUnsupported)
	}
	clusterBits, size, l1, backing, backingLen := u32(20), u64(24), u32(36), u64(8), u32(16)
	var features uint64
	if version >= 3 {
		features = u64(72)
	}
	var why string
	switch {
	case version != 2 && version != 3:
		why = fmt.Sprintf("qcow2 version %d", version)
	case u32(32) != 0:
		why = "encrypted"
	case features&2 != 0:
		why = "marked corrupt"
	case features&4 != 0:
		why = "its data are in another file"
	case features&^0x1f != 0:
		why = fmt.Sprintf("incompatible features %#x", features)
	case clusterBits < 9 || clusterBits > 21 || size > maxSize || l1 > maxL1 ||
		backing > 1<<clusterBits || backing > 0 && backingLen > 1023:
		why = "damaged header"
	}
	if why != "" {
		return "", fmt.Errorf("%s: %w", why, errors.ErrUnsupported)
	}
	if features&1 != 0 {
		return "", fmt.Errorf("%w (marked dirty): %w", vmimage.ErrUnclosed, errors.ErrUnsupported)
	}
	if backing == 0 {
		return "", nil
	}
	name := make([]byte, backingLen)
	if _, err := f.ReadAt(name, int64(backing)); err != nil {
		return "", fmt.Errorf("name of the file beneath: %w", bare(err))
	}
	return beneathPath(f.Name(), string(name))
}

// setUp makes the library silent, whose habit is to print, and gives it readers of
// compressed clusters that fill a buffer: it calls Read once and takes what it gets
// for all.
var setUp = sync.OnceFunc(func() {
	log.SetWarnFunc(nil)
	qcow.SetDecompressor(qcow.CompressionTypeZlib, func(r io.Reader) (io.ReadCloser, error) {
		return full{flate.NewReader(r)}, nil
	})
	qcow.SetDecompressor(qcow.CompressionTypeZstd, func(r io.Reader) (io.ReadCloser, error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil, err
		}
		return full{z.IOReadCloser()}, nil
	})
})

// full fills a buffer with each Read.
type full struct{ io.ReadCloser }

func (f full) Read(p []byte) (int, error) { return io.ReadFull(f.ReadCloser, p) }

func (q *qcow2) ReadAt(p []byte, off int64) (int, error) {
	want, end := clamp(len(p), off, q.Size())
	if want == 0 {
		return 0, end
	}
	n, err := q.Qcow2.ReadAt(p[:want], off)
	if n == want {
		return n, end
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("qcow2 file at %d: %w", off, err)
}

func (q *qcow2) Extents() iter.Seq2[vmimage.Extent, error] {
	return extents(q.Size(), func(off int64) (n int64, zero bool, err error) {
		e, err := q.Extent(off, q.Size()-off)
		return e.Length, e.Zero, err
	})
}

// extents are the ranges of a disk that are not zeros, of which part tells how long the
// next is and whether it is zeros.
func extents(size int64, part func(off int64) (n int64, zero bool, err error)) iter.Seq2[vmimage.Extent, error] {
	return func(yield func(vmimage.Extent, error) bool) {
		var data vmimage.Extent
		for off := int64(0); off < size; {
			n, zero, err := part(off)
			if err == nil && n <= 0 {
				err = errors.New("one without end")
			}
			if err != nil {
				yield(vmimage.Extent{}, fmt.Errorf("disk: extents of a qcow2 file: %w", err))
				return
			}
			if !zero {
				if data.Len > 0 && data.Off+data.Len < off {
					if !yield(data, nil) {
						return
					}
					data.Len = 0
				}
				if data.Len == 0 {
					data.Off = off
				}
				data.Len = off + n - data.Off
			}
			off += n
		}
		if data.Len > 0 {
			yield(data, nil)
		}
	}
}
