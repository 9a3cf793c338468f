package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"
)

// Store holds objects under slash-separated names: a directory, an SFTP
// account, a bucket. Names are bytes, not necessarily UTF-8; see [ValidName].
//
// All methods may be called concurrently. A name that is not there is
// fs.ErrNotExist. A store whose connection is gone returns [ErrLost]; the
// next call connects again.
type Store interface {
	// Stat describes name itself, never what a symbolic link points to.
	Stat(ctx context.Context, name string) (Info, error)

	// Open reads a regular file from the byte at off on. The reader may have
	// a method Stat() (Info, error) that describes the open file, and be an
	// io.ReaderAt of it where that is cheap.
	Open(ctx context.Context, name string, off int64) (io.ReadCloser, error)

	// Create begins an upload of info.Name, whose directories are made when
	// they are missing. The object gets info's mode and time, and is expected
	// to be info.Size bytes long. The end of ctx ends Write and Resume as well.
	// ErrBusy: another upload of the name has begun and not ended.
	Create(ctx context.Context, info Info) (Upload, error)

	// List yields what directory dir holds, in no order, itself not included;
	// "." is the top. Uploads that are not committed are not listed.
	// An error is the last pair.
	List(ctx context.Context, dir string) iter.Seq2[Info, error]

	// Remove removes a file, a link or an empty directory, durably.
	Remove(ctx context.Context, name string) error
}

// Upload is an object on its way into a store: invisible under its name until
// Commit, complete from then on. Its methods are for one goroutine at a time.
type Upload interface {
	// Resume looks for what an interrupted upload of the same name left
	// behind. If the store can vouch for those bytes and same agrees that they
	// are the beginning of the source, the upload goes on after them: Resume
	// returns their number. If same says no, it returns 0 and starts over.
	// An error of same is returned, and leaves for the next upload what is there.
	// Resume is called once, before the first Write.
	Resume(ctx context.Context, same func(Kept) (bool, error)) (int64, error)

	// Write appends. The bytes need not be stored yet when it returns.
	io.Writer

	// Sum is the SHA-256 of all bytes so far: resumed, copied and written.
	Sum() [sha256.Size]byte

	// Commit shows the object under its name, in place of what was there.
	// When it returns without error, bytes, mode, time and name are durable.
	// With readBack, the stored bytes are read again and compared with Sum
	// first; if they differ, the error is ErrCorrupt and nothing is shown.
	Commit(ctx context.Context, readBack bool) error

	// Close ends the upload. Without Commit what arrived is kept for the next
	// attempt, as far as that is worth it.
	Close() error
}

// Kept describes what an interrupted upload left behind.
type Kept struct {
	Size   int64             // bytes
	Sum    [sha256.Size]byte // of those bytes
	Source Info              // Size and ModTime of what they were read from
}

// Info describes one entry of a store.
type Info struct {
	Name    string      // from the top of the store
	Size    int64       // bytes, of a regular file
	ModTime time.Time   // as precise as the store keeps it; SFTP: whole seconds
	Mode    fs.FileMode // type, permissions, setuid, setgid, sticky
	Target  string      // of a symbolic link, as it is written
}

// Tree is a Store with directories, links and attributes: a file system
// rather than a bucket.
type Tree interface {
	Store

	// Mkdir makes the directory info.Name and those above it, if missing, and
	// gives a new one info's mode. It is no error if the directory exists.
	Mkdir(ctx context.Context, info Info) error

	// Symlink makes info.Name a link to info.Target, in place of what file or
	// link was there.
	Symlink(ctx context.Context, info Info) error

	// SetInfo gives an existing file or directory info's mode and time.
	SetInfo(ctx context.Context, info Info) error

	// Rename gives oldname, a file or a directory with all that is in it, a
	// new name, atomically and durably. What is in the way stays: fs.ErrExist.
	Rename(ctx context.Context, oldname, newname string) error
}

// GroupCommitter is a Store that commits many uploads for little more than
// the price of one. The errors are those of the uploads, in their order.
type GroupCommitter interface {
	// GroupSize is how many uploads a group may have. As many again may be
	// waiting; all are open.
	GroupSize() int

	CommitAll(ctx context.Context, uploads []Upload, readBack bool) []error
}

// TreeLister is a Store that can list a directory with all below it at once.
// The names are below dir, which itself is ".", in an order in which directories
// come before what is in them. After an error the list is of no use; it may be had
// directory by directory.
type TreeLister interface {
	ListTree(ctx context.Context, dir string) ([]Info, error)
}

// Fetcher is a Store that can send many files at once, each as the difference
// to what the destination has. A file that is not what is wanted any more is
// not created; after an error others may not have been either. Whatever was
// created is Done when Fetch returns. entries is about how many the directory
// has, with all below it.
type Fetcher interface {
	Fetch(ctx context.Context, dir string, wants []Want, entries int) error
}

// Want is a file that is wanted of a [Fetcher].
type Want struct {
	Name    string // below the directory
	Size    int64
	ModTime time.Time

	Basis  func() (Basis, error)  // opens what the destination has; nil for nothing
	Create func() (Output, error) // called when the file begins to come
}

// Basis is another version of a file that is wanted.
type Basis interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// KeptOpener is a Store in which what an upload that was cut has left of the very version
// that info tells can be read, to be part of a basis; fs.ErrNotExist if there is
// nothing of it. The next upload of the name leaves an open one as it is.
type KeptOpener interface {
	OpenKept(ctx context.Context, info Info) (Basis, error)
}

