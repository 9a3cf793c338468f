package flist

import (
	"bytes"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// A Decoder reads the lists of one session. It is for one goroutine. What is
// wrong with a list becomes the error of the wire.Reader, and wraps
// wire.ErrInvalid.
type Decoder struct {
	r *wire.Reader
	o Options

	prev     previous
	name     [maxName]byte // the previous name, as sent
	nameLen  int
	named    bool               // a name has been read,
	absolute bool               // which began with a slash
	start    int32              // index of the first entry of this list
	next     int32              // index of the next entry
	links    map[int32]*Entry   // of this list: the first of each group
	inodes   map[[2]int64]int32 // version 29: the index of the first
	device   int64              // version 29: of the hard link before
	acls     [2]int32           // distinct ones so far: access, default
	xattrs   int32              // distinct sets so far
	ioErrors int32

	// Entries and their text are carved from pieces.
	entries []Entry
	extras  []Extra
	sums    []byte
	strings strings.Builder
}

// NewDecoder returns a Decoder.
func NewDecoder(r *wire.Reader, o Options) *Decoder {
	first := o.firstIndex()
	return &Decoder{
		r: r, o: o, start: first, next: first,
		links: make(map[int32]*Entry), inodes: make(map[[2]int64]int32),
	}
}

// IOErrors returns the error flags of the lists that have ended; see
// Encoder.End. In version 29 they come with IDs.
func (d *Decoder) IOErrors() int32 { return d.ioErrors }

// Next reads an entry. It returns false at the end of the list and after an
// error; the next call reads from the next list.
func (d *Decoder) Next() (*Entry, bool) {
	flags, ok := d.flags()
	if !ok {
		return nil, false
	}
	e := d.newEntry()
	d.readName(flags, e)
	if d.r.Err() == nil {
		d.readEntry(flags, e)
	}
	if d.r.Err() != nil {
		return nil, false
	}
	d.next++
	return e, true
}

// flags reads the flags of an entry, or false and the end of the list.
func (d *Decoder) flags() (int32, bool) {
	var flags int32
	if d.o.Varint {
		flags = d.r.Varint()
	} else if flags = int32(d.r.Byte()); flags&flagExtended != 0 {
		flags |= int32(d.r.Byte()) << 8
	}
	if d.r.Err() != nil {
		return 0, false
	}
	switch {
	case flags == 0 && !d.o.Varint:
	case flags == 0, flags == flagsError && !d.o.Varint && d.o.SafeErrors:
		d.ioErrors |= d.r.Varint()
	case flags&^flagsKnown != 0,
		flags&(flagLinked|flagFirstLink) == flagFirstLink && d.o.Version >= 30,
		flags&flagLinked != 0 && !d.o.HardLinks,
		flags&(flagUserName|flagGroupName) != 0 && d.o.Version >= 30 && !d.o.Incremental,
		flags&flagNsec != 0 && d.o.Version < 31:
		d.fail("entry %d has the flags %#x", d.next, flags)
		return 0, false
	default:
		return flags, true
	}
	d.next++
	d.start = d.next
	clear(d.links)
	return 0, false
}

func (d *Decoder) readName(flags int32, e *Entry) {
	shared := 0
	if flags&flagSameName != 0 {
		shared = int(d.r.Byte())
	}
	var n int
	if flags&flagLongName != 0 {
		n = int(d.r.Varint())
	} else {
		n = int(d.r.Byte())
	}
	if d.r.Err() != nil {
		return
	}
	if shared > d.nameLen || n < 0 || n > maxName-shared {
		d.fail("entry %d: a name of %d bytes of the %d before it and %d more", d.next, shared, d.nameLen, n)
		return
	}
	d.nameLen = shared + n
	d.r.Full(d.name[shared:d.nameLen])
	name := d.name[:d.nameLen]
	if d.o.Relative {
		// The sender sorts the names with their slashes, and so is of another
		// order than the receiver if only some have one.
		absolute := len(name) > 0 && name[0] == '/'
		if d.named && absolute != d.absolute {
			d.fail("entry %d: absolute and relative names in one list", d.next)
			return
		}
		d.named, d.absolute = true, absolute
		name = bytes.TrimLeft(name, "/")
	}
	if d.r.Err() != nil {
		return
	}
	if e.Name = d.keep(name); !validName(e.Name) {
		d.fail("entry %d: the name %q", d.next, e.Name)
	}
}

// validName reports whether name is "." or has none but real elements.
func validName(name string) bool {
	if name == "." {
		return true
	}
	if strings.IndexByte(name, 0) >= 0 {
		return false
	}
	for begin := 0; begin <= len(name); {
		n := strings.IndexByte(name[begin:], '/')
		if n < 0 {
			n = len(name) - begin
		}
		switch name[begin : begin+n] {
		case "", ".", "..":
			return false
		}
		begin += n + 1
	}
	return true
}

// readEntry reads what follows the name.
func (d *Decoder) readEntry(flags int32, e *Entry) {
	link := int32(-1)
	if flags&flagLinked != 0 && d.o.Version >= 30 {
		link = d.next
		if flags&flagFirstLink == 0 {
			link = d.r.Varint()
			if link < d.o.firstIndex() || link >= d.next || d.r.Err() != nil {
				d.fail("%q is a hard link to entry %d, which was not read yet", e.Name, link)
				return
			}
			if link >= d.start {
				// ACLs and extended attributes are repeated, nothing else is.
				if d.readLink(link, e); d.r.Err() == nil {
					d.skipAttributes(e)
				}
				return
			}
		}
	}

	d.readAttributes(flags, e)
	if d.r.Err() == nil {
		d.check(e)
	}
	if d.r.Err() != nil {
		return
	}
	d.readNumbers(flags, e)
	if d.o.Links && e.isSymlink() {
		d.readTarget(e)
	}
	if flags&flagLinked != 0 && d.o.Version < 30 {
		link = d.readInode(flags)
	}
	if link >= 0 {
		if e.IsDir() {
			d.fail("%q is a directory and a hard link", e.Name)
			return
		}
		d.extra(e).Link = link
		if link == d.next && d.o.Version >= 30 {
			d.links[link] = e
		}
	}
	if n := d.o.SumLen; n > 0 && e.IsRegular() {
		if len(d.sums) < n {
			d.sums = make([]byte, piece/4*n)
		}
		d.r.Full(d.sums[:n])
		d.extra(e).Sum, d.sums = d.sums[:n:n], d.sums[n:]
	}
	d.skipAttributes(e)
}

// readLink makes e a later name of the first member of its group.
func (d *Decoder) readLink(link int32, e *Entry) {
	first, ok := d.links[link]
	if !ok {
		d.fail("%q is a hard link to entry %d, which is the first of no group", e.Name, link)
		return
	}
	name := e.Name
	*e = *first
	e.Name = name
	d.prev.mode, d.prev.uid, d.prev.gid, d.prev.sec = e.Mode, e.UID, e.GID, e.Sec
	d.prev.atime = e.Atime
	if d.o.numbered(e) {
		d.prev.major = e.Major
	}
}

// readAttributes reads what every entry has.
func (d *Decoder) readAttributes(flags int32, e *Entry) {
	r, p := d.r, &d.prev
	e.Size = r.Varlong(3)
	if flags&flagSameTime == 0 {
		if d.o.Version < 30 {
			p.sec = int64(uint32(r.Int()))
		} else {
			p.sec = r.Varlong(4)
		}
	}
	e.Sec = p.sec
	if flags&flagNsec != 0 {
		e.Nsec = uint32(r.Varint())
	}
	if d.o.Crtimes {
		if crtime := e.Sec; flags&flagSameCrtime == 0 {
			d.extra(e).Crtime = r.Varlong(4)
		} else {
			d.extra(e).Crtime = crtime
		}
	}
	if flags&flagSameMode == 0 {
		p.mode = uint32(r.Int())
	}
	e.Mode = p.mode
	if d.o.Atimes && !e.IsDir() {
		if flags&flagSameAtime == 0 {
			p.atime = r.Varlong(4)
		}
		d.extra(e).Atime = p.atime
	}
	if d.o.Owner {
		if flags&flagSameUID == 0 {
			p.uid = uint32(r.Varint())
			if flags&flagUserName != 0 && d.o.Version >= 30 {
				d.extra(e).User = d.text(int(r.Byte()))
			}
		}
		e.UID = p.uid
	}
	if d.o.Group {
		if flags&flagSameGID == 0 {
			p.gid = uint32(r.Varint())
			if flags&flagGroupName != 0 && d.o.Version >= 30 {
				d.extra(e).Group = d.text(int(r.Byte()))
			}
		}
		e.GID = p.gid
	}
	if e.IsDir() {
		e.Top = flags&flagTop != 0
		e.NoContent = flags&flagNoContent != 0 && d.o.Version >= 30
	}
}

// check refuses what no file can have.
func (d *Decoder) check(e *Entry) {
	switch e.Mode & ^uint32(0o7777) {
	case typeFifo, typeChar, typeDir, typeBlock, typeRegular, typeSymlink, typeSocket:
	default:
		d.fail("%q has the mode %#o", e.Name, e.Mode)
		return
	}
	if e.isDevice() {
		e.Size = 0
	}
	switch {
	case e.Name == "." && !e.IsDir():
		d.fail("the root is no directory")
	case e.Size < 0:
		d.fail("%q has a size of %d", e.Name, e.Size)
	case e.Nsec > maxNsec:
		d.fail("%q has %d nanoseconds", e.Name, e.Nsec)
	}
}

func (d *Decoder) readNumbers(flags int32, e *Entry) {
	if !d.o.numbered(e) {
		return
	}
	if flags&flagSameMajor == 0 {
		d.prev.major = uint32(d.r.Varint())
	}
	x := d.extra(e)
	x.Major = d.prev.major
	if flags&flagMinorByte != 0 && d.o.Version < 30 {
		x.Minor = uint32(d.r.Byte())
	} else {
		x.Minor = uint32(d.r.Varint())
	}
}

func (d *Decoder) readTarget(e *Entry) {
	n := int(d.r.Varint())
	if d.r.Err() != nil {
		return
	}
	if n < 1 || n > maxTarget {
		d.fail("%q has a target of %d bytes", e.Name, n)
		return
	}
	target := d.keep(d.r.Bytes(n))
	if strings.IndexByte(target, 0) >= 0 {
		d.fail("%q has the target %q", e.Name, target)
	}
	d.extra(e).Target = target
}

// readInode reads the device and inode by which version 29 tells hard links
// apart, and returns the index of the first that has them.
func (d *Decoder) readInode(flags int32) int32 {
	if flags&flagSameDevice == 0 {
		d.device = d.r.Varlong(3)
	}
	key := [2]int64{d.device, d.r.Varlong(3)}
	first, ok := d.inodes[key]
	if !ok {
		first = d.next
		d.inodes[key] = first
	}
	return first
}

const piece = 512

func (d *Decoder) newEntry() *Entry {
	if len(d.entries) == 0 {
		d.entries = make([]Entry, piece)
	}
	e := &d.entries[0]
	d.entries = d.entries[1:]
	return e
}

// extra returns the Extra of e, which it makes if there is none.
func (d *Decoder) extra(e *Entry) *Extra {
	if e.Extra == nil {
		if len(d.extras) == 0 {
			d.extras = make([]Extra, piece/4)
		}
		e.Extra, d.extras = &d.extras[0], d.extras[1:]
		e.Link = -1
	}
	return e.Extra
}

// keep returns b as a string. A Builder that does not outgrow its room leaves
// the strings taken from it as they are.
func (d *Decoder) keep(b []byte) string {
	if d.strings.Cap()-d.strings.Len() < len(b) {
		d.strings = strings.Builder{}
		d.strings.Grow(32 << 10)
	}
	begin := d.strings.Len()
	d.strings.Write(b)
	return d.strings.String()[begin:]
}
