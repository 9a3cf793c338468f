package flist

import (
	"fmt"
	"maps"
	"slices"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// IDNames are the names of users and groups. Nil maps hold none.
type IDNames struct{ Users, Groups map[uint32]string }

// maxNames bounds a list of names.
const maxNames = 1 << 20

// IDs writes what follows the one list of a session without incremental
// recursion: the names of ids, as far as the options want them, and in version
// 29 the error flags that End got. With incremental recursion it writes nothing.
// Names that are empty or longer than 255 bytes are left out, and so is that of
// id 0 without IDZero.
func (e *Encoder) IDs(n IDNames) {
	if e.o.Incremental {
		return
	}
	if !e.o.NumericIDs {
		if e.o.Owner {
			e.names(n.Users)
		}
		if e.o.Group {
			e.names(n.Groups)
		}
	}
	if e.o.Version < 30 {
		e.w.Int(e.ioErrors)
	}
}

// A list of names: varint id, not 0, and a name, until the id 0; then, with
// IDZero, the name of id 0, which may be empty. A name is its length in a byte
// and its bytes.
func (e *Encoder) names(names map[uint32]string) {
	for _, id := range slices.Sorted(maps.Keys(names)) {
		if id != 0 && sendable(names[id]) {
			e.w.Varint(int32(id))
			e.name(names[id])
		}
	}
	e.w.Varint(0)
	if e.o.IDZero {
		zero := names[0]
		if !sendable(zero) {
			zero = ""
		}
		e.name(zero)
	}
}

func (e *Encoder) name(s string) {
	e.w.Byte(byte(len(s)))
	e.text(s)
}

func sendable(name string) bool { return name != "" && len(name) <= 255 }

// IDs reads what follows the one list of a session without incremental
// recursion, and must be called once after it: the names of ids, as far as the
// options want them, and in version 29 the error flags for IOErrors. With
// incremental recursion it reads nothing.
func (d *Decoder) IDs() IDNames {
	var n IDNames
	if d.o.Incremental {
		return n
	}
	if !d.o.NumericIDs {
		if d.o.Owner || d.o.ACLs {
			n.Users = d.names()
		}
		if d.o.Group || d.o.ACLs {
			n.Groups = d.names()
		}
	}
	if d.o.Version < 30 {
		d.ioErrors |= d.r.Int()
	}
	if d.r.Err() != nil {
		return IDNames{}
	}
	return n
}

func (d *Decoder) names() map[uint32]string {
	names := make(map[uint32]string)
	put := func(id uint32) {
		if s := d.text(int(d.r.Byte())); s != "" {
			names[id] = s
		}
	}
	for count := 0; ; count++ {
		id := uint32(d.r.Varint())
		if id == 0 || d.r.Err() != nil {
			break
		}
		if count == maxNames {
			d.fail("more than %d names of ids", maxNames)
			break
		}
		put(id)
	}
	if d.o.IDZero {
		put(0)
	}
	return names
}

// text reads n bytes.
func (d *Decoder) text(n int) string { return string(d.r.Bytes(n)) }

func (d *Decoder) fail(format string, args ...any) {
	d.r.Fail(fmt.Errorf("flist: %w: "+format, append([]any{wire.ErrInvalid}, args...)...))
}
