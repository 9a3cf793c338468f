package plain

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// cloner is a source that may share its blocks with a file, instead of being copied.
type cloner interface {
	// Clone makes the file to, which is empty, share all blocks of the source.
	// An error leaves it empty.
	Clone(to *os.File) error
}

// sparse writes a disk into a file that is as long as the disk, and leaves holes where
// pages are zeros.
type sparse struct {
	f         *os.File
	direct    *os.File // the same, written past the memory of the system; nil if that cannot be had
	below     below
	old       []byte // what is below
	allocated int64  // bytes that are not holes
	begun     int64  // up to here the system was told to write to the disk
}

// below is what a file has in it before it is written.
type below uint8

const (
	nothing below = iota
	another       // the content of another image of the disk: only what differs is written
	same          // the content itself: only zeros are made holes
)

func (s *sparse) hole(off, n int64) error {
	if s.below == nothing {
		return nil
	}
	return punch(s.f, off, n)
}

func (s *sparse) data(off int64, p []byte) error {
	var old []byte
	if s.below == another {
		var err error
		if old, err = s.readOld(off, len(p)); err != nil {
			return err
		}
	}
	for len(p) > 0 {
		n, do := nextRun(p, old, off, s.below)
		var err error
		switch do {
		case write:
			err = s.write(p[:n], off)
		case makeHole:
			err = punch(s.f, off, int64(n))
		}
		if err != nil {
			return bare(err)
		}
		if do == write || do == leave {
			s.allocated += int64(n)
		}
		off, p = off+int64(n), p[n:]
		if old != nil {
			old = old[n:]
		}
	}
	s.begun = writeBehind(s.f, s.begun, off)
	return nil
}

// write writes a run. A long one is not copied into the memory of the system, which takes
// longer than writing it to the disk, and leaves that memory to the machines of the host.
func (s *sparse) write(p []byte, off int64) error {
	const long = 128 << 10
	if s.direct != nil && len(p) >= long && (off|int64(len(p)))%page == 0 {
		_, err := s.direct.WriteAt(p, off)
		if !errors.Is(err, syscall.EINVAL) { // that is: not at this place in memory or in the file
			return err
		}
	}
	_, err := s.f.WriteAt(p, off)
	return err
}

// readOld is what the file has at off; what is behind its end are zeros.
func (s *sparse) readOld(off int64, n int) ([]byte, error) {
	if s.old == nil {
		s.old = make([]byte, blockSize)
	}
	m, err := s.f.ReadAt(s.old[:n], off)
	if err != nil && err != io.EOF {
		return nil, bare(err)
	}
	clear(s.old[m:n])
	return s.old[:n], nil
}

// act is what is done with a run of pages.
type act uint8

const (
	write     act = iota
	leave         // data that are there
	leaveHole     // zeros that are a hole already
	makeHole      // zeros over what is there
)

// nextRun is how many of the bytes p, which are at off, are to be done the same with.
func nextRun(p, old []byte, off int64, b below) (n int, do act) {
	for n < len(p) {
		// Only the first page and the last of a file can be less than whole.
		end := min(n+page-int((off+int64(n))%page), len(p))
		next := write
		switch q := p[n:end]; {
		case bytes.Equal(q, zeros[:len(q)]):
			if b == nothing || b == another && bytes.Equal(q, old[n:end]) {
				next = leaveHole
			} else {
				next = makeHole
			}
		case b == same || b == another && bytes.Equal(q, old[n:end]):
			next = leave
		}
		if n > 0 && next != do {
			return n, do
		}
		n, do = end, next
	}
	return n, do
}

// copyDisk makes the empty file f read as a source, durably, and returns it as a file of
// an image. If the source cannot be shared, older, if there is one, may be.
func copyDisk(f *os.File, source vmimage.Source, older cloner, through func(vmimage.Source, sink) (string, error)) (vmimage.File, error) {
	s := &sparse{f: f}
	if c, ok := source.(cloner); ok && c.Clone(f) == nil {
		// What is hashed from now on is what was stored, and no longer the source.
		s.below = same
		stored, err := disk.Raw(f)
		if err != nil {
			return vmimage.File{}, err
		}
		if stored.Size() != source.Size() {
			return vmimage.File{}, errors.New("the source has changed its size")
		}
		source = stored
	} else if older != nil && older.Clone(f) == nil {
		s.below = another
	}
	if s.below != same {
		if err := f.Truncate(source.Size()); err != nil {
			return vmimage.File{}, bare(err)
		}
	}
	s.direct = openDirect(f)
	sha, err := through(source, s)
	if s.direct != nil {
		err = errors.Join(err, bare(s.direct.Close()))
	}
	if err == nil {
		err = bare(f.Sync())
	}
	return vmimage.File{Size: source.Size(), Allocated: s.allocated, SHA256: sha}, err
}
