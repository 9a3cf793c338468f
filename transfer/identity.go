package transfer

import (
	"context"
	"time"
)

// Identifier is a Store at hand that tells more of a file than its size and
// time: who sets the time of a file back does not set back its Identity.
type Identifier interface {
	Identify(ctx context.Context, name string) (Identity, error)
}

// Identity tells a file as it is from what it has been and from others. The
// zero value says that nothing is known.
type Identity struct {
	Device, Inode uint64
	Changed       time.Time // when its bytes or attributes were last changed: ctime
}

func (a Identity) known() bool { return a.Inode != 0 }

// is reports whether both are known, and equal.
func (a Identity) is(b Identity) bool {
	return a.known() && a.Device == b.Device && a.Inode == b.Inode && a.Changed.Equal(b.Changed)
}

// settling is how long a file must have been left alone for its Identity to be
// kept: two changes in one tick of the file system's clock look like one. Those
// of network and memory card file systems tick every two seconds.
const settling = 2 * time.Second

// identify notes what the source is, before it is read.
func (d *delivery) identify(ctx context.Context) {
	d.identity = d.src.identity(ctx)
	if time.Since(d.identity.Changed) < settling {
		d.identity = Identity{}
	}
}
