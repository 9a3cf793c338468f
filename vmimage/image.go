package vmimage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/obskeep/obskeep/julian"
)

// Image is an image of a machine: all its disks at one point in time. It restores
// alone, whatever becomes of others.
type Image struct {
	Machine string `json:"machine"` // its name
	UUID    string `json:"uuid"`

	// ID is of one machine each its own, and sorts as the points in time do:
	// "2026-268T0200Z".
	ID string `json:"id"`

	Taken       time.Time   `json:"taken"` // the point in time of its disks
	Consistency Consistency `json:"consistency"`

	// Verified is when all its bytes were last read back and right; zero for
	// never, or not since they were wrong.
	Verified time.Time `json:"verified,omitzero"`

	Files []File `json:"files"` // disks first, in the machine's order

	// Shutdown is how long the guest took to shut down, and Down how long the
	// machine was off from the moment it was asked until it ran again; zero if
	// it was not shut down for this image.
	Shutdown time.Duration `json:"shutdown_ns,omitzero"`
	Down     time.Duration `json:"down_ns,omitzero"`

	Took time.Duration `json:"took_ns,omitzero"` // of storing it; set by Store
}

// File is a file of an image.
type File struct {
	Name      string `json:"name"`           // such as "vda.img" or "domain.xml"
	Disk      string `json:"disk,omitempty"` // the disk it is the content of, such as "vda"
	Size      int64  `json:"bytes"`
	Allocated int64  `json:"allocated_bytes"` // of its size: what is not a hole
	SHA256    string `json:"sha256"`          // of the whole file, holes read as zeros; lower-case hexadecimal
}

// Allocated is how many bytes the image takes, but for what its files share with others.
func (i *Image) Allocated() (bytes int64) {
	for _, f := range i.Files {
		bytes += f.Allocated
	}
	return bytes
}

// NewID is the ID of an image of a point in time.
func NewID(taken time.Time) string {
	taken = taken.UTC()
	return julian.DateOf(taken).String() + taken.Format("T1504Z")
}

// Consistency is what a guest finds when it starts from an image.
type Consistency string

// The states in which disks are imaged.
const (
	Clean  Consistency = "clean"  // as the guest left them when it shut down
	Frozen Consistency = "frozen" // flushed and held by the guest's agent
	Crash  Consistency = "crash"  // as after a power cut
)

// Source is the content of a disk at a point in time. It is safe for concurrent use.
type Source interface {
	io.ReaderAt
	io.Closer

	// Size is the size of the disk in bytes, as the guest sees it.
	Size() int64

	// Extents are the ranges that may hold data, in order and apart; all the
	// rest reads as zeros and need not be read. An error is the last pair.
	Extents() iter.Seq2[Extent, error]
}

// ErrUnclosed is for a disk that was not closed in order, or is written to: it may be
// inconsistent in itself.
var ErrUnclosed = errors.New("not closed in order")

// Extent is a range of a disk, in bytes.
type Extent struct{ Off, Len int64 }

// Need is how many bytes an image of a disk takes at the most: all pages of 4 KiB in which
// it may hold data. That can be more than its file has, which may be compressed or have
// another beneath it.
func Need(s Source) (bytes int64, err error) {
	const page = 4 << 10
	end := int64(0) // of the last page that is counted
	for e, err := range s.Extents() {
		if err != nil {
			return 0, err
		}
		last := (e.Off + e.Len + page - 1) / page * page
		bytes += last - max(end, e.Off/page*page)
		end = last
	}
	return bytes, nil
}

// Content is what becomes an image.
type Content struct {
	Disks []Disk
	Files []Small
}

// Disk is a disk to be imaged.
type Disk struct {
	Name   string // such as "vda"
	Source Source
}

// Small is a file that is stored beside the disks: the description of the
// machine, the variables of its firmware, the state of its TPM.
type Small struct {
	Name string // such as "domain.xml"
	Data []byte
}

// Target keeps images. It is safe for concurrent use, but for two calls for one
// machine.
type Target interface {
	// Dir is the folder of this machine that holds the images, so that its
	// space can be planned; "" if they are elsewhere.
	Dir() string

	// Images are all complete images, by machine and ID. What a store that was
	// cut off left is none. An image of which nothing but its name can be told,
	// because its description is damaged, is told of by an error beside all the
	// others.
	Images(ctx context.Context) ([]Image, error)

	// Store writes an image and returns it with its Files. It is complete,
	// durable and listed, not yet Verified, when Store returns nil, and before that not listed
	// at all. ENOSPC is syscall.ENOSPC; an ID that is there is fs.ErrExist.
	Store(ctx context.Context, image Image, content Content) (Image, error)

	// Verify reads all bytes of an image back, from the disk and not from
	// memory as far as that can be had, and returns it with Verified set, durably, if they
	// are right. If they are wrong it is listed without, durably, from then on, and the
	// error is a *RotError.
	Verify(ctx context.Context, image Image) (Image, error)

	// Remove removes an image: first it is listed no more, durably, then its
	// bytes go. fs.ErrNotExist if it is not there.
	Remove(ctx context.Context, image Image) error

	// Clean removes what stores and removals of a machine that were cut off left, and
	// returns the names of it. No store may be under way.
	Clean(ctx context.Context, machine string) ([]string, error)
}

// RotError says that a stored file is not what was stored.
type RotError struct {
	Machine, ID, File string
	Want, Got         string // SHA-256; Got is empty if Err says why there is none
	Err               error  // such as fs.ErrNotExist; nil if the bytes differ
}

func (e *RotError) Error() string {
	if e.Err != nil {
		return "image " + e.Machine + "/" + e.ID + " is damaged: " + e.File + ": " + e.Err.Error()
	}
	return "image " + e.Machine + "/" + e.ID + " is damaged: " + e.File + " has SHA-256 " + e.Got + ", not " + e.Want
}

func (e *RotError) Unwrap() error { return e.Err }
