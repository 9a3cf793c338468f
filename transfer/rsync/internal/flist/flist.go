// Package flist holds the file list of an rsync session: its entries, their
// form on the wire, and the order that gives each its index.
//
// The sending side adds entries to an [Encoder] in any order, the receiving
// side takes them from a [Decoder]; then both sort the list ([Sort]), and the
// position of an entry is its index for the rest of the session.
//
// An entry leaves out what it has in common with the one before, so an Encoder
// or Decoder lives as long as the session. Without incremental recursion it
// carries one list, followed by the names of users and groups ([Encoder.IDs]);
// with it many, and the names come in entries.
//
// Both ends must hold the same [Options], which follow from the command line of
// the server and from the handshake. Names are bytes without a meaning beyond
// "/"; they and all other text of the peer are to be escaped before they are
// shown.
//
// # Guarantees
//
//   - What an Encoder writes a Decoder reads back, with every set of options,
//     in versions 29 to 32; what a version cannot carry is documented at Entry.
//   - A Decoder gives out no name that is empty, absolute or longer than 4096
//     bytes, none with a NUL byte or with an empty, "." or ".." element except
//     "." itself, which is a directory; no negative size, no nanoseconds from
//     1e9 up, no file of unknown type, no symlink without target if targets are
//     carried, and no hard link to what was not read before.
//   - A Decoder never panics, and what it allocates is in proportion to what it
//     has read.
//   - Compare is a strict weak order: that of rsync, whatever the names.
//   - A million entries with names of 20 bytes take less than 160 MB, with the
//     slice of pointers to them.
package flist

// Options say which fields entries have. The zero value is no use: Version
// must be set.
type Options struct {
	Version    int  // of the protocol: 29 to 32
	Varint     bool // flags are varints: compatibility bit 7
	IDZero     bool // the names of id 0 are sent: compatibility bit 8
	SafeErrors bool // the end of a list can tell of errors: compatibility bit 3

	Owner, Group      bool // user and group ids are sent
	Devices, Specials bool // -D; without Devices a device has no numbers
	Links             bool // symlinks have targets
	HardLinks         bool // hard links are told: Extra.Link
	ACLs, Xattrs      bool // are in the entries; a Decoder drops them
	Atimes, Crtimes   bool // access times; creation times
	NumericIDs        bool // no names of users and groups are sent
	Incremental       bool // lists come piece by piece: compatibility bit 0

	// SumLen is the length of the checksum that each regular file carries
	// (--checksum); zero for none.
	SumLen int
	// Relative makes a Decoder strip the slashes that a name begins with (-R)
	// instead of refusing it.
	Relative bool
}

// An Entry is one file of a list. Entries that come from one Decoder share
// memory: one that is kept keeps some hundreds of its neighbours.
type Entry struct {
	Name string // with "/" between elements; "." for the root of the transfer
	Size int64  // in bytes; 0 for devices
	// Sec and Nsec are the time of modification since 1970 in UTC. Version 29
	// carries seconds from 0 to 1<<32 - 1, and others are sent as the nearest of
	// these; Nsec is dropped below version 31.
	Sec      int64
	Nsec     uint32
	Mode     uint32 // as of stat(2) on Linux, with the type of the file
	UID, GID uint32 // zero if owners, groups are not sent
	// Top marks a directory that is an argument of the transfer.
	Top bool
	// NoContent marks a directory whose content is not in the list, and in
	// which so nothing may be deleted. Version 29 does not carry it.
	NoContent bool
	// Extra is nil for most entries. Hard links to one file that are in one list
	// share it when they come from a Decoder.
	*Extra
}

// Extra is what few entries have.
type Extra struct {
	// User and Group are the names of the ids in the first entry of a session
	// that has the id; only in incremental recursion without NumericIDs. An
	// Encoder sends each once and takes no notice of those longer than 255
	// bytes.
	User, Group string
	Target      string // of a symlink; not empty, at most 4096 bytes
	// Major and Minor are the number of a device; below version 31 that of a
	// fifo or socket, too, where it means nothing.
	Major, Minor uint32
	Sum          []byte // the checksum of a regular file; Options.SumLen bytes
	// Link is the index of the first of a group of hard links; the first names
	// itself. It counts in the order in which entries are sent, from 0, or in
	// incremental recursion as indexes do: from 1, and one is left out
	// before each list but the first. It is -1 for a file that is no hard link,
	// and without meaning for directories and without Options.HardLinks.
	Link int32
	// Atime and Crtime are seconds since 1970 in UTC: the last access, not for
	// directories, and the creation.
	Atime, Crtime int64
}

// The type of a file in Entry.Mode.
const (
	typeMask    = 0o170000
	typeFifo    = 0o010000
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeRegular = 0o100000
	typeSymlink = 0o120000
	typeSocket  = 0o140000
)

// IsDir reports whether e is a directory.
func (e *Entry) IsDir() bool { return e.Mode&typeMask == typeDir }

// IsRegular reports whether e is a regular file.
func (e *Entry) IsRegular() bool { return e.Mode&typeMask == typeRegular }

func (e *Entry) isSymlink() bool { return e.Mode&typeMask == typeSymlink }

func (e *Entry) isDevice() bool {
	return e.Mode&typeMask == typeChar || e.Mode&typeMask == typeBlock
}

func (e *Entry) isSpecial() bool {
	return e.Mode&typeMask == typeFifo || e.Mode&typeMask == typeSocket
}

// numbered reports whether e carries a device number.
func (o *Options) numbered(e *Entry) bool {
	return o.Devices && e.isDevice() || o.Specials && e.isSpecial() && o.Version < 31
}

// hasNames reports whether entries may carry the names of their ids.
func (o *Options) hasNames() bool { return o.Incremental && !o.NumericIDs }

// firstIndex returns what the first entry of a session counts as.
func (o *Options) firstIndex() int32 {
	if o.Incremental {
		return 1
	}
	return 0
}

// The flags an entry begins with.
const (
	flagTop        = 1 << 0 // of directories
	flagSameMode   = 1 << 1
	flagExtended   = 1 << 2 // old form: a second byte follows; varint form: nothing
	flagSameUID    = 1 << 3
	flagSameGID    = 1 << 4
	flagSameName   = 1 << 5 // shares a prefix with the previous name
	flagLongName   = 1 << 6
	flagSameTime   = 1 << 7
	flagSameMajor  = 1 << 8 // of devices
	flagNoContent  = 1 << 8 // of directories, from version 30 on
	flagLinked     = 1 << 9
	flagUserName   = 1 << 10
	flagGroupName  = 1 << 11
	flagFirstLink  = 1 << 12
	flagNsec       = 1 << 13
	flagSameAtime  = 1 << 14
	flagSameCrtime = 1 << 17 // as the time of modification

	// In version 29:
	flagSameDevice = 1 << 10 // of hard links: the device they are on
	flagMinorByte  = 1 << 11

	// The end of a list with an error, in the old form.
	flagsError = flagExtended | flagFirstLink

	flagsKnown = 1<<15 - 1 | flagSameCrtime
)

const (
	maxName   = 4096
	maxTarget = 4096
	maxNsec   = 999_999_999
)

// previous is what entries inherit.
type previous struct {
	sec, atime int64
	mode       uint32
	uid, gid   uint32
	major      uint32
}
