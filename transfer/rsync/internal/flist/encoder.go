package flist

import "github.com/obskeep/obskeep/transfer/rsync/internal/wire"

// An Encoder writes the lists of one session. It is for one goroutine. Errors
// are those of the wire.Writer.
type Encoder struct {
	w *wire.Writer
	o Options

	prev     previous
	prevName string
	buf      []byte
	start    int32              // index of the first entry of this list
	next     int32              // index of the next entry
	links    map[int32]previous // of this list: what later members of a group leave behind
	users    map[uint32]bool    // whose names were sent
	groups   map[uint32]bool
	ioErrors int32
}

// NewEncoder returns an Encoder. It panics if o asks for ACLs or Xattrs, which
// it cannot send.
func NewEncoder(w *wire.Writer, o Options) *Encoder {
	if o.ACLs || o.Xattrs {
		panic("flist: ACLs and extended attributes cannot be sent")
	}
	first := o.firstIndex()
	return &Encoder{
		w: w, o: o, start: first, next: first,
		links: make(map[int32]previous),
		users: make(map[uint32]bool), groups: make(map[uint32]bool),
	}
}

// noExtra is the Extra of an entry without one.
var noExtra = &Extra{Link: -1}

// Add writes an entry. The name and the Target of e must be what a Decoder
// lets through, and if e is a later member of a group of hard links the first
// must have been added before; e is not kept.
func (e *Encoder) Add(f *Entry) {
	x := f.Extra
	if x == nil {
		x = noExtra
	}
	index := e.next
	e.next++
	linked := e.o.HardLinks && !f.IsDir() && x.Link >= 0
	later := linked && x.Link != index && e.o.Version >= 30
	if later && x.Link >= e.start {
		e.begin(flagLinked, f)
		e.w.Varint(x.Link)
		major := e.prev.major
		if e.prev = e.links[x.Link]; !e.o.numbered(f) {
			e.prev.major = major
		}
		return
	}

	flags := e.flags(f, x)
	if linked {
		flags |= flagLinked
		switch {
		case e.o.Version < 30:
			// The numbers of device and inode only serve to tell groups apart.
			flags |= flagSameDevice
		case !later:
			flags |= flagFirstLink
		}
	}
	e.begin(flags, f)
	if later {
		e.w.Varint(x.Link)
	}
	e.attributes(flags, f, x)
	if linked && e.o.Version < 30 {
		e.w.Varlong(int64(x.Link)+1, 3)
	}
	if e.o.SumLen > 0 && f.IsRegular() {
		e.sum(x.Sum)
	}
	if linked && !later {
		e.links[index] = e.prev
	}
}

// flags returns the flags of all but name and hard link, and makes f the
// previous entry.
func (e *Encoder) flags(f *Entry, x *Extra) (flags int32) {
	set := func(on bool, flag int32) {
		if on {
			flags |= flag
		}
	}
	p := &e.prev
	user := e.o.hasNames() && e.o.Owner && sendable(x.User) && (f.UID != 0 || e.o.IDZero) && !e.users[f.UID]
	group := e.o.hasNames() && e.o.Group && sendable(x.Group) && (f.GID != 0 || e.o.IDZero) && !e.groups[f.GID]
	if user {
		e.users[f.UID] = true
	}
	if group {
		e.groups[f.GID] = true
	}
	set(user, flagUserName)
	set(group, flagGroupName)
	set(f.Mode == p.mode, flagSameMode)
	set(!e.o.Owner || f.UID == p.uid && !user, flagSameUID)
	set(!e.o.Group || f.GID == p.gid && !group, flagSameGID)
	set(f.Sec == p.sec, flagSameTime)
	set(f.Nsec != 0 && e.o.Version >= 31, flagNsec)
	set(f.IsDir() && f.Top, flagTop)
	set(f.IsDir() && f.NoContent && e.o.Version >= 30, flagNoContent)
	if e.o.Atimes && !f.IsDir() {
		set(x.Atime == p.atime, flagSameAtime)
		p.atime = x.Atime
	}
	set(e.o.Crtimes && e.o.Varint && x.Crtime == f.Sec, flagSameCrtime)
	if e.o.numbered(f) {
		set(x.Major == p.major, flagSameMajor)
		set(e.o.Version < 30 && x.Minor <= 255, flagMinorByte)
		p.major = x.Major
	}
	p.mode, p.sec = f.Mode, f.Sec
	if e.o.Owner {
		p.uid = f.UID
	}
	if e.o.Group {
		p.gid = f.GID
	}
	return flags
}

