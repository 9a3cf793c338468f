package flist

// Bounds of what is skipped: more than any system keeps with a file.
const (
	maxACL       = 1 << 16 // users and groups of an access control list
	maxXattrs    = 1 << 16 // extended attributes of a file
	maxXattrName = 1 << 12
	maxInline    = 32 // a longer value is sent as its MD5 sum
	md5Size      = 16
)

// skipAttributes reads ACLs and extended attributes of e, and drops them.
func (d *Decoder) skipAttributes(e *Entry) {
	if d.o.ACLs && !e.isSymlink() {
		d.skipACL(e, 0)
		if e.IsDir() {
			d.skipACL(e, 1)
		}
	}
	if d.o.Xattrs {
		d.skipXattrs(e)
	}
}

// An access control list is the varint number, from 1, of one that came before,
// or 0 and: a byte of flags; a varint for each of owner, group, mask and other
// that has its flag; with flag 16 a varint count, and for each a varint id and
// a varint whose lowest bit tells that a name follows.
func (d *Decoder) skipACL(e *Entry, kind int) {
	r := d.r
	if d.known(e, &d.acls[kind]) {
		return
	}
	flags := r.Byte()
	for bit := byte(1); bit < 16; bit <<= 1 {
		if flags&bit != 0 {
			r.Varint()
		}
	}
	if flags&16 == 0 {
		return
	}
	count := r.Varint()
	if count < 0 || count > maxACL {
		d.fail("%q has an ACL of %d entries", e.Name, count)
	}
	for ; count > 0 && r.Err() == nil; count-- {
		r.Varint()
		if r.Varint()&1 != 0 {
			r.Skip(int64(r.Byte()))
		}
	}
}

// A set of extended attributes is the varint number, from 1, of one that came
// before, or 0 and: a varint count, and for each a varint length of the name
// with its final zero byte, a varint length of the value, the name, and the
// value or its sum.
func (d *Decoder) skipXattrs(e *Entry) {
	r := d.r
	if d.known(e, &d.xattrs) {
		return
	}
	count := r.Varint()
	if count < 0 || count > maxXattrs {
		d.fail("%q has %d extended attributes", e.Name, count)
	}
	for ; count > 0 && r.Err() == nil; count-- {
		name, value := r.Varint(), r.Varint()
		if r.Err() != nil {
			return
		}
		if name < 1 || name > maxXattrName || value < 0 {
			d.fail("%q has an extended attribute of %d and %d bytes", e.Name, name, value)
			return
		}
		if value > maxInline {
			value = md5Size
		}
		r.Skip(int64(name) + int64(value))
	}
}

// known reads a number, and reports whether that is all: it is that of one of
// the count that came before, or makes no sense. Else it counts a new one.
func (d *Decoder) known(e *Entry, count *int32) bool {
	k := d.r.Varint()
	if k == 0 && d.r.Err() == nil {
		*count++
		return false
	}
	if k < 0 || k > *count {
		d.fail("%q has the attributes %d of %d", e.Name, k, *count)
	}
	return true
}