// Output takes a file that is sent, from its beginning to its end. Its methods
// are called one after the other; those of different files side by side.
type Output interface {
	Literal(p []byte) error            // data that were sent
	Matched(p []byte, off int64) error // the bytes p, which are at off in the basis
	Done(err error) error              // nil: the bytes are those of the source
}

// Taker is a Store that can take many files at once, each as the difference to
// what it has under the name. What [Upload] promises holds for each: invisible
// until it is complete and durable, with readBack compared with what is stored.
// A file that is not Done when Take returns has not been taken; after an error
// that is ErrLost it may have been.
type Taker interface {
	Take(ctx context.Context, dir string, offers []Offer, readBack bool) error
}

// Offer is a file for a [Taker].
type Offer struct {
	Info // Name below the directory

	// Old is the size of what the destination has under the name; 0 for nothing.
	Old int64

	Open func() (Input, error)       // again, if the bytes went wrong on the way
	Done func(sum [sha256.Size]byte) // the file is under its name; sum is of its bytes
}

// Input is a file on its way to a [Taker], read from its beginning to its end.
// Its methods are called one after the other.
type Input interface {
	io.Reader

	// Literal is called when the next n bytes are sent, and may keep them
	// waiting; Matched for those that the destination has.
	Literal(n int)
	Matched(n int)

	// Done ends the file; with nil all of it has been read. If it returns an
	// error, the file must not be taken.
	Done(err error) error
}

// Hasher is a Store that hashes the first n bytes of a file where they lie,
// without sending them; io.ErrUnexpectedEOF if there are fewer. It returns
// errors.ErrUnsupported if it cannot.
type Hasher interface {
	HashPrefix(ctx context.Context, name string, n int64) (Prefix, error)
}

// Prefix is the SHA-256 of the first bytes of a file.
type Prefix struct {
	Sum   [sha256.Size]byte
	State hash.Hash // after those bytes, to go on from; nil if only Sum is known
}

// Copier is an Upload that can begin as a copy of the object's previous
// version, made where that is, so that only what differs has to be sent.
type Copier interface {
	// Copy puts the previous version under all that is not uploaded yet; if
	// share is set, only if the copy shares its blocks, and so costs next to
	// nothing. It returns errors.ErrUnsupported, and has copied nothing, if it
	// cannot; after any other error the upload is of no use.
	Copy(ctx context.Context, share bool) error

	// WriteAt writes over the copy, behind what is uploaded.
	io.WriterAt

	// Reach says that the first n bytes are uploaded now, copied or written
	// over. state is their running SHA-256, and handed over. If it is nil, these
	// are all and have been proved: Sum is not known then, and Commit does not
	// read back.
	Reach(n int64, state hash.Hash) error
}

// Prover is a Copier of which can be seen what is stored before it is shown.
type Prover interface {
	Copier

	// HashPrefix is that of a [Hasher], for the upload with all written over it.
	HashPrefix(ctx context.Context, n int64) (Prefix, error)

	// ReadBack makes durable what is stored, and returns it to be read as far as
	// that goes from the disk. ReadAt may be called concurrently.
	ReadBack(ctx context.Context) (io.ReaderAt, error)
}

// Clock is a Store that knows what time it is where its files are stamped.
// It returns errors.ErrUnsupported if it cannot tell.
type Clock interface {
	Now(ctx context.Context) (time.Time, error)
}

var (
	// ErrLost is returned by a store that has lost its connection.
	ErrLost = errors.New("connection lost")

	// ErrChanged is returned for a source that changed while it was read.
	ErrChanged = errors.New("source changed while it was read")

	// ErrCorrupt is returned for bytes that are not the ones written.
	ErrCorrupt = errors.New("stored bytes differ from those written")

	// ErrBusy is returned for a name that is being uploaded by another.
	ErrBusy = errors.New("upload in progress")

	// ErrName is returned for a name that no store may hold.
	ErrName = errors.New("invalid name")
)

// ReservedPrefix begins the names of files and folders that are the library's
// own, at any depth: [Mirror] neither reads nor writes such names.
const ReservedPrefix = ".obskeep-"

// IsReserved reports whether an element of name has the [ReservedPrefix].
func IsReserved(name string) bool {
	return strings.HasPrefix(name, ReservedPrefix) || strings.Contains(name, "/"+ReservedPrefix)
}

// ValidName returns nil if name may name an entry of a store: relative,
// slash-separated, without empty, "." or ".." elements and NUL bytes, or "."
// for the top. Unlike fs.ValidPath it takes names that are not UTF-8, as
// instruments write them. The error is an ErrName.
func ValidName(name string) error {
	if name == "." {
		return nil
	}
	for elem := range strings.SplitSeq(name, "/") {
		if elem == "" || elem == "." || elem == ".." || strings.ContainsRune(elem, 0) {
			return fmt.Errorf("%w %q", ErrName, name)
		}
	}
	return nil
}

// sameTime reports whether two times are equal as far as both stores keep
// them: one of them may know whole seconds only.
func sameTime(a, b time.Time) bool {
	if a.Nanosecond() == 0 || b.Nanosecond() == 0 {
		return uint32(a.Unix()) == uint32(b.Unix()) // SFTP has 32 bits for it
	}
	return a.Equal(b)
}

// sameFile reports whether two infos describe the same bytes by the rule of
// all mirrors: equal size and time.
func sameFile(a, b Info) bool {
	return a.Mode.IsRegular() && b.Mode.IsRegular() && a.Size == b.Size && sameTime(a.ModTime, b.ModTime)
}

// modeMask are the bits of a mode that a mirror keeps.
const modeMask = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
