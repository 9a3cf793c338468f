package rsync

import (
	"context"
	"fmt"
	"io"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

// Offer is a file or a directory for a server. Of a directory the content is
// what else is offered.
type Offer struct {
	Entry // Name below the directory of the server; no links, no special files

	// Open opens a file, again if its bytes went wrong on the way.
	Open func() (Input, error)
}

// Input is a file that is being sent. Its methods are called one after the other.
type Input interface {
	io.Reader

	// Literal is called when the next n bytes are sent, and may keep them
	// waiting; Matched for those that the far side has.
	Literal(n int)
	Matched(n int)

	// Done ends the file, whose bytes have all been read if err is nil. With the
	// error that it returns, the far side does not get to keep the file.
	Done(err error) error
}

// DeliverOptions are those with which a server is to be started for [Deliver].
// Files that the server has are asked for all the same, as differences in
// blocks of blockSize bytes (zero: by the size of each) and are changed in place.
func DeliverOptions(blockSize int) *Options {
	return &Options{Dirs: true, Perms: true, Times: true, IgnoreTimes: true, InPlace: true, BlockSize: blockSize}
}

// Deliver sends what is offered to the server at the other end of c, which was
// started with o.ServerArgs(false, "dir/") of DeliverOptions, to which Extra may
// have been added. Without an error all of it is there, as good as the checksum of
// the session; after an error, no one can say what is.
func Deliver(ctx context.Context, c Conn, o *Options, offers []Offer) (*Result, error) {
	return client(ctx, c, o, true, func(s *session) error {
		d := &offered{s: s, offers: make(map[*flist.Entry]*Offer, len(offers))}
		snd, err := newSender(s, d, func() ([]*flist.Entry, error) { return d.send(offers) })
		if err != nil {
			return err
		}
		return snd.run(ctx)
	})
}

// offered are the files of a [Deliver] as a source.
type offered struct {
	s      *session
	offers map[*flist.Entry]*Offer
}

func (d *offered) send(offers []Offer) ([]*flist.Entry, error) {
	list := make([]*flist.Entry, len(offers))
	enc := flist.NewEncoder(d.s.w, d.s.listOptions())
	for i := range offers {
		o := &offers[i]
		mode, ok := wireMode(o.Mode)
		if kind := mode & modeType; !ok || kind != modeFile && kind != modeDir {
			return nil, fmt.Errorf("%s: neither a file nor a directory", quote(o.Name))
		}
		e := &flist.Entry{Name: o.Name, Size: o.Size, Sec: o.ModTime.Unix(), Nsec: uint32(o.ModTime.Nanosecond()), Mode: mode}
		e.NoContent = o.Mode.IsDir()
		list[i], d.offers[e] = e, o
		enc.Add(e)
		if e.IsRegular() {
			d.s.result.Files++
			d.s.result.Size += e.Size
		}
	}
	enc.End(0)
	enc.IDs(flist.IDNames{})
	return list, nil
}

func (d *offered) open(e *flist.Entry) (Input, int64, error) {
	in, err := d.offers[e].Open()
	return in, e.Size, err
}

func (*offered) close() {}
