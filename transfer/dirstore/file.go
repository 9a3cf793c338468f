package dirstore

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/obskeep/obskeep/transfer"
)

// file is an open regular file.
type file struct {
	*os.File
	root *os.Root
	name string
	mode fs.FileMode

	begun int64 // bytes that the disk has been told to write
	hole  int64 // where the hole behind the end of the file is to end
}

// holeMin is from how many zeros on it is worth asking whether they can be a
// hole, bytes.
const holeMin = 32 << 10

// WriteAt leaves a hole for zeros behind the end.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if len(p) >= holeMin && p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) {
		fi, err := f.File.Stat()
		if err != nil {
			return 0, err
		}
		if off >= fi.Size() {
			f.hole = max(f.hole, off+int64(len(p)))
			return len(p), nil
		}
	}
	n, err := f.File.WriteAt(p, off)
	f.writeBehind(off + int64(n))
	return n, err
}

// Flush makes a hole behind the end part of the file.
func (f *file) Flush(context.Context) error {
	if f.hole == 0 {
		return nil
	}
	fi, err := f.File.Stat()
	if err == nil && fi.Size() < f.hole {
		err = f.File.Truncate(f.hole)
	}
	f.hole = 0
	return err
}

func (f *file) Sync(context.Context) error { return f.File.Sync() }

func (f *file) Stat(context.Context) (transfer.Info, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return transfer.Info{}, err
	}
	return transfer.Info{Name: f.name, Size: fi.Size(), ModTime: fi.ModTime(), Mode: fi.Mode()}, nil
}

func (f *file) SetInfo(_ context.Context, info transfer.Info) error {
	if info.Mode != f.mode {
		if err := f.File.Chmod(info.Mode); err != nil {
			return err
		}
		f.mode = info.Mode
	}
	return bare(f.root.Chtimes(f.name, time.Time{}, info.ModTime))
}

func (f *file) Truncate(_ context.Context, size int64) error { return f.File.Truncate(size) }

func (f *file) Reader(_ context.Context, off int64) io.Reader {
	return io.NewSectionReader(f.File, off, 1<<63-1-off)
}