// begin writes the flags and the name.
func (e *Encoder) begin(flags int32, f *Entry) {
	shared := 0
	for shared < min(len(f.Name), len(e.prevName), 255) && f.Name[shared] == e.prevName[shared] {
		shared++
	}
	e.prevName = f.Name
	rest := f.Name[shared:]
	if shared > 0 {
		flags |= flagSameName
	}
	if len(rest) > 255 {
		flags |= flagLongName
	}

	switch {
	case e.o.Varint:
		// Zero is the end of the list.
		if flags == 0 {
			flags = flagExtended
		}
		e.w.Varint(flags)
	case flags == 0 && !f.IsDir():
		e.w.Byte(flagTop)
	case flags == 0 || flags > 255:
		e.w.Short(uint16(flags | flagExtended))
	default:
		e.w.Byte(byte(flags))
	}
	if shared > 0 {
		e.w.Byte(byte(shared))
	}
	if len(rest) > 255 {
		e.w.Varint(int32(len(rest)))
	} else {
		e.w.Byte(byte(len(rest)))
	}
	e.text(rest)
}

// attributes writes what stands between name and checksum.
func (e *Encoder) attributes(flags int32, f *Entry, x *Extra) {
	w, o := e.w, &e.o
	if f.isDevice() {
		w.Varlong(0, 3)
	} else {
		w.Varlong(f.Size, 3)
	}
	if flags&flagSameTime == 0 {
		if o.Version < 30 {
			w.Int(int32(uint32(max(0, min(f.Sec, 1<<32-1)))))
		} else {
			w.Varlong(f.Sec, 4)
		}
	}
	if flags&flagNsec != 0 {
		w.Varint(int32(f.Nsec))
	}
	if o.Crtimes && flags&flagSameCrtime == 0 {
		w.Varlong(x.Crtime, 4)
	}
	if flags&flagSameMode == 0 {
		w.Int(int32(f.Mode))
	}
	if o.Atimes && !f.IsDir() && flags&flagSameAtime == 0 {
		w.Varlong(x.Atime, 4)
	}
	if flags&flagSameUID == 0 {
		w.Varint(int32(f.UID))
	}
	if flags&flagUserName != 0 && o.hasNames() {
		e.name(x.User)
	}
	if flags&flagSameGID == 0 {
		w.Varint(int32(f.GID))
	}
	if flags&flagGroupName != 0 && o.hasNames() {
		e.name(x.Group)
	}
	if o.numbered(f) {
		if flags&flagSameMajor == 0 {
			w.Varint(int32(x.Major))
		}
		if flags&flagMinorByte != 0 && o.Version < 30 {
			w.Byte(byte(x.Minor))
		} else {
			w.Varint(int32(x.Minor))
		}
	}
	if o.Links && f.isSymlink() {
		w.Varint(int32(len(x.Target)))
		e.text(x.Target)
	}
}

// text writes bytes from a buffer that stays: a conversion would allocate.
func (e *Encoder) text(s string) {
	e.buf = append(e.buf[:0], s...)
	e.w.Write(e.buf)
}

// sum writes a checksum; a file that could not be read has none and is sent
// with zeros.
func (e *Encoder) sum(sum []byte) {
	e.buf = append(e.buf[:0], sum...)
	for len(e.buf) < e.o.SumLen {
		e.buf = append(e.buf, 0)
	}
	e.w.Write(e.buf[:e.o.SumLen])
}

// End writes the end of a list, with flags that tell of errors: 1 a general
// one, after which the receiver deletes nothing, 2 a file that vanished, 4 a
// limit of deletions; 0 for none. Below version 30 IDs sends the flags; without
// Varint and SafeErrors from there on they are not sent at all, and the caller
// must send wire.MsgIOError.
func (e *Encoder) End(ioErrors int32) {
	switch {
	case e.o.Varint:
		e.w.Varint(0)
		e.w.Varint(ioErrors)
	case ioErrors != 0 && e.o.SafeErrors:
		e.w.Short(flagsError)
		e.w.Varint(ioErrors)
	default:
		e.w.Byte(0)
	}
	e.ioErrors |= ioErrors
	// The index before each list but the first stands for its directory.
	e.next++
	e.start = e.next
	clear(e.links)
}
