package rsync

import (
	"fmt"
	"slices"
	"time"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
)

// Options are what rsync's options of the same name are. The zero value
// transfers the files named, without their attributes.
type Options struct {
	Recursive  bool // -r
	Dirs       bool // -d: list directories, do not enter them
	Relative   bool // -R
	Links      bool // -l
	Perms      bool // -p
	Times      bool // -t
	Owner      bool // -o; as root
	Group      bool // -g
	Devices    bool // --devices; as root
	Specials   bool // --specials
	HardLinks  bool // -H
	NumericIDs bool // --numeric-ids

	OmitDirTimes  bool // -O: with -t, but not of directories
	OmitLinkTimes bool // -J: nor of symbolic links
	OneFileSystem bool // -x: neither list nor delete what is mounted below

	Checksum       bool // -c: compare by checksum
	IgnoreTimes    bool // -I: send files of equal size and time, too
	SizeOnly       bool // --size-only
	Update         bool // -u: leave newer files
	Existing       bool // --existing: make nothing new
	IgnoreExisting bool // --ignore-existing: touch nothing old
	DryRun         bool // -n

	Delete       DeleteMode
	DeleteAll    bool // --delete-excluded
	MaxDelete    int  // at most so many; zero means no limit, negative none at all
	IgnoreErrors bool // delete although the list may be incomplete
	Force        bool // a directory with something in it gives way to a file

	Filter    []string // rules such as "- *.tmp"; see [Rule]
	FilesFrom []string // of the source; only these

	// NoIncremental is --no-inc-recursive: the whole list is there before the
	// first file is asked for.
	NoIncremental bool

	WholeFile   bool   // -W
	BlockSize   int    // bytes; zero means by the size of the file
	InPlace     bool   // --inplace
	Append      bool   // --append-verify
	AppendBlind bool   // --append
	Partial     bool   // --partial
	PartialDir  string // --partial-dir
	LinkDest    string // --link-dest: unchanged files become links to those there
	Sparse      bool   // -S
	Fsync       bool   // --fsync

	Checksums []string // offered, best first. Nil means all
	Compress  []string // offered, best first: zstd, lz4, zlibx. Nil means no compression
	Seed      int32    // of checksums; zero means a random one
	Bandwidth int64    // --bwlimit: bytes a second that each side may send; zero means no limit
	Timeout   time.Duration

	// Version is the newest version of the protocol to speak. Zero means the
	// newest there is.
	Version int

	// Extra are options for a far side that is rsync, which concern it alone.
	Extra []string
}

// DeleteMode says when what the source does not have is removed.
type DeleteMode uint8

const (
	DeleteNone DeleteMode = iota
	DeleteBefore
	DeleteDuring
	DeleteDelay
	DeleteAfter
)

var deleteOptions = []string{"", "--delete-before", "--delete-during", "--delete-delay", "--delete-after"}

func (o *Options) version() int {
	if o.Version <= 0 {
		return Version
	}
	return o.Version
}

// incremental reports whether a receiver can do with a list that comes piece by
// piece. To delete before or after all else needs the whole of it.
func (o *Options) incremental() bool {
	return o.Recursive && !o.NoIncremental && o.Delete != DeleteBefore && o.Delete != DeleteAfter
}

// check finds what cannot go together.
func (o *Options) check() error {
	switch {
	case o.version() < minVersion || o.version() > Version:
		return fmt.Errorf("version %d of the protocol is not spoken here", o.Version)
	case o.InPlace && o.PartialDir != "":
		return fmt.Errorf("in-place and a partial directory exclude each other")
	case o.Delete != DeleteNone && !o.Recursive && !o.Dirs:
		return fmt.Errorf("to delete needs recursion")
	case o.BlockSize < 0 || o.BlockSize > maxBlock:
		return fmt.Errorf("a block size of %d is not between 1 and %d bytes", o.BlockSize, maxBlock)
	}
	for _, name := range o.Checksums {
		if _, ok := sum.ByName(name); !ok {
			return fmt.Errorf("no such checksum: %s", name)
		}
	}
	for _, name := range o.Compress {
		if !slices.Contains(compressors, name) {
			return fmt.Errorf("no such compression: %s", name)
		}
	}
	_, err := o.filters()
	return err
}

// maxBlock is the longest block, bytes.
const maxBlock = 128 << 10

// compressors in the order in which the reference program lists them.
var compressors = []string{"zstd", "lz4", "zlibx"}

func (o *Options) checksums() []string {
	if len(o.Checksums) == 0 {
		return sum.Names()
	}
	return o.Checksums
}

func (o *Options) filters() (filter.List, error) {
	var l filter.List
	for _, text := range o.Filter {
		r, err := filter.Parse(text)
		if err != nil {
			return nil, err
		}
		l = append(l, r)
	}
	return l, nil
}

// sendsFilters reports whether a client sends its filters to a receiver.
func (o *Options) sendsFilters() bool { return o.Delete != DeleteNone }
