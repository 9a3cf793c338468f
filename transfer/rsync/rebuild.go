package rsync

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"sync"
)

// copyAtOnce is about how much of the basis is copied at once, bytes.
const copyAtOnce = 256 << 10

// part is a piece of a file: literal data, blocks, or the sum at its end.
type part struct {
	buf          *bytes.Buffer
	block, count int32
	sum          []byte
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// build rebuilds a file of the parts it is sent, on a goroutine of its own.
func (r *receiver) build(j *job) chan<- part {
	parts := make(chan part, 16)
	r.builders <- struct{}{}
	r.building.Go(func() {
		defer func() { <-r.builders }()
		b := builder{receiver: r, job: j, hash: r.sum.NewFile()}
		for p := range parts {
			b.add(p)
		}
		b.done()
	})
	return parts
}

// builder rebuilds one file.
type builder struct {
	*receiver
	job   *job
	hash  hash.Hash
	basis Basis
	out   Output
	buf   []byte
	err   error // of this side; the rest is read and dropped
	whole bool  // the file's sum was read
	same  bool  // and is right

	literal, matched int64
}

func (b *builder) open() error {
	if b.out != nil {
		return nil
	}
	var err error
	if b.job.basis != nil && b.basis == nil {
		if b.basis, err = b.job.basis(); err != nil {
			return err
		}
	}
	b.out, err = b.job.create()
	if err == nil && (b.o.Append || b.o.AppendBlind) && !b.job.redo && b.basis != nil {
		err = b.prefix()
	}
	return err
}

func (b *builder) add(p part) {
	if b.err == nil {
		b.err = b.open()
	}
	switch {
	case p.buf != nil:
		data := p.buf.Bytes()
		if b.err == nil {
			b.hash.Write(data)
			b.literal += int64(len(data))
			b.err = b.out.Literal(data)
		}
		buffers.Put(p.buf)
	case p.count > 0:
		blen := int64(b.job.head.BlockLen)
		end := min(int64(p.block+p.count)*blen, b.job.head.Size())
		for off := int64(p.block) * blen; off < end && b.err == nil; off += copyAtOnce {
			b.err = b.copy(off, int(min(copyAtOnce, end-off)))
		}
	default:
		b.whole = true
		b.same = b.err == nil && bytes.Equal(b.hash.Sum(nil), p.sum)
	}
}

// copy takes n bytes of the basis. Those that are gone become zeros: the sum
// will tell.
func (b *builder) copy(off int64, n int) error {
	if b.basis == nil {
		return errors.New("the basis is gone")
	}
	if cap(b.buf) < n {
		b.buf = make([]byte, n)
	}
	p := b.buf[:n]
	m, err := b.basis.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return err
	}
	clear(p[m:])
	b.hash.Write(p)
	b.matched += int64(n)
	return b.out.Matched(p, off)
}

// prefix begins with the basis, of which only what follows is sent.
func (b *builder) prefix() error {
	size := b.job.head.Size()
	if b.o.AppendBlind {
		p := b.hash
		b.hash = discard{p}
		defer func() { b.hash = p }()
	}
	for off := int64(0); off < size && b.err == nil; off += copyAtOnce {
		if err := b.copy(off, int(min(copyAtOnce, size-off))); err != nil {
			return err
		}
	}
	return nil
}

// discard is a hash that is not told anything.
type discard struct{ hash.Hash }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// done settles the file.
func (b *builder) done() {
	name := b.job.entry.Name
	err := b.err
	switch {
	case err == nil && !b.whole:
		err = io.ErrUnexpectedEOF // the session has ended; somebody else knows why
	case err == nil && !b.same:
		err = ErrCorrupt
	}
	if b.out != nil {
		if e := b.out.Done(err); e != nil && err == nil {
			err = e
		}
	}
	if b.basis != nil {
		b.basis.Close()
	}
	switch {
	case err == nil:
		b.count(func(s *Stats) { s.Sent, s.Literal, s.Matched = s.Sent+1, s.Literal+b.literal, s.Matched+b.matched })
	case errors.Is(err, ErrCorrupt) && !b.job.redo:
		b.settle(b.job, true)
		return
	case !b.whole && b.err == nil:
	default:
		b.fail(name, bare(err))
	}
	b.settle(b.job, false)
}
