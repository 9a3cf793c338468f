package transfer

import "hash"

// overlay is an upload that shares the blocks of the previous version, and of
// which only what differs is written.
type overlay struct {
	to   Copier
	hash hash.Hash // of the first n bytes
	n    int64
}

func (o *overlay) Write(p []byte) (int, error) {
	n, err := o.to.WriteAt(p, o.n)
	o.leave(p[:n])
	return n, err
}

// leave passes over bytes that are there.
func (o *overlay) leave(p []byte) {
	o.hash.Write(p)
	o.n += int64(len(p))
}
